//! A studio for a test: folders in a directory of its own, the simulator, and the daemon as a process.
//!
//! Whoever waits here waits for a condition and within a bound; when the bound is passed, the test fails with all that
//! can be known: the jobs, the daemon's log, and the tree of folders.

#![allow(dead_code)]

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Cursor;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use taxiway::media::probe;
use taxiway::simulator::{Action, Options, Rule, Seen, Simulator, Snapshot};

/// The API key of every test, unless it sets another.
pub const KEY: &str = "key_test0123456789abcdef0123456789abcdef";
/// How long a condition may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long between two looks.
const LOOK: Duration = Duration::from_millis(30);
/// Variables of the surroundings that would change what the program does.
const FOREIGN: [&str; 19] = [
    "RUNWAYML_API_SECRET",
    "RUNWAY_API_KEY",
    "RUNWAYML_BASE_URL",
    "TAXIWAY_CONFIG",
    "TAXIWAY_LOG",
    "CREDENTIALS_DIRECTORY",
    "STATE_DIRECTORY",
    "NOTIFY_SOCKET",
    "JOURNAL_STREAM",
    "NO_COLOR",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "WATCHDOG_USEC",
    "TAXIWAY_FAILPOINT",
    "TAXIWAY_FAILPOINT_TRACE",
];

/// A sample from `tests/media`.
pub fn media(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/media")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A whole JPEG whose bytes are like no other's: the words are in a comment segment.
pub fn jpeg(words: &str) -> Vec<u8> {
    let plain = media("baseline.jpg");
    let length = u16::try_from(words.len() + 2).unwrap();
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xfe];
    bytes.extend(length.to_be_bytes());
    bytes.extend(words.as_bytes());
    bytes.extend(&plain[2..]);
    bytes
}

/// A whole MP4 whose bytes are like no other's: the words are in a `free` box at its end.
pub fn mp4(words: &str) -> Vec<u8> {
    let mut bytes = media("faststart.mp4");
    bytes.extend(u32::try_from(words.len() + 8).unwrap().to_be_bytes());
    bytes.extend(b"free");
    bytes.extend(words.as_bytes());
    bytes
}

/// A whole JPEG of at least `size` bytes, like no other: the rest lies behind its end marker.
pub fn large_jpeg(words: &str, size: usize) -> Vec<u8> {
    let mut bytes = jpeg(words);
    bytes.resize(size.max(bytes.len()), 0x20);
    bytes
}

