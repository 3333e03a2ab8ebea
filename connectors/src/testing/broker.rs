//! The broker as a child process. A small shell stands between: it waits for the end of its
//! standard input, which comes with the end of the test process however that ends, and then
//! kills Java and removes the data.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use engine::{Error, ErrorKind, Result};

use super::client::Client;
use super::jars::Cache;

const READY_WITHIN: Duration = Duration::from_mins(1);

/// Runs what follows it; a line on standard input stops that and keeps the data, its end removes
/// the data too.
const WATCHDOG: &str = r#"
data=$1; shift
"$@" </dev/null &
child=$!
echo $child >"$data/pid"
read -r keep
status=$?
kill -KILL $child
wait $child 2>/dev/null
[ $status -eq 0 ] || rm -rf "$data"
"#;

/// Options of Java for a broker that is there for a test: it starts soon, in little memory, and is
/// slower later, with pauses of almost 0.1 s.
const QUICK: &[&str] = &["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// Those that decide memory, compiler and collector in Kafka's own start script.
const AS_SHIPPED: &[&str] = &[
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
];

/// A Kafka 4.1.1 of one node, with data and ports of its own. Topics are not created by using
/// them: call [`Broker::create_topic`].
#[derive(Debug)]
pub struct Broker {
    java_options: &'static [&'static str],
    data: PathBuf,
    cache: Cache,
    port: u16,
    controller: u16,
    watchdog: Mutex<Option<Child>>,
    pub(super) client: Client,
}

