//! Makes room: a next segment when one has grown large enough, and gaps in place of the oldest runs when the spool is
//! full.

use std::collections::{BTreeSet, VecDeque};

use tripline_faults::{Point, point};
use tripline_schemas::event::{Event, Gap};

use super::frame::Snapshot;
use super::segment::{Active, Closed};
use super::{Dropped, FORMAT_VERSION, Spool, SpoolError, read, recover};

impl Spool {
    /// Begins a new segment; drops the oldest when the spool is full, and tells what damage has taken.
    pub(super) fn rotate(&mut self) -> Result<(), SpoolError> {
        self.active.sync()?;
        point(Point::SegmentFull);
        let condemned = self.condemn();
        let (gaps, dropped) = self.gaps_with(&condemned)?;

        let mut segments: Vec<u64> = self.closed.iter().map(|closed| closed.number).collect();
        segments.push(self.active.number);
        segments.retain(|number| !condemned.contains(number));
        let mut snapshot = Snapshot {
            format: FORMAT_VERSION,
            spool: self.id(),
            segment: self.active.number + 1,
            next_sequence: self.next_sequence,
            next_ticket: self.next_ticket,
            published: self.published,
            offered: self.offered,
            open: self.open.clone().into_iter().collect(),
            gaps,
            segments,
            settled: self.settled.clone(),
        };
        let mut lost = 0;
        if self.has_new_damage {
            let found = recover::look(&self.dir, &self.identity, &snapshot)?;
            snapshot.gaps.extend(found.gaps);
            snapshot.gaps.sort_by_key(|gap| gap.last);
            snapshot.settled.extend(found.settled);
            lost = found.runs;
        }
        // From here on the gaps are durable, so the runs may go.
        let active = Active::create(&self.dir, self.identity.seal(snapshot.segment), &snapshot)?;
        point(Point::SegmentMade);
        let before = std::mem::replace(&mut self.active, active);
        self.closed.push_back(before.close());
        self.gaps = snapshot.gaps;
        self.settled = snapshot.settled;
        self.has_new_damage = false;
        self.lost += lost;
        for closed in &mut self.closed {
            closed.is_damaged |= self.damaged_at.iter().any(|at| at.segment == closed.number);
        }
        if dropped.runs > 0 {
            self.dropped = Some(match self.dropped {
                None => dropped,
                Some(d) => Dropped { runs: d.runs + dropped.runs, commands: d.commands.max(dropped.commands) },
            });
        }
        let (gone, kept) = std::mem::take(&mut self.closed).into_iter().partition(|c| condemned.contains(&c.number));
        self.closed = kept;
        let gone: VecDeque<Closed> = gone;
        for closed in gone {
            closed.remove()?;
            point(Point::SegmentDropped);
        }
        self.forget_published()
    }

    /// The oldest segments that have to go so that another one has room, without those whose runs the log may have.
    fn condemn(&self) -> BTreeSet<u64> {
        let mut bytes = self.bytes() + self.segment_bytes;
        let mut condemned = BTreeSet::new();
        // Runs are numbered in the order of segments: a segment begins after the last number of the one before.
        let mut last_before = 0;
        for closed in &self.closed {
            if bytes <= self.bytes_max {
                break;
            }
            if last_before >= self.offered {
                bytes -= closed.len;
                condemned.insert(closed.number);
            }
            last_before = last_before.max(closed.last_sequence);
        }
        condemned
    }

    /// The gaps there are when these segments are gone, by their last number.
    fn gaps_with(&mut self, condemned: &BTreeSet<u64>) -> Result<(Vec<Gap>, Dropped), SpoolError> {
        let mut gaps = self.gaps.clone();
        let mut runs = 0;
        let mut commands = BTreeSet::new();
        for closed in self.closed.iter().filter(|closed| condemned.contains(&closed.number)) {
            let mut damage = Vec::new();
            for (sequence, record) in read::ends(closed, &mut damage)? {
                let Ok(Event::Output(run)) = Event::from_record(&record) else { continue };
                if sequence <= self.offered {
                    continue;
                }
                runs += 1;
                commands.insert(run.key.clone());
                // Of a copied spool, runs of several ids may wait.
                let extends =
                    |gap: &&mut Gap| gap.key == run.key && gap.spool == run.id.spool && gap.last > self.offered;
                match gaps.iter_mut().find(extends) {
                    Some(gap) => {
                        gap.last = sequence;
                        gap.runs += 1;
                    }
                    None => gaps.push(Gap {
                        key: run.key,
                        address: run.address,
                        spool: run.id.spool,
                        first: sequence,
                        last: sequence,
                        runs: 1,
                        time: tripline_faults::now(),
                    }),
                }
            }
            for place in damage {
                self.has_new_damage |= self.damaged_at.insert(place.at);
            }
        }
        gaps.sort_by_key(|gap| gap.last);
        Ok((gaps, Dropped { runs, commands: commands.len() }))
    }
}
