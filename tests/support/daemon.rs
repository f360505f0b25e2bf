//! The daemon and the commands as processes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use super::studio::Studio;
use super::{PATIENCE, text};

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

impl Studio {
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

    pub(super) fn log_path(&self) -> PathBuf {
        self.path("daemon.log")
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map_or_else(|_| String::new(), |bytes| text(&bytes))
    }
}

/// A program that ends with the test, even if the test is killed.
pub fn helper(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", program])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Ends a child, at once.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
