//! Who may open a directory, and which.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
};

use tempfile::tempdir;
use tripline_eventlog::embedded::{EmbeddedLog, EmbeddedOptions, FORMAT_VERSION, OpenError, Owner, open_for_reading};

use crate::support::{LONG, OUTPUTS, child, child_dir, open, read_all, record};

#[test]
fn a_missing_directory_is_made_for_its_user_alone() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("a/b");
    open(&data, 1);
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(data.join("format")).unwrap(), format!("tripline log {FORMAT_VERSION}\n"));
}

/// Owns the directory until its standard input ends.
#[test]
#[ignore = "a child of the tests below"]
fn child_that_owns() {
    let Some(dir) = child_dir() else { return };
    let log = open(&dir, 1);
    log.append(OUTPUTS, &[record("k", "the child's")]).unwrap();
    println!("owns");
    std::thread::sleep(LONG);
}

#[test]
fn a_second_owner_is_refused_and_told_the_first() {
    let dir = tempdir().unwrap();
    let mut first = child("open::child_that_owns", dir.path());
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("owns")));

    let error = EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap_err();
    let OpenError::Owned { owner: Owner::Process { pid, .. }, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*pid as u32, first.id());
    let text = error.to_string();
    assert!(text.contains(&dir.path().display().to_string()) && text.contains(&first.id().to_string()), "{text}");

    // Nor does anybody read files under an owner's hands.
    let Err(error) = open_for_reading(dir.path(), EmbeddedOptions::default()) else { panic!("was opened") };
    assert!(matches!(&error, OpenError::OwnerSilent { owner: Owner::Process { .. }, .. }), "{error:?}");

    first.kill().unwrap();
    first.wait().unwrap();
    let log = EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap();
    assert_eq!(read_all(&mut log.reader(OUTPUTS).unwrap()).len(), 1);
}

#[test]
fn a_second_owner_in_the_same_process_is_refused_and_the_first_keeps_its_lock() {
    let dir = tempdir().unwrap();
    let log = open(dir.path(), 1);
    let other_path = dir.path().join(".");
    for path in [dir.path(), &other_path] {
        let error = EmbeddedLog::open(path, EmbeddedOptions::default()).unwrap_err();
        assert!(matches!(error, OpenError::Owned { owner: Owner::Ourselves, .. }), "{error:?}");
        let Err(error) = open_for_reading(path, EmbeddedOptions::default()) else { panic!("was opened") };
        assert!(matches!(error, OpenError::OwnerSilent { owner: Owner::Ourselves, .. }), "{error:?}");
    }
    // Another process still finds the lock taken.
    let mut second = child("open::child_that_is_refused", dir.path());
    assert!(second.wait().unwrap().success());
    drop(log);
    open(dir.path(), 1);
}

#[test]
#[ignore = "a child of the test above"]
fn child_that_is_refused() {
    let Some(dir) = child_dir() else { return };
    let error = EmbeddedLog::open(&dir, EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Owned { owner: Owner::Process { .. }, .. }), "{error:?}");
}

#[test]
fn a_directory_of_a_newer_format_is_refused_and_left_alone() {
    let dir = tempdir().unwrap();
    drop(open(dir.path(), 1));
    let newer = format!("tripline log {}\n", FORMAT_VERSION + 1);
    fs::write(dir.path().join("format"), &newer).unwrap();
    let refused = [
        EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).map(drop),
        open_for_reading(dir.path(), EmbeddedOptions::default()).map(drop),
    ];
    for error in refused.map(Result::unwrap_err) {
        assert!(matches!(error, OpenError::NewerFormat { found, known, .. } if found == known + 1), "{error:?}");
    }
    assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), newer);
}

#[test]
fn what_is_no_directory_is_said_to_be_in_the_way() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = EmbeddedLog::open(&file.join("data"), EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::NoAccess { .. }), "{error:?}");
    let nothing = open_for_reading(&dir.path().join("nothing"), EmbeddedOptions::default()).map(drop).unwrap_err();
    assert!(matches!(nothing, OpenError::NotFound { .. }), "{nothing:?}");
    let empty = open_for_reading(dir.path(), EmbeddedOptions::default()).map(drop).unwrap_err();
    assert!(matches!(empty, OpenError::NotFound { .. }), "{empty:?}");
}

#[test]
fn a_directory_that_was_half_made_is_made_anew() {
    // As after a crash in the middle of making it: no `format` yet, and maybe no `CURRENT`.
    for left in ["MANIFEST", ""] {
        let dir = tempdir().unwrap();
        drop(EmbeddedLog::open(dir.path(), EmbeddedOptions::default()).unwrap());
        for entry in fs::read_dir(dir.path().join("db")).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_str().unwrap().starts_with(left) {
                fs::remove_file(path).unwrap();
            }
        }
        fs::remove_file(dir.path().join("format")).unwrap();
        let log = open(dir.path(), 1);
        log.append(OUTPUTS, &[record("k", "v")]).unwrap();
    }
}
