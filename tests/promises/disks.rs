//! Outbox, inbox and state directory run out of space, become read-only or lose permission on a real small filesystem, and
//! come back: work goes on by itself.

mod start;
mod task_id;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use taxiway::simulator::{Action, Rule};

use crate::api::{Api, jpeg_key};
use crate::audit::{Mode, audit};
use crate::book::Book;
use crate::mount::{Mount, run};
use crate::support::{Builder, Job, Studio, give, jpeg, text};

/// Who the daemon is where it is to have no more rights than others.
const NOBODY: u32 = 65534;
/// After trouble the daemon waits up to half a minute before it tries again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of warnings and errors that a few jobs in one trouble may make.
const LINES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Outbox,
    /// With working, originals and failed, which lie on the same filesystem.
    Inbox,
    State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    Full,
    ReadOnly,
    Forbidden,
}

/// A studio of which one part lies on a small filesystem.
struct Stage {
    // Dropped first: the daemon ends before its disk goes.
    studio: Studio,
    mount: Mount,
    place: Place,
    book: Book,
    /// Whoever makes the trouble as long as it lasts.
    maker: Option<Maker>,
}

/// A process that ends with this.
struct Maker(Child);

impl Drop for Maker {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        if rustix::process::kill_process(pid, rustix::process::Signal::INT).is_ok()
            && let Err(error) = self.0.wait()
        {
            eprintln!("{error}");
        }
    }
}

impl Stage {
    fn new(place: Place, trouble: Trouble, builder: Builder) -> Stage {
        let user = (trouble == Trouble::Forbidden).then_some(NOBODY);
        let mut builder = builder.image_defaults();
        if let Some(user) = user {
            builder = builder.user(user);
        }
        let mut studio = builder.open();
        studio.patience = PATIENCE;
        let mount = match place {
            Place::Outbox => Mount::ext4(&studio.path("outbox"), 4),
            Place::State => Mount::ext4(&studio.path("state"), 4),
            Place::Inbox => {
                let mount = Mount::ext4(&studio.path("small"), 4);
                // The audit and the harness know the folders under their usual names.
                fs::remove_dir(studio.path("inbox")).unwrap();
                for folder in ["inbox", "working", "originals", "failed"] {
                    fs::create_dir(mount.path().join(folder)).unwrap();
                    std::os::unix::fs::symlink(mount.path().join(folder), studio.path(folder))
                        .unwrap();
                }
                let config = fs::read_to_string(&studio.config).unwrap();
                let config = config.replace("path: inbox", "path: small/inbox\n    outbox: outbox");
                fs::write(&studio.config, config).unwrap();
                mount
            }
        };
        if let Some(user) = user {
            give(mount.path(), user);
        }
        studio.start();
        Stage {
            studio,
            mount,
            place,
            book: Book::default(),
            maker: None,
        }
    }

    /// Drops a picture like no other.
    fn drop(&mut self, name: &str) {
        let bytes = jpeg(name);
        let key = jpeg_key(&bytes);
        let path = format!("inbox/{name}");
        self.book
            .drop(&[(path.as_str(), bytes.as_slice(), Some(key.as_str()))]);
        self.studio.drop_file(name, &bytes);
    }

    /// What lies where the trouble is.
    fn folders(&self) -> Vec<PathBuf> {
        match self.place {
            Place::Outbox | Place::State => vec![self.mount.path().to_owned()],
            Place::Inbox => ["inbox", "working", "originals", "failed"]
                .map(|folder| self.mount.path().join(folder))
                .to_vec(),
        }
    }

    fn journal_files(&self) -> Vec<PathBuf> {
        ["journal.sqlite", "journal.sqlite-wal"]
            .map(|name| self.mount.path().join(name))
            .to_vec()
    }

