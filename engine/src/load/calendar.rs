//! `time` and `weekday` of rules, and the time zone they need.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::draft::Draft;
use super::elements::{Occurrence, condition, joined};
use crate::calendar::{Misread, TimeRange, Weekdays};
use crate::finding::{Finding, Findings, codes, shown};
use crate::ruleset::{Settings, Test};

use super::text::Text;

pub(super) fn time(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    let written = match TimeRange::read(&text.value) {
        Ok(written) => written,
        Err(error) => {
            let finding = misread("time", &text, error, draft.id);
            findings.push(finding.help("write `<time>8:00 - 17:30</time>` or `<time>6 pm - 8 am</time>`".to_owned()));
            return;
        }
    };
    if written.noon_for_midnight {
        findings.push(
            Finding::new(&codes::TIME_MISLEADS, "`12 am` is read as noon")
                .at(text.span(), "12:00, not 0:00")
                .rule(draft.id)
                .note("OSSEC does the same")
                .help("write `0:00` for midnight, `12:00` for noon".to_owned()),
        );
    }
    if written.negation_lost {
        findings.push(
            Finding::new(&codes::TIME_MISLEADS, "the `!` has no effect: the range goes over midnight")
                .at(text.span(), "read as if there were no `!`")
                .rule(draft.id)
                .note("OSSEC does the same")
                .help("write the opposite range instead, its earlier end first".to_owned()),
        );
    }
    condition(draft, elements, Test::Time(written.range));
}

pub(super) fn weekday(draft: &mut Draft, elements: &[Occurrence<'_>], findings: &mut Findings) {
    let text = joined(elements);
    match Weekdays::read(&text.value) {
        Ok(days) => condition(draft, elements, Test::Weekday(days)),
        Err(error) => {
            let word = text.value[error.at..].split([',', ' ']).next().unwrap_or_default();
            let help = match word.strip_prefix('!') {
                Some(_) => {
                    Some("OSSEC refuses `!` here: name the other days, or use `weekdays` or `weekends`".to_owned())
                }
                None if word.contains('-') => {
                    Some("there are no ranges: name each day, or use `weekdays` or `weekends`".to_owned())
                }
                None => super::suggest(word, Weekdays::NAMES.into_iter()).map(|near| format!("did you mean `{near}`?")),
            };
            findings.push(misread("weekday", &text, error, draft.id).help(help));
        }
    }
}

fn misread(name: &str, text: &Text, error: Misread, rule: Option<u32>) -> Finding {
    let end = text.value.len();
    let span = if error.at < end { text.span_of(error.at..end) } else { text.span() };
    Finding::new(&codes::BAD_VALUE, format!("`{name}` can't be `{}`", shown(&text.value)))
        .at(span, error.message)
        .rule(rule)
}

/// The zone that the settings name. Without one, rules that ask for the time are an error.
pub(super) fn time_zone(settings: &Settings, drafts: &[Draft], findings: &mut Findings) -> Option<TimeZone> {
    let Some(name) = &settings.time_zone else {
        for draft in drafts {
            let asks = |test: &Test| matches!(test, Test::Time(_) | Test::Weekday(_));
            let Some(condition) = draft.rule.conditions.iter().find(|condition| asks(&condition.test)) else {
                continue;
            };
            findings.push(
                Finding::new(&codes::NO_TIME_ZONE, format!("`{}` needs a time zone", condition.test.name()))
                    .at(condition.span, "which place's clock?")
                    .rule(draft.id)
                    .help("set `time_zone = \"Europe/Berlin\"`, or whatever the place is, in tripline.toml".to_owned()),
            );
        }
        return None;
    };
    match TimeZoneDatabase::bundled().get(name) {
        Ok(zone) => Some(zone),
        Err(_) => {
            findings.push(
                Finding::new(&codes::NO_TIME_ZONE, format!("there is no time zone `{}`", shown(name)))
                    .help("`time_zone` takes a name such as `Europe/Berlin`, `America/New_York` or `UTC`".to_owned()),
            );
            None
        }
    }
}
