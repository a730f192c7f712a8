//! Runs one command and learns everything there is to know of it.
//!
//! A command gets a process group of its own, `/dev/null` as its input, and `LC_ALL=C` unless its settings say
//! otherwise, so that its output does not depend on the language of the host. Its standard output is read to the end:
//! the first bytes are kept, the rest is counted. At the time limit the group gets TERM, five seconds later KILL.
//!
//! A command that names a user gets that user's groups, `HOME`, `USER` and `LOGNAME` too; who that is is looked up for
//! each run, so that a change of the user database needs no restart.
//!
//! It carries a mark in its environment, by which what is left of it is known when this process is killed
//! ([`leftbehind`]).
//!
//! A process that the command leaves behind may hold the output open for ever. So when the command itself has ended,
//! the end of its output is waited for a moment only; then the rest of the group is killed, and the run goes on without
//! it. Processes that left the group (with `setsid`) survive that, and are no longer listened to. One that has closed
//! its output is left alone after an orderly end: that is a service that the command was meant to start.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};
use tripline_schemas::Ending;

use crate::config::CommandLine;
use crate::user::{Credentials, RunAs};
use crate::{PlannedCommand, Stop, leftbehind};

/// How much of the end of standard error is kept, in bytes.
pub const STDERR_TAIL_BYTES_MAX: usize = 4096;
/// Between TERM and KILL.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// Between the command's end and the end of its output, when another process holds it.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// Between KILL and giving up on a process that the kernel can't end at the moment.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// How much is read at once, in bytes: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// What is known of a run after its end.
#[derive(Debug)]
pub struct Outcome {
    /// When it started, by the wall clock.
    pub started: Timestamp,
    /// How long it took, by a clock that does not jump.
    pub duration: Duration,
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to standard output, up to the limit.
    pub output: Vec<u8>,
    /// The full size of the output in bytes, when `output` holds only its beginning.
    pub truncated_from: Option<u64>,
    /// The end of what it wrote to standard error.
    pub stderr_tail: Vec<u8>,
    /// A process that not even KILL ended yet: it hangs in the kernel. Wait for it before the next run.
    pub leftover: Option<Leftover>,
}

/// A killed process that has not ended yet.
#[derive(Debug)]
pub struct Leftover(Child);

impl Leftover {
    /// Returns when the process has ended.
    pub async fn gone(mut self) {
        // An error means that there is no such child any more.
        let _ = self.0.wait().await;
    }
}

/// Where a run stands on its way to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may run until its time limit.
    Running,
    /// Its group got TERM.
    Terminated,
    /// Its group got KILL.
    Killed,
}

/// Why we end a run before it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    TimedOut,
    Interrupted,
}

