//! Composite rules: whether enough earlier events lie within the time frame, and what of an event is recorded.
//!
//! Of a history's events those *belong* to a count that are equal to the current one in the fields of `same_...`. Going
//! back from the newest by event time, counting ends at the first that a composite rule of the same or a higher level
//! has used up. Events that do not differ in the fields of `different_...` are passed over. The rule holds when so many
//! of them in a row as it needs lie, together with the current event, within the time frame. When it does, the newest,
//! the last counted and the current event are used up, so that counting starts anew.
//!
//! In time order a row can only end with the current event. A late event may also lie between others: it counts those
//! after it too, as they would have counted it, had it come in time.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use tripline_schemas::state::RecordedEvent;

use super::Evaluation;
use super::seen::field_of;
use super::timer::whole_seconds;
use super::walk::first_failing;
use crate::composite::{Composite, Field, HistoryIndex};
use crate::decision::{Outcome, StateError};
use crate::line::Line;
use crate::ruleset::Rule;

/// An earlier event that may count.
struct Earlier<'h> {
    seconds: i64,
    number: u64,
    event: &'h Arc<RecordedEvent>,
}

/// The earlier events that make a composite rule hold.
pub(super) struct Row {
    /// The numbers of those that are used up besides the current event.
    newest: u64,
    oldest: u64,
    /// The second one, which the alert shows.
    second: Option<Arc<RecordedEvent>>,
}

impl<'a> Evaluation<'a> {
    /// Whether a rule holds that holds as far as its `check_diff`: its first-time key, its lists, and what is remembered
    /// of earlier events; if not, why. The answer of a composite rule is the events that it holds by.
    pub(super) fn remembers(
        &mut self,
        rule: &'a Rule,
        line: &Line<'_>,
    ) -> Result<Result<Option<Row>, Outcome>, StateError> {
        if rule.memory.if_fts && !self.is_first_time(rule, line)? {
            return Ok(Err(Outcome::Fails("if_fts")));
        }
        let (_, lists) = rule.conditions_around_memory();
        if let Some(test) = first_failing(rule, lists, line, self.walk.context()) {
            return Ok(Err(Outcome::Fails(test.name())));
        }
        let Some(composite) = &rule.memory.composite else { return Ok(Ok(None)) };
        let row = self.count(rule, composite, line)?;
        if row.is_none() {
            self.note_until_when(composite)?;
        }
        Ok(row.map(Some).ok_or(Outcome::Fails(composite.counts.element())))
    }

    /// A composite rule holds by these events: they are used up, and so is the current one.
    pub(super) fn use_up(&mut self, rule: &Rule, row: Option<Row>) -> Result<(), StateError> {
        let Some((composite, row)) = rule.memory.composite.as_ref().zip(row) else { return Ok(()) };
        let at = self.rules.histories.plan(composite.history).key(self.facts.key);
        self.records.use_up(&at, row.newest, rule.rank())?;
        self.records.use_up(&at, row.oldest, rule.rank())?;
        self.walk.use_up(rule.rank(), row.second);
        Ok(())
    }

    /// The row of earlier events that makes a composite rule hold, if there is one.
    fn count(&mut self, rule: &Rule, composite: &Composite, line: &Line<'_>) -> Result<Option<Row>, StateError> {
        let now = whole_seconds(self.facts.timing.time);
        let timeframe = i64::from(composite.timeframe_seconds);
        let value = |field: &Field| (*field, field_of(*field, line, self.facts.key));
        let same: Vec<_> = composite.same.iter().map(value).collect();
        let different: Vec<_> = composite.different.iter().map(value).collect();
        let at = self.rules.histories.plan(composite.history).key(self.facts.key);
        let history = self.records.history(&at)?;

        let earlier = history.newest_first().map(|(number, event)| {
            let seconds = whole_seconds(event.time);
            Earlier { seconds, number, event }
        });
        let near = earlier.filter(|earlier| (now - earlier.seconds).abs() <= timeframe);
        let mut belonging: Vec<_> =
            near.filter(|earlier| same.iter().all(|(field, value)| is_same(*field, value, earlier.event))).collect();
        belonging.sort_by_key(|earlier| Reverse((earlier.seconds, earlier.number)));
        let unused = belonging.iter().take_while(|earlier| earlier.event.used < rule.rank());
        let counted: Vec<_> = unused
            .filter(|earlier| different.iter().all(|(field, value)| is_different(*field, value, earlier.event)))
            .collect();
        for (place, row) in counted.windows(composite.needed()).enumerate() {
            let (newest, oldest) = (row[0], row[row.len() - 1]);
            if newest.seconds.max(now) - oldest.seconds.min(now) <= timeframe {
                // As in OSSEC the newest is used up even when it was passed over.
                let newest = if place == 0 { belonging[0].number } else { newest.number };
                let second = row.get(1).map(|earlier| earlier.event.clone());
                return Ok(Some(Row { newest, oldest: oldest.number, second }));
            }
            if newest.seconds <= now {
                break;
            }
        }
        Ok(None)
    }

