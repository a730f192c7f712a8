//! What is probably not meant, in rules that can be used: rules that are never reached, patterns that never fit or cost
//! much, baselines that OSSEC would mix up.
//!
//! Lints take time and nobody reads them when a rule set is loaded, so only [`check_and_lint`](crate::load::check_and_lint)
//! looks for them. A lint says nothing when it is not sure.

mod baselines;
mod excludes;
mod implies;
mod patterns;
mod reach;

use jiff::civil::Date;

use crate::finding::Findings;
use crate::load::Tree;
use crate::ruleset::{Rule, RuleIndex};
use crate::source::Span;

/// What lints go by, besides the rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct LintInputs<'a> {
    /// The names of the commands whose outputs are judged: aliases, or command lines. Empty when they are not known.
    pub commands: &'a [String],
    /// The day by which suppressions are over. Without it none is.
    pub today: Option<Date>,
}

/// Looks at all rules. The tree may have errors: then rules that could not be read are left alone.
pub(crate) fn lint(tree: &Tree, inputs: &LintInputs<'_>, findings: &mut Findings) {
    excludes::never_hold(tree, findings);
    patterns::lint(tree, findings);
    reach::never_reached(tree, findings);
    reach::not_for_outputs(tree, findings);
    for rule in own_rules(tree) {
        contradictions(rule, findings);
    }
    baselines::shared(tree, inputs.commands, findings);
}

/// The rules of files that could be read.
fn own_rules(tree: &Tree) -> impl Iterator<Item = &Rule> {
    tree.rules.iter().enumerate().filter(|(at, rule)| is_own(rule) && !tree.is_broken(*at)).map(|(_, rule)| rule)
}

/// It comes from a file.
fn is_own(rule: &Rule) -> bool {
    rule.span.file != Span::BUILT_IN
}

/// By rule: the rules that it hangs under.
fn parents(tree: &Tree) -> Vec<Vec<usize>> {
    let mut parents = vec![Vec::new(); tree.rules.len()];
    for (at, rule) in tree.rules.iter().enumerate() {
        rule.children.iter().for_each(|child| parents[child.0 as usize].push(at));
    }
    parents
}

/// All lists of siblings: the roots, and the children of each rule.
fn families(tree: &Tree) -> impl Iterator<Item = &[RuleIndex]> {
    std::iter::once(&tree.roots[..]).chain(tree.rules.iter().map(|rule| &rule.children[..]))
}

/// A timer on a rule that is never a result.
fn contradictions(rule: &Rule, findings: &mut Findings) {
    use crate::finding::{Finding, codes};
    if rule.ignore_seconds == 0 || (rule.level > 0 && !rule.noalert) {
        return;
    }
    let why = if rule.level == 0 { "level 0 is silent" } else { "`noalert` makes it a parent only" };
    findings.push(
        Finding::new(&codes::CONTRADICTION, format!("`ignore` of rule {} has no effect", rule.id))
            .at(rule.span, why)
            .rule(Some(rule.id))
            .note("an ignore timer starts when a rule alerts")
            .help("remove `ignore`, or put it on the rules that alert".to_owned()),
    );
}