/// Runs a command to its end. Never takes longer than its time limit and some seconds of grace. When asked to stop,
/// the command may go on for `stop_grace`; then it is ended, and the run is interrupted. `mark` is the run's mark.
pub async fn execute(command: &PlannedCommand, mark: Option<&str>, stop: &Stop, stop_grace: Duration) -> Outcome {
    let process = process(command, mark).await;
    let started = tripline_faults::now();
    let clock = Instant::now();
    let mut child = match process.and_then(|mut process| process.spawn().map_err(|error| why(command, &error))) {
        Ok(child) => child,
        Err(reason) => return not_started(started, reason),
    };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut output = Output::new(child.stdout.take(), command.output_bytes_max);
    let mut errors = Tail::new(child.stderr.take());

    let mut stage = Stage::Running;
    let mut cut: Option<Cut> = None;
    let mut exit: Option<(ExitStatus, Duration)> = None;
    let mut stopping = false;
    let mut deadline = clock + command.timeout;
    loop {
        if exit.is_some() && output.is_at_end() && errors.is_at_end() {
            break;
        }
        tokio::select! {
            () = output.read(), if !output.is_at_end() => {}
            () = errors.read(), if !errors.is_at_end() => {}
            status = child.wait(), if exit.is_none() => match status {
                Ok(status) => {
                    exit = Some((status, clock.elapsed()));
                    // After TERM the others of the group keep their time; else they have a moment.
                    if stage == Stage::Running {
                        deadline = deadline.min(Instant::now() + OUTPUT_GRACE);
                    }
                }
                // Nobody but us reaps our children, so this can't be; without a status the run can't be judged.
                Err(error) => return lost(started, clock.elapsed(), output, errors, &error),
            },
            () = stop.asked(), if !stopping => {
                stopping = true;
                deadline = deadline.min(Instant::now() + stop_grace);
            }
            () = sleep_until(deadline) => match stage {
                Stage::Running if exit.is_some() => {
                    signal(group, Signal::KILL);
                    stage = Stage::Killed;
                    break;
                }
                Stage::Running => {
                    let by_limit = clock.elapsed() >= command.timeout;
                    cut = Some(if by_limit { Cut::TimedOut } else { Cut::Interrupted });
                    signal(group, Signal::TERM);
                    stage = Stage::Terminated;
                    deadline = Instant::now() + if stopping { stop_grace.min(TERM_GRACE) } else { TERM_GRACE };
                }
                Stage::Terminated => {
                    signal(group, Signal::KILL);
                    stage = Stage::Killed;
                    deadline = Instant::now() + KILL_GRACE;
                }
                Stage::Killed => break,
            },
        }
    }
    // Whoever outlived TERM without holding the output: nobody of the group survives a cut run.
    if cut.is_some() && stage != Stage::Killed {
        signal(group, Signal::KILL);
    }

    let duration = exit.map_or_else(|| clock.elapsed(), |(_, duration)| duration);
    let ending = match (cut, exit) {
        (Some(Cut::TimedOut), _) => Ending::TimedOut(millis(command.timeout)),
        (Some(Cut::Interrupted), _) | (None, None) => Ending::Interrupted,
        (None, Some((status, _))) => ending(status),
    };
    let leftover = exit.is_none().then_some(Leftover(child));
    let (output, truncated_from) = output.into_parts();
    Outcome { started, duration, ending, output, truncated_from, stderr_tail: errors.bytes, leftover }
}

/// The process to start, or why there is none.
async fn process(command: &PlannedCommand, mark: Option<&str>) -> Result<Command, String> {
    let mut process = match &command.command {
        CommandLine::Shell(text) => {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(text);
            shell
        }
        CommandLine::Program(words) => {
            let mut program = Command::new(&words[0]); // A planned command has a program.
            program.args(&words[1..]);
            program
        }
    };
    // What a service manager told this process is not for its commands: some of them would report to it in its place.
    process.env("LC_ALL", "C").env_remove("NOTIFY_SOCKET").process_group(0);
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let directory = command.working_directory.as_deref();
    if let Some(run_as) = &command.run_as {
        let credentials = look_up(run_as, command.timeout).await?;
        credentials.apply(&mut process, directory).map_err(|error| why(command, &error))?;
    } else if let Some(directory) = directory {
        process.current_dir(directory);
    }
    process.envs(&command.environment);
    process.envs(mark.map(|mark| (leftbehind::VARIABLE, mark)));
    Ok(process)
}

/// Asks who a user is, on a thread of its own and for no longer than the command may take: the user database may be on
/// the network, and one that hangs must not hold up other commands.
async fn look_up(run_as: &RunAs, time_limit: Duration) -> Result<Credentials, String> {
    let who = run_as.clone();
    let asked = tokio::task::spawn_blocking(move || who.look_up());
    match tokio::time::timeout(time_limit, asked).await {
        Ok(Ok(found)) => found.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(format!("could not look up user `{}`: {error}", run_as.user)),
        Err(_) => Err(format!("could not look up user `{}`: no answer within {time_limit:?}", run_as.user)),
    }
}

