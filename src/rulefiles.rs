//! Which files a rule set is compiled from, and in what order: rules, decoders, lists.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use tripline_engine::load::{self, Checked, CompileInputs, Orphans};
use tripline_engine::source::Span;
use tripline_engine::{Finding, RuleSet, Severity, SourceFile, finding};

use crate::cli::{OrphansFlag, RulesFrom};
use crate::exit::Failure;
use crate::ossec::Ossec;
use crate::print::{self, say};
use crate::settings::{self, Settings, Shipped};

/// The rules that Tripline ships for outputs, compiled into the program.
const PROCESS_RULES: (&str, &[u8]) = ("shipped:process_rules.xml", include_bytes!("../rules/process_rules.xml"));
/// Those for lines about runs.
const RUN_RULES: (&str, &[u8]) = ("shipped:run_rules.xml", include_bytes!("../rules/run_rules.xml"));

/// The files of a rule set may have this many bytes together: the log keeps every rule set in one record.
const ALL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Where rule sets come from, and how they are compiled.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Flags go before settings.
    pub flags: &'a RulesFrom,
    /// What flags don't say.
    pub settings: &'a Settings,
    /// How many partitions the outputs lie in: with more than one, rules that count across keys are an error.
    pub partitions: u32,
}

impl Sources<'_> {
    /// The OSSEC configuration that they name.
    pub fn ossec(&self) -> anyhow::Result<Option<Ossec>> {
        Ossec::read(self.flags.ossec_conf.as_deref(), self.settings)
    }

    /// All files as they are now.
    pub fn gather(&self, ossec: Option<&Ossec>) -> anyhow::Result<CompileInputs> {
        let mut inputs = sorted(self.rules(ossec)?);
        if inputs.rules.is_empty() && !inputs.decoders.is_empty() && self.settings.rules.shipped.is_none() {
            inputs.rules.extend(shipped(Shipped::All));
        }
        inputs.decoders.extend(self.decoders(ossec)?);
        for (name, path) in ossec.map(Ossec::list_files).transpose()?.unwrap_or_default() {
            inputs.lists.push((name, file(&path, load::LIST_BYTES_MAX)?));
        }
        let places = flags_first(&self.flags.lists, &self.settings.rules.lists);
        add_lists(&mut inputs, places, ossec.map(Ossec::home))?;
        let size: usize = inputs.files().map(|file| file.text.len()).sum();
        // A single file that is too large is a finding with its place.
        if size > ALL_BYTES_MAX && inputs.files().all(|file| file.text.len() <= load::FILE_BYTES_MAX) {
            bail!("rules, decoders and lists have {size} bytes together; the most is {ALL_BYTES_MAX}");
        }
        Ok(inputs)
    }

    /// Compiles them.
    pub fn check(&self, inputs: &CompileInputs) -> Checked {
        load::check_inputs(inputs, &self.settings.engine(self.partitions), self.orphans())
    }

    /// The compiled rules, or every finding printed to standard error.
    pub fn load(&self, ossec: Option<&Ossec>) -> Result<Arc<RuleSet>, Failure> {
        let inputs = self.gather(ossec).map_err(Failure::unusable)?;
        let Checked { rules, findings, .. } = self.check(&inputs);
        let files: Vec<SourceFile> = inputs.files().cloned().collect();
        match rules {
            Some(rules) => {
                warn(&findings, &files);
                Ok(Arc::new(rules))
            }
            None => {
                say!("{}", finding::render(&findings, &files).trim_end());
                Err(Failure::unusable(anyhow!("the rules have errors; nothing was started")))
            }
        }
    }

    /// What to do with rules whose parent is missing.
    pub fn orphans(&self) -> Orphans {
        match (self.flags.orphans, self.settings.rules.orphans) {
            (Some(OrphansFlag::Warn), _) | (None, settings::Orphans::Warn) => Orphans::SetAside,
            _ => Orphans::Error,
        }
    }

    /// Rule files in load order: those of the OSSEC configuration, else of flags, else of settings, else the shipped
    /// ones.
    fn rules(&self, ossec: Option<&Ossec>) -> anyhow::Result<Vec<SourceFile>> {
        let dirs = flags_first(&self.flags.rules, &self.settings.rules.dirs);
        let from_ossec = match ossec {
            Some(ossec) => ossec.rule_files(dirs.first().map(PathBuf::as_path))?,
            None => Vec::new(),
        };
        let mut files = Vec::new();
        let nothing_named = dirs.is_empty() && from_ossec.is_empty();
        let by_default = if nothing_named { Shipped::All } else { Shipped::None };
        files.extend(shipped(self.settings.rules.shipped.unwrap_or(by_default)));
        if from_ossec.is_empty() {
            for path in dirs {
                files.extend(directory(path, "local_rules.xml")?);
            }
        }
        for path in &from_ossec {
            files.push(file(path, load::FILE_BYTES_MAX)?);
        }
        Ok(files)
    }

    /// Decoder files in load order: those of the OSSEC configuration, then those that flags or settings name.
    fn decoders(&self, ossec: Option<&Ossec>) -> anyhow::Result<Vec<SourceFile>> {
        let mut files = Vec::new();
        for path in ossec.map(Ossec::decoder_files).transpose()?.unwrap_or_default() {
            files.push(file(&path, load::FILE_BYTES_MAX)?);
        }
        for path in flags_first(&self.flags.decoders, &self.settings.rules.decoders) {
            files.extend(directory(path, "local_decoder.xml")?);
        }
        Ok(files)
    }
}

