//! Whole or not yet: however a file is written, what is sent is all of it, once.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use rustix::fs::{FallocateFlags, fallocate};
use taxiway::simulator::Seen;

use crate::support::{Builder, Studio, in_memory, logged, media};

/// How long a file must be quiet. Short for a test, and long enough that a busy machine does not turn a pause into an end.
const SETTLE: Duration = Duration::from_secs(1);
/// A pause in which a file would be taken if quiet were all that counted.
const LONG: Duration = Duration::from_millis(1400);
/// A pause in which quiet alone does not make a file finished.
const SHORT: Duration = Duration::from_millis(400);
/// Pieces end at multiples of this, as they do where programs copy in blocks.
const BLOCK: usize = 4096;

/// A file of some kind that the API takes.
struct Kind {
    name: &'static str,
    bytes: Vec<u8>,
    sidecar: &'static str,
    /// Whether its structure tells where it ends. If not, only quiet time does.
    has_end: bool,
}

const IMAGE: &str = "model: gen4_turbo\nprompt: x\nratio: \"1280:720\"\nduration: 5\n";
const VIDEO: &str = "model: gen4_aleph\nprompt: x\nratio: \"1280:720\"\n";
const AUDIO: &str = "endpoint: voice_isolation\nmodel: eleven_voice_isolation\n";

/// The sum that ends a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

/// The sample, longer than a few blocks, by something that decoders pass over.
fn roomy(name: &str) -> Vec<u8> {
    let mut bytes = media(name);
    let filler = vec![0x20_u8; 3 * BLOCK];
    let length = u32::try_from(filler.len()).unwrap();
    match Path::new(name).extension().unwrap().to_str().unwrap() {
        "jpg" => {
            let mut comment = vec![0xff, 0xfe];
            comment.extend(u16::try_from(length + 2).unwrap().to_be_bytes());
            comment.extend(filler);
            bytes.splice(2..2, comment);
        }
        "png" => {
            let mut chunk = length.to_be_bytes().to_vec();
            chunk.extend(b"prVt");
            chunk.extend(filler);
            let sum = crc32(&chunk[4..]);
            chunk.extend(sum.to_be_bytes());
            // Before the last chunk, which is twelve bytes long.
            let end = bytes.len() - 12;
            bytes.splice(end..end, chunk);
        }
        "webp" => {
            bytes.extend(b"JUNK");
            bytes.extend(length.to_le_bytes());
            bytes.extend(filler);
            let all = u32::try_from(bytes.len() - 8).unwrap();
            bytes.splice(4..8, all.to_le_bytes());
        }
        "mp4" | "mov" | "m4a" => {
            let mut space = (length + 8).to_be_bytes().to_vec();
            space.extend(b"free");
            space.extend(filler);
            let index = bytes.windows(4).position(|name| name == b"mfra");
            let end = index.map_or(bytes.len(), |index| index - 4);
            bytes.splice(end..end, space);
        }
        // A stream of frames has no end of its own: the same twice more is a longer one.
        "aac" => bytes = bytes.repeat(3),
        _ => {}
    }
    bytes
}

fn kinds() -> Vec<Kind> {
    [
        ("baseline.jpg", IMAGE, true),
        ("progressive.jpg", IMAGE, true),
        ("exif-thumbnail.jpg", IMAGE, true),
        ("picture.png", IMAGE, true),
        ("lossy.webp", IMAGE, true),
        ("lossless.webp", IMAGE, true),
        ("animated.webp", IMAGE, true),
        ("faststart.mp4", VIDEO, true),
        ("moov-at-end.mp4", VIDEO, true),
        ("fragmented.mp4", VIDEO, false),
        ("clip.mov", VIDEO, true),
        ("clip.webm", VIDEO, true),
        ("live.webm", VIDEO, false),
        ("clip.mkv", VIDEO, true),
        ("clip.ogv", VIDEO, true),
        ("tone.mp3", AUDIO, true),
        ("plain.mp3", AUDIO, false),
        ("tone.wav", AUDIO, true),
        ("tone.flac", AUDIO, true),
        ("tone.aac", AUDIO, false),
        ("tone.m4a", AUDIO, true),
    ]
    .into_iter()
    .map(|(name, sidecar, has_end)| Kind {
        name,
        bytes: roomy(name),
        sidecar,
        has_end,
    })
    .collect()
}

