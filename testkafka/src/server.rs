//! One broker process: KRaft, single node, on free ports of 127.0.0.1.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::{jars, unique};

/// How long a broker may take until it answers. Generous: test machines are slow and busy.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A broker of one's own. Ends with its value, and with the process.
pub struct Broker {
    bootstrap: String,
    directory: PathBuf,
    process: Option<Process>,
}

/// A running broker and the thread that started it.
struct Process {
    pid: Pid,
    /// Ends when the broker has ended. The kernel ends the broker when this thread ends, so it waits.
    keeper: JoinHandle<()>,
}

impl Broker {
    /// Starts a broker with an empty log.
    ///
    /// # Panics
    ///
    /// When it can't be started; the message says why.
    pub fn start() -> Broker {
        let directory = std::env::temp_dir().join(unique("tripline-kafka"));
        let [port, controller_port] = free_ports();
        let bootstrap = format!("127.0.0.1:{port}");
        fs::create_dir_all(&directory).expect("the temporary directory takes a directory");
        fs::write(directory.join("server.properties"), properties(&directory, &bootstrap, controller_port))
            .expect("the temporary directory takes a file");
        format_storage(&directory);
        let mut broker = Broker { bootstrap, directory, process: None };
        broker.restart();
        broker
    }

    /// The address clients start with: `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Kills the broker: no flush, no farewell. Its log stays for [`Broker::restart`].
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            // It may be gone already; the keeper has seen it then.
            let _ = kill_process(process.pid, Signal::KILL);
            let _ = process.keeper.join();
        }
    }

    /// Starts the broker with the log it had, on the same port, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it can't be started; the message says why.
    pub fn restart(&mut self) {
        self.kill();
        let process = spawn(&self.directory);
        let deadline = Instant::now() + START_TIMEOUT;
        while !answers(&self.bootstrap) {
            let ended = process.keeper.is_finished();
            assert!(
                !ended && Instant::now() < deadline,
                "the test broker {} on {}. Its output:\n{}",
                if ended { "ended instead of answering" } else { "did not answer in time" },
                self.bootstrap,
                fs::read_to_string(self.directory.join("broker.log")).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(50));
        }
        self.process = Some(process);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held before one is given back, so that they differ.
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1"));
    listeners.map(|listener| listener.local_addr().expect("a bound socket has an address").port())
}

fn properties(directory: &Path, bootstrap: &str, controller_port: u16) -> String {
    let log = directory.join("log");
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://{bootstrap},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://{bootstrap}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Tests neither wait for members that never come nor long for those that are gone.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
# A small heap is enough.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
",
        log = log.display()
    )
}

fn java(class: &str, directory: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(format!("{}/*", jars::directory().display()))
        .arg(class)
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}

fn format_storage(directory: &Path) {
    let output = java("kafka.tools.StorageTool", directory)
        .args(["format", "--cluster-id", "dHJpcGxpbmUtdGVzdHMtMQ", "--config", "server.properties"])
        .output()
        .unwrap_or_else(|error| panic!("{}", no_java(&error)));
    assert!(
        output.status.success(),
        "the test broker's storage could not be formatted ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

fn spawn(directory: &Path) -> Process {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("broker.log"))
        .expect("the temporary directory takes a file");
    let mut command = java("kafka.Kafka", directory);
    command.arg("server.properties").stdout(log.try_clone().expect("a file handle can be doubled")).stderr(log);
    // SAFETY: the closure makes one system call and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let (tell, told) = mpsc::channel();
    // The death signal comes when the *thread* that started the child ends, and the thread of a test ends early.
    let keeper = thread::spawn(move || match command.spawn() {
        Ok(mut child) => {
            let _ = tell.send(Ok(child.id()));
            let _ = child.wait();
        }
        Err(error) => drop(tell.send(Err(error))),
    });
    let pid = told.recv().expect("the keeper tells").unwrap_or_else(|error| panic!("{}", no_java(&error)));
    Process { pid: Pid::from_raw(pid as i32).expect("a child's process id is not zero"), keeper }
}

fn no_java(error: &io::Error) -> String {
    format!(
        "could not run `java` for the test broker: {error}. Install a Java 17 runtime, or set TRIPLINE_TEST_KAFKA to \
         the address of a broker"
    )
}

/// Whether a broker answers at the address: it is asked for its API versions.
fn answers(bootstrap: &str) -> bool {
    // Size, API key 18, version 0, correlation id 7, no client id.
    const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let ask = || -> io::Result<[u8; 10]> {
        let address: SocketAddr = bootstrap.parse().expect("a socket address");
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&API_VERSIONS)?;
        let mut answer = [0; 10];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    // Size, correlation id, error code 0.
    ask().is_ok_and(|answer| answer[4..] == [0, 0, 0, 7, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_answers_until_it_is_killed_and_again_after_a_restart() {
        let mut broker = Broker::start();
        assert!(answers(broker.bootstrap()));
        broker.kill();
        assert!(!answers(broker.bootstrap()));
        broker.restart();
        assert!(answers(broker.bootstrap()));
    }
}
