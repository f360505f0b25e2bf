//! What people drop by mistake, or configure by mistake: a clear error, nothing lost, nothing paid, nobody else held up.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode};

use crate::support::{Builder, Studio, jpeg, large_jpeg, media, mp4, text, walk};

/// What is dropped: names below the inbox, and contents.
type Files = Vec<(&'static str, Vec<u8>)>;

/// What is expected of one input: it fails, and its note holds all these words.
type Expected<'a> = &'a [(&'a str, &'a [&'a str])];

const SIDECAR: &str = "model: gen4_turbo\nratio: \"1280:720\"\nduration: 5\n";

/// Two inboxes in which a picture alone is a valid job.
fn two_inboxes() -> Builder {
    Studio::builder()
        .image_defaults()
        .second_inbox()
        .image_defaults()
}

/// A good job in each of the two inboxes.
fn drop_good(studio: &Studio) -> Files {
    let files = vec![
        ("good.jpg", jpeg("good in the first")),
        ("good too.jpg", jpeg("good in the second")),
    ];
    studio.drop_file("good.jpg", &files[0].1);
    studio.drop_at("second/inbox/good too.jpg", &files[1].1);
    files
}

/// The good ones are done, and they alone were submitted.
fn only_good_submitted(studio: &Studio) {
    studio.wait_done("good.jpg");
    studio.wait_done("good too.jpg");
    let submissions = studio.submissions();
    assert_eq!(
        submissions.len(),
        2,
        "{submissions:#?}\n{}",
        studio.report()
    );
    assert!(submissions.iter().all(|seen| seen.status == Some(200)));
}

/// Every file that was dropped lies in exactly one place, with every byte.
fn nothing_lost(studio: &Studio, dropped: &[&Files]) {
    let mut wanted: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (_, bytes) in dropped.iter().flat_map(|files| files.iter()) {
        *wanted.entry(bytes).or_default() += 1;
    }
    let mut contents = Vec::new();
    for parent in ["", "second"] {
        for folder in ["inbox", "working", "originals", "failed"] {
            walk(&studio.path(parent).join(folder), &mut |path| {
                if !path.to_string_lossy().ends_with(".error.txt") {
                    contents.push(fs::read(path).unwrap());
                }
            });
        }
    }
    let mut there: BTreeMap<&[u8], usize> = BTreeMap::new();
    for bytes in &contents {
        *there.entry(bytes).or_default() += 1;
    }
    assert!(
        wanted == there,
        "{} files were dropped and {} lie there, or their contents differ\n{}",
        wanted.values().sum::<usize>(),
        contents.len(),
        studio.report()
    );
}

/// The note beside a failed input holds these words, and says what to do and that nothing was charged.
fn note_says(studio: &Studio, input: &str, words: &[&str]) {
    let note = studio.note(input);
    for word in words {
        assert!(note.contains(word), "{input}: no {word:?} in\n{note}");
    }
    assert!(note.contains("What to do: "), "{input}:\n{note}");
    assert!(
        note.contains("Credits: none were charged."),
        "{input}:\n{note}"
    );
}

/// Drops files, then a good job into each inbox: the bad ones fail with words, the good ones are done, nothing is lost.
fn fails_alone(builder: Builder, files: Files, expected: Expected<'_>) {
    let studio = builder.run();
    for (name, bytes) in &files {
        studio.drop_file(name, bytes);
    }
    let good = drop_good(&studio);
    for (input, words) in expected {
        let job = studio.wait_failed(input);
        assert_eq!(job.attempts(), 0, "{job:?}");
        note_says(&studio, input, words);
    }
    only_good_submitted(&studio);
    nothing_lost(&studio, &[&files, &good]);
}

/// A picture that fails because of its sidecar, which is `NAME.jpg.yaml`.
fn sidecar_fails(cases: &[(&'static str, &[u8], &[&str])]) {
    let mut files = Files::new();
    let mut expected: Vec<(String, Vec<String>)> = Vec::new();
    for (name, sidecar, words) in cases {
        let picture: &'static str = format!("{name}.jpg").leak();
        files.push((picture, jpeg(name)));
        files.push((format!("{name}.jpg.yaml").leak(), sidecar.to_vec()));
        expected.push((
            picture.to_owned(),
            words.iter().map(|word| (*word).to_owned()).collect(),
        ));
    }
    let words: Vec<(&str, Vec<&str>)> = expected
        .iter()
        .map(|(input, words)| (input.as_str(), words.iter().map(String::as_str).collect()))
        .collect();
    let expected: Vec<(&str, &[&str])> = words
        .iter()
        .map(|(input, words)| (*input, words.as_slice()))
        .collect();
    fails_alone(two_inboxes(), files, &expected);
}

// ---- media

#[test]
fn media_without_a_byte_fail_as_empty() {
    fails_alone(
        two_inboxes(),
        vec![
            ("nothing.jpg", Vec::new()),
            ("nothing.png", Vec::new()),
            ("film.mp4", Vec::new()),
            (
                "film.mp4.yaml",
                b"model: gen4_aleph\nprompt: rain\nratio: \"1280:720\"\n".to_vec(),
            ),
        ],
        &[
            (
                "nothing.jpg",
                &["nothing.jpg is empty (0 bytes)", "save or copy it again"],
            ),
            ("nothing.png", &["nothing.png is empty (0 bytes)"]),
            ("film.mp4", &["film.mp4 is empty (0 bytes)"]),
        ],
    );
}

#[test]
fn media_that_are_cut_short_fail_as_cut_short() {
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let video = b"model: gen4_aleph\nprompt: rain\nratio: \"1280:720\"\n".to_vec();
    fails_alone(
        two_inboxes(),
        vec![
            ("cut.jpg", half(media("baseline.jpg"))),
            ("cut.png", half(media("picture.png"))),
            ("cut.webp", half(media("lossy.webp"))),
            ("cut.mp4", half(media("moov-at-end.mp4"))),
            ("cut.mp4.yaml", video.clone()),
            ("cut.mov", half(media("clip.mov"))),
            ("cut.mov.yaml", video),
            ("cut.wav", half(media("tone.wav"))),
            (
                "cut.wav.yaml",
                b"endpoint: voice_isolation\nmodel: eleven_voice_isolation\n".to_vec(),
            ),
        ],
        &[
            (
                "cut.jpg",
                &["cut.jpg: it is cut short", "copy or save it again"],
            ),
            ("cut.png", &["cut.png: it is cut short"]),
            ("cut.webp", &["cut.webp: it is cut short"]),
            ("cut.mp4", &["cut.mp4: it is cut short"]),
            ("cut.mov", &["cut.mov: it is cut short"]),
            ("cut.wav", &["cut.wav: it is cut short"]),
        ],
    );
}

#[test]
fn kinds_that_the_api_does_not_take_fail_with_the_kind_and_a_way_out() {
    let audio = b"endpoint: voice_isolation\nmodel: eleven_voice_isolation\n".to_vec();
    let video = b"model: gen4_aleph\nprompt: rain\nratio: \"1280:720\"\n".to_vec();
    fails_alone(
        two_inboxes(),
        vec![
            ("a.gif", media("picture.gif")),
            ("b.heic", media("picture.heic")),
            ("c.tiff", media("picture.tiff")),
            ("d.bmp", media("picture.bmp")),
            ("e.avif", media("picture.avif")),
            ("f.jxl", media("picture.jxl")),
            ("g.avi", media("clip.avi")),
            ("g.avi.yaml", video.clone()),
            ("h.mpg", media("clip.mpg")),
            ("h.mpg.yaml", video),
            ("i.ogg", media("tone.ogg")),
            ("i.ogg.yaml", audio.clone()),
            ("j.aiff", media("tone.aiff")),
            ("j.aiff.yaml", audio),
        ],
        &[
            (
                "a.gif",
                &[
                    "a.gif is a GIF",
                    "which Runway does not accept",
                    "save it as PNG or JPEG",
                ],
            ),
            (
                "b.heic",
                &["b.heic is a HEIC", "which Runway does not accept", "save"],
            ),
            (
                "c.tiff",
                &["c.tiff is a TIFF", "which Runway does not accept", "save"],
            ),
            (
                "d.bmp",
                &["d.bmp is a BMP", "which Runway does not accept", "save"],
            ),
            (
                "e.avif",
                &["e.avif is an AVIF", "which Runway does not accept", "save"],
            ),
            (
                "f.jxl",
                &["f.jxl is a JPEG XL", "which Runway does not accept", "save"],
            ),
            (
                "g.avi",
                &["g.avi is an AVI", "which Runway does not accept"],
            ),
            (
                "h.mpg",
                &["h.mpg is an MPEG", "which Runway does not accept"],
            ),
            (
                "i.ogg",
                &["i.ogg is an Ogg", "which Runway does not accept"],
            ),
            (
                "j.aiff",
                &["j.aiff is an AIFF", "which Runway does not accept"],
            ),
        ],
    );
}

#[test]
fn mislabelled_media_of_a_refused_kind_fail_by_what_they_are() {
    fails_alone(
        two_inboxes(),
        vec![
            ("holiday.jpg", media("picture.heic")),
            ("moving.png", media("picture.gif")),
            ("letter.jpg", b"Dear Sir or Madam,\n".to_vec()),
            ("page.png", b"<!doctype html><title>404</title>\n".to_vec()),
            (
                "noise.jpg",
                (0..5000_u32)
                    .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                    .collect(),
            ),
        ],
        &[
            (
                "holiday.jpg",
                &[
                    "holiday.jpg is really a HEIC",
                    "the content counts, not the extension",
                ],
            ),
            ("moving.png", &["moving.png is really a GIF"]),
            (
                "letter.jpg",
                &["letter.jpg is neither an image nor a video nor sound"],
            ),
            ("page.png", &["page.png", "save"]),
            (
                "noise.jpg",
                &["noise.jpg is neither an image nor a video nor sound"],
            ),
        ],
    );
}

#[test]
fn mislabelled_media_of_an_accepted_kind_are_used_as_what_they_are() {
    let studio = Studio::builder().image_defaults().run();
    studio.drop_file("drawing.jpg", media("picture.png"));
    // By its content this is a film, and so it goes where films go.
    studio.drop_file("film.jpg", mp4("a film called a picture"));
    studio.drop_file("film.jpg.yaml", "model: gen4_aleph\nprompt: make it rain\n");
    // The defaults are for pictures and make no request of a film, so it waits and says why.
    studio.drop_file("other.jpg", mp4("another film"));
    studio.wait_done("drawing.jpg");
    studio.wait_done("film.jpg");
    studio.wait_reason("other.jpg", "takes no video");
    let submissions = studio.submissions();
    let body = |path: &str| {
        let mut all: Vec<_> = submissions
            .iter()
            .filter(|seen| seen.path == path)
            .collect();
        assert_eq!(all.len(), 1, "{submissions:#?}");
        all.remove(0).body.clone().unwrap()
    };
    let picture = body("/v1/image_to_video");
    assert!(
        picture["promptImage"]
            .as_str()
            .unwrap()
            .starts_with("data:image/png;base64,")
    );
    let film = body("/v1/video_to_video");
    assert!(
        film["videoUri"]
            .as_str()
            .unwrap()
            .starts_with("data:video/mp4;base64,")
    );
}

#[test]
fn media_larger_than_the_limit_fail_with_both_sizes() {
    fails_alone(
        two_inboxes().top("limits: { max_input_size: 3KB }"),
        vec![
            ("big.jpg", large_jpeg("big", 4000)),
            ("with reference.yaml", b"endpoint: text_to_image\nmodel: gen4_image\nprompt: \"@cat\"\nratio: \"1280:720\"\nreferenceImages: [{ uri: cat.png, tag: cat }]\n".to_vec()),
            ("cat.png", {
                let mut bytes = media("picture.png");
                bytes.resize(4321, 0);
                bytes
            }),
        ],
        &[
            ("big.jpg", &["it has 4000 bytes", "the largest input allowed is 3000 bytes", "limits.max_input_size"]),
            ("with reference.yaml", &["it has 4321 bytes", "the largest input allowed is 3000 bytes"]),
        ],
    );
}

#[test]
fn what_a_wrong_sidecar_refers_to_is_no_job_of_its_own() {
    let wrong = [
        "endpoint: text_to_image\nmodel: gen4_image\nprompt: x\nratio: \"1280:720\"\nsped: 3\nreferenceImages: [{ uri: ref.png }]\n",
        // Nothing of it can be read as YAML.
        "endpoint: text_to_image\nreferenceImages: [{ uri: \"ref.png\" }\n  prompt: : x\n",
    ];
    for text in wrong {
        let studio = Studio::builder()
            .image_defaults()
            .inbox("pair_wait: 200ms")
            .run();
        studio.drop_file("poster.yaml", text);
        studio.drop_file("ref.png", media("picture.png"));
        studio.wait_failed("poster.yaml");
        assert!(studio.failed("ref.png").is_file(), "{}", studio.report());
        assert!(studio.submissions().is_empty());
        assert_eq!(studio.jobs().len(), 1, "{}", studio.report());
    }
}

#[test]
fn what_a_sidecar_refers_to_stays_its_own_while_it_is_mended() {
    let studio = Studio::builder()
        .image_defaults()
        .inbox("pair_wait: 2s")
        .run();
    let right = "endpoint: text_to_image\nmodel: gen4_image\nprompt: x\nratio: \"1280:720\"\nreferenceImages: [{ uri: ada.png }, { uri: hall.png }]\n";
    studio.drop_file("poster.yaml", right);
    studio.drop_file("ada.png", media("picture.png"));
    studio.wait_reason("poster.yaml", "hall.png");
    // Whatever waits for its other half has waited by now.
    std::thread::sleep(Duration::from_millis(2200));
    // What is saved in between is no YAML; then an editor takes it away and writes it anew.
    studio.write_in_place("poster.yaml", "endpoint: [\n");
    studio.wait_reason("poster.yaml", "has to be fixed");
    fs::remove_file(studio.inbox("poster.yaml")).unwrap();
    studio.wait_until("it is gone", |studio| studio.job("poster.yaml").is_none());
    studio.drop_file("poster.yaml", right);
    studio.wait_reason("poster.yaml", "hall.png");
    studio.drop_file("hall.png", media("picture.png"));
    studio.wait_done("poster.yaml");
    assert_eq!(studio.submissions().len(), 1, "{}", studio.report());
}

#[test]
fn media_larger_than_the_api_takes_fail_before_a_byte_is_sent() {
    let studio = two_inboxes().top("limits: { max_input_size: 1GB }").run();
    let path = studio.inbox(".huge.part");
    fs::write(&path, jpeg("huge")).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    // It has a hole and takes no room on the disk.
    file.set_len(200_000_001).unwrap();
    drop(file);
    fs::rename(&path, studio.inbox("huge.jpg")).unwrap();
    drop_good(&studio);
    studio.wait_failed("huge.jpg");
    note_says(&studio, "huge.jpg", &["200", "make it smaller"]);
    only_good_submitted(&studio);
    assert_eq!(
        fs::metadata(studio.failed("huge.jpg")).unwrap().len(),
        200_000_001
    );
    assert!(
        !studio
            .seen()
            .requests
            .iter()
            .any(|seen| seen.path.starts_with("/v1/uploads"))
    );
}

#[test]
fn files_that_are_no_media_stay_where_they_are_with_a_reason() {
    let studio = two_inboxes().run();
    let files: Files = vec![
        ("notes.txt", b"remember the milk".to_vec()),
        ("archive.zip", b"PK\x03\x04zip".to_vec()),
        ("no extension", b"what is this".to_vec()),
    ];
    for (name, bytes) in &files {
        studio.drop_file(name, bytes);
    }
    let good = drop_good(&studio);
    for (name, _) in &files {
        studio.wait_reason(name, "image, video, sound or sidecar");
        assert!(studio.inbox(name).exists());
    }
    only_good_submitted(&studio);
    nothing_lost(&studio, &[&files, &good]);
}

// ---- links, pipes and files that cannot be read

#[test]
fn row_16_a_link_to_a_picture_is_not_followed_and_says_so() {
    let studio = two_inboxes().run();
    fs::create_dir(studio.path("elsewhere")).unwrap();
    let secret = studio.path("elsewhere/secret.jpg");
    fs::write(&secret, jpeg("secret")).unwrap();
    symlink(&secret, studio.inbox("link.jpg")).unwrap();
    symlink(studio.path("elsewhere"), studio.inbox("folder")).unwrap();
    drop_good(&studio);
    studio.wait_reason("link.jpg", "links are not followed");
    studio.wait_reason("folder", "links are not followed");
    only_good_submitted(&studio);
    assert_eq!(fs::read(&secret).unwrap(), jpeg("secret"));
    assert!(
        fs::symlink_metadata(studio.inbox("link.jpg"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn a_picture_beside_a_linked_sidecar_is_not_submitted_without_it() {
    let studio = two_inboxes().run();
    fs::create_dir(studio.path("elsewhere")).unwrap();
    fs::write(studio.path("elsewhere/side.yaml"), SIDECAR).unwrap();
    symlink(
        studio.path("elsewhere/side.yaml"),
        studio.inbox("cat.jpg.yaml"),
    )
    .unwrap();
    symlink(studio.path("elsewhere/side.yaml"), studio.inbox("dog.yaml")).unwrap();
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.drop_file("dog.jpg", jpeg("dog"));
    drop_good(&studio);
    studio.wait_reason("cat.jpg.yaml", "links are not followed");
    studio.wait_reason("dog.yaml", "links are not followed");
    only_good_submitted(&studio);
    // The good ones were dropped later and waited for a sidecar in vain, so these had their time, too.
    only_good_submitted(&studio);
    assert!(
        studio.inbox("cat.jpg").exists() && studio.inbox("dog.jpg").exists(),
        "{}",
        studio.report()
    );
}

#[test]
fn defaults_that_are_a_link_are_not_left_out_without_a_word() {
    let studio = two_inboxes().run();
    fs::create_dir(studio.path("elsewhere")).unwrap();
    fs::write(
        studio.path("elsewhere/defaults.yaml"),
        "duration: 10\nmax_credits: 1\n",
    )
    .unwrap();
    fs::create_dir(studio.inbox("shoes")).unwrap();
    symlink(
        studio.path("elsewhere/defaults.yaml"),
        studio.inbox("shoes/_defaults.yaml"),
    )
    .unwrap();
    studio.drop_file("shoes/red.jpg", jpeg("red"));
    drop_good(&studio);
    only_good_submitted(&studio);
    studio.wait_reason("shoes/red.jpg", "_defaults.yaml");
    only_good_submitted(&studio);
}

#[test]
fn row_16_a_sidecar_that_refers_to_a_link_waits_with_its_name() {
    let studio = two_inboxes().run();
    fs::create_dir(studio.path("elsewhere")).unwrap();
    fs::write(studio.path("elsewhere/secret.jpg"), jpeg("secret")).unwrap();
    fs::create_dir(studio.inbox("_shared")).unwrap();
    symlink(
        studio.path("elsewhere/secret.jpg"),
        studio.inbox("linked.jpg"),
    )
    .unwrap();
    symlink(
        studio.path("elsewhere/secret.jpg"),
        studio.inbox("_shared/linked.jpg"),
    )
    .unwrap();
    symlink(studio.path("elsewhere"), studio.inbox("_way")).unwrap();
    for (name, target) in [
        ("one.yaml", "linked.jpg"),
        ("two.yaml", "_shared/linked.jpg"),
        ("three.yaml", "_way/secret.jpg"),
    ] {
        studio.drop_file(
            name,
            format!("endpoint: image_to_video\n{SIDECAR}promptImage: {target}\n"),
        );
    }
    drop_good(&studio);
    studio.wait_reason("one.yaml", "linked.jpg");
    studio.wait_reason("two.yaml", "links are not followed");
    studio.wait_reason("three.yaml", "links are not followed");
    only_good_submitted(&studio);
}

fn pipe(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

#[test]
fn a_pipe_in_the_inbox_is_passed_over_with_a_reason_and_holds_nobody_up() {
    let studio = two_inboxes().run();
    pipe(&studio.inbox("pipe.jpg"));
    pipe(&studio.inbox("pipe.yaml"));
    drop_good(&studio);
    studio.wait_reason("pipe.jpg", "neither a file nor a folder");
    studio.wait_reason("pipe.yaml", "neither a file nor a folder");
    only_good_submitted(&studio);
}

#[test]
fn a_shared_picture_that_is_a_pipe_holds_nobody_up() {
    let studio = two_inboxes().run();
    fs::create_dir(studio.inbox("_shared")).unwrap();
    pipe(&studio.inbox("_shared/pipe.jpg"));
    studio.drop_file(
        "waits.yaml",
        format!("endpoint: image_to_video\n{SIDECAR}promptImage: _shared/pipe.jpg\n"),
    );
    studio.wait_until("the sidecar was looked at", |studio| {
        studio.job("waits.yaml").is_some()
    });
    drop_good(&studio);
    studio.wait_reason("waits.yaml", "_shared/pipe.jpg");
    only_good_submitted(&studio);
}

#[test]
fn a_file_that_is_referred_to_and_never_comes_is_named_in_the_reason() {
    let studio = two_inboxes().run();
    let files: Files = vec![
        (
            "one.yaml",
            format!("endpoint: image_to_video\n{SIDECAR}promptImage: later.jpg\n").into_bytes(),
        ),
        (
            "two.yaml",
            format!("endpoint: image_to_video\n{SIDECAR}promptImage: _shared/later.jpg\n")
                .into_bytes(),
        ),
    ];
    for (name, bytes) in &files {
        studio.drop_file(name, bytes);
    }
    let good = drop_good(&studio);
    studio.wait_reason("one.yaml", "for media later.jpg");
    studio.wait_reason("two.yaml", "for media _shared/later.jpg");
    only_good_submitted(&studio);
    nothing_lost(&studio, &[&files, &good]);
}

/// The daemon as another user than root, who may read everything. Ends when it is dropped.
struct Nobody(Child);

impl Nobody {
    const ID: u32 = 65534;

    fn run(studio: &Studio) -> Nobody {
        let own = |path: &Path| {
            std::os::unix::fs::lchown(path, Some(Self::ID), Some(Self::ID)).unwrap();
        };
        own(&studio.root);
        own(&studio.config);
        own(&studio.inbox(""));
        own(&studio.path("second"));
        own(&studio.path("second/inbox"));
        let binary = studio.command();
        let mut command = Command::new("setpriv");
        for (name, value) in binary.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let log = fs::File::create(studio.path("daemon.log")).unwrap();
        let child = command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(binary.get_program())
            .args(["run", "--config"])
            .arg(&studio.config)
            .current_dir(&studio.root)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let nobody = Nobody(child);
        studio.wait_until("the daemon is ready", |studio| {
            studio.log().contains("ready: ")
        });
        nobody
    }
}

impl Drop for Nobody {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM) {
            eprintln!("the daemon was gone already: {error}");
        }
        if let Err(error) = self.0.wait() {
            eprintln!("the daemon's end was not seen: {error}");
        }
    }
}

#[test(needs = [ROOT])]
fn files_that_cannot_be_read_wait_with_the_reason_and_go_on_once_they_can() {
    let studio = two_inboxes().open();
    let close = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["secret.jpg", "closed/inside.jpg"] {
        studio.drop_file(name, jpeg(name));
    }
    studio.drop_file("cat.jpg", jpeg("cat"));
    studio.drop_file("cat.jpg.yaml", "prompt: the cat purrs\n");
    for name in ["secret.jpg", "closed", "cat.jpg.yaml"] {
        close(&studio.inbox(name));
    }
    // What cannot be moved out of its folder cannot be taken either, so the folder is the daemon's own.
    std::os::unix::fs::chown(studio.inbox("closed"), Some(Nobody::ID), Some(Nobody::ID)).unwrap();
    let _daemon = Nobody::run(&studio);
    drop_good(&studio);
    studio.wait_reason("secret.jpg", "cannot be read");
    studio.wait_reason("cat.jpg", "cannot be read");
    only_good_submitted(&studio);
    assert!(studio.log().contains("closed"), "{}", studio.report());
    for name in ["secret.jpg", "closed", "cat.jpg.yaml"] {
        open(&studio.inbox(name));
    }
    studio.wait_done("secret.jpg");
    studio.wait_done("cat.jpg");
    studio.wait_done("closed/inside.jpg");
    let body = |seen: &taxiway::simulator::Seen| seen.body.clone().unwrap()["promptText"].clone();
    assert!(
        studio
            .submissions()
            .iter()
            .any(|seen| body(seen) == "the cat purrs"),
        "the cat went out with its sidecar\n{}",
        studio.report()
    );
}

// ---- sidecars that cannot be read as such

#[test]
fn a_sidecar_that_is_not_yaml_fails_at_its_place() {
    sidecar_fails(&[
        (
            "quote",
            b"prompt: \"never closed\nmodel: gen4_turbo\n",
            &["quote.jpg.yaml:", "quotation mark"],
        ),
        (
            "colon",
            b"prompt: a cat: it purrs\n",
            &["colon.jpg.yaml:1:", ": "],
        ),
        ("tab", b"prompt:\n\ttext\n", &["tab.jpg.yaml:2:", "tab"]),
        (
            "bracket",
            b"keyframes: [1, 2\nmodel: x\n",
            &["bracket.jpg.yaml:", "["],
        ),
        (
            "binary",
            &[0x00, 0x01, 0x02, 0xff, 0xfe],
            &["binary.jpg.yaml:1:"],
        ),
        (
            "latin",
            b"prompt: caf\xe9\n",
            &["latin.jpg.yaml:1:12", "UTF-8"],
        ),
        (
            "utf16",
            b"\xff\xfep\x00r\x00",
            &["utf16.jpg.yaml:1:1", "UTF-16"],
        ),
        (
            "second",
            b"prompt: one\n---\nprompt: two\n",
            &["second.jpg.yaml:3:1", "second document"],
        ),
        ("tag", b"prompt: !secret text\n", &["tag.jpg.yaml:1:9"]),
    ]);
}

#[test]
fn a_sidecar_that_is_no_mapping_says_what_it_is() {
    sidecar_fails(&[
        (
            "list",
            b"- prompt: a\n- prompt: b\n",
            &["list.jpg.yaml:1:1", "this is a list"],
        ),
        (
            "words",
            b"slow dolly in\n",
            &["words.jpg.yaml:1:1", "this is a text"],
        ),
        (
            "number",
            b"42\n",
            &["number.jpg.yaml:1:1", "this is a whole number"],
        ),
    ]);
}

#[test]
fn a_sidecar_of_ten_megabytes_is_refused_by_its_size() {
    let mut large = b"prompt: |\n".to_vec();
    while large.len() < 10_000_000 {
        large.extend(b"  and the camera goes on and on and on\n");
    }
    sidecar_fails(&[(
        "large",
        &large,
        &["large.jpg.yaml:1:1", "bytes are not read"],
    )]);
}

#[test]
fn a_sidecar_full_of_aliases_is_refused_and_fills_no_memory() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![before; 10].join(", ")
        ));
    }
    let mut deep = "[".repeat(100_000);
    deep.push('\n');
    sidecar_fails(&[
        ("bomb", bomb.as_bytes(), &["bomb.jpg.yaml:", "aliases"]),
        (
            "deep",
            deep.as_bytes(),
            &["deep.jpg.yaml:1:", "brackets are open"],
        ),
    ]);
}

#[test]
fn a_key_that_stands_twice_fails_at_the_second() {
    sidecar_fails(&[(
        "twice",
        b"prompt: one\nratio: \"1280:720\"\nprompt: two\n",
        &["twice.jpg.yaml:3:1", "`prompt`"],
    )]);
}

#[test]
fn unknown_keys_fail_at_their_places_with_the_nearest_name() {
    sidecar_fails(&[
        (
            "typo",
            b"promt: a cat\nratoi: \"1280:720\"\n",
            &[
                "2 problems",
                "typo.jpg.yaml:1:1",
                "did you mean `prompt`?",
                "typo.jpg.yaml:2:1",
                "did you mean `ratio`?",
            ],
        ),
        (
            "merge",
            b"<<: { prompt: a }\n",
            &["merge.jpg.yaml:1:1", "<<"],
        ),
        ("numeric", b"1: one\n", &["numeric.jpg.yaml:1:1"]),
    ]);
}

#[test]
fn an_empty_sidecar_beside_a_picture_means_the_defaults_and_alone_it_fails() {
    let studio = two_inboxes().run();
    let files: Files = vec![
        ("cat.jpg", jpeg("cat")),
        ("cat.jpg.yaml", Vec::new()),
        ("alone.yaml", b"# nothing but a comment\n".to_vec()),
    ];
    for (name, bytes) in &files {
        studio.drop_file(name, bytes);
    }
    studio.wait_done("cat.jpg");
    studio.wait_failed("alone.yaml");
    note_says(
        &studio,
        "alone.yaml",
        &["alone.yaml: it is empty", "write at least"],
    );
    nothing_lost(&studio, &[&files]);
}

#[test]
fn row_16_a_path_that_leaves_the_inbox_fails_at_its_place() {
    sidecar_fails(&[
        (
            "up",
            b"endpoint: text_to_image\nmodel: gen4_image\nprompt: x\nratio: \"1280:720\"\nreferenceImages:\n  - uri: ../../etc/passwd\n",
            &["up.jpg.yaml:6:10", "leads out of the inbox"],
        ),
        (
            "first",
            b"endpoint: text_to_image\nmodel: gen4_image\nprompt: x\nratio: \"1280:720\"\nreferenceImages:\n  - uri: ../up.png\n  - uri: https://e.example/fine.png\n",
            &["first.jpg.yaml:6:10", "leads out of the inbox"],
        ),
        (
            "root",
            b"endpoint: text_to_image\nmodel: gen4_image\nprompt: x\nratio: \"1280:720\"\nreferenceImages:\n  - uri: /etc/passwd\n",
            &["root.jpg.yaml:6:10", "is not below the inbox"],
        ),
        (
            "scheme",
            b"endpoint: text_to_image\nmodel: gen4_image\nprompt: x\nratio: \"1280:720\"\nreferenceImages:\n  - uri: file:///etc/passwd\n",
            &["scheme.jpg.yaml:6:10", "is not an address that the API fetches"],
        ),
    ]);
}

// ---- values

#[test]
fn values_outside_the_models_limits_fail_at_their_places_with_what_is_allowed() {
    fails_alone(
        two_inboxes(),
        vec![
            ("seconds.yaml", b"endpoint: text_to_video\nmodel: veo3.1\nprompt: x\nratio: \"1280:720\"\nduration: 5\n".to_vec()),
            ("sound.yaml", b"endpoint: sound_effect\nmodel: eleven_text_to_sound_v2\nprompt: rain\nduration: 31\n".to_vec()),
            ("short.yaml", b"endpoint: sound_effect\nmodel: eleven_text_to_sound_v2\nprompt: rain\nduration: 0.1\n".to_vec()),
            ("ratio.jpg", jpeg("ratio")),
            ("ratio.jpg.yaml", b"ratio: \"1280:721\"\n".to_vec()),
            ("type.jpg", jpeg("type")),
            ("type.jpg.yaml", b"duration: five\nseed: 1.5\n".to_vec()),
            ("model.jpg", jpeg("model")),
            ("model.jpg.yaml", b"model: gen4_trubo\n".to_vec()),
            ("endpoint.jpg", jpeg("endpoint")),
            ("endpoint.jpg.yaml", b"endpoint: image_to_vidoe\n".to_vec()),
            ("many.yaml", b"endpoint: text_to_image\nmodel: gen4_image\nprompt: x\nratio: \"1280:720\"\nreferenceImages: [https://e.example/1.png, https://e.example/2.png]\nseed: x\nsped: 3\n".to_vec()),
        ],
        &[
            ("seconds.yaml", &["seconds.yaml:5:11", "4, 6 or 8"]),
            ("sound.yaml", &["sound.yaml:4:11", "30"]),
            ("short.yaml", &["short.yaml:4:11", "0.5"]),
            ("ratio.jpg", &["ratio.jpg.yaml:1:8", "1280:720", "960:960"]),
            ("type.jpg", &["2 problems", "type.jpg.yaml:1:11", "type.jpg.yaml:2:7"]),
            ("model.jpg", &["model.jpg.yaml:1:8", "did you mean `gen4_turbo`?"]),
            ("endpoint.jpg", &["endpoint.jpg.yaml:1:11", "did you mean `image_to_video`?"]),
            ("many.yaml", &["many.yaml:5:", "many.yaml:6:7", "many.yaml:7:1", "did you mean `seed`?"]),
        ],
    );
}

#[test]
fn a_prompt_is_measured_in_utf16_units() {
    let prompt = |text: &str| format!("prompt: \"{text}\"\n").into_bytes();
    let studio = two_inboxes().run();
    let longest = "\u{1f3ac}".repeat(500);
    let files: Files = vec![
        ("fits.jpg", jpeg("fits")),
        ("fits.jpg.yaml", prompt(&longest)),
        ("emoji.jpg", jpeg("emoji")),
        ("emoji.jpg.yaml", prompt(&format!("{longest}a"))),
        ("ascii.jpg", jpeg("ascii")),
        ("ascii.jpg.yaml", prompt(&"a".repeat(1001))),
        ("none.jpg", jpeg("none")),
        ("none.jpg.yaml", prompt("")),
    ];
    for (name, bytes) in &files {
        studio.drop_file(name, bytes);
    }
    studio.wait_done("fits.jpg");
    for (input, words) in [
        ("emoji.jpg", ["emoji.jpg.yaml:1:9", "1001", "1000"]),
        ("ascii.jpg", ["ascii.jpg.yaml:1:9", "1001", "1000"]),
        ("none.jpg", ["none.jpg.yaml:1:9", "prompt", "1"]),
    ] {
        studio.wait_failed(input);
        note_says(&studio, input, &words);
    }
    let submission = studio.submission();
    assert_eq!(
        submission.body.unwrap()["promptText"]
            .as_str()
            .unwrap()
            .encode_utf16()
            .count(),
        1000
    );
    nothing_lost(&studio, &[&files]);
}

// ---- configuration

/// The daemon refuses a configuration: exit code 3, these words, and not one request.
fn refused(config: &str, words: &[&str]) {
    let mut studio = Studio::builder().config_text(config).open();
    studio.spawn();
    let status = studio.wait_end(Duration::from_secs(10));
    let said = studio.log();
    assert_eq!(status.code(), Some(3), "{config}\n{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in\n{said}");
    }
    assert!(said.contains("taxiway.yaml:"), "{said}");
    assert_eq!(studio.seen().requests, []);
    let check = studio.cli(&["check"]);
    assert_eq!(check.status.code(), Some(3), "{}", text(&check.stderr));
}

#[test]
fn folders_that_overlap_are_refused() {
    let start = "state_dir: state\nrunway: { base_url: \"{url}\" }\ninboxes:\n";
    refused(
        &format!("{start}  - path: a/inbox\n  - path: a/inbox/deeper\n"),
        &["taxiway.yaml:5:11", "is inside", "watch one folder only"],
    );
    refused(
        &format!("{start}  - path: a/inbox\n    name: one\n  - path: a/inbox\n    name: two\n"),
        &["taxiway.yaml:6:11", "the same folder"],
    );
    refused(
        &format!("{start}  - path: inbox\n    outbox: inbox/out\n"),
        &[
            "taxiway.yaml:5:13",
            "`outbox` of the inbox",
            "is inside",
            "begins with `_`",
        ],
    );
    refused(
        &format!("{start}  - path: out/inbox\n    outbox: out\n"),
        &["taxiway.yaml:5:13", "is inside"],
    );
    refused(
        &format!("{start}  - path: inbox\n    failed: both\n    originals: both\n"),
        &["the same folder"],
    );
    // Two inboxes side by side would share `working`.
    refused(
        &format!("{start}  - path: one\n  - path: two\n"),
        &["the same folder", "`working`"],
    );
}

#[test]
fn an_outbox_that_is_a_link_into_the_inbox_is_refused() {
    let mut studio = Studio::builder().inbox("outbox: elsewhere").open();
    fs::create_dir(studio.inbox("out")).unwrap();
    symlink(studio.inbox("out"), studio.path("elsewhere")).unwrap();
    studio.spawn();
    let status = studio.wait_end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(3), "{}", studio.log());
    assert!(studio.log().contains("is inside"), "{}", studio.log());
}

#[test(needs = [OTHER_DISK])]
fn a_working_folder_on_another_filesystem_is_refused() {
    refused(
        "state_dir: state\nrunway: { base_url: \"{url}\" }\ninboxes:\n  - path: inbox\n    working: /dev/shm/taxiway-working\n",
        &[
            "taxiway.yaml:5:14",
            "another filesystem",
            "name a folder on the inbox's filesystem",
        ],
    );
}

#[test]
fn a_plain_http_base_url_is_refused_except_on_this_machine() {
    let with = |url: &str| {
        format!("state_dir: state\nrunway:\n  base_url: {url}\ninboxes:\n  - path: inbox\n")
    };
    refused(
        &with("http://api.dev.runwayml.com"),
        &["taxiway.yaml:3:13", "plain `http`", "write `https://`"],
    );
    refused(
        &with("http://127.0.0.1.example.com/v1"),
        &["taxiway.yaml:3:13", "plain `http`"],
    );
    refused(&with("ftp://127.0.0.1"), &["taxiway.yaml:3:13", "ftp"]);
    let mut studio = Studio::builder()
        .env("RUNWAYML_BASE_URL", "http://10.0.0.1")
        .config_text("inboxes: [{ path: inbox }]\n")
        .open();
    studio.spawn();
    let status = studio.wait_end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(3), "{}", studio.log());
    assert!(
        studio.log().contains("RUNWAYML_BASE_URL"),
        "{}",
        studio.log()
    );
}

#[test]
fn mistakes_in_the_configuration_are_told_all_at_once() {
    refused(
        "state_dir: state\nrunway:\n  base_url: \"{url}\"\n  pol_interval: 5s\ninboxes:\n  - path: inbox\n    settle: soon\n    watch: always\nlimits:\n  max_input_size: large\n",
        &[
            "taxiway.yaml:4:3",
            "did you mean `poll_interval`?",
            "taxiway.yaml:7:13",
            "taxiway.yaml:8:12",
            "taxiway.yaml:10:19",
        ],
    );
    refused("inboxes: [\n", &["taxiway.yaml:"]);
    refused("", &["taxiway.yaml:1:1"]);
    refused("state_dir: state\n", &["no inbox is configured"]);
}

// ---- the key

#[test]
fn a_key_file_that_others_can_read_is_refused_and_work_waits_for_its_mending() {
    let mut studio = Studio::builder()
        .key(None)
        .runway("api_key_file: key")
        .image_defaults()
        .open();
    let key = studio.path("key");
    fs::write(&key, crate::support::KEY).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_reason("red.jpg", "other users can read the API key");
    assert!(job.reason().contains("chmod 600"), "{job:?}");
    assert!(studio.log().contains("chmod 600"), "{}", studio.log());
    assert!(!studio.log().contains(crate::support::KEY));
    assert_eq!(studio.seen().requests, []);
    let credits = studio.cli(&["credits"]);
    assert!(!credits.status.success());
    assert!(
        text(&credits.stderr).contains("chmod 600"),
        "{}",
        text(&credits.stderr)
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    studio.reload();
    studio.wait_done("red.jpg");
}

#[test]
fn without_a_key_everything_waits_and_says_so() {
    let mut studio = Studio::builder().key(None).image_defaults().run();
    studio.drop_file("red.jpg", jpeg("red"));
    let job = studio.wait_reason("red.jpg", "there is no API key");
    assert!(job.reason().contains("RUNWAYML_API_SECRET"), "{job:?}");
    let log = studio.log();
    let said = log
        .lines()
        .filter(|line| line.contains(" ERROR ") && line.contains("there is no API key"));
    assert_eq!(said.count(), 1, "{log}");
    assert_eq!(studio.seen().requests, []);
    studio.stop();
    studio.set_key(Some(crate::support::KEY));
    studio.start();
    studio.wait_done("red.jpg");
}

#[test]
fn a_key_file_that_is_no_key_is_told_without_showing_it() {
    let mut studio = Studio::builder()
        .key(None)
        .runway("api_key_file: key")
        .image_defaults()
        .open();
    let key = studio.path("key");
    fs::write(&key, "key_one_secret\nkey_two_secret\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    studio.start();
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_reason("red.jpg", "does not contain an API key");
    assert!(!studio.log().contains("_secret"), "{}", studio.log());
    assert_eq!(studio.seen().requests, []);
}