    fn begin(&mut self, trouble: Trouble) {
        match (trouble, self.place) {
            (Trouble::Full, _) => self.mount.fill(),
            // What somebody has open for writing cannot be remounted, and the journal always is: the calls answer as they do
            // on a share that its server made read-only.
            (Trouble::ReadOnly, Place::State) => self.refuse_writes("EROFS"),
            (Trouble::ReadOnly, _) => {
                let limit = Instant::now() + PATIENCE;
                while !self.mount.remount("ro") {
                    assert!(Instant::now() < limit, "{}", self.studio.report());
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            (Trouble::Forbidden, Place::State) => {
                // A mode says nothing to who has the file open; this does.
                for file in self.journal_files() {
                    run("chattr", &["+i"], &file);
                }
                self.set_mode(0o000);
            }
            (Trouble::Forbidden, _) => self.set_mode(0o000),
        }
    }

    fn end(&mut self, trouble: Trouble) {
        match (trouble, self.place) {
            (Trouble::Full, _) => self.mount.make_room(),
            (Trouble::ReadOnly, Place::State) => self.maker = None,
            (Trouble::ReadOnly, _) => assert!(self.mount.remount("rw")),
            (Trouble::Forbidden, Place::State) => {
                for file in self.journal_files().iter().filter(|file| file.exists()) {
                    run("chattr", &["-i"], file);
                }
                self.set_mode(0o755);
            }
            (Trouble::Forbidden, _) => self.set_mode(0o755),
        }
    }

    fn set_mode(&self, mode: u32) {
        for folder in self.folders() {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// From now on every call that writes to the journal is answered so.
    fn refuse_writes(&mut self, error: &str) {
        let mut command = Command::new("strace");
        command.args(["-q", "-f", "-p", &self.studio.pid().to_string()]);
        for file in self.journal_files() {
            command.arg("-P").arg(file);
        }
        let child = command
            .args(["-e", "trace=pwrite64,ftruncate,fsync,fdatasync"])
            .arg("-e")
            .arg(format!(
                "inject=pwrite64,ftruncate,fsync,fdatasync:error={error}"
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.maker = Some(Maker(child));
        let tracer = format!("/proc/{}/status", self.studio.pid());
        self.studio.wait_until("the journal refuses writes", |_| {
            fs::read_to_string(&tracer)
                .unwrap()
                .lines()
                .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        });
    }

    /// Warnings and errors in the log from a place on.
    fn complaints(&self, from: usize) -> Vec<String> {
        let log = self.studio.log();
        let new = log.get(from..).unwrap_or_default();
        let loud = |line: &&str| line.contains(" WARN ") || line.contains("ERROR ");
        new.lines().filter(loud).map(str::to_owned).collect()
    }

    /// Everything is at its end, and every promise is kept.
    fn audit(&self) {
        let api = Api::from(self.studio.seen());
        let verdict = audit(&self.studio, &self.book, &api, Mode::default());
        verdict.assert_clean(&self.studio);
    }
}

/// What a person has to read about the trouble: what it is, and what to do.
fn words(place: Place, trouble: Trouble) -> [&'static str; 2] {
    match trouble {
        // SQLite does not pass on what the system said.
        _ if place == Place::State => [
            "full|readonly|I/O error|unable to open",
            "space and permissions",
        ],
        Trouble::Full => ["full|No space left", "Make room"],
        Trouble::ReadOnly => ["ead-only|readonly", "mount it writable"],
        Trouble::Forbidden => ["Permission denied", "Give taxiway's user permission"],
    }
}

fn has(text: &str, alternatives: &str) -> bool {
    alternatives.split('|').any(|word| text.contains(word))
}

/// Several people ask for the status at the same moment, and all are answered.
fn ask_at_once(studio: &Studio) {
    let asking: Vec<Child> = (0..4)
        .map(|_| {
            let mut command = studio.command();
            command
                .args(["status", "--json", "--config"])
                .arg(&studio.config);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in asking {
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{said}\n{}", studio.report());
        assert!(said.contains("first.jpg"), "{said}");
    }
}

/// The whole story: jobs at several points, trouble, what is said of it, the end of the trouble, the end of the jobs.
fn story(place: Place, trouble: Trouble) {
    let slow = Rule::on("/_storage/output", Action::Slow { ms: 4000 }).times(1);
    let fails = Action::TaskFails {
        code: "SAFETY.INPUT.IMAGE".to_owned(),
        message: None,
        charged: None,
    };
    // One job fails in the middle of the trouble, so that its note and its input have to go to `failed`.
    let mut second = Rule::on("/v1/image_to_video", fails);
    second.when.nth = Some(2);
    let builder = Studio::builder().task_seconds(2.5).simulator(|options| {
        options.faults = vec![second];
        // With the part file open for writing, the filesystem could not be made read-only.
        if (place, trouble) != (Place::Outbox, Trouble::ReadOnly) {
            options.faults.push(slow);
        }
    });
    let mut stage = Stage::new(place, trouble, builder);
    stage.drop("first.jpg");
    stage.studio.wait_for("the first is fetched", |studio| {
        let job = studio.job("first.jpg")?;
        matches!(job.state(), "downloading" | "delivering" | "done").then_some(())
    });
    stage.drop("second.jpg");
    stage.drop("third.jpg");
    stage.studio.wait_state("third.jpg", "running");
    stage.drop("fourth.jpg");
    let from = stage.studio.log().len();
    stage.begin(trouble);
    if place != Place::Inbox {
        stage.drop("fifth.jpg");
    }
    let folder = stage.mount.path().to_owned();
    let [what, advice] = words(place, trouble);
    let told = stage
        .studio
        .wait_for("status tells of the trouble", |studio| {
            studio.jobs().into_iter().find(|job| {
                let reason = job.reason();
                has(reason, what)
                    && has(reason, advice)
                    && reason.contains(&*folder.to_string_lossy())
            })
        });
    // It lasts for a while, in which the daemon goes on answering and does not repeat itself.
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        ask_at_once(&stage.studio);
        std::thread::sleep(Duration::from_millis(100));
    }
    let complaints = stage.complaints(from);
    assert!(
        (1..=LINES).contains(&complaints.len()),
        "{} lines:\n{}",
        complaints.len(),
        stage.studio.report()
    );
    let count = stage.book.drops();
    assert!(stage.studio.submissions().len() <= count);
    stage.end(trouble);
    let ended = stage.studio.wait_all_ended(count);
    let failed: Vec<&str> = ended
        .iter()
        .filter(|job| job.state() != "done")
        .map(Job::input)
        .collect();
    assert_eq!(failed.len(), 1, "{told:?}\n{}", stage.studio.report());
    assert_eq!(stage.studio.submissions().len(), count);
    stage.audit();
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_outbox_runs_out_of_space_and_gets_room_again() {
    story(Place::Outbox, Trouble::Full);
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_outbox_becomes_read_only_and_writable_again() {
    story(Place::Outbox, Trouble::ReadOnly);
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_outbox_loses_permission_and_gets_it_back() {
    story(Place::Outbox, Trouble::Forbidden);
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_inbox_with_working_originals_and_failed_runs_out_of_space_and_gets_room_again() {
    story(Place::Inbox, Trouble::Full);
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_inbox_with_working_originals_and_failed_becomes_read_only_and_writable_again() {
    story(Place::Inbox, Trouble::ReadOnly);
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_inbox_with_working_originals_and_failed_loses_permission_and_gets_it_back() {
    story(Place::Inbox, Trouble::Forbidden);
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_state_directory_runs_out_of_space_and_gets_room_again() {
    story(Place::State, Trouble::Full);
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_state_directory_becomes_read_only_and_writable_again() {
    story(Place::State, Trouble::ReadOnly);
}

#[test(needs = [ROOT, MOUNT, EXT4, STRACE])]
fn the_state_directory_loses_permission_and_gets_it_back() {
    story(Place::State, Trouble::Forbidden);
}

#[test(needs = [ROOT, MOUNT, EXT4])]
fn an_inbox_without_permission_says_so_of_what_waits_in_it() {
    let builder = Studio::builder().inbox("settle: 1h");
    let mut stage = Stage::new(Place::Inbox, Trouble::Forbidden, builder);
    let whole = jpeg("half");
    // Half a picture waits for the rest.
    stage.studio.write_in_place("half.jpg", &whole[..100]);
    stage.studio.wait_reason("half.jpg", "");
    let inbox = stage.mount.path().join("inbox");
    let set = |mode| fs::set_permissions(&inbox, fs::Permissions::from_mode(mode)).unwrap();
    // It cannot be listed, or its files cannot be reached.
    for mode in [0o300, 0o600] {
        let from = stage.studio.log().len();
        set(mode);
        let job = stage.studio.wait_reason("half.jpg", "Permission denied");
        assert!(
            job.reason().contains("Give taxiway's user permission"),
            "{job:?}"
        );
        set(0o755);
        stage.studio.wait_until("the inbox is back", |studio| {
            let log = studio.log();
            log[from..].contains("the folder is back")
        });
        let complaints = stage.complaints(from);
        assert!((1..=4).contains(&complaints.len()), "{complaints:#?}");
    }
    let key = jpeg_key(&whole);
    let file = ("inbox/half.jpg", whole.as_slice(), Some(key.as_str()));
    stage.book.drop(&[file]);
    fs::OpenOptions::new()
        .append(true)
        .open(inbox.join("half.jpg"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, &whole[100..]))
        .unwrap();
    stage.studio.wait_done("half.jpg");
    stage.audit();
}
