//! A studio for one measure: folders on the disk, the simulator and the daemon, each in a process of its own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use taxiway::simulator::{Seen, SeenTask};
use tempfile::TempDir;

use crate::{Result, machine};

/// The program.
const TAXIWAY: &str = env!("CARGO_BIN_EXE_taxiway");
/// The key that the daemon uses. The simulator takes any.
const KEY: &str = "key_benchmark";
/// How long a process may take to stop.
const FAREWELL: Duration = Duration::from_secs(12);
/// How long a process may take to start, and a request to be answered.
const PATIENCE: Duration = Duration::from_secs(120);
/// Said to the listener by ourselves, to end it.
const END: &[u8] = b"END";

/// A process that ends when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let child = &mut self.0;
        let asked = kill_process(Pid::from_child(child), Signal::TERM);
        let late = Instant::now() + FAREWELL;
        while asked.is_ok() && Instant::now() < late {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        if let Err(error) = child.kill().and_then(|()| child.wait()) {
            eprintln!("process {} cannot be ended: {error}", child.id());
        }
    }
}

/// The simulator.
pub struct Simulator {
    process: Ended,
    address: String,
}

impl Simulator {
    /// Starts one whose tasks take so long, with no limits and all the credits that are needed.
    pub fn start(task_seconds: f64) -> Result<Simulator> {
        let mut child = Command::new(TAXIWAY)
            .args(["simulate", "--task-seconds", &task_seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = child.stdout.take();
        let process = Ended(child);
        let (said, first_line) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(out?).read_line(&mut line);
            // Nobody may wait any more.
            read.is_ok().then(|| said.send(line).ok())
        });
        let line = first_line.recv_timeout(PATIENCE)?;
        let address = line.trim().strip_prefix("http://");
        let address = address.ok_or("the simulator says no address")?.to_owned();
        let simulator = Simulator { process, address };
        let none = json!({"max_concurrent": null, "max_daily": null});
        let settings =
            json!({"credit_balance": 1_000_000_000_000_i64, "limits": {"default": none}});
        simulator.call("POST", "/_simulator/settings", Some(&settings))?;
        Ok(simulator)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.process.0.id()
    }

    /// One request and its answer's JSON.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\
             X-Runway-Version: 2024-11-06\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, content) = answer
            .split_once("\r\n\r\n")
            .ok_or("an answer without end")?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(format!("{method} {path}: {head}\n{content}").into());
        }
        Ok(serde_json::from_str(content)?)
    }

    /// All requests that it saw.
    pub fn requests(&self) -> Result<Vec<Seen>> {
        let log = self.call("GET", "/_simulator/log", None)?;
        Ok(serde_json::from_value(log["requests"].clone())?)
    }

    /// When the first request to this path arrived.
    pub fn first(&self, path: &str) -> Result<Timestamp> {
        let requests = self.requests()?;
        let first = requests.iter().find(|seen| seen.path == path);
        Ok(first.ok_or("no request arrived")?.time)
    }

    /// All tasks that were started.
    pub fn tasks(&self) -> Result<Vec<SeenTask>> {
        Ok(serde_json::from_value(self.call(
            "GET",
            "/_simulator/tasks",
            None,
        )?)?)
    }
}

/// The daemon. Its service manager is this process: it hears when the daemon is ready.
pub struct Daemon {
    process: Ended,
    socket: PathBuf,
    _folder: TempDir,
    /// From the start of the process until it said that it is ready.
    pub ready_after: Duration,
}

