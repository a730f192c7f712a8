//! Copies that are taken while runs come and go.

use super::*;

#[test]
fn a_copy_publishes_what_waits_under_its_old_id_and_gives_new_numbers_under_one_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let (dir, copied) = (place.path().join("spool"), place.path().join("copy"));
    let mut spool = open(&dir);
    let id = spool.id();
    run(&mut spool, "published", "0");
    drain(&mut spool);
    run(&mut spool, "waits", "1");
    spool.begin(&intent("under way")).unwrap();
    spool.sync().unwrap();
    copy(&dir, &copied).unwrap();
    copy(&dir, &copied).unwrap_err();
    // The original goes on with numbers that the copy does not know of.
    run(&mut spool, "later", "2");

    // Opened twice: what waits under the old id is not set aside as another spool's.
    let (first, recovered) = Spool::open(&copied, SPOOL_BYTES_MIN).unwrap();
    assert_eq!(recovered, Recovered { interrupted: 1, ..Recovered::default() });
    let own = first.id();
    assert_ne!(own, id);
    drop(first);
    let mut second = open(&copied);
    assert_eq!(second.id(), own);
    run(&mut second, "new", "3");
    let events = drain(&mut second);
    let run_id = |spool, sequence| RunId { spool, sequence };
    assert_eq!(ids(&events), [run_id(id, 2), run_id(own, 3), run_id(own, 4)]);
    let Event::Output(interrupted) = &events[1] else { panic!("{events:?}") };
    assert_eq!(interrupted.ending, Ending::Interrupted);

    // A copy of the copy has an id of its own again.
    let again = place.path().join("again");
    copy(&copied, &again).unwrap();
    assert!(![id, own].contains(&open(&again).id()));
}

#[test]
fn runs_that_a_full_copy_drops_are_told_under_the_id_they_had() {
    let place = tempfile::tempdir().unwrap();
    let (dir, copied) = (place.path().join("spool"), place.path().join("copy"));
    let mut spool = open(&dir);
    let id = spool.id();
    for _ in 0..10 {
        run(&mut spool, "big", vec![b'x'; 10_000]);
    }
    drop(spool);
    copy(&dir, &copied).unwrap();
    let mut spool = open(&copied);
    let own = spool.id();
    for _ in 0..100 {
        run(&mut spool, "big", vec![b'x'; 10_000]);
    }
    let events = drain(&mut spool);
    let gone: BTreeMap<Uuid, u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Gap(gap) => Some((gap.spool, gap.runs)),
            _ => None,
        })
        .collect();
    assert_eq!(gone.get(&id), Some(&10));
    assert_eq!(gone[&own] + ids(&events).len() as u64, 100);
}

#[test]
fn a_copy_taken_while_runs_come_and_go_holds_every_run_that_was_not_published() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("spool");
    let mut spool = open(&dir);
    let published = std::sync::atomic::AtomicU64::new(0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let last = run(&mut spool, "busy", vec![b'x'; 5_000]);
                if last.is_multiple_of(5) {
                    drain(&mut spool);
                    published.store(last, Ordering::SeqCst);
                }
            }
        });
        let _done = SetAtEnd(&done);
        for n in 0..20 {
            let copied = place.path().join(format!("copy-{n}"));
            copy(&dir, &copied).unwrap();
            // What was published meanwhile need not be in there: a log that is copied later has it.
            let after = published.load(Ordering::SeqCst);
            assert_eq!(verify(&copied).unwrap().unwrap().damage, Vec::<String>::new());
            let (mut spool, recovered) = Spool::open(&copied, SPOOL_BYTES_MIN).unwrap();
            assert_eq!(recovered.damage, Vec::<String>::new());
            let runs = ids(&drain(&mut spool));
            let numbers: Vec<u64> = runs.iter().map(|run| run.sequence).collect();
            assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
            // Five are published at a time, and a moment before that is counted.
            assert!(numbers.first().is_none_or(|first| *first <= after + 6), "{after}: {numbers:?}");
        }
    });
}

/// Lets the other thread end, also when an assertion fails.
struct SetAtEnd<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
