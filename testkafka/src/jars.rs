//! Kafka's jars: from Maven Central, once, into the cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{KAFKA_VERSION, environment};

/// The directory with Kafka's jars, fetched when it is not there yet.
///
/// Test processes that run at the same time wait for the one that fetches.
pub fn directory() -> PathBuf {
    let cache = cache();
    let jars = cache.join(format!("kafka-{KAFKA_VERSION}"));
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("could not create `{}`: {error}", cache.display()));
    let lock_path = cache.join(format!("kafka-{KAFKA_VERSION}.lock"));
    let lock =
        File::create(&lock_path).unwrap_or_else(|error| panic!("could not create `{}`: {error}", lock_path.display()));
    lock.lock().unwrap_or_else(|error| panic!("could not lock `{}`: {error}", lock_path.display()));
    if !jars.is_dir() {
        fetch(&jars);
    }
    jars
}

fn cache() -> PathBuf {
    match (environment("TRIPLINE_CACHE"), environment("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => Path::new(&home).join(".cache/tripline"),
        (None, None) => panic!("a place for Kafka's jars is missing: set TRIPLINE_CACHE to a directory"),
    }
}

/// Fetches into a directory beside it and renames, so that a directory of this name is always whole.
fn fetch(jars: &Path) {
    let partial = jars.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    let pom = concat!(env!("CARGO_MANIFEST_DIR"), "/broker/pom.xml");
    let output = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file", pom])
        .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "could not run `mvn`, which fetches Kafka {KAFKA_VERSION} for the tests: {error}. Install Maven and a \
                 Java 17 runtime, or set TRIPLINE_TEST_KAFKA to the address of a broker"
            )
        });
    assert!(
        output.status.success(),
        "`mvn` could not fetch Kafka {KAFKA_VERSION} for the tests ({}). Is Maven Central, or the mirror in Maven's \
         settings, reachable? Or set TRIPLINE_TEST_KAFKA to the address of a broker. Maven said:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    fs::rename(&partial, jars).unwrap_or_else(|error| panic!("could not rename `{}`: {error}", partial.display()));
}