/// Says what is suspicious about rules that are taken.
pub fn warn(findings: &[Finding], files: &[SourceFile]) {
    let warnings: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Info).cloned().collect();
    if !warnings.is_empty() {
        say!("{}", finding::render(&warnings, files).trim_end());
    }
}

/// Says that failed and lost runs would go by in silence, where they would: for those who bring rules from OSSEC, which does
/// not know such lines.
pub fn tell_of_silence(rules: &RuleSet) {
    if !rules.judges_runs() {
        say!(
            "tripline: no rule reports failed and lost runs (990000); to load those that Tripline ships, set \
             `shipped = \"runs\"` under [rules]"
        );
    }
}

/// How many rules there are, without those that every rule set has.
pub fn count(rules: &RuleSet) -> String {
    let own = rules.rules().filter(|rule| rule.span.file != Span::BUILT_IN).count();
    print::count(own as u64, "rule")
}

/// Rule files, and the decoder files among them: a directory may hold both.
pub fn sorted(mut files: Vec<SourceFile>) -> CompileInputs {
    let decoders = files.extract_if(.., |file| holds_decoders(&file.text)).collect();
    CompileInputs { rules: files, decoders, lists: Vec::new() }
}

/// Adds the lists that rules look up, as far as they are found: in `places`, which are lists and directories of lists;
/// below OSSEC's directory; beside the rule files.
pub fn add_lists(inputs: &mut CompileInputs, places: &[PathBuf], home: Option<&Path>) -> anyhow::Result<()> {
    if let Some(nowhere) = places.iter().find(|place| !place.exists()) {
        bail!("there is no list or directory of lists `{}`", nowhere.display());
    }
    for (name, number) in load::list_names(&inputs.rules) {
        if inputs.lists.iter().any(|(known, _)| known.strip_suffix(".cdb").unwrap_or(known) == name) {
            continue;
        }
        if let Some(path) = list_file(&name, places, home, Path::new(&inputs.rules[number].name)) {
            inputs.lists.push((name, file(&path, load::LIST_BYTES_MAX)?));
        }
    }
    Ok(())
}

/// Rules that Tripline ships.
pub fn shipped(which: Shipped) -> impl Iterator<Item = SourceFile> {
    let files: &[(&str, &[u8])] = match which {
        Shipped::All => &[PROCESS_RULES, RUN_RULES],
        Shipped::Runs => &[RUN_RULES],
        Shipped::None => &[],
    };
    files.iter().map(|(name, text)| SourceFile { name: (*name).to_owned(), text: text.to_vec() })
}

