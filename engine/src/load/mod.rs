//! From rule files to a checked [`RuleSet`].
//!
//! The way of a file: bytes -> elements (`xml`) -> rules (`rules`, with one function per element in `elements`) -> a
//! tree (`tree`). Every step reports all it finds and goes on, so that one run shows all errors of
//! all files.

mod behind;
mod budget;
mod calendar;
mod change;
mod checks;
mod composite;
mod decoders;
mod dialect;
mod digest;
mod draft;
mod elements;
mod fields;
mod lists;
mod number;
mod order;
mod pcre2;
mod references;
mod rules;
mod text;
mod tree;

pub use budget::PATTERNS_BYTES_MAX;
pub use elements::element_names;
pub use lists::LIST_BYTES_MAX;
pub use references::list_names;
pub(crate) use tree::{DEPTH_MAX, Tree};

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use budget::Budget;

use crate::evaluate::Prefilter;
use crate::finding::{Finding, Findings, Severity, codes, suppress};
use crate::lint::{self, LintInputs};
use crate::ruleset::{RuleIndex, RuleSet, Settings};
use crate::source::{SourceFile, Span};

/// The base rule for lines about runs.
pub const ABOUT_RUNS_ID: u32 = 990_000;

/// The highest level of a rule, as in OSSEC. Others are taken, and told.
pub const LEVEL_MAX: u32 = 16;

/// Ids of rules that Tripline ships, now or later.
pub const RESERVED_IDS: RangeInclusive<u32> = 990_000..=999_999;

/// Rule and decoder files with more bytes than this are refused.
pub const FILE_BYTES_MAX: usize = crate::xml::FILE_BYTES_MAX;

/// What to do with rules whose `if_sid` names a rule that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// The rule set is refused.
    #[default]
    Error,
    /// A missing parent is left out with a warning, a rule without any parent left is set aside, and so on with its
    /// children.
    SetAside,
}

/// Everything that a rule set is compiled from, each kind in load order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompileInputs {
    /// Rule files.
    pub rules: Vec<SourceFile>,
    /// Decoder files.
    pub decoders: Vec<SourceFile>,
    /// Text lists of `key:value` lines, each under the name that rules give it. A name with the ending `.cdb` means the
    /// text beside it.
    pub lists: Vec<(String, SourceFile)>,
}

impl CompileInputs {
    /// Rule files alone.
    pub fn of_rules(files: &[SourceFile]) -> CompileInputs {
        CompileInputs { rules: files.to_vec(), ..CompileInputs::default() }
    }

    /// All files in the order in which places count them: rules, decoders, lists.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.rules.iter().chain(&self.decoders).chain(self.lists.iter().map(|(_, file)| file))
    }
}

/// What checking rule files gave.
#[derive(Debug)]
pub struct Checked {
    /// The rules; `None` when there are errors.
    pub rules: Option<RuleSet>,
    /// Everything there is to say, in the order of files, places and codes.
    pub findings: Vec<Finding>,
    /// How many rules the files hold, those with mistakes included, built-in ones left out.
    pub rule_count: usize,
}

impl Checked {
    /// Puts in front what was found before the files were read, such as files that are not there. With an error among it
    /// the rules can't be used.
    pub fn with(mut self, mut found: Vec<Finding>) -> Checked {
        if found.iter().any(|finding| finding.severity == Severity::Error) {
            self.rules = None;
            // That there are none follows.
            self.findings.retain(|finding| finding.code != codes::NO_RULES.code);
        }
        found.append(&mut self.findings);
        Checked { findings: found, ..self }
    }
}

/// Compiles rule files, in load order, or says everything that is wrong with them. Warnings of a good rule set are in
/// [`RuleSet::findings`].
pub fn compile(files: &[SourceFile], settings: &Settings) -> Result<RuleSet, Vec<Finding>> {
    let Checked { rules, findings, .. } = check(files, settings, Orphans::Error);
    rules.ok_or(findings)
}

/// Compiles rule files and gives back everything: the rules, if they can be used, and all findings.
pub fn check(files: &[SourceFile], settings: &Settings, orphans: Orphans) -> Checked {
    check_inputs(&CompileInputs::of_rules(files), settings, orphans)
}

/// As [`compile`], with decoders and lists.
pub fn compile_inputs(inputs: &CompileInputs, settings: &Settings) -> Result<RuleSet, Vec<Finding>> {
    let Checked { rules, findings, .. } = check_inputs(inputs, settings, Orphans::Error);
    rules.ok_or(findings)
}

/// As [`check`], with decoders and lists.
pub fn check_inputs(inputs: &CompileInputs, settings: &Settings, orphans: Orphans) -> Checked {
    check_all(inputs, settings, orphans, None)
}

/// As [`check_inputs`], and looks for what is probably not meant. It takes longer, and is for people who read it.
pub fn check_and_lint(
    inputs: &CompileInputs,
    settings: &Settings,
    orphans: Orphans,
    lints: &LintInputs<'_>,
) -> Checked {
    check_all(inputs, settings, orphans, Some(lints))
}

