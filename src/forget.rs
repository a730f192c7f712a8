//! `tripline state forget`: a person's order to the processor, as an event in the log, with author and reason.

use tripline_schemas::Key;
use tripline_schemas::event::{Control, Event, Order};

use crate::cli::Where;
use crate::exit::{Exit, Failure, Outcome};
use crate::local::{self, Log};
use crate::print::say;
use crate::settings::Settings;
use crate::state;
use crate::users;

pub fn run(
    at: &Where,
    agent: &str,
    command: &str,
    rule: Option<u32>,
    reason: &str,
    author: Option<&str>,
    settings: &Settings,
) -> Outcome {
    let key = Key::new(agent, command).map_err(Failure::unusable)?;
    if reason.trim().is_empty() {
        return Err(Failure::unusable(anyhow::anyhow!("--reason is empty: say why, for those who read the log later")));
    }
    let control = Control {
        key: key.clone(),
        order: Order::Forget { rule },
        author: author.map_or_else(own_name, str::to_owned),
        reason: reason.to_owned(),
        time: tripline_faults::now(),
    };
    // The order stands all the same: the processor may have come to nothing of this key yet. On Kafka nobody can look
    // without reading the whole changelog.
    if let Log::Embedded { log, .. } = Log::open(at, settings)?
        && !state::is_remembered(&log, settings, &key, rule)?
    {
        let by = rule.map_or_else(String::new, |rule| format!(" by rule {rule}"));
        say!("tripline: nothing is remembered of {key}{by} now; `tripline state` shows of what there is");
    }
    let mut publisher = local::publisher(at, settings)?;
    publisher.publish(&settings.topic_names().outputs, &[Event::Control(control).to_record()])?;
    let what = rule.map_or_else(|| "all rules remember".to_owned(), |rule| format!("rule {rule} remembers"));
    say!("the order is in the log: what {what} of {key} is forgotten when the processor comes to it");
    Ok(Exit::Fine)
}

/// Who runs this program, for the log. Not a proof: whoever may append may write any name.
fn own_name() -> String {
    users::name(rustix::process::getuid().as_raw())
}
