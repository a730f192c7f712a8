//! Ends the program at the point that its environment names.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use crate::Point;

/// The variable that says where. Settings begin with `TRIPLINE_` too, and those with `TRIPLINE_TEST_` are none.
const VARIABLE: &str = "TRIPLINE_TEST_KILL_AT";

/// Where this program ends.
struct Order {
    point: Point,
    /// At which time of passing.
    time: u64,
    passed: AtomicU64,
}

pub(crate) fn pass(point: Point) {
    static ORDER: OnceLock<Option<Order>> = OnceLock::new();
    let Some(order) = ORDER.get_or_init(order) else { return };
    if order.point == point && order.passed.fetch_add(1, Ordering::SeqCst) + 1 == order.time {
        // That it was this point and no other end is what tests look for. Nothing else matters any more.
        let _ = writeln!(std::io::stderr(), "killed at {}, passing {}", point.name(), order.time);
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park(); // Until the signal arrives.
        }
    }
}

/// What the environment asks for. A test that misspells it must not pass because nothing
/// happens.
#[expect(clippy::disallowed_methods, reason = "what a test asks for is no setting of the program")]
fn order() -> Option<Order> {
    let text = std::env::var(VARIABLE).ok()?;
    let (name, time) = text.split_once(':').unwrap_or((&text, "1"));
    let point = Point::ALL.iter().find(|point| point.name() == name);
    match (point, time.parse()) {
        (Some(point), Ok(time @ 1..)) => Some(Order { point: *point, time, passed: AtomicU64::new(0) }),
        _ => {
            eprintln!("{VARIABLE}={text} is no point: give NAME or NAME:N, as listed in faults/src/lib.rs");
            std::process::exit(2);
        }
    }
}