/// A folder on a disk in memory, for tests in which nobody should wait for a slow disk; where there is none with room enough for
/// any of them, the usual one.
pub fn in_memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let has_room = rustix::fs::statvfs(&memory)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) > 500_000_000);
    if has_room && tempfile::tempdir_in(&memory).is_ok() {
        memory
    } else {
        std::env::temp_dir()
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// How the simulator's log tells a data URI of a file.
pub fn logged(bytes: &[u8]) -> String {
    let format = probe(&mut Cursor::new(bytes)).unwrap().format.unwrap();
    let head = format!("data:{};base64", format.mime());
    let uri = format!("{head},{}", STANDARD.encode(bytes));
    format!(
        "{head},… ({} characters, sha256 {})",
        uri.len(),
        &sha256(uri.as_bytes())[..16]
    )
}

/// Whether some bytes occur in others.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// A rule that acts on every request whose path begins so, `times` times.
pub fn fault(path: &str, times: u64, action: Action) -> Rule {
    Rule::on(path, action).times(times)
}

/// A job as `status --json` tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job(pub Value);

impl Job {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.text("id")
    }

    pub fn inbox(&self) -> &str {
        self.text("inbox")
    }

    pub fn input(&self) -> &str {
        self.text("input")
    }

    pub fn state(&self) -> &str {
        self.text("state")
    }

    /// Empty where there is none.
    pub fn reason(&self) -> &str {
        self.text("reason")
    }

    /// Empty where there is none.
    pub fn task(&self) -> &str {
        self.text("task_id")
    }

    pub fn outputs(&self) -> Vec<PathBuf> {
        self.0["outputs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|path| PathBuf::from(path.as_str().unwrap()))
            .collect()
    }

    pub fn attempts(&self) -> u64 {
        self.0["attempts"].as_u64().unwrap()
    }

    /// What Runway charged, in credits.
    pub fn charged(&self) -> Option<f64> {
        self.0["credits"]["charged"].as_f64()
    }

    /// Whether it is done, failed or cancelled.
    pub fn has_ended(&self) -> bool {
        matches!(self.state(), "done" | "failed" | "cancelled")
    }
}

/// An inbox beside the first.
struct Inbox {
    path: String,
    lines: Vec<String>,
}

/// How a studio is to be. Everything is set before `open`.
pub struct Builder {
    options: Option<Options>,
    key: Option<String>,
    top: Vec<String>,
    runway: Vec<String>,
    inboxes: Vec<Inbox>,
    text: Option<String>,
    base_url: Option<String>,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    user: Option<u32>,
    binary: PathBuf,
    below: PathBuf,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            options: Some(Options {
                task_seconds: 0.1,
                ..Options::default()
            }),
            key: Some(KEY.to_owned()),
            top: Vec::new(),
            runway: Vec::new(),
            inboxes: vec![Inbox {
                path: "inbox".to_owned(),
                lines: Vec::new(),
            }],
            text: None,
            base_url: None,
            env: Vec::new(),
            arguments: Vec::new(),
            wrapper: Vec::new(),
            user: None,
            binary: PathBuf::from(env!("CARGO_BIN_EXE_taxiway")),
            below: std::env::temp_dir(),
        }
    }

    /// The studio's folder is made below this one.
    pub fn below(mut self, folder: &Path) -> Builder {
        self.below = folder.to_owned();
        self
    }

    /// Another build of the program.
    pub fn binary(mut self, path: &Path) -> Builder {
        self.binary = path.to_owned();
        self
    }

    /// Changes the simulator's options; tasks take 0.1 s otherwise.
    pub fn simulator(mut self, change: impl FnOnce(&mut Options)) -> Builder {
        change(self.options.as_mut().unwrap());
        self
    }

    /// Tasks take so long.
    pub fn task_seconds(self, seconds: f64) -> Builder {
        self.simulator(|options| options.task_seconds = seconds)
    }

    /// Nothing stands in for Runway.
    pub fn no_simulator(mut self) -> Builder {
        self.options = None;
        self
    }

    /// The daemon and the commands get this as `RUNWAYML_API_SECRET`; `None`: nothing.
    pub fn key(mut self, key: Option<&str>) -> Builder {
        self.key = key.map(str::to_owned);
        self
    }

    /// A line, or several, at the top level of the configuration.
    pub fn top(mut self, lines: &str) -> Builder {
        self.top.push(lines.to_owned());
        self
    }

    /// A line below `runway:`. `poll_interval: 50ms` is there unless this sets it.
    pub fn runway(mut self, line: &str) -> Builder {
        self.runway.push(line.to_owned());
        self
    }

    /// A line of the inbox that was named last; at first that is `inbox`. `settle`, `pair_wait` and `scan_interval` are short
    /// unless this sets them.
    pub fn inbox(mut self, line: &str) -> Builder {
        self.inboxes.last_mut().unwrap().lines.push(line.to_owned());
        self
    }

    /// The `defaults` of the inbox that was named last, as a YAML flow mapping.
    pub fn defaults(self, mapping: &str) -> Builder {
        self.inbox(&format!("defaults: {mapping}"))
    }

    /// An account in which thousands of jobs meet no limit, and tasks that take no time.
    pub fn without_limits(self) -> Builder {
        self.task_seconds(0.0).simulator(|options| {
            options.tier.credit_balance = 10_000_000;
            options.tier.limits.default.max_concurrent = Some(50);
            options.tier.limits.default.max_daily = Some(100_000);
        })
    }

    /// Defaults by which a dropped image alone is a valid job.
    pub fn image_defaults(self) -> Builder {
        self.defaults(r#"{ model: gen4_turbo, ratio: "1280:720", duration: 5 }"#)
    }

    /// One more inbox, at this path below the studio's folder. Its other folders are siblings: give each inbox a parent of
    /// its own (`second/inbox`).
    pub fn another_inbox(mut self, path: &str) -> Builder {
        self.inboxes.push(Inbox {
            path: path.to_owned(),
            lines: Vec::new(),
        });
        self
    }

    /// One more inbox, `second`, in `second/inbox`.
    pub fn second_inbox(self) -> Builder {
        self.another_inbox("second/inbox").inbox("name: second")
    }

    /// The whole configuration as it is; `{url}` stands for the simulator's base URL.
    pub fn config_text(mut self, text: &str) -> Builder {
        self.text = Some(text.to_owned());
        self
    }

    /// Another base URL than the simulator's.
    pub fn base_url(mut self, url: &str) -> Builder {
        self.base_url = Some(url.to_owned());
        self
    }

    /// A variable of the daemon's and the commands' environment.
    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A further argument of `taxiway run`, such as `--verbose`.
    pub fn argument(mut self, argument: &str) -> Builder {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The daemon is started by this program with these arguments, to which its own are added. It has to become the daemon,
    /// so that signals reach it; `{root}` stands for the studio's folder.
    pub fn wrapper(mut self, words: &[&str]) -> Builder {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The daemon runs as this user, to whom the studio's folders belong. Only root can do that.
    pub fn user(mut self, id: u32) -> Builder {
        self.user = Some(id);
        self
    }

    fn config(&self, url: &str) -> String {
        fn line(text: &mut String, indent: &str, lines: &[String], key: &str, value: &str) {
            let start = format!("{key}:");
            if !lines.iter().any(|line| line.trim().starts_with(&start)) {
                writeln!(text, "{indent}{key}: {value}").unwrap();
            }
        }
        if let Some(text) = &self.text {
            return text.replace("{url}", url);
        }
        let mut text = String::new();
        line(&mut text, "", &self.top, "state_dir", "state");
        text.push_str("runway:\n");
        line(&mut text, "  ", &self.runway, "base_url", url);
        line(&mut text, "  ", &self.runway, "poll_interval", "50ms");
        for extra in &self.runway {
            writeln!(text, "  {extra}").unwrap();
        }
        text.push_str("inboxes:\n");
        for inbox in &self.inboxes {
            writeln!(text, "  - path: {}", inbox.path).unwrap();
            line(&mut text, "    ", &inbox.lines, "settle", "200ms");
            line(&mut text, "    ", &inbox.lines, "pair_wait", "300ms");
            line(&mut text, "    ", &inbox.lines, "scan_interval", "300ms");
            // Most tests look at every file that is there.
            line(&mut text, "    ", &inbox.lines, "status_file", "off");
            for extra in &inbox.lines {
                writeln!(text, "    {extra}").unwrap();
            }
        }
        for extra in &self.top {
            writeln!(text, "{extra}").unwrap();
        }
        text
    }

    /// The folders, the configuration and the simulator; no daemon yet.
    pub fn open(self) -> Studio {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let simulator = self
            .options
            .clone()
            .map(|options| runtime.block_on(Simulator::start(options)).unwrap());
        let url = match (&self.base_url, &simulator) {
            (Some(url), _) => url.clone(),
            (None, Some(simulator)) => simulator.base_url(),
            // Nothing listens there.
            (None, None) => "http://127.0.0.1:9".to_owned(),
        };
        let folder = tempfile::Builder::new()
            .prefix("taxiway-e2e-")
            .tempdir_in(&self.below)
            .unwrap();
        let root = fs::canonicalize(folder.keep()).unwrap();
        for inbox in &self.inboxes {
            fs::create_dir_all(root.join(&inbox.path)).unwrap();
        }
        let config = root.join("taxiway.yaml");
        fs::write(&config, self.config(&url)).unwrap();
        let program = match self.user {
            Some(id) if !can_run(id, &self.binary) => {
                // Where the binary was built, that user may not even look.
                let copy = root.join("taxiway");
                fs::copy(&self.binary, &copy).unwrap();
                give(&root, id);
                copy
            }
            user => {
                if let Some(id) = user {
                    give(&root, id);
                }
                self.binary.clone()
            }
        };
        let place = |word: &String| word.replace("{root}", &root.to_string_lossy());
        Studio {
            patience: PATIENCE,
            program,
            wrapper: self.wrapper.iter().map(place).collect(),
            user: self.user,
            simulator,
            runtime: Some(runtime),
            daemon: None,
            key: self.key,
            env: self.env,
            arguments: self.arguments,
            binary: self.binary,
            config,
            root,
        }
    }

    /// All that `open` makes, and the daemon, which is ready when this returns.
    pub fn run(self) -> Studio {
        let mut studio = self.open();
        studio.start();
        studio
    }
}

/// Folders, a simulator and a daemon, which end with it.
pub struct Studio {
    pub simulator: Option<Simulator>,
    runtime: Option<tokio::runtime::Runtime>,
    daemon: Option<Child>,
    key: Option<String>,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    program: PathBuf,
    wrapper: Vec<String>,
    user: Option<u32>,
    binary: PathBuf,
    /// How long a condition may take to come true.
    pub patience: Duration,
    /// The configuration file.
    pub config: PathBuf,
    /// The folder with everything in it. It is removed with the studio.
    pub root: PathBuf,
}

impl Studio {
    /// How it is to be.
    pub fn builder() -> Builder {
        Builder::new()
    }

    // ---- processes

    /// The binary with the studio's environment and no arguments.
    pub fn command(&self) -> Command {
        self.surround(Command::new(&self.binary))
    }

    /// What starts the daemon, before its arguments.
    fn daemon_command(&self) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => Command::new(&self.program),
            Some((wrapper, words)) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&self.program);
                command
            }
        };
        if let Some(id) = self.user {
            command.uid(id).gid(id).env("HOME", &self.root);
        }
        self.surround(command)
    }

    /// The studio's environment.
    fn surround(&self, mut command: Command) -> Command {
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.env("NO_PROXY", "127.0.0.1");
        if let Some(key) = &self.key {
            command.env("RUNWAYML_API_SECRET", key);
        }
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command.current_dir(&self.root);
        command
    }

    /// From now on the daemon is started by this program, as [`Builder::wrapper`] says.
    pub fn set_wrapper(&mut self, words: &[&str]) {
        let root = self.root.to_string_lossy();
        self.wrapper = words
            .iter()
            .map(|word| word.replace("{root}", &root))
            .collect();
    }

    /// From now on the daemon is started with these arguments.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    }

    /// From now on the daemon and the commands get this key.
    pub fn set_key(&mut self, key: Option<&str>) {
        self.key = key.map(str::to_owned);
    }

    /// From now on the daemon and the commands get this variable with this value, or not at all.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.env.retain(|(known, _)| known != name);
        self.env
            .extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(&mut self) {
        let from = self.log().len();
        self.spawn();
        let limit = Instant::now() + PATIENCE;
        while !self.is_ready_since(from) {
            if let Some(status) = self.daemon.as_mut().unwrap().try_wait().unwrap() {
                panic!("the daemon ended at once: {status}\n{}", self.log());
            }
            self.bound(limit, "the daemon is ready");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the log says, after so many bytes, that the daemon is ready.
    pub fn is_ready_since(&self, from: usize) -> bool {
        let log = self.log();
        log.get(from..).unwrap_or_default().contains("ready: ")
    }

    /// Starts the daemon and waits for nothing.
    pub fn spawn(&mut self) {
        assert!(self.daemon.is_none(), "a daemon runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let child = self
            .daemon_command()
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(child);
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let child = self.daemon.as_ref().expect("no daemon runs");
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGHUP: the daemon reads its configuration again. Waits until it says what came of it.
    pub fn reload(&self) -> String {
        let from = self.log().len();
        self.signal(rustix::process::Signal::HUP);
        self.wait_for("the daemon has read its configuration again", |studio| {
            let log = studio.log();
            let new = log.get(from..).unwrap_or_default();
            (new.contains("configuration and key read again") || new.contains("is refused"))
                .then(|| new.to_owned())
        })
    }

    /// SIGTERM; waits for the end, at most ten seconds.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait_end(Duration::from_secs(10))
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("no daemon runs").id()
    }

    /// Waits for the daemon's end.
    pub fn wait_end(&mut self, within: Duration) -> ExitStatus {
        let mut child = self.daemon.take().expect("no daemon runs");
        let limit = Instant::now() + within;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > limit {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!(
                    "the daemon did not end within {within:?}\n{}",
                    self.report()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a daemon was started whose end nobody has seen yet.
    pub fn runs(&self) -> bool {
        self.daemon.is_some()
    }

    /// How the daemon ended, if it has; then another may be started.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.daemon.as_mut()?.try_wait().unwrap()?;
        self.daemon = None;
        Some(status)
    }

    /// Ends the daemon without a warning, as a power cut does.
    pub fn kill9(&mut self) {
        let mut child = self.daemon.take().expect("no daemon runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops the daemon cleanly and starts it again.
    pub fn restart(&mut self) {
        let status = self.stop();
        assert!(status.success(), "{status}\n{}", self.report());
        self.start();
    }

    /// Runs a command of the program with the studio's configuration.
    pub fn cli<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        self.command()
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The same; it must succeed. Answers with what it printed.
    pub fn cli_ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let output = self.cli(arguments);
        assert!(
            output.status.success(),
            "{}: {}\n{}",
            output.status,
            text(&output.stderr),
            self.report()
        );
        text(&output.stdout)
    }

    // ---- Runway's side

    /// The simulator.
    pub fn sim(&self) -> &Simulator {
        self.simulator.as_ref().expect("no simulator runs")
    }

    /// What the API saw.
    pub fn seen(&self) -> Snapshot {
        self.sim().snapshot()
    }

    /// Every request that would start a task, whatever became of it.
    pub fn submissions(&self) -> Vec<Seen> {
        self.seen()
            .requests
            .into_iter()
            .filter(|seen| {
                seen.method == "POST"
                    && seen.path.starts_with("/v1/")
                    && !seen.path.starts_with("/v1/uploads")
                    && !seen.path.starts_with("/v1/organization")
            })
            .collect()
    }

    /// The only request that would start a task; it is an error if there are none or several.
    pub fn submission(&self) -> Seen {
        let mut all = self.submissions();
        assert_eq!(all.len(), 1, "{all:#?}\n{}", self.report());
        all.remove(0)
    }

    /// Runs something asynchronous, for instance `simulator.stop()`.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    // ---- files

    /// A path below the studio's folder.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// A path below `inbox`.
    pub fn inbox(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join("inbox").join(below)
    }

    /// A path below `working`.
    pub fn working(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join("working").join(below)
    }

    /// A path below `outbox`.
    pub fn outbox(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join("outbox").join(below)
    }

    /// A path below `originals`.
    pub fn originals(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join("originals").join(below)
    }

    /// A path below `failed`.
    pub fn failed(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join("failed").join(below)
    }

    /// What `NAME.error.txt` beside a failed input says.
    pub fn note(&self, input: &str) -> String {
        let path = self.failed(format!("{input}.error.txt"));
        fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.report()))
    }

    /// The record beside an output, `red.mp4` for instance.
    pub fn record(&self, output: &str) -> Value {
        let path = self.outbox(format!("{output}.yaml"));
        let words = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", path.display(), self.report()));
        serde_yaml::from_str(&words).unwrap_or_else(|error| panic!("{error} in {words}"))
    }

    /// Drops a file into `inbox`: written under a hidden name, then renamed, as careful programs do. Folders are made.
    pub fn drop_file(&self, below: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        put(&self.inbox(below), bytes.as_ref());
    }

    /// Drops a file anywhere below the studio's folder, in the same way.
    pub fn drop_at(&self, below: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        put(&self.path(below), bytes.as_ref());
    }

    /// Drops a file into `inbox`, written in place.
    pub fn write_in_place(&self, below: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.inbox(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(path).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    /// Every file below the studio's folder, sorted, as paths below it; the state, the log and the configuration are left
    /// out.
    pub fn tree(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.root, &mut |path| {
            let below = path.strip_prefix(&self.root).unwrap();
            if !below.starts_with("state")
                && below != Path::new("daemon.log")
                && below != Path::new("taxiway.yaml")
                && below != Path::new("taxiway")
                && below != Path::new("trace")
            {
                found.push(below.to_string_lossy().into_owned());
            }
        });
        found.sort();
        found
    }

    /// All files whose content is exactly this, below the studio's folder.
    pub fn copies_of(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.root, &mut |path| {
            let same = fs::metadata(path).is_ok_and(|meta| meta.len() == bytes.len() as u64)
                && fs::read(path).is_ok_and(|content| content == bytes);
            if same {
                let below = path.strip_prefix(&self.root).unwrap();
                found.push(below.to_string_lossy().into_owned());
            }
        });
        found.sort();
        found
    }

    fn log_path(&self) -> PathBuf {
        self.path("daemon.log")
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map_or_else(|_| String::new(), |bytes| text(&bytes))
    }

    // ---- jobs

    /// All jobs, as `status --json` tells them. Where one is told twice, the later line counts: that each is told once is
    /// a test of its own, in `commands`.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        for job in self.status_lines() {
            jobs.retain(|other| other.id() != job.id());
            jobs.push(job);
        }
        jobs
    }

    /// All lines of `status --json`, as they are.
    pub fn status_lines(&self) -> Vec<Job> {
        self.cli_ok(&["status", "--json"])
            .lines()
            .map(|line| {
                Job(serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{error} in {line:?}")))
            })
            .collect()
    }

    /// The latest job of an input, by its path below its inbox: one that failed and was dropped again counts once.
    pub fn job(&self, input: &str) -> Option<Job> {
        let mut all = self.jobs();
        all.retain(|job| job.input() == input);
        all.sort_by_key(|job| job.text("created_at").parse::<jiff::Timestamp>().unwrap());
        all.pop()
    }

    /// Waits until something is there, and answers with it.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Studio) -> Option<T>) -> T {
        let limit = Instant::now() + self.patience;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            self.bound(limit, what);
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until something is so.
    pub fn wait_until(&self, what: &str, mut look: impl FnMut(&Studio) -> bool) {
        self.wait_for(what, |studio| look(studio).then_some(()));
    }

    /// Waits until the job of an input is in a state. If it ends in another, that is an error at once.
    pub fn wait_state(&self, input: &str, state: &str) -> Job {
        self.wait_for(&format!("{input} is {state}"), |studio| {
            let job = studio.job(input)?;
            if job.state() == state {
                return Some(job);
            }
            assert!(
                !job.has_ended(),
                "{input} should be {state}, and is {}: {}\n{}",
                job.state(),
                job.reason(),
                studio.report()
            );
            None
        })
    }

    /// Waits until the job of an input is done.
    pub fn wait_done(&self, input: &str) -> Job {
        self.wait_state(input, "done")
    }

    /// Waits until the job of an input has failed.
    pub fn wait_failed(&self, input: &str) -> Job {
        self.wait_state(input, "failed")
    }

    /// Waits until the job of an input waits with a reason that holds these words.
    pub fn wait_reason(&self, input: &str, words: &str) -> Job {
        self.wait_for(&format!("{input} waits: {words}"), |studio| {
            let job = studio.job(input)?;
            (job.state() == "waiting" && job.reason().contains(words)).then_some(job)
        })
    }

    /// Waits until `count` jobs have ended, all of them; answers with them.
    pub fn wait_all_ended(&self, count: usize) -> Vec<Job> {
        self.wait_for(&format!("{count} jobs have ended"), |studio| {
            let jobs = studio.jobs();
            (jobs.len() == count && jobs.iter().all(Job::has_ended)).then_some(jobs)
        })
    }

    fn bound(&self, limit: Instant, what: &str) {
        if Instant::now() > limit {
            panic!("waited too long until: {what}\n{}", self.report());
        }
    }

    /// All that can be known, for a test that fails.
    pub fn report(&self) -> String {
        let status = self
            .command()
            .args(["status", "--json", "--config"])
            .arg(&self.config)
            .output()
            .map_or_else(
                |error| error.to_string(),
                |output| format!("{}{}", text(&output.stdout), text(&output.stderr)),
            );
        let requests = self
            .simulator
            .as_ref()
            .map_or_else(String::new, |simulator| {
                let snapshot = simulator.snapshot();
                let skip = snapshot.requests.len().saturating_sub(40);
                let mut lines = String::new();
                for seen in snapshot.requests.iter().skip(skip) {
                    writeln!(
                        lines,
                        "{} {} {} {:?} {:?}",
                        seen.time, seen.method, seen.path, seen.status, seen.fault
                    )
                    .unwrap();
                }
                lines
            });
        format!(
            "--- status --json\n{status}--- requests\n{requests}--- log\n{}--- files\n{}\n",
            self.log(),
            self.tree().join("\n")
        )
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let pid = rustix::process::Pid::from_child(&child);
            if rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok() {
                let limit = Instant::now() + Duration::from_secs(10);
                while Instant::now() < limit && matches!(child.try_wait(), Ok(None)) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            if matches!(child.try_wait(), Ok(None)) {
                eprintln!("the daemon had to be killed");
                if let Err(error) = child.kill().and_then(|()| child.wait().map(drop)) {
                    eprintln!("and could not: {error}");
                }
            }
        }
        self.simulator = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let removed = remove_with_mounts(&self.root);
        if let Err(error) = removed
            && !std::thread::panicking()
        {
            panic!("{} is left behind: {error}", self.root.display());
        }
    }
}

/// Removes a folder. What is still mounted in it is unmounted first, and programs that have just ended may write for a moment.
pub fn remove_with_mounts(folder: &Path) -> std::io::Result<()> {
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        unmount_below(folder);
        match fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > limit => return Err(error),
            Err(_) => {}
        }
        // A test may have taken away its own permission.
        let mode = Command::new("chmod")
            .args(["--recursive", "--silent", "u+rwX"])
            .arg(folder)
            .status();
        assert!(mode.is_ok(), "{mode:?}");
        std::thread::sleep(LOOK);
    }
}

