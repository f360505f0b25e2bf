//! Events cannot be trusted, the scan can: whatever the kernel does not tell of is found, and what it tells of is found at once.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Builder, PATIENCE, Studio, in_memory, jpeg, put};

/// A job that needs no media.
const STILL: &str = "model: gen4_image\nprompt: a tower\nratio: \"1280:720\"\n";

/// A studio in which a thousand pictures meet no limit, on a disk in memory. Nothing but events and what the daemon decides by
/// itself makes it look.
fn large() -> Builder {
    Studio::builder()
        .below(&in_memory())
        .without_limits()
        .image_defaults()
}

/// `count` filled folders outside the inbox, to be moved in.
fn stage(studio: &Studio, round: &str, count: usize) {
    for number in 0..count {
        put(
            &studio.path(format!("staging/{round} moved {number}/x.jpg")),
            &jpeg(&format!("{round} moved {number}")),
        );
    }
}

/// Makes `count` folders and writes one file into each, as fast as possible, and moves `count` filled ones in.
fn pour(studio: &Studio, round: &str, count: usize) {
    for number in 0..count {
        let folder = studio.inbox(format!("{round} made {number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(
            folder.join("x.jpg"),
            jpeg(&format!("{round} made {number}")),
        )
        .unwrap();
    }
    for number in 0..count {
        let name = format!("{round} moved {number}");
        fs::rename(
            studio.path("staging").join(&name),
            studio.path("inbox").join(name),
        )
        .unwrap();
    }
}

/// Waits until so many were sent. To ask for the log of thousands of requests costs something, so it is not asked for often.
fn wait_sent(studio: &Studio, wanted: usize) {
    studio.wait_until("all are sent", |studio| {
        std::thread::sleep(Duration::from_millis(200));
        studio.submissions().len() >= wanted
    });
}

/// What was poured is a job each, and was sent once each.
fn all_are_sent_once(studio: &mut Studio, rounds: &[&str], count: usize) {
    let wanted = 2 * count * rounds.len();
    studio.patience = Duration::from_secs(90);
    wait_sent(studio, wanted);
    let sent: BTreeSet<String> = studio
        .submissions()
        .iter()
        .map(|seen| seen.body.as_ref().unwrap()["promptImage"].to_string())
        .collect();
    assert_eq!(sent.len(), wanted, "each picture is another");
    assert_eq!(studio.submissions().len(), wanted);
    let inputs: Vec<String> = studio
        .status_lines()
        .iter()
        .map(|job| job.input().to_owned())
        .collect();
    let expected: BTreeSet<String> = rounds
        .iter()
        .flat_map(|round| {
            (0..count).flat_map(move |number| {
                ["made", "moved"].map(|how| format!("{round} {how} {number}/x.jpg"))
            })
        })
        .collect();
    assert_eq!(inputs.len(), wanted);
    assert_eq!(inputs.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// A file in a folder that was there before is found without any event, soon.
fn a_later_file_is_found(studio: &mut Studio) {
    studio.patience = PATIENCE;
    let before = studio.submissions().len();
    studio.drop_file("a made 99/later.jpg", jpeg("later"));
    studio.wait_until("the later file is sent", |studio| {
        studio.submissions().len() == before + 1
    });
}

/// How often the log has these words.
fn said(studio: &Studio, words: &str) -> usize {
    studio.log().matches(words).count()
}

#[test]
fn row_07_five_hundred_folders_made_and_as_many_moved_in_are_a_thousand_jobs() {
    let mut studio = large()
        .inbox("watch: events")
        .inbox("scan_interval: 1h")
        .open();
    stage(&studio, "a", 500);
    studio.start();
    pour(&studio, "a", 500);
    all_are_sent_once(&mut studio, &["a"], 500);
}

/// Makes more events than the kernel keeps, while nobody reads them.
fn flood(studio: &Studio) {
    let room: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    // Opening and closing are an event each; two files in turn, since the kernel makes one of two equal events.
    for number in 0..room / 2 + 100 {
        let name = [".noise", ".other noise"][number % 2];
        drop(File::create(studio.inbox(name)).unwrap());
    }
}

#[test]
fn row_08_an_overflowing_queue_loses_no_file() {
    let mut studio = large()
        .inbox("watch: events")
        .inbox("scan_interval: 1h")
        .open();
    for round in ["a", "b"] {
        stage(&studio, round, 100);
    }
    studio.start();
    for round in ["a", "b"] {
        studio.signal(Signal::STOP);
        flood(&studio);
        pour(&studio, round, 100);
        studio.signal(Signal::CONT);
        let wanted = if round == "a" { 200 } else { 400 };
        wait_sent(&studio, wanted);
    }
    all_are_sent_once(&mut studio, &["a", "b"], 100);
    assert_eq!(said(&studio, "sysctl fs.inotify.max_queued_events="), 1);
}

/// What starts the daemon in a user namespace of its own with this limit in it: the limits of inotify are counted for each
/// namespace, so nobody else on the machine comes to feel them.
fn limited(name: &str, limit: u32) -> Vec<String> {
    let script = format!("echo {limit} >/proc/sys/user/{name} && exec \"$@\"");
    [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        &script,
        "sh",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Pours under a limit; the log names the setting to raise once.
fn nothing_is_lost_with(limit: &str, number: u32, setting: &str) {
    let words = limited(limit, number);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // By itself it takes a disk in memory for one of which events tell everything.
    let mut studio = large().wrapper(&words).inbox("scan_interval: auto").open();
    stage(&studio, "a", 100);
    studio.start();
    pour(&studio, "a", 100);
    all_are_sent_once(&mut studio, &["a"], 100);
    a_later_file_is_found(&mut studio);
    assert_eq!(said(&studio, &format!("sysctl {setting}=")), 1);
}

#[test(needs = [USER_NAMESPACES])]
fn row_09_an_exhausted_watch_limit_loses_no_file() {
    nothing_is_lost_with("max_inotify_watches", 20, "fs.inotify.max_user_watches");
}

#[test(needs = [USER_NAMESPACES])]
fn row_09_without_any_watch_instance_no_file_is_lost() {
    nothing_is_lost_with("max_inotify_instances", 0, "fs.inotify.max_user_instances");
}

/// strace on a running process or thread; what it notes lies in `file`.
struct Strace {
    child: Child,
    file: PathBuf,
}

impl Strace {
    /// Attaches, and returns once it is attached.
    fn attach(studio: &Studio, id: u32, arguments: &[&str]) -> Strace {
        let file = studio.path("trace");
        let said = studio.path("strace.log");
        let child = Command::new("strace")
            .args(arguments)
            .arg("-o")
            .arg(&file)
            .args(["-p", &id.to_string()])
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        studio.wait_until("strace is attached", |_| {
            fs::read_to_string(&said).is_ok_and(|words| words.contains(" attached"))
        });
        Strace { child, file }
    }

    /// Detaches, and answers with what was noted.
    fn end(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap();
        fs::read_to_string(&self.file).unwrap()
    }
}

/// The daemon's threads of this name.
fn threads(studio: &Studio, name: &str) -> Vec<u32> {
    fs::read_dir(format!("/proc/{}/task", studio.pid()))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.starts_with(name))
        })
        .map(|entry| entry.file_name().to_str().unwrap().parse().unwrap())
        .collect()
}

#[test(needs = [STRACE])]
fn row_09_a_watcher_that_died_loses_no_file() {
    let mut studio = large()
        .inbox("watch: events")
        .inbox("scan_interval: auto")
        .open();
    stage(&studio, "a", 100);
    studio.start();
    let watcher = threads(&studio, "notify-rs");
    assert_eq!(watcher.len(), 1);
    // Its next wait for events fails in a way that it does not survive.
    let strace = Strace::attach(
        &studio,
        watcher[0],
        &["-e", "inject=?epoll_wait,?epoll_pwait:error=EBADF"],
    );
    fs::write(studio.inbox(".noise"), "").unwrap();
    studio.wait_until("the watcher is dead", |studio| {
        threads(studio, "notify-rs").is_empty()
    });
    strace.end();
    pour(&studio, "a", 100);
    all_are_sent_once(&mut studio, &["a"], 100);
    a_later_file_is_found(&mut studio);
    assert_eq!(said(&studio, "folders are scanned instead"), 1);
    assert!(studio.stop().success());
}

/// The calls that look at names: what a scan costs.
const LOOKS: &str =
    "trace=getdents64,openat,?open,statx,newfstatat,?stat,?lstat,?readlink,?access,faccessat";

/// A studio that knows 400 folders with 50 files each, and learns of more only by events.
fn among_twenty_thousand_files() -> Studio {
    const FOLDERS: usize = 400;
    let mut studio = Studio::builder()
        .below(&in_memory())
        .inbox("watch: events")
        .inbox("scan_interval: 1h")
        .open();
    for folder in 0..FOLDERS {
        let folder = studio.inbox(format!("folder {folder}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..50 {
            fs::write(folder.join(format!("{file}.jpg")), "waits").unwrap();
        }
    }
    studio.start();
    studio
}

#[test]
fn row_11_among_twenty_thousand_files_a_new_one_is_noticed_at_once() {
    let studio = among_twenty_thousand_files();
    // The least of several: a busy machine makes it longer, and nothing shorter.
    let mut least = Duration::MAX;
    for number in 0..3 {
        let start = Instant::now();
        studio.drop_file(format!("folder {number}/still.yaml"), STILL);
        studio.wait_until("it is sent", |studio| {
            studio.submissions().len() == number + 1
        });
        least = least.min(start.elapsed());
    }
    assert!(least < Duration::from_secs(1), "{least:?}");
}

#[test(needs = [STRACE])]
fn row_11_among_twenty_thousand_files_only_the_folder_of_a_new_one_is_looked_at() {
    let studio = among_twenty_thousand_files();
    let strace = Strace::attach(
        &studio,
        studio.pid(),
        &["-f", "-y", "-s", "4096", "-e", LOOKS],
    );
    studio.drop_file("folder 77/still.yaml", STILL);
    studio.wait_until("it is delivered", |studio| {
        studio.outbox("folder 77/still.png").exists()
    });
    let trace = strace.end();
    let own = format!("{}/", studio.inbox("folder 77").display());
    let inbox = format!("{}/", studio.path("inbox").display());
    assert!(trace.contains(&own), "its own folder is looked at\n{trace}");
    let others: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains(&inbox) && !line.contains(own.trim_end_matches('/')))
        .collect();
    // The root itself is looked at now and then.
    assert!(
        !others.iter().any(|line| line.contains("/folder ")),
        "{others:#?}"
    );
    // Itself, its 50 neighbours, and what is done to it on its way.
    let looks = trace.lines().filter(|line| line.contains(&own)).count();
    assert!(looks < 300, "{looks} calls\n{trace}");
}

/// A studio with so many pictures in one folder, all of which wait for sidecars, and nothing but events to tell of more.
fn where_pictures_wait(count: usize) -> Studio {
    let mut studio = Studio::builder()
        .below(&in_memory())
        .inbox("watch: events")
        .inbox("scan_interval: 1h")
        .open();
    let picture = jpeg("one of many");
    for number in 0..count {
        fs::write(studio.inbox(format!("{number}.jpg")), &picture).unwrap();
    }
    studio.start();
    studio.wait_until("all wait", |studio| studio.status_lines().len() == count);
    studio
}

#[test]
fn row_11_one_folder_with_five_thousand_files_is_told_of_and_works() {
    let studio = where_pictures_wait(5_000);
    studio.drop_file(
        "4321.yaml",
        "model: gen4_turbo\nratio: \"1280:720\"\nduration: 5\n",
    );
    studio.wait_until("it is done", |studio| studio.originals("4321.jpg").exists());
    let jobs = studio.status_lines();
    assert_eq!(jobs.len(), 5_000);
    assert_eq!(
        jobs.iter().filter(|job| job.state() == "waiting").count(),
        4_999
    );
    assert_eq!(studio.submissions().len(), 1);
}

/// The time of a processor that a thread of the daemon has used.
fn processor_time(studio: &Studio, thread: u32) -> Duration {
    let path = format!("/proc/{}/task/{thread}/schedstat", studio.pid());
    let text = fs::read_to_string(path).unwrap();
    let nanoseconds = text.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}

#[test]
fn row_11_a_writer_without_pause_beside_thousands_of_files_does_not_keep_a_processor_busy() {
    let studio = where_pictures_wait(3_000);
    let thread = threads(&studio, "inbox")[0];
    let mut film = File::create(studio.inbox("film.mp4")).unwrap();
    let (start, before) = (Instant::now(), processor_time(&studio, thread));
    while start.elapsed() < Duration::from_secs(4) {
        film.write_all(b"one more frame").unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let (took, used) = (start.elapsed(), processor_time(&studio, thread) - before);
    assert!(used < took.mul_f64(0.35), "{used:?} of {took:?}");
    assert!(used > Duration::ZERO);
    studio.wait_reason("film.mp4", "for a sidecar");
}

/// The inputs that wait, sorted.
fn waiting(studio: &Studio) -> Vec<String> {
    let mut inputs: Vec<String> = studio
        .status_lines()
        .iter()
        .filter(|job| job.state() == "waiting")
        .map(|job| job.input().to_owned())
        .collect();
    inputs.sort();
    inputs
}

fn these_wait(studio: &Studio, inputs: &[&str]) {
    studio.wait_until(&format!("these wait: {inputs:?}"), |studio| {
        waiting(studio) == inputs
    });
}

#[test]
fn row_07_what_waits_follows_its_folder_and_its_file() {
    for (watch, interval) in [
        ("watch: events", "scan_interval: 1h"),
        ("watch: scan", "scan_interval: 100ms"),
    ] {
        let studio = Studio::builder().inbox(watch).inbox(interval).run();
        for name in ["a/one.jpg", "a/deep/two.jpg", "three.jpg"] {
            studio.drop_file(name, jpeg(name));
        }
        these_wait(&studio, &["a/deep/two.jpg", "a/one.jpg", "three.jpg"]);
        // Folders are renamed, moved into each other, and away.
        fs::rename(studio.inbox("a"), studio.inbox("b")).unwrap();
        these_wait(&studio, &["b/deep/two.jpg", "b/one.jpg", "three.jpg"]);
        studio.drop_file("b/four.jpg", jpeg("four"));
        studio.drop_file("b/deep/five.jpg", jpeg("five"));
        these_wait(
            &studio,
            &[
                "b/deep/five.jpg",
                "b/deep/two.jpg",
                "b/four.jpg",
                "b/one.jpg",
                "three.jpg",
            ],
        );
        fs::create_dir(studio.inbox("c")).unwrap();
        fs::rename(studio.inbox("b/deep"), studio.inbox("c/deep")).unwrap();
        these_wait(
            &studio,
            &[
                "b/four.jpg",
                "b/one.jpg",
                "c/deep/five.jpg",
                "c/deep/two.jpg",
                "three.jpg",
            ],
        );
        fs::rename(studio.inbox("c"), studio.path("elsewhere")).unwrap();
        fs::remove_dir_all(studio.inbox("b")).unwrap();
        these_wait(&studio, &["three.jpg"]);
        // The same name again is another folder.
        studio.drop_file("b/six.jpg", jpeg("six"));
        these_wait(&studio, &["b/six.jpg", "three.jpg"]);
        // Files are renamed, removed and edited.
        fs::rename(studio.inbox("three.jpg"), studio.inbox("b/seven.jpg")).unwrap();
        these_wait(&studio, &["b/seven.jpg", "b/six.jpg"]);
        fs::remove_file(studio.inbox("b/six.jpg")).unwrap();
        these_wait(&studio, &["b/seven.jpg"]);
        studio.drop_file("b/seven.jpg", jpeg("edited"));
        studio.drop_file(
            "b/seven.jpg.yaml",
            "model: gen4_turbo\nratio: \"1280:720\"\nduration: 5\n",
        );
        studio.wait_done("b/seven.jpg");
        assert_eq!(
            fs::read(studio.originals("b/seven.jpg")).unwrap(),
            jpeg("edited")
        );
        assert_eq!(studio.submissions().len(), 1);
        assert_eq!(studio.status_lines().len(), 1, "{}", studio.report());
    }
}

#[test]
fn row_13_litter_in_any_folder_is_never_a_job() {
    pass_over_litter(false);
}

#[test(needs = [STRACE])]
fn row_13_litter_in_any_folder_is_not_even_looked_at() {
    pass_over_litter(true);
}

fn pass_over_litter(traced: bool) {
    let litter = [
        ".DS_Store",
        "._red.jpg",
        "Thumbs.db",
        "desktop.ini",
        "@eaDir/thumb.jpg",
        ".stfolder/x.jpg",
        "~$red.yaml",
        "red.jpg.part",
        "red.jpg.partial",
        "red.jpg.crdownload",
        "red.jpg.tmp",
        "red.jpg.swp",
        ".syncthing.red.jpg.tmp",
        ".smbdeleteAAA01.jpg",
        ".nfs000000000012.jpg",
        ".fuse_hidden0001.jpg",
        "#recycle/old.jpg",
        ".Trash-1000/old.jpg",
        ".~lock.red.jpg#",
    ];
    let mut studio = Studio::builder().image_defaults().open();
    if traced {
        studio.set_wrapper(&[
            "strace",
            "-D",
            "-f",
            "-y",
            "-s",
            "4096",
            "-o",
            "{root}/trace",
            "-e",
            LOOKS,
        ]);
    }
    for folder in ["", "shoes", "shoes/new/2026"] {
        for name in litter {
            let path = studio.inbox(folder).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, jpeg(name)).unwrap();
        }
    }
    studio.start();
    for folder in ["", "shoes", "shoes/new/2026"] {
        studio.drop_file(Path::new(folder).join("good.jpg"), jpeg(folder));
        studio.wait_done(Path::new(folder).join("good.jpg").to_str().unwrap());
    }
    assert_eq!(studio.status_lines().len(), 3, "{}", studio.report());
    assert_eq!(studio.submissions().len(), 3);
    for folder in ["", "shoes", "shoes/new/2026"] {
        for name in litter {
            assert!(studio.inbox(folder).join(name).exists(), "{folder} {name}");
        }
    }
    if !traced {
        return;
    }
    assert!(studio.stop().success());
    let trace = fs::read_to_string(studio.path("trace")).unwrap();
    assert!(trace.contains("good.jpg"));
    for name in litter {
        let top = name.split('/').next().unwrap();
        let touched: Vec<&str> = trace
            .lines()
            .filter(|line| {
                // After its folder, or alone where the call names the folder by a descriptor.
                ["/{}\"", "/{}/", "\"{}\"", "/{}>"]
                    .iter()
                    .any(|form| line.contains(&form.replace("{}", top)))
            })
            .collect();
        assert!(touched.is_empty(), "{touched:#?}");
    }
}

#[test]
fn row_05_a_file_in_flight_is_not_queued_again_however_often_it_is_looked_for() {
    let mut studio = Studio::builder()
        .image_defaults()
        .runway("max_in_flight: 1")
        .task_seconds(1.0)
        .inbox("scan_interval: 100ms")
        .run();
    studio.drop_file("red.jpg", jpeg("first"));
    studio.wait_state("red.jpg", "running");
    // The same name again is another job, and so are the same bytes under another name.
    studio.drop_file("red.jpg", jpeg("second"));
    studio.drop_file("blue.jpg", jpeg("first"));
    studio.wait_until("all are taken", |studio| studio.jobs().len() == 3);
    // Looks at everything, by time, by events and by a new daemon, while one runs and two wait for their turn.
    for number in 0..20 {
        studio.write_in_place(format!(".noise {number}"), "");
    }
    studio.restart();
    for job in studio.wait_all_ended(3) {
        assert_eq!(job.state(), "done", "{job:?}");
        assert_eq!(job.attempts(), 1, "{job:?}");
    }
    assert_eq!(studio.submissions().len(), 3);
}

#[test]
fn row_06_a_failed_file_is_not_tried_again_until_it_is_moved_back() {
    let mut studio = Studio::builder()
        .image_defaults()
        .inbox("failed: inbox/_failed")
        .inbox("scan_interval: 100ms")
        .run();
    let failing = "prompt: \"[[fail SAFETY.INPUT.TEXT]]\"\n";
    studio.drop_file("sub/red.jpg.yaml", failing);
    studio.drop_file("sub/red.jpg", jpeg("red"));
    studio.wait_failed("sub/red.jpg");
    let failed = studio.inbox("_failed/sub/red.jpg");
    let note = studio.inbox("_failed/sub/red.jpg.error.txt");
    studio.wait_until("its note lies beside it", |_| {
        failed.is_file() && note.is_file()
    });
    // A new daemon, and scans that a job begun and ended meanwhile has passed through.
    studio.restart();
    studio.drop_file("good.jpg", jpeg("good"));
    studio.wait_done("good.jpg");
    assert_eq!(studio.submissions().len(), 2);
    assert_eq!(studio.status_lines().len(), 2, "{}", studio.report());
    assert!(failed.is_file());
    // Moved back alone, its sidecar stays where it is: it is another request, of the defaults.
    fs::rename(&failed, studio.inbox("sub/red.jpg")).unwrap();
    studio.wait_until("it is done", |studio| {
        studio
            .job("sub/red.jpg")
            .is_some_and(|job| job.state() == "done")
    });
    assert_eq!(studio.submissions().len(), 3);
}
