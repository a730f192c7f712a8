//! Data directories that can't be used.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Place, RUN, alert_count, judged_ticks, place};

/// Neither an owner nor a reader takes the directory.
#[track_caller]
fn refused(place: &Place, parts: &[&str]) {
    let process = ["process", "--until-caught-up", "--rules", "rules.xml", "--data-dir", "data"];
    for verb in [&RUN[..], &process, &["alerts", "--data-dir", "data"]] {
        let ran = place.tripline(verb).exits(5);
        assert!(ran.out.is_empty(), "{verb:?}");
        ran.says(parts);
    }
}

/// The only file of the embedded log with such a name.
fn file(place: &Place, is_it: impl Fn(&str) -> bool) -> PathBuf {
    let mut files = fs::read_dir(place.path("data/log/db")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| is_it(path.file_name().unwrap().to_str().unwrap())).unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_data_directory_that_is_not_there_is_an_error_for_readers() {
    let place = place();
    for verb in [&["alerts"][..], &["outputs"], &["state"], &["state", "verify"], &["state", "rebuild"]] {
        let ran = place.tripline(&[verb, &["--data-dir", "data"]].concat()).exits(2);
        ran.says(&["no log in `data/log`", "tripline run"]);
    }
    place.tripline(&["state", "backup", "copy", "--data-dir", "data"]).exits(2).says(&["no log in `data/log`"]);
    assert!(!place.path("copy").exists());
    assert!(!place.path("data").exists());
}

#[test]
fn a_data_directory_that_can_not_be_written_is_named() {
    let place = place();
    place.write("file", "");
    place.write("ticks.jsonl", super::ticks(1));
    for verb in [&["run", "--rules", "rules.xml"][..], &["outputs", "import", "ticks.jsonl"], &["topics", "create"]] {
        let ran = place.tripline(&[verb, &["--data-dir", "file/below"]].concat()).exits(5);
        ran.says(&["`file/below/log` can't be made", "name another data directory", "Not a directory"]);
    }
}

#[test]
fn a_second_owner_is_refused_and_the_first_goes_on() {
    let place = place();
    let mut first = place.start(&RUN);
    first.wait_for("watching with");
    let pid = first.pid().to_string();
    let process = ["process", "--rules", "rules.xml", "--data-dir", "data"];
    for second in [&RUN[..], &process] {
        place.tripline(second).exits(5).says(&["`data/log` is in use by process", &pid, "stop it first"]);
    }
    first.wait_until("an alert", |_| alert_count(&place) > 0);
    first.stop().exits(0);
    place.tripline(&[&RUN[..], &["--for", "1s"]].concat()).exits(0);
}

#[test]
fn a_damaged_file_is_named_and_left_as_it_is() {
    let place = judged_ticks(50);
    let log = file(&place, |name| name.ends_with(".log"));
    let good = fs::read(&log).unwrap();
    flip(&log, good.len() / 2);
    refused(&place, &["the log in `data/log` is damaged", log.file_name().unwrap().to_str().unwrap(), "put a copy"]);
    // With the good file back, all is there.
    fs::write(&log, &good).unwrap();
    assert_eq!(alert_count(&place), 49);

    let manifest = file(&place, |name| name.starts_with("MANIFEST"));
    flip(&manifest, 100);
    refused(&place, &["the log in `data/log` is damaged", "MANIFEST"]);
    flip(&manifest, 100);
    assert_eq!(alert_count(&place), 49);

    fs::remove_file(&log).unwrap();
    refused(&place, &["the log in `data/log` is damaged", ".log"]);
    fs::write(&log, good).unwrap();
    assert_eq!(alert_count(&place), 49);
}

#[test]
fn a_data_directory_of_a_later_version_is_refused() {
    let place = judged_ticks(2);
    place.write("data/log/format", "tripline log 99\n");
    refused(&place, &["`data/log` has data format 99", "this version knows 1 at most"]);
    place.write("data/log/format", "tripline log 1\n");
    assert_eq!(alert_count(&place), 1);
}

#[test]
fn a_spool_of_a_later_version_is_refused() {
    let place = place();
    let run = [&RUN[..], &["--for", "1s"]].concat();
    place.tripline(&run).exits(0);
    let spool = place.read("data/spool/spool.json");
    place.write("data/spool/spool.json", spool.replace("\"format\":2", "\"format\":99"));
    place.tripline(&run).exits(5).says(&["the spool `data/spool` has format 99", "use a newer version"]);
    place.write("data/spool/spool.json", spool);
    place.tripline(&run).exits(0);
}

#[test]
fn messages_that_go_to_a_file_hold_no_colours() {
    let place = place();
    place.start(&RUN).kill();
    let run = [&RUN[..], &["--verbose", "--verbose", "--for", "1s"]].concat();
    let said = place.tripline(&run).exits(0).err;
    assert!(said.contains("DEBUG") && !said.contains('\u{1b}'), "{said:?}");
}