/// Where pieces of a file begin and end: at least two.
fn pieces(bytes: &[u8]) -> Vec<(usize, usize)> {
    let third = bytes.len().div_ceil(3).next_multiple_of(BLOCK);
    let mut cuts = vec![0];
    while cuts.last().unwrap() + third < bytes.len() {
        cuts.push(cuts.last().unwrap() + third);
    }
    cuts.push(bytes.len());
    if cuts.len() == 2 {
        // Not longer than a block.
        cuts.insert(1, bytes.len() / 2);
    }
    cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// A way to write a file; it calls `pause` where its writer takes its time.
type Manner = (&'static str, fn(&Path, &[u8], &mut dyn FnMut()));

/// Ways in which half a file lies there under its name for a while.
const SLOW: [Manner; 7] = [
    ("in pieces", |path, bytes, pause| {
        let mut file = File::create(path).unwrap();
        for (number, (start, end)) in pieces(bytes).into_iter().enumerate() {
            if number > 0 {
                pause();
            }
            file.write_all(&bytes[start..end]).unwrap();
        }
    }),
    ("opened for each piece", |path, bytes, pause| {
        for (number, (start, end)) in pieces(bytes).into_iter().enumerate() {
            if number > 0 {
                pause();
            }
            let mut file = File::options()
                .create(true)
                .append(true)
                .open(path)
                .unwrap();
            file.write_all(&bytes[start..end]).unwrap();
        }
    }),
    ("the end first", |path, bytes, pause| {
        let file = File::create(path).unwrap();
        for (number, (start, end)) in pieces(bytes).into_iter().rev().enumerate() {
            if number > 0 {
                pause();
            }
            file.write_all_at(&bytes[start..end], start as u64).unwrap();
        }
    }),
    ("the middle last", |path, bytes, pause| {
        let mut order = pieces(bytes);
        let middle = order.remove(order.len() / 2);
        order.push(middle);
        for (number, (start, end)) in order.into_iter().enumerate() {
            if number > 0 {
                pause();
            }
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)
                .unwrap();
            file.write_all_at(&bytes[start..end], start as u64).unwrap();
        }
    }),
    ("space reserved first", |path, bytes, pause| {
        let file = File::create(path).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, bytes.len() as u64).unwrap();
        drop(file);
        for (start, end) in pieces(bytes) {
            pause();
            let file = File::options().write(true).open(path).unwrap();
            file.write_all_at(&bytes[start..end], start as u64).unwrap();
        }
    }),
    // As file servers do for clients that say beforehand how long a file will be.
    ("length set first", |path, bytes, pause| {
        let file = File::create(path).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        for (start, end) in pieces(bytes) {
            pause();
            file.write_all_at(&bytes[start..end], start as u64).unwrap();
        }
    }),
    ("with a clock that jumps", |path, bytes, pause| {
        let mut file = File::create(path).unwrap();
        let year = Duration::from_secs(365 * 24 * 3600);
        let times = [SystemTime::now() + year, SystemTime::UNIX_EPOCH + year];
        for (number, (start, end)) in pieces(bytes).into_iter().enumerate() {
            if number > 0 {
                pause();
            }
            file.write_all(&bytes[start..end]).unwrap();
            file.set_modified(times[number % 2]).unwrap();
        }
    }),
];

/// Ways in which a file is there at once, or under another name at first.
const QUICK: [Manner; 5] = [
    ("renamed into place", |path, bytes, pause| {
        let hidden = path.with_added_extension("part");
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        fs::write(&hidden, first).unwrap();
        pause();
        let mut file = File::options().append(true).open(&hidden).unwrap();
        file.write_all(rest).unwrap();
        drop(file);
        fs::rename(hidden, path).unwrap();
    }),
    ("with cp -p", |path, bytes, _| {
        let source = old_copy(path, bytes);
        run("cp", &["-p".as_ref(), &source, path]);
    }),
    ("with rsync -a", |path, bytes, _| {
        let source = old_copy(path, bytes);
        run("rsync", &["-a".as_ref(), &source, path]);
    }),
    ("with rsync in place", |path, bytes, _| {
        let source = old_copy(path, bytes);
        run(
            "rsync",
            &["-a".as_ref(), "--inplace".as_ref(), &source, path],
        );
    }),
    // As programs save that cut the file off and write it anew.
    ("cut off and written anew", |path, bytes, pause| {
        fs::write(path, &bytes[..bytes.len() / 3]).unwrap();
        let mut file = File::create(path).unwrap();
        pause();
        file.write_all(bytes).unwrap();
    }),
];