fn flags_first<'a>(flags: &'a [PathBuf], settings: &'a [PathBuf]) -> &'a [PathBuf] {
    if flags.is_empty() { settings } else { flags }
}

/// Where the list of this name lies: in a place that was named for lists, under its name or the last part of it; below
/// OSSEC's directory; beside the rule file that looks it up, or in the directory above.
fn list_file(name: &str, places: &[PathBuf], home: Option<&Path>, rule_file: &Path) -> Option<PathBuf> {
    let last = Path::new(name).file_name()?;
    let named = places.iter().flat_map(|place| match place.is_dir() {
        true => vec![place.join(name), place.join(last)],
        false if place.file_name() == Some(last) => vec![place.clone()],
        false => Vec::new(),
    });
    let beside = rule_file.parent().into_iter().flat_map(|dir| [dir.join(name), dir.join("..").join(name)]);
    named.chain(home.map(|home| home.join(name))).chain(beside).find(|path| path.is_file())
}

/// A directory's `*.xml` in name order, the one of this name last; or a single file.
pub fn directory(path: &Path, last: &str) -> anyhow::Result<Vec<SourceFile>> {
    if !path.is_dir() {
        return Ok(vec![file(path, load::FILE_BYTES_MAX)?]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("could not read directory `{}`", path.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(|| format!("could not read directory `{}`", path.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml") && path.is_file());
    in_load_order(&mut paths, last);
    if paths.is_empty() {
        bail!("`{}` holds no rule files (*.xml)", path.display());
    }
    paths.iter().map(|path| file(path, load::FILE_BYTES_MAX)).collect()
}

/// Name order, the one of this name last: what is one's own may hang below everything else.
pub fn in_load_order(paths: &mut [PathBuf], last: &str) {
    paths.sort_by_key(|path| (path.file_name().is_some_and(|name| name == last), path.clone()));
}

/// Reads a file, of one that is too large only as much as shows it.
fn file(path: &Path, bytes_max: usize) -> anyhow::Result<SourceFile> {
    let could_not = || format!("could not read `{}`", path.display());
    let mut text = Vec::new();
    let is_pipe = std::fs::metadata(path).with_context(could_not)?.file_type().is_fifo();
    // Opening one waits for somebody to write, for ever if need be. What is open already (`<(...)`, standard input) is fine.
    if is_pipe && !["/dev", "/proc"].iter().any(|open| path.starts_with(open)) {
        bail!("{}: it is a named pipe; name a file, or /dev/stdin to read from a pipe", could_not());
    }
    let file = File::open(path).with_context(could_not)?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut text).with_context(could_not)?;
    Ok(SourceFile { name: path.display().to_string(), text })
}

/// Whether the first element is a decoder. Variables may stand before it.
fn holds_decoders(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        rest = &rest[at + 1..];
        let end = match rest {
            [b'!', b'-', b'-', ..] => b"-->".as_slice(),
            [b'!', ..] => b"!>",
            _ => {
                let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
                match rest[..length].to_ascii_lowercase().as_slice() {
                    b"decoder" => return true,
                    // The end tag of a variable, a variable, or `<?xml ?>`.
                    b"" | b"var" => continue,
                    _ => return false,
                }
            }
        };
        let Some(length) = rest.windows(end.len()).position(|window| window == end) else { return false };
        rest = &rest[length + end.len()..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_file_is_known_by_its_first_element() {
        for (text, is_one) in [
            ("<decoder name=\"a\">", true),
            ("<!-- <group> --> <! <group> !>\n<?xml version=\"1.0\"?>\n<Decoder name='a'>", true),
            ("<var name=\"A\">x</var>\n<decoder name=\"a\">", true),
            ("<group name=\"a,\"><decoder>", false),
            ("<var name=\"A\">x</var><group name=\"a,\">", false),
            ("<!-- <decoder> ", false),
            ("no markup", false),
            ("", false),
        ] {
            assert_eq!(holds_decoders(text.as_bytes()), is_one, "{text}");
        }
    }
}
