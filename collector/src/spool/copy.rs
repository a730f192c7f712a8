//! A copy of a spool while a collector works in it, and a look for damage without touching anything.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::frame::Entry;
use super::read::{SegmentReader, Step, cut_off};
use super::{SpoolError, dir, segment};

/// What a look at a spool found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolCheck {
    /// Runs that wait for publication, or were published lately.
    pub runs: u64,
    /// What can't be read, one text per place.
    pub damage: Vec<String>,
}

/// Copies the spool to a directory that must not exist. Whoever opens the copy goes on under a spool id of its own: the
/// original has given numbers since, and none of them may come twice. Runs that wait in the copy keep their ids.
///
/// The collector need not stop. The newest segment is copied first and may end within a frame, as after a crash; those
/// before it grow no more. Segments go away from the oldest on, when their runs are published: where one is gone, all
/// before it are, so that what the copy has is without a gap.
pub fn copy(from: &Path, to: &Path) -> Result<(), SpoolError> {
    let description = dir::describe(from)?;
    DirBuilder::new().mode(0o700).create(to).map_err(SpoolError::io("create directory", to))?;
    loop {
        let numbers = segment::list(from)?;
        let mut has_newest = numbers.is_empty();
        for number in numbers.iter().rev() {
            if !copy_segment(&segment::path(from, *number), &segment::path(to, *number))? {
                break;
            }
            has_newest = true;
        }
        // It knows the runs that are under way. If it was published and is gone, another one has taken its place.
        if has_newest {
            return dir::write_description(to, &description.as_copy());
        }
    }
}

/// Copies one segment; `false` when it is gone.
fn copy_segment(from: &Path, to: &Path) -> Result<bool, SpoolError> {
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(SpoolError::io("open", from)(error)),
    };
    let copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    copy.and_then(|mut copy| io::copy(&mut source, &mut copy).and_then(|_| copy.sync_all()))
        .map_err(SpoolError::io("write", to))?;
    Ok(true)
}

/// Looks at every frame of a spool. Changes nothing; a collector may work in it meanwhile. `None` when there is no spool.
pub fn verify(dir: &Path) -> Result<Option<SpoolCheck>, SpoolError> {
    let mut check = SpoolCheck::default();
    let known = match dir::describe(dir) {
        Ok(description) => description,
        Err(SpoolError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error @ SpoolError::NotASpool { .. }) => {
            // What checks the frames is in that file, too.
            check.damage.push(error.to_string());
            return Ok(Some(check));
        }
        Err(error) => return Err(error),
    };
    let numbers = segment::list(dir)?;
    // The last segment that was read, and whether that was to its end.
    let mut before: Option<(u64, bool)> = None;
    // Whether anything of it has told, and the number of the run after the last one that was read.
    let (mut has_numbers, mut next_sequence) = (false, 1);
    for number in &numbers {
        let follows = before.is_some_and(|(last, _)| last + 1 == *number);
        let had_numbers = has_numbers;
        has_numbers &= follows;
        let path = segment::path(dir, *number);
        let mut reader = match SegmentReader::open(&path, known.seal(*number), *number, 0, None) {
            Err(SpoolError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue, // Published.
            opened => opened?,
        };
        let mut is_whole = true;
        loop {
            match reader.next()? {
                Step::End => break,
                Step::Frame(Entry::End { sequence, .. }) => {
                    check.runs += 1;
                    (has_numbers, next_sequence) = (true, sequence + 1);
                }
                Step::Frame(Entry::Start(snapshot)) => {
                    if let Some((last, true)) = before
                        && let Some(missing) = snapshot.missing_of(last, had_numbers, next_sequence)
                        && let lost @ 1.. = snapshot.not_told(missing)
                    {
                        check.damage.push(cut_off(&segment::path(dir, last), lost));
                    }
                    (has_numbers, next_sequence) = (true, snapshot.next_sequence);
                    if !known.has(snapshot.spool) {
                        check.damage.push(format!("`{}` belongs to another spool", path.display()));
                    }
                }
                Step::Frame(_) => {}
                // What a crash leaves, or a collector that is just writing.
                Step::Torn(_) if Some(number) == numbers.last() => {}
                Step::Torn(damage) | Step::Damage(damage) => {
                    check.damage.push(damage.to_string());
                    is_whole = false;
                }
            }
        }
        before = Some((*number, is_whole));
    }
    Ok(Some(check))
}
