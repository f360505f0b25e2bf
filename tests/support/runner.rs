//! Runs the tests of a program that has `harness = false`, by `cargo test` as by nextest. A test that needs something that this
//! machine does not have counts as ignored, and the reason is shown.
//!
//! `TAXIWAY_TEST_SKIPPED=FILE` adds a line to the file for each such test: nextest shows no reasons.

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use self::needs::Need;

/// A test and what it needs. `#[test]` makes these.
pub struct Test {
    /// The function's name with its modules, and the program's name before them.
    pub name: &'static str,
    pub needs: &'static [Need],
    pub run: fn(),
}

inventory::collect!(Test);

/// Tests that run alone, and programs that run two tests at once at most, as `.config/nextest.toml` says it to nextest, which has a
/// process for each test.
const ALONE: [&str; 3] = [
    "promises::kills::",
    "promises::points::",
    "promises::histories::",
];
const TWO_AT_ONCE: &str = "shares";

/// Held by a test that runs alone, and shared by the others.
static ROOM: RwLock<()> = RwLock::new(());

impl Test {
    /// What this machine does not have of what the test needs.
    fn find_missing(&self) -> Option<String> {
        let missing: Vec<&str> = self
            .needs
            .iter()
            .filter(|need| !(need.is_met)())
            .map(|need| need.what)
            .collect();
        (!missing.is_empty()).then(|| format!("needs {}", missing.join(", ")))
    }

    fn run_in_its_room(&self) {
        if ALONE.iter().any(|start| self.name.starts_with(start)) {
            let _alone = ROOM.write().unwrap_or_else(PoisonError::into_inner);
            (self.run)();
        } else {
            let _shared = ROOM.read().unwrap_or_else(PoisonError::into_inner);
            (self.run)();
        }
    }

    /// The test as libtest-mimic wants it. The usual runners ask for a list first, and leave out what is marked as ignored there.
    fn make_trial(&'static self, arguments: &Arguments) -> Trial {
        let (program, name) = self.name.split_once("::").unwrap();
        let is_listed = arguments.list || arguments.ignored;
        let missing = if is_listed { self.find_missing() } else { None };
        if arguments.list
            && let Some(missing) = &missing
        {
            note_skipped(program, name, missing);
        }
        let insists = arguments.ignored || arguments.include_ignored;
        let run = move || match self.find_missing() {
            Some(missing) if insists => Err(Failed::from(missing)),
            Some(missing) => {
                note_skipped(program, name, &missing);
                Ok(Completion::ignored_with(missing))
            }
            None => {
                self.run_in_its_room();
                Ok(Completion::Completed)
            }
        };
        Trial::ignorable_test(name, run).with_ignored_flag(missing.is_some())
    }
}

fn note_skipped(program: &str, name: &str, missing: &str) {
    let Some(path) = std::env::var_os("TAXIWAY_TEST_SKIPPED") else {
        return;
    };
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{program}::{name}: {missing}\n").as_bytes()))
        .unwrap();
}

/// The `main` of a test program.
pub fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let mut tests: Vec<&Test> = inventory::iter::<Test>.into_iter().collect();
    tests.sort_by_key(|test| test.name);
    if tests.iter().any(|test| test.name.starts_with(TWO_AT_ONCE)) {
        arguments.test_threads = Some(arguments.test_threads.map_or(2, |threads| threads.min(2)));
    }
    let trials = tests
        .into_iter()
        .map(|test| test.make_trial(&arguments))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What tests may need of a machine.
#[allow(dead_code)]
pub mod needs {
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::sync::OnceLock;

    /// Something that a test cannot do without.
    pub struct Need {
        /// As it follows the word "needs".
        pub what: &'static str,
        pub is_met: fn() -> bool,
    }

    macro_rules! needs {
        ($($name:ident: $what:expr, $is_met:expr;)*) => {
            $(pub const $name: Need = Need {
                what: $what,
                is_met: || {
                    static KNOWN: OnceLock<bool> = OnceLock::new();
                    *KNOWN.get_or_init(|| $is_met)
                },
            };)*
        };
    }

    needs! {
        ROOT: "root", rustix::process::geteuid().is_root();
        MOUNT: "permission to mount", succeeds("unshare", &["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]);
        FUSE: "/dev/fuse", Path::new("/dev/fuse").exists();
        SMBD: "smbd (samba)", has("smbd");
        SMBCLIENT: "smbclient", has("smbclient");
        RCLONE: "rclone", has("rclone");
        SSHFS: "sshfs", has("sshfs");
        SFTP_SERVER: "/usr/lib/openssh/sftp-server", Path::new("/usr/lib/openssh/sftp-server").exists();
        EXT4: "mkfs.ext4 (e2fsprogs)", has("mkfs.ext4");
        EXT4_ERRORS: "/sys/fs/ext4 (a kernel that can be told to find an error)",
            Path::new("/sys/fs/ext4/features").exists();
        STRACE: "strace, and permission to use it", succeeds("strace", &["-o", "/dev/null", "true"]);
        RSYNC: "rsync", has("rsync");
        SCRIPT: "script (bsdutils)", has("script");
        APPEND_ONLY: "chattr, and a filesystem that knows append-only folders", can_append_only();
        USER_NAMESPACES: "user namespaces with limits of their own",
            succeeds("unshare", &["--user", "--map-root-user", "sh", "-c", "echo 20 >/proc/sys/user/max_inotify_watches"]);
        OTHER_DISK: "a /dev/shm on another disk than the folder for temporary files", has_other_disk();
        RELEASE_BINARY: "TAXIWAY_TEST_RELEASE (a release build; tests/run makes one)",
            std::env::var_os("TAXIWAY_TEST_RELEASE").is_some();
        SDK_SOURCES: "TAXIWAY_TEST_SDK (Python with pip and a network; tests/run sets it up)",
            std::env::var_os("TAXIWAY_TEST_SDK").is_some();
        SDK: "TAXIWAY_TEST_PYTHON (a Python with the packages runwayml and standardwebhooks; tests/run sets it up)",
            std::env::var_os("TAXIWAY_TEST_PYTHON").is_some();
    }

    /// Whether a program is installed. A user's path may lack the folders for administrators.
    fn has(program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|folder| folder.join(program).is_file())
    }

    fn succeeds(program: &str, arguments: &[&str]) -> bool {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn can_append_only() -> bool {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        succeeds("chattr", &["+a", path]) && succeeds("chattr", &["-a", path])
    }

    fn has_other_disk() -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let disk_of = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
        let there = disk_of(Path::new("/dev/shm"));
        there.is_some() && there != disk_of(&std::env::temp_dir())
    }
}