/// What the operating system refused, and why.
fn why(command: &PlannedCommand, error: &io::Error) -> String {
    // The operating system gives one error for a missing program and for a missing directory.
    let what = match (&command.working_directory, &command.command) {
        (Some(directory), _) if !directory.is_dir() => format!("working directory `{}`", directory.display()),
        (_, CommandLine::Program(words)) => format!("`{}`", words[0]),
        (_, CommandLine::Shell(_)) => "`/bin/sh`".to_owned(),
    };
    let who = command.run_as.as_ref().map_or_else(String::new, |run_as| format!(" as user `{}`", run_as.user));
    format!("{what}{who}: {error}")
}

fn not_started(started: Timestamp, reason: String) -> Outcome {
    Outcome {
        started,
        duration: Duration::ZERO,
        ending: Ending::NotStarted(reason),
        output: Vec::new(),
        truncated_from: None,
        stderr_tail: Vec::new(),
        leftover: None,
    }
}

fn lost(started: Timestamp, duration: Duration, output: Output, errors: Tail, error: &io::Error) -> Outcome {
    tracing::error!("could not learn how a command ended: {error}");
    let (output, truncated_from) = output.into_parts();
    let stderr_tail = errors.bytes;
    Outcome { started, duration, ending: Ending::Interrupted, output, truncated_from, stderr_tail, leftover: None }
}

fn ending(status: ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Exited(code),
        (None, Some(signal)) => Ending::Signalled(signal),
        (None, None) => Ending::Interrupted, // Stopped or continued; `wait` does not report those.
    }
}

/// Sends a signal to every process of the group. That none is left is no error.
fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Standard output: the first bytes are kept, all are counted.
struct Output {
    source: Option<tokio::process::ChildStdout>,
    kept: Vec<u8>,
    /// `kept` is never longer.
    bytes_max: usize,
    size: u64,
}

impl Output {
    fn new(source: Option<tokio::process::ChildStdout>, bytes_max: usize) -> Output {
        Output { source, kept: Vec::new(), bytes_max, size: 0 }
    }

    fn is_at_end(&self) -> bool {
        self.source.is_none()
    }

    /// Reads once. Nothing is lost when it is dropped while it waits.
    async fn read(&mut self) {
        read_once(&mut self.source, |bytes| {
            let room = self.bytes_max - self.kept.len();
            self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            self.size += bytes.len() as u64;
        })
        .await;
    }

    fn into_parts(self) -> (Vec<u8>, Option<u64>) {
        let truncated_from = (self.size > self.kept.len() as u64).then_some(self.size);
        (self.kept, truncated_from)
    }
}

/// Standard error: the last bytes are kept.
struct Tail {
    source: Option<tokio::process::ChildStderr>,
    /// Never longer than [`STDERR_TAIL_BYTES_MAX`].
    bytes: Vec<u8>,
}

impl Tail {
    fn new(source: Option<tokio::process::ChildStderr>) -> Tail {
        Tail { source, bytes: Vec::new() }
    }

    fn is_at_end(&self) -> bool {
        self.source.is_none()
    }

    /// Reads once. Nothing is lost when it is dropped while it waits.
    async fn read(&mut self) {
        read_once(&mut self.source, |bytes| {
            self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(STDERR_TAIL_BYTES_MAX)..]);
            let excess = self.bytes.len().saturating_sub(STDERR_TAIL_BYTES_MAX);
            self.bytes.drain(..excess);
        })
        .await;
    }
}

thread_local! {
    /// Where outputs are read into, before what is kept of them is copied. One for all commands: a buffer for each run would
    /// be filled with zeros and given back a hundred times a second.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Reads what is there and hands it on; at the end, or when it can't be read, the source is closed.
async fn read_once<R: AsyncRead + Unpin>(source: &mut Option<R>, mut take: impl FnMut(&[u8])) {
    let Some(reader) = source.as_mut() else { return };
    let is_at_end = poll_fn(|context| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(Pin::new(&mut *reader).poll_read(context, &mut buffer));
            take(buffer.filled());
            Poll::Ready(read.is_err() || buffer.filled().is_empty())
        })
    })
    .await;
    if is_at_end {
        *source = None;
    }
}

#[cfg(test)]
mod tests;
