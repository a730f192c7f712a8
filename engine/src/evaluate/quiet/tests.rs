//! Who has room, and that it is never more than there is. That no answer depends on it is for the integration tests.

use tripline_schemas::RunId;
use uuid::Uuid;

use super::*;

/// Runs of many commands, of which nothing ever comes.
struct World {
    cache: QuietCache,
    /// How many outputs were worked out to a digest because they were not kept.
    not_kept: u32,
}

impl World {
    fn new(room: usize) -> World {
        World { cache: QuietCache::with_room(room), not_kept: 0 }
    }

    fn key(&self, command: usize) -> Key {
        Key::new("web-1", format!("command {command}")).unwrap()
    }

    fn run(&mut self, command: usize, output: Vec<u8>) {
        self.ask(command, output);
        self.check();
    }

    fn ask(&mut self, command: usize, output: Vec<u8>) {
        let run = Run {
            id: RunId { spool: Uuid::nil(), sequence: 1 },
            key: self.key(command),
            address: None,
            command_line: String::new(),
            alias: None,
            format: Format::Command,
            started: Timestamp::UNIX_EPOCH,
            duration_ms: 1,
            start_delay_ms: None,
            ending: Ending::Exited(0),
            truncated_from: None,
            stderr_tail: Vec::new(),
            collector: String::new(),
            output,
        };
        let timing = Timing { time: run.started, clamped: false, late: false };
        let candidate = Candidate { run: &run, exit_code: 0, timing, digest: OnceCell::new() };
        if !self.cache.knows(&candidate) {
            self.cache.remember(&candidate, Validity::ALWAYS);
        }
        self.not_kept += u32::from(candidate.digest.get().is_some());
    }

    /// The room is that of the outputs that are there.
    fn check(&self) {
        let kept = self.cache.keys.iter().filter_map(|(key, entry)| match &entry.output {
            Output::Kept(ticket, bytes) => Some((key, *ticket, bytes.len())),
            Output::Digest(_) => None,
        });
        let mut bytes = 0;
        let mut tickets = 0;
        for (key, ticket, size) in kept {
            assert_eq!(self.cache.room.owner(ticket), Some(key));
            (bytes, tickets) = (bytes + size, tickets + 1);
        }
        let (taken, takers, room) = self.cache.room.taken();
        assert_eq!((taken, takers), (bytes, tickets));
        assert!(bytes <= room, "{bytes} bytes");
    }

    /// How many of these outputs had to be worked out to a digest in a round in which each command runs once.
    fn round(&mut self, commands: std::ops::Range<usize>) -> u32 {
        let before = self.not_kept;
        commands.for_each(|command| self.run(command, vec![b'x'; 100]));
        self.not_kept - before
    }
}

#[test]
fn outputs_take_no_more_room_than_there_is_whatever_comes_and_goes() {
    let mut world = World::new(1000);
    let mut random = 1_u64;
    let mut below = |end: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % end
    };
    for _ in 0..20_000 {
        let command = below(30) as usize;
        match below(10) {
            0 => world.cache.changed(&[StateChange::KeyState(world.key(command), None)]),
            1 if below(200) == 0 => world.cache.take_up(&[below(2) as u8; 32]),
            _ => world.run(command, vec![b'x'; [0, 1, 50, 51, 300, 1000, 1001][below(7) as usize]]),
        }
        world.check();
    }
    assert!(world.cache.hits() > 1000 && world.not_kept > 1000, "{} {}", world.cache.hits(), world.not_kept);
}

#[test]
fn who_has_room_keeps_it_as_long_as_it_is_asked_about() {
    let mut world = World::new(1000);
    world.round(0..40);
    // A cache that made room for whoever comes would have kept none when its turn comes again.
    for _ in 0..20 {
        assert_eq!(world.round(0..40), 30);
    }
}

#[test]
fn who_is_no_longer_asked_about_gives_its_room_to_others() {
    let mut world = World::new(1000);
    for _ in 0..3 {
        world.round(0..10);
    }
    let needed: Vec<_> = (0..20).map(|_| world.round(10..20)).collect();
    assert_eq!((needed[0], needed[19]), (10, 0), "{needed:?}");
}

#[test]
fn a_long_output_is_known_by_its_digest() {
    let mut world = World::new(1 << 20);
    (0..3).for_each(|_| world.run(0, vec![b'x'; 64 * 1024]));
    assert_eq!(world.not_kept, 0);
    (0..3).for_each(|_| world.run(1, vec![b'x'; 64 * 1024 + 1]));
    assert_eq!((world.not_kept, world.cache.hits()), (3, 4));
}

#[test]
fn so_many_agents_and_commands_are_remembered_and_no_more() {
    let mut world = World::new(0);
    for command in 0..KEYS_MAX + 10 {
        world.ask(command, Vec::new());
    }
    assert_eq!(world.cache.keys.len(), 10);
}