/// The same bytes in a file outside the inbox, from long ago.
fn old_copy(path: &Path, bytes: &[u8]) -> PathBuf {
    let folder = path.parent().unwrap();
    // studio/inbox/manner/name
    let staging = folder.parent().unwrap().with_file_name("staging");
    let copy = staging
        .join(folder.file_name().unwrap())
        .join(path.file_name().unwrap());
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    fs::write(&copy, bytes).unwrap();
    let file = File::options().write(true).open(&copy).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .unwrap();
    copy
}

fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// A studio in which hundreds of jobs meet no limit; in memory, so that the writers' pauses are as long as they are meant to be.
fn roomy_studio() -> Builder {
    Studio::builder()
        .below(&in_memory())
        .without_limits()
        .inbox(&format!("settle: {}ms", SETTLE.as_millis()))
}

/// The media that were sent, as the simulator's log tells them, sorted.
fn sent(submissions: &[Seen]) -> Vec<String> {
    let mut sent: Vec<String> = submissions
        .iter()
        .map(|seen| {
            let body = seen.body.as_ref().unwrap();
            let uri = ["promptImage", "videoUri", "audioUri"]
                .into_iter()
                .find_map(|field| body[field].as_str());
            uri.unwrap_or_else(|| panic!("{seen:#?}")).to_owned()
        })
        .collect();
    sent.sort();
    sent
}

/// Every kind in every one of these manners, all at the same time; `at_start`: the daemon comes when half of each lies there.
/// Each is one job, and what is sent is the whole file.
fn each_is_sent_whole_and_once(builder: Builder, manners: &[Manner], at_start: bool) {
    let kinds = kinds();
    let mut studio = builder.open();
    let mut wanted = Vec::new();
    for (manner, _) in manners {
        for kind in &kinds {
            let name = Path::new(manner).join(kind.name);
            studio.drop_file(format!("{}.yaml", name.display()), kind.sidecar);
            wanted.push(name);
        }
    }
    if !at_start {
        studio.start();
    }
    let inbox = studio.path("inbox");
    let open = (Mutex::new(!at_start), Condvar::new());
    let (half, halves) = channel();
    std::thread::scope(|scope| {
        for (manner, write) in manners {
            for kind in &kinds {
                let path = inbox.join(manner).join(kind.name);
                let (half, open) = (half.clone(), &open);
                scope.spawn(move || {
                    let mut told = false;
                    let mut pause = || {
                        if !std::mem::replace(&mut told, true) {
                            half.send(()).unwrap();
                            let is_open = open.0.lock().unwrap();
                            drop(open.1.wait_while(is_open, |is_open| !*is_open).unwrap());
                        }
                        sleep(if kind.has_end { LONG } else { SHORT });
                    };
                    write(&path, &kind.bytes, &mut pause);
                    if !told {
                        half.send(()).unwrap();
                    }
                });
            }
        }
        if at_start {
            for _ in &wanted {
                halves.recv().unwrap();
            }
            studio.start();
            *open.0.lock().unwrap() = true;
            open.1.notify_all();
        }
    });
    studio.patience = Duration::from_secs(60);
    let ended = studio.wait_all_ended(wanted.len());
    for job in &ended {
        assert_eq!(job.state(), "done", "{job:?}\n{}", studio.report());
    }
    let mut inputs: Vec<&str> = ended.iter().map(|job| job.input()).collect();
    inputs.sort_unstable();
    wanted.sort();
    let names: Vec<&str> = wanted.iter().map(|name| name.to_str().unwrap()).collect();
    assert_eq!(inputs, names);
    let mut whole: Vec<String> = kinds
        .iter()
        .flat_map(|kind| vec![logged(&kind.bytes); manners.len()])
        .collect();
    whole.sort();
    assert_eq!(sent(&studio.submissions()), whole, "{}", studio.report());
    for (manner, _) in manners {
        for kind in &kinds {
            let original = studio.originals(manner).join(kind.name);
            assert_eq!(fs::read(original).unwrap(), kind.bytes);
        }
    }
}

/// The quick manners, either those that are rsync's or the others.
fn quick(by_rsync: bool) -> Vec<Manner> {
    let mut manners = QUICK.to_vec();
    manners.retain(|(name, _)| name.contains("rsync") == by_rsync);
    manners
}

#[test(needs = [RSYNC])]
fn row_03_a_file_that_comes_by_rsync_is_sent_whole_and_once() {
    for (builder, at_start) in [
        (roomy_studio().inbox("watch: events"), false),
        (roomy_studio().inbox("watch: scan"), false),
        (roomy_studio(), true),
    ] {
        each_is_sent_whole_and_once(builder, &quick(true), at_start);
    }
}

