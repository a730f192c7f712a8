//! Which files a rule set is compiled from, and in what order: rules, decoders, lists.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use tripline_collector::ossec_conf::{Missing, Named, stands_for_a_file};
use tripline_engine::finding::{FINDINGS_PER_FILE_MAX, codes};
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

    /// What the rule set is compiled from as it is now, or everything that is named and can't be read.
    pub fn gather(&self, ossec: Option<&Ossec>) -> anyhow::Result<Wanted> {
        let gathered = self.look(ossec);
        if !gathered.problems.is_empty() {
            bail!("{}", gathered.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        Ok(Wanted { inputs: gathered.inputs, engine: self.engine(ossec) })
    }

    /// What of settings and of OSSEC's configuration changes the answers of rules.
    pub fn engine(&self, ossec: Option<&Ossec>) -> tripline_engine::Settings {
        let levels = ossec.map(|ossec| ossec.conf.alert_levels).unwrap_or_default();
        self.settings.engine(self.partitions, levels)
    }

    /// All files, with what is named and can't be read told beside what can.
    pub fn look(&self, ossec: Option<&Ossec>) -> Gathered {
        let mut gathered = Gathered { conf: ossec.map(|ossec| ossec.source().clone()), ..Gathered::default() };
        let rules = self.rules(ossec, &mut gathered);
        gathered.inputs = sorted(rules);
        let inputs = &mut gathered.inputs;
        if inputs.rules.is_empty() && !inputs.decoders.is_empty() && self.settings.rules.shipped.is_none() {
            inputs.rules.extend(shipped(Shipped::All));
        }
        let decoders = self.decoders(ossec, &mut gathered);
        gathered.inputs.decoders.extend(decoders);
        let lists = ossec.map(Ossec::list_files);
        for (name, path) in lists.map(|lists| gathered.known(lists)).unwrap_or_default() {
            let list = gathered.read("list", &path, load::LIST_BYTES_MAX, "`<list>` names it");
            gathered.inputs.lists.extend(list.map(|list| (name, list)));
        }
        let (places, named_by) = named(("`--lists`", &self.flags.lists), ("rules.lists", &self.settings.rules.lists));
        for nowhere in places.iter().filter(|place| !place.exists()) {
            let what = format!("there is no list or directory of lists `{}`", nowhere.display());
            gathered.problems.push(Problem { what, named_by: named_by.clone(), line: None });
        }
        // OSSEC knows no other lists than those that its configuration names: a rule about another one never holds.
        let finds_others = ossec.is_none_or(|ossec| ossec.conf.rules.is_empty());
        for (name, path, user) in wanted_lists(&gathered.inputs, places, finds_others) {
            let named_by = format!("rules of `{user}` look it up");
            let list = gathered.read("list", &path, load::LIST_BYTES_MAX, &named_by);
            gathered.inputs.lists.extend(list.map(|list| (name, list)));
        }
        gathered
    }

    /// Compiles what is wanted.
    pub fn check(&self, wanted: &Wanted) -> Checked {
        load::check_inputs(&wanted.inputs, &wanted.engine, self.orphans())
    }

    /// The compiled rules, or every finding printed to standard error.
    pub fn load(&self, ossec: Option<&Ossec>) -> Result<Arc<RuleSet>, Failure> {
        let gathered = self.look(ossec);
        let (found, files) = (gathered.findings(), gathered.files());
        let wanted = Wanted { inputs: gathered.inputs, engine: self.engine(ossec) };
        let Checked { rules, findings, .. } = self.check(&wanted).with(found);
        match rules {
            Some(rules) => {
                warn(&findings, &files);
                Ok(Arc::new(rules))
            }
            None => {
                say!("{}", finding::render(&findings, &files).trim_end());
                finding::explained_by(&findings).iter().for_each(|line| say!("{line}"));
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

    /// Rule files in load order: the shipped ones, if they are wanted or nothing else is named; then those of the OSSEC
    /// configuration, in which names are looked up first in the directory that flags or settings name, and single
    /// files that these name; else directories and files of flags, else of settings.
    fn rules(&self, ossec: Option<&Ossec>, gathered: &mut Gathered) -> Vec<SourceFile> {
        let (dirs, named_by) =
            named(("the command line", &self.flags.rules), ("rules.dirs", &self.settings.rules.dirs));
        let from_ossec = ossec.filter(|ossec| !ossec.conf.rules.is_empty());
        let nothing_named = dirs.is_empty() && from_ossec.is_none();
        let by_default = if nothing_named { Shipped::All } else { Shipped::None };
        let mut files: Vec<SourceFile> = shipped(self.settings.rules.shipped.unwrap_or(by_default)).collect();
        let Some(ossec) = from_ossec else {
            files.extend(dirs.iter().flat_map(|path| gathered.directory(path, "local_rules.xml", &named_by)));
            return files;
        };
        let rules_dir = dirs.iter().find(|path| path.is_dir());
        let paths = gathered.known(ossec.rule_files(rules_dir.map(PathBuf::as_path)));
        for path in gathered.new_ones(paths) {
            files.extend(gathered.read("rule file", &path, load::FILE_BYTES_MAX, "`<rules>` names it"));
        }
        for path in dirs.iter().filter(|path| Some(*path) != rules_dir) {
            files.extend(gathered.directory(path, "local_rules.xml", &named_by));
        }
        files
    }

    /// Decoder files in load order: those of the OSSEC configuration, then those that flags or settings name.
    fn decoders(&self, ossec: Option<&Ossec>, gathered: &mut Gathered) -> Vec<SourceFile> {
        let mut files = Vec::new();
        let paths = ossec.map(|ossec| gathered.known(ossec.decoder_files())).unwrap_or_default();
        for path in gathered.new_ones(paths) {
            files.extend(gathered.read("decoder file", &path, load::FILE_BYTES_MAX, "`<rules>` names it"));
        }
        let (dirs, named_by) =
            named(("`--decoders`", &self.flags.decoders), ("rules.decoders", &self.settings.rules.decoders));
        files.extend(dirs.iter().flat_map(|path| gathered.directory(path, "local_decoder.xml", &named_by)));
        files
    }
}

/// What a rule set is compiled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The files.
    pub inputs: CompileInputs,
    /// What else changes the answers of rules.
    pub engine: tripline_engine::Settings,
}

/// Files as they are now, and what is named and can't be read.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What could be read.
    pub inputs: CompileInputs,
    /// OSSEC's configuration, when one is named.
    conf: Option<SourceFile>,
    problems: Vec<Problem>,
    /// How many bytes were read.
    bytes: usize,
    /// What has been named so far: a file that comes up twice counts where it comes up first.
    named: BTreeSet<PathBuf>,
    /// What came up again.
    twice: BTreeSet<PathBuf>,
}

/// Something that is named and can't be read.
#[derive(Clone, Debug)]
struct Problem {
    what: String,
    named_by: String,
    /// The line of OSSEC's configuration that names it.
    line: Option<usize>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.what, self.named_by)
    }
}

