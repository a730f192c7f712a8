//! Changed rules and commands, without a restart: looked for in the files that they come from, checked first, exchanged as
//! a whole. The old ones stay when the new ones have errors.

mod commands;
mod rules;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::SIGHUP;

use crate::signals::Stop;

pub use commands::Commands;
pub use rules::Rules;

/// How often the files are looked at. A change is taken when it has stood still from one look to the next, so that
/// half-written files are not.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks at files again and again, and at once on SIGHUP.
pub struct Reload<'a> {
    asked: Arc<AtomicBool>,
    things: Vec<Box<dyn Look + Send + 'a>>,
}

impl<'a> Reload<'a> {
    /// Hears SIGHUP from now on; without it the signal ends the program. Nothing is looked at yet.
    pub fn on_hangup() -> io::Result<Reload<'a>> {
        let asked = Arc::default();
        signal_hook::flag::register(SIGHUP, Arc::clone(&asked))?;
        Ok(Reload { asked, things: Vec::new() })
    }

    /// Looks at the files of this, too.
    pub fn of<E: Exchange<Texts: Send> + Send + 'a>(mut self, what: E) -> Reload<'a> {
        self.things.push(Box::new(Watched::new(what)));
        self
    }

    /// Watches until `stop` is set.
    pub fn watch(mut self, stop: &Stop) {
        while !stop.is_set() {
            stop.sleep_unless(LOOK_EVERY, &self.asked);
            let asked = self.asked.swap(false, Ordering::Relaxed);
            for thing in &mut self.things {
                thing.look(asked);
            }
        }
    }
}

/// Something in use that comes from files.
pub trait Exchange {
    /// What the files hold; two of them are equal when nothing has changed.
    type Texts: PartialEq;

    /// The files as they are now, errors included.
    fn texts(&mut self) -> Self::Texts;

    /// Whether these are what is in use.
    fn is_in_use(&self, texts: &Self::Texts) -> bool;

    /// Takes them into use, or says why not, or that there is nothing to take.
    fn exchange(&mut self, texts: &Self::Texts);
}

/// Files that are looked at now and then.
struct Watched<E: Exchange> {
    what: E,
    /// What the last look saw.
    seen: E::Texts,
    /// Whether what was seen was taken, or found to be wrong.
    is_taken: bool,
}

impl<E: Exchange> Watched<E> {
    /// Begins to watch. What changed since the files were read for the first time is a change, too.
    fn new(mut what: E) -> Watched<E> {
        let seen = what.texts();
        Watched { is_taken: what.is_in_use(&seen), what, seen }
    }
}

/// One look at the files of one thing.
trait Look {
    /// Takes what has changed and stands still, or at once when `asked`.
    fn look(&mut self, asked: bool);
}

impl<E: Exchange> Look for Watched<E> {
    fn look(&mut self, asked: bool) {
        let now = self.what.texts();
        let still = now == self.seen;
        self.is_taken &= still;
        self.seen = now;
        if asked || (still && !self.is_taken) {
            self.is_taken = true;
            self.what.exchange(&self.seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// A file whose whole content is a number, and what was taken from it.
    struct Numbers<'a> {
        file: &'a Cell<u32>,
        taken: &'a RefCell<Vec<u32>>,
    }

    impl Exchange for Numbers<'_> {
        type Texts = u32;

        fn texts(&mut self) -> u32 {
            self.file.get()
        }

        fn is_in_use(&self, number: &u32) -> bool {
            *number == 1
        }

        fn exchange(&mut self, number: &u32) {
            self.taken.borrow_mut().push(*number);
        }
    }

    #[test]
    fn a_change_is_taken_once_and_not_before_it_stands_still_unless_somebody_asks() {
        let (file, taken) = (Cell::new(1), RefCell::default());
        let mut watched = Watched::new(Numbers { file: &file, taken: &taken });
        // What the file holds at a look, and whether somebody asks.
        for (number, asked) in
            [(1, false), (2, false), (3, false), (3, false), (3, false), (4, true), (4, false), (4, true)]
        {
            file.set(number);
            watched.look(asked);
        }
        assert_eq!(*taken.borrow(), [3, 4, 4]);
    }

    #[test]
    fn what_changed_between_the_start_and_the_first_look_is_taken() {
        let (file, taken) = (Cell::new(2), RefCell::default());
        let mut watched = Watched::new(Numbers { file: &file, taken: &taken });
        watched.look(false);
        watched.look(false);
        assert_eq!(*taken.borrow(), [2]);
    }
}
