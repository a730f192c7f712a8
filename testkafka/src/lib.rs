//! A real Apache Kafka for tests.
//!
//! [`shared`] gives the broker that all tests of a process use, with names of their own for topics and groups
//! ([`unique`]). [`Broker::start`] gives a private one that a test may kill and start again. Its jars are fetched from
//! Maven Central once, into a cache. When `TRIPLINE_TEST_KAFKA` names a broker, as `host:port`, [`shared`] is that one.
//!
//! Nothing here is skipped when a broker can't be had: the functions panic and say why, so that the test fails.

mod jars;
mod server;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub use server::Broker;

/// The Kafka release the tests run.
pub const KAFKA_VERSION: &str = "4.1.0";

/// The bootstrap address, `host:port`, of the broker that all tests of this process share.
///
/// # Panics
///
/// When there is no broker and none can be started; the message says why.
pub fn shared() -> &'static str {
    static SHARED: OnceLock<(String, Option<Broker>)> = OnceLock::new();
    &SHARED
        .get_or_init(|| match environment("TRIPLINE_TEST_KAFKA") {
            Some(address) => (address, None),
            None => {
                let broker = Broker::start();
                (broker.bootstrap().to_owned(), Some(broker))
            }
        })
        .0
}

/// A name for a topic, group or application that no other test uses, now or in another run.
#[expect(clippy::disallowed_methods, reason = "names must differ, whatever time a test sets for the program")]
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    format!("{prefix}-{:x}-{:x}-{count}", since_epoch.as_millis(), std::process::id())
}

#[expect(clippy::disallowed_methods, reason = "where tests find a broker and its jars is no setting of the program")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