fn check_all(inputs: &CompileInputs, settings: &Settings, orphans: Orphans, lints: Option<&LintInputs<'_>>) -> Checked {
    let files = &inputs.rules;
    let mut findings = if lints.is_some() { Findings::with_lints() } else { Findings::default() };
    let mut drafts = Vec::new();
    rules::read(&base_rules().text, Span::BUILT_IN, settings, &mut drafts, &mut findings);
    let built_in = drafts.len();
    for (file, index) in files.iter().zip(0..) {
        let before = (drafts.len(), findings.errors());
        rules::read(&file.text, index, settings, &mut drafts, &mut findings);
        if before == (drafts.len(), findings.errors()) {
            findings.push(empty_file("rules", index));
        }
    }
    let rule_count = drafts.len() - built_in;
    if rule_count == 0 && findings.errors() == 0 {
        findings.push(no_rules(files));
    }
    let first_decoder = files.len() as u32;
    let mut budget = Budget::new();
    budget.take_rules(&drafts, &mut findings);
    let decoders = decoders::load(&inputs.decoders, first_decoder, &mut budget, &mut findings);
    let first_list = first_decoder + inputs.decoders.len() as u32;
    let lists = lists::load(&inputs.lists, first_list, &mut findings);
    references::resolve(&mut drafts, &decoders, &lists, &mut findings);
    let time_zone = calendar::time_zone(settings, &drafts, &mut findings);
    let tree = tree::hang(drafts, orphans, &mut findings);
    let refused = findings.errors() > 0;
    if let Some(lints) = lints {
        lint::lint(&tree, lints, &mut findings);
    }
    let today = lints.and_then(|lints| lints.today);
    let rule_span = |id| tree.by_id.get(&id).map(|rule: &RuleIndex| tree.rules[rule.0 as usize].span);
    let sources: Vec<&SourceFile> = inputs.files().collect();
    let findings = suppress::apply(findings.into_sorted(), &sources, today, lints.is_some(), rule_span);
    let rules = (!refused).then(|| RuleSet {
        prefilter: Prefilter::new(&tree.rules, &tree.roots),
        rules: tree.rules,
        by_id: tree.by_id,
        roots: tree.roots,
        histories: tree.histories,
        digest: digest::digest(inputs, settings, orphans == Orphans::SetAside),
        findings: findings.clone(),
        files: inputs.files().cloned().collect(),
        rule_files: inputs.rules.len(),
        decoder_files: inputs.decoders.len(),
        decoders: decoders.decoders,
        settings: settings.clone(),
        orphans,
        time_zone,
    });
    Checked { rules, findings, rule_count }
}

/// The built-in rules, as a file; spans with [`Span::BUILT_IN`] lie in it.
pub fn base_rules() -> &'static SourceFile {
    static BASE_RULES: LazyLock<SourceFile> = LazyLock::new(|| SourceFile {
        name: "built-in rules".to_owned(),
        text: include_bytes!("../base_rules.xml").to_vec(),
    });
    &BASE_RULES
}

/// The ids of the rules that Tripline ships: a program that has them loads them beside others when its user says so.
pub const SHIPPED_IDS: [RangeInclusive<u32>; 3] = [531..=535, 537..=539, 990_001..=990_009];

/// What to do when a rule is missing that Tripline ships.
fn shipped_help(id: u32) -> Option<String> {
    let which = if id > ABOUT_RUNS_ID { "\"runs\"" } else { "true" };
    SHIPPED_IDS.iter().any(|ids| ids.contains(&id)).then(|| {
        format!("load the file that holds it; Tripline's own rule {id} is loaded beside others with `shipped = {which}` under [rules] in tripline.toml")
    })
}

/// Of a file in which nothing stands, or nothing that counts; unless an error tells why.
fn empty_file(what: &str, file: u32) -> Finding {
    Finding::new(&codes::EMPTY_FILE, format!("the file holds no {what}"))
        .at(Span { file, start: 0, end: 0 }, "nothing in it counts")
        .note("a file that was cut off while it was written looks like this")
        .help("write it anew, or remove it".to_owned())
}

fn no_rules(files: &[SourceFile]) -> Finding {
    let message = match files.len() {
        0 => "there are no rule files".to_owned(),
        1 => "the file holds no rules".to_owned(),
        n => format!("the {n} files hold no rules"),
    };
    Finding::new(&codes::NO_RULES, message).help("name the directory or files that hold the rules".to_owned())
}

/// The known word that is most like the given one, when one is near enough: in its letters, or with the same end behind a
/// `_`. Of several the shortest, and none that denies the word.
fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR_ENOUGH: f64 = 0.84;
    // Words of a user can have any length; no known one is long.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let rated = known.filter_map(|known| {
        let rating = strsim::jaro_winkler(&word, known);
        match known.strip_suffix(&*word).filter(|before| before.ends_with('_')) {
            Some(before) if before.starts_with("no") => None,
            Some(_) => Some((rating.max(NEAR_ENOUGH), known)),
            None => Some((rating, known)),
        }
    });
    let (rating, best) = rated.max_by(|(a, one), (b, other)| a.total_cmp(b).then(other.len().cmp(&one.len())))?;
    (rating >= NEAR_ENOUGH).then_some(best)
}

#[cfg(test)]
mod tests;