#[test]
fn row_03_a_file_that_is_written_slowly_is_sent_whole_and_once() {
    each_is_sent_whole_and_once(roomy_studio().inbox("watch: events"), &SLOW, false);
}

#[test]
fn row_03_a_file_that_comes_at_once_or_by_another_name_is_sent_whole_and_once() {
    each_is_sent_whole_and_once(roomy_studio().inbox("watch: events"), &quick(false), false);
}

#[test]
fn row_03_a_file_whose_writer_goes_on_at_the_daemons_start_is_sent_whole_and_once() {
    let mut manners = SLOW.to_vec();
    manners.extend(quick(false));
    each_is_sent_whole_and_once(roomy_studio(), &manners, true);
}

#[test]
fn row_03_a_file_of_which_no_event_tells_is_sent_whole_and_once() {
    let mut manners = SLOW.to_vec();
    manners.extend(quick(false));
    each_is_sent_whole_and_once(roomy_studio().inbox("watch: scan"), &manners, false);
}

const SIDECAR: &str = "prompt: a slow dolly in\nduration: 10\nseed: 7\nmodel: gen4_turbo\n";

/// A way to write a sidecar.
type SidecarManner = (&'static str, fn(&Path));

/// What a sidecar's request holds when all of it was read.
fn all_of_the_sidecar_was_sent(studio: &Studio, count: usize) {
    for job in studio.wait_all_ended(count) {
        assert_eq!(job.state(), "done", "{job:?}\n{}", studio.report());
    }
    let submissions = studio.submissions();
    assert_eq!(submissions.len(), count, "{}", studio.report());
    for seen in submissions {
        let body = seen.body.unwrap();
        assert_eq!(body["promptText"], "a slow dolly in", "{body}");
        assert_eq!(body["duration"], 10, "{body}");
        assert_eq!(body["seed"], 7, "{body}");
    }
}

#[test]
fn row_03_a_sidecar_that_is_written_slowly_or_saved_by_an_editor_is_read_whole() {
    // Without any sidecar, and with any part of it, each picture would be a valid job.
    let manners: [SidecarManner; 6] = [
        ("line by line", |path| {
            let mut file = File::create(path).unwrap();
            for line in SIDECAR.split_inclusive('\n') {
                file.write_all(line.as_bytes()).unwrap();
                sleep(SHORT);
            }
        }),
        ("with a long pause", |path| {
            let mut file = File::create(path).unwrap();
            let (first, rest) = SIDECAR.split_at(24);
            file.write_all(first.as_bytes()).unwrap();
            sleep(LONG);
            file.write_all(rest.as_bytes()).unwrap();
        }),
        ("begun empty", |path| {
            let mut file = File::create(path).unwrap();
            sleep(LONG);
            file.write_all(SIDECAR.as_bytes()).unwrap();
        }),
        ("renamed over", |path| {
            let new = path.with_added_extension("tmp");
            fs::write(&new, &SIDECAR[..30]).unwrap();
            sleep(SHORT);
            fs::write(&new, SIDECAR).unwrap();
            fs::rename(new, path).unwrap();
        }),
        ("with a backup", |path| {
            // An editor moves the old one away before it writes the new one. The old one is wrong, so that it waits.
            fs::write(path, "promt: x\n").unwrap();
            sleep(SHORT);
            let mut backup = path.as_os_str().to_owned();
            backup.push("~");
            fs::rename(path, backup).unwrap();
            sleep(SHORT);
            fs::write(path, SIDECAR).unwrap();
        }),
        ("cut off and written anew", |path| {
            fs::write(path, "promt: x\n").unwrap();
            sleep(SHORT);
            let mut file = File::create(path).unwrap();
            sleep(SHORT);
            file.write_all(SIDECAR.as_bytes()).unwrap();
        }),
    ];
    let studio = roomy_studio()
        .image_defaults()
        .inbox("pair_wait: 5s")
        .inbox("watch: events")
        .run();
    for (manner, _) in &manners {
        studio.drop_file(format!("{manner}/cat.jpg"), media("baseline.jpg"));
    }
    // Then their folders are watched.
    studio.wait_until("all wait for a sidecar", |studio| {
        studio.jobs().len() == manners.len()
    });
    std::thread::scope(|scope| {
        for (manner, write) in &manners {
            let path = studio.inbox(format!("{manner}/cat.jpg.yaml"));
            scope.spawn(move || write(&path));
        }
    });
    all_of_the_sidecar_was_sent(&studio, manners.len());
}

#[test]
fn row_03_a_picture_whose_sidecar_is_away_for_a_moment_is_not_sent_without_it() {
    let studio = Studio::builder()
        .image_defaults()
        .inbox("pair_wait: 2s")
        .run();
    // It waits for a second picture, so it has lain there for longer than a picture waits for its sidecar.
    studio.drop_file("cat.jpg", media("baseline.jpg"));
    studio.drop_file(
        "cat.jpg.yaml",
        "model: veo3.1\nprompt: x\nduration: 4\npromptImage: [{ uri: cat.jpg, position: first }, { uri: end.png, position: last }]\n",
    );
    studio.wait_reason("cat.jpg", "end.png");
    sleep(Duration::from_millis(2100));
    let (path, backup) = (studio.inbox("cat.jpg.yaml"), studio.inbox("cat.jpg.yaml~"));
    fs::rename(&path, &backup).unwrap();
    studio.wait_reason("cat.jpg", "for a sidecar");
    fs::write(&path, SIDECAR).unwrap();
    all_of_the_sidecar_was_sent(&studio, 1);
}

#[test]
fn row_04_a_file_that_is_not_finished_is_looked_at_again_by_itself() {
    // No event and no scan comes before the test is over; the file's own time does.
    let studio = Studio::builder()
        .image_defaults()
        .inbox("watch: events")
        .inbox("scan_interval: 1h")
        .run();
    let path = studio.inbox("cat.png");
    // Its writer keeps it open and writes no more.
    let mut file = File::create(&path).unwrap();
    file.write_all(&media("picture.png")).unwrap();
    studio.wait_reason("cat.png", "a program has it open");
    studio.wait_done("cat.png");
    drop(file);
    assert_eq!(sent(&studio.submissions()), [logged(&media("picture.png"))]);
}

#[test]
fn row_17_a_file_from_the_future_or_the_past_settles_by_the_daemons_own_clock() {
    for watch in ["watch: events", "watch: scan"] {
        let studio = Studio::builder().image_defaults().inbox(watch).run();
        let year = Duration::from_secs(365 * 24 * 3600);
        let times = [
            ("past.jpg", SystemTime::UNIX_EPOCH + year),
            ("future.jpg", SystemTime::now() + 10 * year),
            ("far.jpg", SystemTime::UNIX_EPOCH + 400 * year),
        ];
        for (name, time) in times {
            let path = studio.inbox(name);
            let file = File::create(&path).unwrap();
            file.write_all_at(&media("baseline.jpg"), 0).unwrap();
            file.set_modified(time).unwrap();
        }
        for (name, _) in times {
            studio.wait_done(name);
        }
        assert_eq!(studio.submissions().len(), times.len());
    }
}

#[test]
fn row_03_a_sidecar_that_a_script_appends_to_is_read_whole() {
    let studio = roomy_studio()
        .image_defaults()
        .inbox("pair_wait: 5s")
        .inbox("watch: events")
        .run();
    studio.drop_file("cat.jpg", media("baseline.jpg"));
    studio.wait_reason("cat.jpg", "for a sidecar");
    // As `echo` does with `>>`, line by line.
    let path = studio.inbox("cat.jpg.yaml");
    for line in SIDECAR.split_inclusive('\n') {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(line.as_bytes()).unwrap();
        drop(file);
        sleep(Duration::from_millis(50));
    }
    all_of_the_sidecar_was_sent(&studio, 1);
}

#[test]
fn row_03_an_mp3_that_grows_by_frames_is_sent_whole() {
    let bytes = media("plain.mp3");
    let studio = roomy_studio().inbox("watch: events").run();
    studio.drop_file("tone.mp3.yaml", AUDIO);
    studio.wait_reason("tone.mp3.yaml", "for media");
    // As an encoder does that closes the file between pieces: ten whole frames, then the rest. Every frame begins with these
    // bytes.
    let end = bytes
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| *pair == &bytes[..2])
        .nth(10)
        .unwrap()
        .0;
    for piece in [&bytes[..end], &bytes[end..]] {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(studio.inbox("tone.mp3"))
            .unwrap();
        file.write_all(piece).unwrap();
        drop(file);
        sleep(SHORT);
    }
    studio.wait_done("tone.mp3");
    assert_eq!(sent(&studio.submissions()), [logged(&bytes)]);
}
