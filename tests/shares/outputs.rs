//! Outputs on a share: whole for whoever looks there, and never over anything.

use std::collections::HashSet;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use taxiway::media::{Wholeness, probe};
use taxiway::simulator::Action;

use crate::share::Share;
use crate::studio::with_share;
use crate::support::{fault, jpeg, sha256, walk};

/// Looks at the server's own folder all the time, and notes every output that was not whole at first sight.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(HashSet<PathBuf>, Vec<String>)>,
}

impl Watcher {
    fn start(outbox: &Path) -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let (outbox, stopped) = (outbox.to_owned(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (mut known, mut wrong) = (HashSet::new(), Vec::new());
            while !stopped.load(Ordering::SeqCst) {
                walk(&outbox, &mut |path| {
                    let name = path.file_name().unwrap().to_string_lossy();
                    let is_output = !name.starts_with('.') && !name.ends_with(".yaml");
                    if is_output
                        && known.insert(path.to_owned())
                        && let Err(what) = is_whole(path)
                    {
                        wrong.push(what);
                    }
                });
                std::thread::sleep(Duration::from_millis(1));
            }
            (known, wrong)
        });
        Watcher { stop, thread }
    }

    /// How many outputs it saw; fails if one was not whole.
    fn finish(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let (known, wrong) = self.thread.join().unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
        known.len()
    }
}

/// Whether an output is whole, and is what its record beside it tells of.
fn is_whole(path: &Path) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let told = probe(&mut Cursor::new(&bytes)).map(|probe| probe.wholeness);
    if !matches!(told, Ok(Wholeness::Whole)) {
        return Err(format!("{}: {told:?}", path.display()));
    }
    let record = PathBuf::from(format!("{}.yaml", path.display()));
    let words = fs::read_to_string(&record).map_err(|e| format!("{}: {e}", record.display()))?;
    if words.contains(&sha256(&bytes)) {
        Ok(())
    } else {
        Err(format!("{}: its record tells of another", path.display()))
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn outputs_appear_whole_and_with_their_records_for_whoever_looks_at_the_server() {
    let share = Share::new();
    let studio = with_share(&share.path("inbox"))
        .simulator(|options| {
            // Downloads that break off must be gone on with, or begun anew: this share only takes what comes in order.
            options.faults = vec![fault(
                "/_storage/output",
                2,
                Action::Truncate { bytes: 1000 },
            )];
        })
        .run();
    let watcher = Watcher::start(&share.server.data("outbox"));
    for number in 0..6 {
        share
            .server
            .put(&format!("inbox/{number}.jpg"), jpeg(&number.to_string()));
    }
    let ended = studio.wait_all_ended(6);
    assert!(ended.iter().all(|job| job.state() == "done"));
    let expected: Vec<String> = (0..6)
        .flat_map(|number| [format!("{number}.mp4"), format!("{number}.mp4.yaml")])
        .collect();
    assert_eq!(names_in(&share.server.data("outbox")), expected);
    assert_eq!(watcher.finish(), 6);
    assert_eq!(studio.submissions().len(), 6);
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn row_15_nothing_is_overwritten_on_a_share_that_knows_no_way_to_forbid_it() {
    let share = Share::new();
    let studio = with_share(&share.path("inbox")).run();
    let outbox = share.server.data("outbox");
    share.server.put("outbox/red.mp4", "mine");
    // On the server this is the same name as `blue.mp4`, and not to the mount.
    share.server.put("outbox/BLUE.mp4", "mine, too");
    share.server.put("outbox/green.mp4.yaml", "and mine");
    share.server.put("originals/red.jpg", "an older one");
    for name in ["red", "blue", "green"] {
        share.server.put(&format!("inbox/{name}.jpg"), jpeg(name));
    }
    let ended = studio.wait_all_ended(3);
    assert!(ended.iter().all(|job| job.state() == "done"), "{ended:?}");
    for (name, content) in [
        ("outbox/red.mp4", "mine"),
        ("outbox/BLUE.mp4", "mine, too"),
        ("outbox/green.mp4.yaml", "and mine"),
        ("originals/red.jpg", "an older one"),
    ] {
        let path = share.server.data(name);
        assert_eq!(fs::read_to_string(&path).unwrap(), content, "{name}");
    }
    for name in ["red (2).mp4", "blue (2).mp4", "green (2).mp4"] {
        assert_eq!(is_whole(&outbox.join(name)), Ok(()));
    }
    assert_eq!(
        fs::read(share.server.data("originals/red (2).jpg")).unwrap(),
        jpeg("red")
    );
    assert_eq!(studio.submissions().len(), 3);
}

#[test(needs = [ROOT, FUSE, SMBD, SMBCLIENT, RCLONE])]
fn the_status_page_is_written_on_a_share() {
    let share = Share::new();
    let studio = with_share(&share.path("inbox"))
        .inbox("status_file: auto")
        .run();
    let page = share.server.data("STATUS.html");
    share.server.put("inbox/red.jpg", jpeg("red"));
    studio.wait_done("red.jpg");
    studio.wait_until("the page tells of it", |_| {
        fs::read_to_string(&page).is_ok_and(|words| words.contains("red.mp4"))
    });
    assert!(
        names_in(&share.server.data(""))
            .iter()
            .all(|name| !name.starts_with('.'))
    );
}
