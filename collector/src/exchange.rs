//! The plan in use, which can be exchanged while a collector works.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::{Plan, PlannedCommand};

/// The plan that a collector works by. Clones share one.
#[derive(Clone, Debug)]
pub struct ActivePlan(Arc<watch::Sender<Arc<Plan>>>);

impl ActivePlan {
    /// Starts with this plan.
    pub fn new(plan: Plan) -> ActivePlan {
        ActivePlan(Arc::new(watch::Sender::new(Arc::new(plan))))
    }

    /// The plan to work by now.
    pub fn current(&self) -> Arc<Plan> {
        Arc::clone(&self.0.borrow())
    }

    /// Works by this plan from now on, checked for the same agent. Runs that go on end by the old one; see
    /// [`Plan::changes_to`] for what becomes of whom.
    pub fn exchange(&self, plan: Plan) {
        self.0.send_replace(Arc::new(plan));
    }

    /// Sees every plan that comes after the current one.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Plan>> {
        self.0.subscribe()
    }
}

/// By which commands, named in order, a plan differs from the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// They are started by the usual splay.
    pub added: Vec<String>,
    /// They are started no more.
    pub removed: Vec<String>,
    /// Their next start is by the new definition.
    pub changed: Vec<String>,
}

impl Plan {
    /// By what another plan differs from this one. The splay counts for new commands only, so it is no difference.
    pub fn changes_to<'a>(&'a self, next: &'a Plan) -> Changes {
        let name = |command: &PlannedCommand| command.key.command().to_owned();
        let by_key = |plan: &'a Plan| plan.commands().iter().map(|command| (&command.key, command)).collect();
        let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) = (by_key(self), by_key(next));
        let mut changes = Changes::default();
        for command in next.commands() {
            match before.get(&command.key) {
                None => changes.added.push(name(command)),
                Some(before) if !before.is_as(command) => changes.changed.push(name(command)),
                Some(_) => {}
            }
        }
        let is_gone = |command: &&PlannedCommand| !after.contains_key(&command.key);
        changes.removed = self.commands().iter().filter(is_gone).map(name).collect();
        changes
    }
}

impl PlannedCommand {
    /// Whether a run of either is the same.
    fn is_as(&self, other: &PlannedCommand) -> bool {
        PlannedCommand { first_after: other.first_after, ..self.clone() } == *other
    }
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// So many names are told of each kind; a name may be a whole command line, so only its beginning is.
const NAMES_MAX: usize = 20;
const NAME_CHARS_MAX: usize = 60;

impl fmt::Display for Changes {
    /// ``added `a`, `b`; removed `c`; changed `d` ``, in one line whatever the names are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)];
        let mut separator = "";
        for (what, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "{separator}{what} ")?;
            separator = "; ";
            for (index, name) in names.iter().take(NAMES_MAX).enumerate() {
                let short: String = name.chars().take(NAME_CHARS_MAX).collect();
                let cut = if short.len() < name.len() { "..." } else { "" };
                write!(f, "{}`{}{cut}`", if index > 0 { ", " } else { "" }, short.escape_debug())?;
            }
            if let Some(more @ 1..) = names.len().checked_sub(NAMES_MAX) {
                write!(f, " and {more} more")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommandLine, CommandSpec, Settings};

    fn shell(name: &str, text: &str) -> CommandSpec {
        CommandSpec { name: Some(name.to_owned()), ..CommandSpec::new(CommandLine::Shell(text.to_owned())) }
    }

    fn plan(specs: &[CommandSpec]) -> Plan {
        Plan::check(specs, "web-1", &Settings::default()).unwrap()
    }

    #[test]
    fn what_differs_between_two_plans_is_told_by_name_and_order_and_splay_are_no_difference() {
        let before = plan(&[shell("a", "1"), shell("b", "2"), shell("c", "3"), shell("d", "4")]);
        let after = plan(&[
            CommandSpec { splay: Some(1.0), ..shell("d", "4") },
            shell("e", "5"),
            shell("b", "other"),
            CommandSpec { user: Some("nobody".to_owned()), ..shell("c", "3") },
        ]);
        let changes = before.changes_to(&after);
        assert_eq!(changes.to_string(), "added `e`; removed `a`; changed `b`, `c`");
        assert!(before.changes_to(&before).is_empty());
        assert_eq!(before.changes_to(&before).to_string(), "");
    }

    #[test]
    fn a_line_about_changes_stays_one_line_of_bounded_length() {
        let specs: Vec<CommandSpec> = (0..1000).map(|i| shell(&format!("{i}\n{}", "x".repeat(100)), "w")).collect();
        let text = plan(&[]).changes_to(&plan(&specs)).to_string();
        assert!(text.starts_with("added `0\\nx") && text.ends_with(" and 980 more"), "{text}");
        assert!(!text.contains('\n') && text.len() < 20 * 80, "{text}");
    }
}