impl Gathered {
    /// All files that findings may show: those of the rule set, and OSSEC's configuration as the last.
    pub fn files(&self) -> Vec<SourceFile> {
        self.inputs.files().chain(&self.conf).cloned().collect()
    }

    /// The index of OSSEC's configuration among the files.
    pub fn conf_index(&self) -> u32 {
        self.inputs.files().count() as u32
    }

    /// What is named and can't be read, or is named twice.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |problem: &Problem| {
            let finding = Finding::new(&codes::FILE_NOT_READ, problem.what.clone()).note(problem.named_by.clone());
            match (&self.conf, problem.line) {
                (Some(conf), Some(line)) => finding.at(conf.line_span(self.conf_index(), line), ""),
                _ => finding,
            }
        };
        let mut findings: Vec<Finding> = self.problems.iter().take(FINDINGS_PER_FILE_MAX).map(finding).collect();
        if self.problems.len() > FINDINGS_PER_FILE_MAX {
            let message = format!("{} more files can't be read", self.problems.len() - FINDINGS_PER_FILE_MAX);
            findings.push(Finding::new(&codes::FILE_NOT_READ, message));
        }
        findings.extend(self.named_twice());
        findings
    }

    /// Those files that have not come up so far, under whatever name.
    fn new_ones(&mut self, mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
        paths.retain(|path| {
            let is_new = self.named.insert(path.canonicalize().unwrap_or_else(|_| path.clone()));
            if !is_new {
                self.twice.insert(path.clone());
            }
            is_new
        });
        paths
    }

    /// Says which files came up twice.
    fn named_twice(&self) -> Option<Finding> {
        const SHOWN_MAX: usize = 4;
        let mut names: Vec<String> =
            self.twice.iter().take(SHOWN_MAX).map(|path| format!("`{}`", path.display())).collect();
        let message = match self.twice.len() {
            0 => return None,
            1 => format!("{} is named twice, and loaded once", names[0]),
            n => format!("{n} files are named twice, and loaded once"),
        };
        if self.twice.len() > SHOWN_MAX {
            names.push("...".to_owned());
        }
        let finding = Finding::new(&codes::FILE_NAMED_TWICE, message);
        Some(if self.twice.len() > 1 { finding.note(names.join(", ")) } else { finding })
    }

    /// What entries of OSSEC's configuration name, as far as it is there.
    fn known<T>(&mut self, named: Named<T>) -> Vec<T> {
        let problem = |Missing { line, what }| Problem {
            what,
            named_by: match &self.conf {
                Some(conf) => format!("line {line} of `{}` names it", conf.name),
                None => "OSSEC's configuration names it".to_owned(),
            },
            line: Some(line),
        };
        let problems: Vec<Problem> = named.missing.into_iter().map(problem).collect();
        self.problems.extend(problems);
        named.found
    }

    /// Reads a file. Nothing more is read once there are too many bytes together.
    fn read(&mut self, kind: &str, path: &Path, bytes_max: usize, named_by: &str) -> Option<SourceFile> {
        if self.bytes > ALL_BYTES_MAX {
            return None;
        }
        let problem = match file(path, bytes_max) {
            Ok(file) => {
                self.bytes += file.text.len();
                // A single file that is too large is a finding with its place.
                if self.bytes <= ALL_BYTES_MAX || file.text.len() > bytes_max {
                    return Some(file);
                }
                let what = format!(
                    "rules, decoders and lists have more than {ALL_BYTES_MAX} bytes together; `{}` and what follows is \
                     left out",
                    file.name
                );
                Problem { what, named_by: named_by.to_owned(), line: None }
            }
            Err(error) => {
                let what = format!("could not read {kind} `{}`: {error}", path.display());
                Problem { what, named_by: named_by.to_owned(), line: None }
            }
        };
        self.problems.push(problem);
        None
    }

    /// Reads a directory's files in load order, or a single file.
    fn directory(&mut self, path: &Path, last: &str, named_by: &str) -> Vec<SourceFile> {
        match in_directory(path, last) {
            Ok(paths) => {
                let paths = self.new_ones(paths);
                paths.iter().filter_map(|path| self.read("file", path, load::FILE_BYTES_MAX, named_by)).collect()
            }
            Err(error) => {
                let what = format!("{error:#}");
                self.problems.push(Problem { what, named_by: named_by.to_owned(), line: None });
                Vec::new()
            }
        }
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
/// beside the rule files.
pub fn add_lists(inputs: &mut CompileInputs, places: &[PathBuf]) -> anyhow::Result<()> {
    if let Some(nowhere) = places.iter().find(|place| !place.exists()) {
        bail!("there is no list or directory of lists `{}`", nowhere.display());
    }
    for (name, path, _) in wanted_lists(inputs, places, true) {
        let list = file(&path, load::LIST_BYTES_MAX).with_context(|| format!("could not read `{}`", path.display()))?;
        inputs.lists.push((name, list));
    }
    Ok(())
}

/// The lists that rules look up and that are not there yet, as far as they are found: name, path, and the first rule
/// file that names it. In `places` alone, or beside the rule files, too.
fn wanted_lists(inputs: &CompileInputs, places: &[PathBuf], and_beside: bool) -> Vec<(String, PathBuf, String)> {
    let mut wanted = Vec::new();
    for (name, number) in load::list_names(&inputs.rules) {
        if inputs.lists.iter().any(|(known, _)| known.strip_suffix(".cdb").unwrap_or(known) == name) {
            continue;
        }
        let user = &inputs.rules[number].name;
        if let Some(path) = list_file(&name, places, and_beside.then_some(Path::new(user))) {
            wanted.push((name, path, user.clone()));
        }
    }
    wanted
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

/// What the flag names, else what the setting names, and which of them it was.
fn named<'a>(flag: (&str, &'a [PathBuf]), setting: (&str, &'a [PathBuf])) -> (&'a [PathBuf], String) {
    match flag {
        (_, []) => (setting.1, format!("the setting `{}` names it", setting.0)),
        (flag, paths) => (paths, format!("{flag} names it")),
    }
}

/// Where the list of this name lies: in a place that was named for lists, under its name or the last part of it; beside the
/// rule file that looks it up, or in the directory above.
fn list_file(name: &str, places: &[PathBuf], rule_file: Option<&Path>) -> Option<PathBuf> {
    let last = Path::new(name).file_name()?;
    let named = places.iter().flat_map(|place| match place.is_dir() {
        true => vec![place.join(name), place.join(last)],
        false if place.file_name() == Some(last) => vec![place.clone()],
        false => Vec::new(),
    });
    let beside =
        rule_file.and_then(Path::parent).into_iter().flat_map(|dir| [dir.join(name), dir.join("..").join(name)]);
    named.chain(beside).find(|path| path.is_file())
}

/// A directory's `*.xml` in name order, the one of this name last; or a single file.
pub fn directory(path: &Path, last: &str) -> anyhow::Result<Vec<SourceFile>> {
    let read = |path: &PathBuf| {
        file(path, load::FILE_BYTES_MAX).with_context(|| format!("could not read `{}`", path.display()))
    };
    in_directory(path, last)?.iter().map(read).collect()
}

/// The paths of a directory's `*.xml`, in the same order; or of what is no directory.
fn in_directory(path: &Path, last: &str) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("could not read directory `{}`", path.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(|| format!("could not read directory `{}`", path.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml") && stands_for_a_file(path));
    in_load_order(&mut paths, last);
    if paths.is_empty() {
        bail!("`{}` holds no rule files (*.xml)", path.display());
    }
    Ok(paths)
}

/// Name order, the one of this name last: what is one's own may hang below everything else.
pub fn in_load_order(paths: &mut [PathBuf], last: &str) {
    paths.sort_by_key(|path| (path.file_name().is_some_and(|name| name == last), path.clone()));
}

/// Reads a file, of one that is too large only as much as shows it: one byte more than `bytes_max`.
pub fn file(path: &Path, bytes_max: usize) -> std::io::Result<SourceFile> {
    let mut text = Vec::new();
    let is_pipe = std::fs::metadata(path)?.file_type().is_fifo();
    // Opening one waits for somebody to write, for ever if need be. What is open already (`<(...)`, standard input) is fine.
    if is_pipe && !["/dev", "/proc"].iter().any(|open| path.starts_with(open)) {
        return Err(std::io::Error::other("it is a named pipe; name a file, or /dev/stdin to read from a pipe"));
    }
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut text)?;
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
    fn the_engine_knows_the_ids_of_the_shipped_rules() {
        let files: Vec<_> = shipped(Shipped::All).collect();
        let rules = load::compile(&files, &tripline_engine::Settings::default()).expect("rules without errors");
        let mut ids: Vec<u32> =
            rules.rules().filter(|rule| rule.span.file != Span::BUILT_IN).map(|rule| rule.id).collect();
        ids.sort();
        assert_eq!(ids, load::SHIPPED_IDS.into_iter().flatten().collect::<Vec<_>>());
    }

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