impl Broker {
    /// The broker that all tests of this process share, started by the first to ask.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Broker>> = OnceLock::new();
        match SHARED.get_or_init(Self::launch) {
            Ok(broker) => Ok(broker),
            Err(error) => Err(Error::new(error.kind(), error.chain())),
        }
    }

    /// A broker of one's own: for tests that stop it.
    pub fn launch() -> Result<Self> {
        Self::launch_with(QUICK)
    }

    /// The same for benchmarks: with the memory, the compilers and the garbage collector that Kafka's
    /// own start script chooses.
    pub fn launch_for_benchmarks() -> Result<Self> {
        Self::launch_with(AS_SHIPPED)
    }

    fn launch_with(java_options: &'static [&'static str]) -> Result<Self> {
        Cache::open()?;
        // Between finding free ports and using them another process may take one.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            match Self::launch_once(java_options) {
                Err(error) if attempts > 0 && error.kind() == ErrorKind::Unavailable => {}
                result => return result,
            }
        }
    }

    fn launch_once(java_options: &'static [&'static str]) -> Result<Self> {
        let data = tempfile::Builder::new()
            .prefix("millstream-kafka-")
            .tempdir()
            .map_err(|error| Error::unavailable("cannot create a folder").caused_by(error))?
            .keep();
        let (port, controller) = (free_port()?, free_port()?);
        let broker = Self {
            client: Client::new(format!("127.0.0.1:{port}")),
            java_options,
            data,
            cache: Cache::open()?,
            port,
            controller,
            watchdog: Mutex::new(None),
        };
        broker.configure("")?;
        broker.format()?;
        broker.run()?;
        Ok(broker)
    }

    /// Its address, for `properties.bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A topic or group name that no other test of this process uses.
    #[must_use]
    pub fn unique(&self, name: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Kills the broker as a power cut does; its data stays.
    pub fn stop(&self) -> Result<()> {
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut child) = watchdog.take() else {
            return Ok(());
        };
        let failed = |error| Error::unavailable("cannot stop the broker").caused_by(error);
        if let Some(mut input) = child.stdin.take() {
            input.write_all(b"keep\n").map_err(failed)?;
        }
        child.wait().map_err(failed)?;
        Ok(())
    }

    /// Starts the broker again on the same port and data; does nothing while it runs.
    pub fn start(&self) -> Result<()> {
        // A new process is let in once the session of the one that was killed has ended.
        self.configure("broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n")?;
        self.run()
    }

    /// Lets the broker sleep: it answers nothing, and its clock goes on.
    pub fn pause(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Wakes it.
    pub fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let failed =
            |error| Error::unavailable("cannot reach the broker's process").caused_by(error);
        let pid = fs::read_to_string(self.data.join("pid")).map_err(failed)?;
        let sent = Command::new("kill").args([signal, pid.trim()]).status();
        match sent.map_err(failed)?.success() {
            true => Ok(()),
            false => Err(Error::unavailable("the broker's process is gone")),
        }
    }

    fn run(&self) -> Result<()> {
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        if watchdog.is_some() {
            return Ok(());
        }
        let failed = |error| Error::unavailable("cannot start the broker").caused_by(error);
        fs::write(self.data.join("pid"), "").map_err(failed)?;
        let log = fs::File::create(self.log()).map_err(failed)?;
        let child = Command::new("sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(&self.data)
            .arg("java")
            .args(self.java_options)
            .arg("-cp")
            .arg(self.cache.class_path())
            .arg("kafka.Kafka")
            .arg(self.data.join("server.properties"))
            // Signals to the group of the tests, Ctrl-C among them, must not end the watchdog.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        *watchdog = Some(child);
        self.wait()
    }

    fn wait(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            if self.client.answers() {
                return Ok(());
            }
            if self.died() || started.elapsed() > READY_WITHIN {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(20).collect();
                let tail: Vec<_> = tail.into_iter().rev().collect();
                return Err(Error::unavailable(format!(
                    "the broker did not start; the end of its log is:\n{}",
                    tail.join("\n")
                )));
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn configure(&self, more: &str) -> Result<()> {
        let properties = properties(&self.data.join("logs"), self.port, self.controller) + more;
        fs::write(self.data.join("server.properties"), properties)
            .map_err(|error| Error::unavailable("cannot write a configuration").caused_by(error))
    }

    /// Whether Java has ended by itself; without `/proc` that shows only by its silence.
    fn died(&self) -> bool {
        let pid = fs::read_to_string(self.data.join("pid")).unwrap_or_default();
        let (pid, proc) = (pid.trim(), Path::new("/proc"));
        let status = fs::read_to_string(proc.join(pid).join("status"));
        !pid.is_empty()
            && proc.join("self").exists()
            && status.map_or(true, |status| status.contains("State:\tZ"))
    }

    /// Copies a formatted storage; the first to need one has Kafka's own tool format it.
    fn format(&self) -> Result<()> {
        let formatted = self
            .cache
            .filled("formatted", |folder| self.format_in(folder))?;
        let copied = fs::create_dir_all(self.data.join("logs")).and_then(|()| {
            fs::read_dir(formatted)?.try_for_each(|file| {
                let file = file?;
                fs::copy(file.path(), self.data.join("logs").join(file.file_name())).map(drop)
            })
        });
        copied.map_err(|error| Error::unavailable("cannot copy a storage").caused_by(error))
    }

    fn format_in(&self, folder: &Path) -> Result<()> {
        let configuration = folder.join("server.properties");
        fs::write(
            &configuration,
            properties(&folder.join("formatted"), 9092, 9093),
        )
        .map_err(|error| Error::unavailable("cannot write a configuration").caused_by(error))?;
        let output = Command::new("java")
            .args(QUICK)
            .arg("-cp")
            .arg(self.cache.class_path())
            .args([
                "kafka.tools.StorageTool",
                "format",
                "-t",
                "TWlsbHN0cmVhbVRlc3RzMA",
                "-c",
            ])
            .arg(configuration)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Error::unavailable("cannot start 'java'").caused_by(error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::unavailable(format!(
            "cannot format a storage: {}",
            said.trim()
        )))
    }

    fn log(&self) -> PathBuf {
        self.data.join("broker.log")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let watchdog = self
            .watchdog
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = watchdog.take() {
            drop(child.stdin.take());
            if let Err(error) = child.wait() {
                tracing::warn!(%error, "cannot end the broker");
            }
        } else if let Err(error) = fs::remove_dir_all(&self.data) {
            tracing::warn!(%error, "cannot remove the broker's data");
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    let address =
        address.map_err(|error| Error::unavailable("there is no free port").caused_by(error))?;
    Ok(address.port())
}

fn properties(logs: &Path, port: u16, controller: u16) -> String {
    let logs = logs.display();
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
log.retention.check.interval.ms=1000
"
    )
}