    /// A composite rule does not hold. With the same earlier events it does not hold later either: as time goes on, events
    /// leave the time frame, the oldest first, and a shorter row is no longer one. That is not so for events that seem to
    /// come from the future.
    fn note_until_when(&mut self, composite: &Composite) -> Result<(), StateError> {
        let now = whole_seconds(self.facts.timing.time);
        let at = self.rules.histories.plan(composite.history).key(self.facts.key);
        let mut earlier = self.records.history(&at)?.newest_first();
        match earlier.all(|(_, event)| whole_seconds(event.time) <= now) {
            true => self.walk.context().holds_from_now_on(),
            false => self.walk.context().holds_for_now(),
        }
        Ok(())
    }

    /// The rule is the result of the line: what composite rules count of it is recorded.
    pub(super) fn record(&mut self, rule: &Rule, line: &Line<'_>) -> Result<(), StateError> {
        let histories = &self.rules.histories;
        let fits = |(category, composite, _): &&(_, _, HistoryIndex)| {
            let composite = self.rules.at(*composite).memory.composite.as_ref();
            line.category == *category && composite.is_some_and(|composite| composite.counts.fits(line.text))
        };
        let by_text = histories.by_text.iter().filter(fits).map(|(_, _, history)| *history);
        let plans: Vec<_> =
            rule.memory.recorded_in.iter().copied().chain(by_text).map(|index| histories.plan(index)).collect();
        if plans.is_empty() {
            return Ok(());
        }
        let key = self.facts.key;
        let fields = plans.iter().flat_map(|plan| &plan.fields).filter_map(|field| {
            let value = field_of(*field, line, key)?;
            Some((field.name().to_owned(), value.into_owned()))
        });
        let kept = &line.text[..line.text.len().min(RecordedEvent::TEXT_BYTES_MAX)];
        // What is cut within a character ends before it.
        let kept = match std::str::from_utf8(kept) {
            Err(error) if error.error_len().is_none() && kept.len() < line.text.len() => &kept[..error.valid_up_to()],
            _ => kept,
        };
        let text = String::from_utf8_lossy(kept);
        let event = RecordedEvent {
            time: self.facts.timing.time,
            rule: rule.id,
            used: self.walk.used_up(),
            not_utf8: matches!(text, Cow::Owned(_)),
            cut_from: if kept.len() < line.text.len() { line.text.len() as u64 } else { 0 },
            fields: fields.collect(),
            twins: Vec::new(),
            text: text.into_owned(),
        };
        let at = plans.into_iter().map(|plan| (plan.key(key), plan.events_max)).collect();
        self.records.record(event, at)
    }
}

/// An event that has not the field does not count. A host is an exception: command outputs have none, and belong to
/// their agent and command alone.
fn is_same(field: Field, now: &Option<Cow<'_, str>>, earlier: &RecordedEvent) -> bool {
    let then = earlier.fields.get(field.name()).map(String::as_str);
    (now.is_some() || field == Field::Location) && now.as_deref() == then
}

/// An event that has not the field does not count.
fn is_different(field: Field, now: &Option<Cow<'_, str>>, earlier: &RecordedEvent) -> bool {
    let then = earlier.fields.get(field.name());
    now.is_some() && then.is_some_and(|then| Some(then.as_str()) != now.as_deref())
}
