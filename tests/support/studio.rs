//! A studio for a test: folders of its own, a simulator and a configuration. What it does is in `daemon`, `api` and `wait`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;
use taxiway::simulator::{Options, Simulator};

use super::{PATIENCE, can_run, give, put, remove_with_mounts, walk};

/// The API key of every test, unless it sets another.
pub const KEY: &str = "key_test0123456789abcdef0123456789abcdef";

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
    pub(super) runtime: Option<tokio::runtime::Runtime>,
    pub(super) daemon: Option<Child>,
    pub(super) key: Option<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) arguments: Vec<String>,
    pub(super) program: PathBuf,
    pub(super) wrapper: Vec<String>,
    pub(super) user: Option<u32>,
    pub(super) binary: PathBuf,
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