/// Unmounts all that is mounted in a folder, the innermost first.
fn unmount_below(folder: &Path) {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted = table.lines().filter_map(|line| line.split(' ').nth(1));
    for point in mounted
        .map(Path::new)
        .filter(|at| at.starts_with(folder))
        .rev()
    {
        let status = Command::new("umount").arg("--lazy").arg(point).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be unmounted", point.display());
        }
    }
}

/// Whether something is mounted at exactly this place.
pub fn is_mounted(point: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut mounted = table.lines().filter_map(|line| line.split(' ').nth(1));
    mounted.any(|at| Path::new(at) == point)
}

/// Whether a user can run a program where it lies.
pub fn can_run(user: u32, program: &Path) -> bool {
    Command::new(program)
        .arg("--version")
        .uid(user)
        .gid(user)
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Makes a folder and everything in it a user's.
pub fn give(folder: &Path, user: u32) {
    std::os::unix::fs::chown(folder, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path(), user);
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(user), Some(user)).unwrap();
        }
    }
}

/// Bytes as text, for messages and for what the program prints.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Text for people without the ends of its lines, which stand where it happens to be wrapped.
pub fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes a file under a hidden name and renames it.
pub fn put(path: &Path, bytes: &[u8]) {
    let folder = path.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    // The name is short whatever the file's own is.
    let mut part = b".".to_vec();
    let name = path.file_name().unwrap().as_bytes();
    part.extend(&sha256(name).as_bytes()[..16]);
    part.extend(b".part");
    let part = folder.join(OsStr::from_bytes(&part));
    fs::write(&part, bytes).unwrap();
    fs::rename(&part, path).unwrap();
}

/// Visits every file and symbolic link below a folder. What vanishes meanwhile is passed by.
pub fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, visit),
            Ok(_) => visit(&path),
            Err(_) => {}
        }
    }
}