impl Daemon {
    /// Starts the daemon of a studio, and waits until it is ready.
    fn start(config: &Path, log: &Path) -> Result<Daemon> {
        // A socket's path has room for 108 bytes, so it does not lie among the folders.
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("notify");
        let ready = listen(&socket)?;
        let start = Instant::now();
        let child = Command::new(TAXIWAY)
            .arg("run")
            .arg("--config")
            .arg(config)
            .env_clear()
            .envs(std::env::var_os("TAXIWAY_LOG").map(|value| ("TAXIWAY_LOG", value)))
            .env("RUNWAYML_API_SECRET", KEY)
            .env("NO_COLOR", "1")
            .env("NOTIFY_SOCKET", &socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(log)?)
            .spawn()?;
        let mut daemon = Daemon {
            process: Ended(child),
            socket,
            _folder: folder,
            ready_after: Duration::ZERO,
        };
        let at = ready
            .recv_timeout(PATIENCE)
            .map_err(|_| format!("the daemon is not ready:\n{}", tail(log)))?;
        daemon.ready_after = at - start;
        Ok(daemon)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.process.0.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let told = UnixDatagram::unbound().and_then(|end| end.send_to(END, &self.socket));
        if let Err(error) = told {
            eprintln!("the listener cannot be ended: {error}");
        }
    }
}

/// Hears what the daemon says to its service manager, and tells when it is ready. All else is read, too, since a full socket
/// would hold the daemon up.
fn listen(socket: &Path) -> Result<Receiver<Instant>> {
    let listener = UnixDatagram::bind(socket)?;
    let (tell, ready) = channel();
    std::thread::spawn(move || {
        let mut message = [0; 4096];
        while let Ok(length) = listener.recv(&mut message) {
            let said = message.get(..length).unwrap_or_default();
            if said == END {
                return;
            }
            let is_ready = said
                .split(|byte| *byte == b'\n')
                .any(|line| line == b"READY=1");
            if is_ready && tell.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    Ok(ready)
}

/// The folders of one measure, with its simulator.
pub struct Studio {
    /// What stands in for Runway.
    pub simulator: Simulator,
    folder: TempDir,
}

impl Studio {
    /// Folders, and a simulator whose tasks take so long.
    pub fn new(task_seconds: f64) -> Result<Studio> {
        fs::create_dir_all(machine::folder())?;
        Ok(Studio {
            simulator: Simulator::start(task_seconds)?,
            folder: tempfile::Builder::new()
                .prefix("figures-")
                .tempdir_in(machine::folder())?,
        })
    }

    /// A path below the studio's folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Writes the configuration: how often tasks are asked about, and the inboxes, of which each lies in a folder of its name
    /// as `inbox`.
    pub fn configure(&self, poll_interval: &str, inboxes: &[(&str, Value)]) -> Result<()> {
        let inboxes: Vec<Value> = inboxes
            .iter()
            .map(|(name, more)| {
                let mut inbox = json!({"name": name, "path": format!("{name}/inbox")});
                if let (Some(inbox), Some(more)) = (inbox.as_object_mut(), more.as_object()) {
                    inbox.extend(more.clone());
                }
                inbox
            })
            .collect();
        let config = json!({
            "state_dir": "state",
            "runway": {
                "base_url": format!("http://{}", self.simulator.address),
                "poll_interval": poll_interval,
            },
            "inboxes": inboxes,
        });
        // YAML has all of JSON in it.
        fs::write(self.path("taxiway.yaml"), format!("{config:#}"))?;
        Ok(())
    }

    /// Starts the daemon.
    pub fn daemon(&self) -> Result<Daemon> {
        Daemon::start(&self.path("taxiway.yaml"), &self.path("log"))
    }

    /// What the daemon logged so far.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("log"))?)
    }

    /// Waits until `look` finds something, and says what was waited for where it does not within `limit`.
    pub fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        between: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let late = Instant::now() + limit;
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() > late {
                let log = tail(&self.path("log"));
                return Err(format!("{what}: not within {} s\n{log}", limit.as_secs()).into());
            }
            std::thread::sleep(between);
        }
    }
}

/// How many names a folder holds that end so; 0 without the folder.
pub fn count(folder: &Path, ending: &str) -> usize {
    fs::read_dir(folder).map_or(0, |entries| {
        entries
            .filter_map(std::result::Result::ok)
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.as_encoded_bytes();
                name.ends_with(ending.as_bytes()) && !name.starts_with(b".")
            })
            .count()
    })
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// The milliseconds between two moments.
pub fn milliseconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64() * 1e3
}
