//! Names that people really give to files: each comes out whole under the right name, with a record that can be read.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Studio, contains, jpeg, large_jpeg, media, put, sha256, text};

/// Names without an extension, as bytes.
fn stems() -> Vec<Vec<u8>> {
    let texts = [
        "with space",
        " space before",
        "space behind ",
        "two\nlines",
        "tab\there",
        "carriage\rreturn",
        "'single' and \"double\"",
        "`backticks` $(touch owned) ${HOME}",
        "back\\slash",
        "emoji \u{1f3ac}\u{1f469}\u{200d}\u{1f680}",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{5e2}\u{5d5}\u{5dc}\u{5dd}",
        "\u{202e}gpj.exe",
        "\u{200b}zero width",
        "-rf",
        "--help",
        "100% %s %n %00",
        "semi;colon & pipe | star * question ? [a] {b}",
        "#cinematic",
        "a: b",
        "- item",
        "null",
        "1e3",
        "&anchor",
        "~tilde",
        "data:image",
        "runway:x",
        "https:",
        "two.dots.in it",
        "dots...",
        "\u{1b}[31mred",
        "\u{1}\u{7f}",
        "na\u{ef}ve \u{212b}",
        "\u{65e5}\u{672c}\u{8a9e}",
    ];
    let mut stems: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    stems.push(b"not utf-8 \xff".to_vec());
    stems.push(b"\xc3(".to_vec());
    // The longest names that a filesystem takes, with `.jpg`.
    stems.push(
        "\u{e4}"
            .repeat(125)
            .into_bytes()
            .into_iter()
            .chain(*b"z")
            .collect(),
    );
    stems.push("x".repeat(251).into_bytes());
    stems
}

fn named(stem: &[u8], extension: &str) -> OsString {
    let mut name = stem.to_vec();
    name.extend(extension.as_bytes());
    OsString::from_vec(name)
}

fn yaml(path: &Path) -> Value {
    let words = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_yaml::from_str(&words).unwrap_or_else(|error| panic!("{path:?}: {error}\n{words}"))
}

/// What is in a folder, names as bytes.
fn listed(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    names
}

/// The outputs whose record names an input with these bytes.
fn outputs_of(studio: &Studio, input: &[u8]) -> Vec<(PathBuf, Value)> {
    let digest = sha256(input);
    listed(&studio.outbox(""))
        .into_iter()
        .filter(|name| name.as_bytes().ends_with(b".yaml"))
        .map(|name| {
            let record = yaml(&studio.outbox(&name));
            let output = name.as_bytes().strip_suffix(b".yaml").unwrap().to_vec();
            (studio.outbox(OsString::from_vec(output)), record)
        })
        .filter(|(_, record)| {
            record["inputs"]
                .as_array()
                .unwrap()
                .iter()
                .any(|input| input["sha256"] == digest.as_str())
        })
        .collect()
}

/// The output is whole, belongs to the task of its record, and is the record's.
fn is_delivered(output: &Path, record: &Value) {
    let bytes = fs::read(output).unwrap_or_else(|error| panic!("{output:?}: {error}"));
    assert_eq!(record["output"]["sha256"], sha256(&bytes).as_str());
    assert_eq!(record["output"]["bytes"], bytes.len());
    assert!(
        contains(&bytes, record["task"].as_str().unwrap().as_bytes()),
        "{output:?} is another task's"
    );
    assert_eq!(
        record["output"]["name"],
        output.file_name().unwrap().to_string_lossy().as_ref()
    );
}

#[test]
fn row_15_a_picture_of_any_name_comes_out_under_its_name() {
    let studio = Studio::builder().image_defaults().run();
    let stems = stems();
    let pictures: Vec<(OsString, Vec<u8>)> = stems
        .iter()
        .enumerate()
        .map(|(number, stem)| (named(stem, ".jpg"), jpeg(&format!("picture {number}"))))
        .collect();
    for (name, bytes) in &pictures {
        studio.drop_file(name, bytes);
    }
    studio.wait_all_ended(pictures.len());
    for ((name, bytes), stem) in pictures.iter().zip(&stems) {
        let found = outputs_of(&studio, bytes);
        assert_eq!(found.len(), 1, "{name:?}: {found:?}\n{}", studio.report());
        let (output, record) = &found[0];
        is_delivered(output, record);
        if stem.len() < 200 {
            assert_eq!(*output, studio.outbox(named(stem, ".mp4")), "{name:?}");
        } else {
            // Room had to be made for the record's name; it is still named after the input.
            let name = output.file_name().unwrap().as_bytes();
            assert!(
                name.ends_with(b".mp4") && name.starts_with(&stem[..200]),
                "{output:?}"
            );
        }
        assert_eq!(
            record["inputs"][0]["name"],
            name.to_string_lossy().as_ref(),
            "the record names the input"
        );
        assert_eq!(
            fs::read(studio.originals(name)).unwrap(),
            *bytes,
            "{name:?}"
        );
    }
    assert_eq!(listed(&studio.originals("")).len(), pictures.len());
    assert_eq!(listed(&studio.outbox("")).len(), 2 * pictures.len());
    assert!(listed(&studio.inbox("")).is_empty());
    assert!(listed(&studio.working("")).is_empty());
    assert!(!studio.path("owned").exists() && !studio.inbox("owned").exists());
    assert_eq!(studio.submissions().len(), pictures.len());
}

#[test]
fn a_picture_and_its_sidecar_of_any_name_find_each_other() {
    let studio = Studio::builder().run();
    let stems = stems();
    let mut wanted = Vec::new();
    for (number, stem) in stems.iter().enumerate() {
        let bytes = jpeg(&format!("picture {number}"));
        let picture = named(stem, ".jpg");
        // The longest names leave no room for more than `.yml` in place of `.jpg`.
        let sidecar = if stem.len() < 200 {
            named(stem, ".jpg.yaml")
        } else {
            named(stem, ".yml")
        };
        let prompt = format!("picture number {number}");
        put(
            &studio.inbox(&sidecar),
            format!("model: gen4_turbo\nratio: \"1280:720\"\nprompt: {prompt}\n").as_bytes(),
        );
        put(&studio.inbox(&picture), &bytes);
        wanted.push((bytes, prompt));
    }
    studio.wait_all_ended(wanted.len());
    for (bytes, prompt) in &wanted {
        let found = outputs_of(&studio, bytes);
        assert_eq!(found.len(), 1, "{prompt}\n{}", studio.report());
        let (output, record) = &found[0];
        is_delivered(output, record);
        assert_eq!(record["request"]["promptText"], prompt.as_str());
    }
    assert_eq!(listed(&studio.originals("")).len(), 2 * wanted.len());
}

#[test]
fn a_sidecar_of_any_name_is_a_job_by_itself() {
    let studio = Studio::builder().run();
    let mut stems = stems();
    stems.retain(|stem| stem.len() < 200);
    stems.push("y".repeat(250).into_bytes());
    for (number, stem) in stems.iter().enumerate() {
        put(
            &studio.inbox(named(stem, ".yaml")),
            format!("endpoint: text_to_image\nmodel: gen4_image\nratio: \"1280:720\"\nprompt: number {number}\n").as_bytes(),
        );
    }
    studio.wait_all_ended(stems.len());
    for stem in &stems {
        let original = studio.originals(named(stem, ".yaml"));
        let bytes = fs::read(&original)
            .unwrap_or_else(|error| panic!("{original:?}: {error}\n{}", studio.report()));
        let found = outputs_of(&studio, &bytes);
        assert_eq!(found.len(), 1, "{original:?}");
        is_delivered(&found[0].0, &found[0].1);
        if stem.len() < 200 {
            assert_eq!(found[0].0, studio.outbox(named(stem, ".png")));
        }
    }
}

#[test]
fn a_large_picture_of_any_name_can_be_uploaded() {
    let studio = Studio::builder().image_defaults().run();
    let stems = stems();
    for (number, stem) in stems.iter().enumerate() {
        put(
            &studio.inbox(named(stem, ".jpg")),
            &large_jpeg(&format!("picture {number}"), 300_000),
        );
    }
    let jobs = studio.wait_all_ended(stems.len());
    for job in &jobs {
        assert_eq!(job.state(), "done", "{job:?}\n{}", studio.report());
    }
    let snapshot = studio.seen();
    let uploads = snapshot
        .requests
        .iter()
        .filter(|seen| seen.path.starts_with("/_storage/upload/"));
    assert_eq!(uploads.clone().count(), stems.len());
    assert!(uploads.clone().all(|seen| seen.status == Some(204)));
    assert_eq!(
        snapshot.violations().collect::<Vec<_>>(),
        Vec::<&str>::new()
    );
}

#[test]
fn a_wrong_input_of_any_name_has_its_note_beside_it() {
    let studio = Studio::builder().run();
    let stems = stems();
    for (number, stem) in stems.iter().enumerate() {
        put(
            &studio.inbox(named(stem, ".yml")),
            format!("promt: number {number}\nmodel: veo3.1\nendpoint: text_to_video\n").as_bytes(),
        );
    }
    let jobs = studio.wait_all_ended(stems.len());
    assert!(jobs.iter().all(|job| job.state() == "failed"), "{jobs:#?}");
    let there = listed(&studio.failed(""));
    let notes: Vec<&OsString> = there
        .iter()
        .filter(|name| name.as_bytes().ends_with(b".error.txt"))
        .collect();
    assert_eq!(notes.len(), stems.len(), "{there:?}");
    for stem in &stems {
        assert!(studio.failed(named(stem, ".yml")).exists());
        if stem.len() < 200 {
            let note = fs::read(studio.failed(named(stem, ".yml.error.txt"))).unwrap();
            assert!(
                contains(&note, b"did you mean `prompt`?"),
                "{}",
                text(&note)
            );
        }
    }
    // Moved back to the inbox after a correction, each is done.
    for stem in &stems {
        let name = named(stem, ".yml");
        fs::remove_file(studio.failed(&name)).unwrap();
        put(
            &studio.inbox(&name),
            b"prompt: right\nmodel: gen4_image\nendpoint: text_to_image\nratio: \"1280:720\"\n",
        );
    }
    studio.wait_until("all are delivered", |studio| {
        studio.outbox("").exists() && listed(&studio.outbox("")).len() == 2 * stems.len()
    });
    assert!(
        studio
            .submissions()
            .iter()
            .all(|seen| seen.status == Some(200))
    );
}

#[test]
fn status_is_one_line_for_each_job_whatever_its_name() {
    let studio = Studio::builder().run();
    let stems = stems();
    for (number, stem) in stems.iter().enumerate() {
        put(
            &studio.inbox(named(stem, ".jpg")),
            &jpeg(&format!("picture {number}")),
        );
    }
    studio.wait_until("all wait for a sidecar", |studio| {
        studio.jobs().len() == stems.len()
    });
    let words = studio.cli_ok(&["status", "--json"]);
    assert_eq!(words.lines().count(), stems.len(), "{words}");
    for line in words.lines() {
        let job: Value = serde_json::from_str(line).unwrap();
        assert_eq!(job["state"], "waiting");
        assert!(job["reason"].as_str().unwrap().contains("sidecar"), "{job}");
    }
    // For people, too: a heading, a line for each, and nothing that moves their terminal's cursor about.
    let table = studio.cli_ok(&["status"]);
    assert!(
        !table.contains(['\u{1b}', '\r', '\u{1}', '\u{202e}']),
        "{table:?}"
    );
    let rows = table
        .lines()
        .filter(|line| line.contains(" waiting "))
        .count();
    assert_eq!(rows, stems.len(), "{table}");
    for job in studio.jobs() {
        let full = studio.cli_ok(&["status", job.id()]);
        assert!(!full.contains(['\u{1b}', '\r', '\u{202e}']), "{full:?}");
    }
}

#[test]
fn the_log_and_the_notes_hold_no_control_characters_from_names() {
    let studio = Studio::builder().image_defaults().run();
    for name in ["\u{1b}[31mred.jpg", "two\nlines.jpg", "\u{202e}gpj.exe.jpg"] {
        studio.drop_file(name, jpeg(name));
        studio.drop_file(format!("{name}.yaml"), "promt: x\n");
    }
    let fine = "\u{1b}[32mgreen\nday.jpg";
    studio.drop_file(fine, jpeg(fine));
    studio.wait_all_ended(4);
    let log = studio.log();
    assert!(!log.contains(['\u{1b}', '\u{202e}']), "{log:?}");
    assert!(
        log.lines().all(|line| line.starts_with("20")),
        "each line begins with its time\n{log}"
    );
    for name in listed(&studio.failed("")) {
        if name.as_bytes().ends_with(b".error.txt") {
            let note = fs::read_to_string(studio.failed(&name)).unwrap();
            assert!(!note.contains(['\u{1b}', '\u{202e}']), "{note:?}");
        }
    }
}

#[test]
fn row_15_both_unicode_forms_of_one_name_are_two_files_and_neither_is_lost() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let studio = Studio::builder().image_defaults().run();
    let one = jpeg("composed");
    let two = jpeg("decomposed");
    studio.drop_file(format!("{composed}.jpg"), &one);
    studio.drop_file(format!("{decomposed}.jpg"), &two);
    let jobs = studio.wait_all_ended(2);
    assert!(jobs.iter().all(|job| job.state() == "done"), "{jobs:#?}");
    for (stem, bytes) in [(composed, &one), (decomposed, &two)] {
        let found = outputs_of(&studio, bytes);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, studio.outbox(format!("{stem}.mp4")));
        assert_eq!(
            fs::read(studio.originals(format!("{stem}.jpg"))).unwrap(),
            *bytes
        );
    }
}

#[test]
fn row_15_a_sidecar_and_its_picture_meet_across_unicode_forms() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let studio = Studio::builder().run();
    for (folder, picture, sidecar) in [("a", composed, decomposed), ("b", decomposed, composed)] {
        studio.drop_file(
            format!("{folder}/{sidecar}.jpg.yaml"),
            "model: gen4_turbo\nratio: \"1280:720\"\n",
        );
        studio.drop_file(format!("{folder}/{picture}.jpg"), jpeg(folder));
        studio.wait_done(&format!("{folder}/{picture}.jpg"));
        assert!(studio.outbox(format!("{folder}/{picture}.mp4")).exists());
        assert!(
            studio
                .originals(format!("{folder}/{sidecar}.jpg.yaml"))
                .exists()
        );
    }
}

#[test]
fn row_15_a_reference_is_found_across_unicode_forms() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let studio = Studio::builder().run();
    // Macs write names decomposed, and editors write texts composed.
    for (folder, on_disk, written) in [("a", decomposed, composed), ("b", composed, decomposed)] {
        studio.drop_file(format!("{folder}/{on_disk}.png"), media("picture.png"));
        studio.drop_file(
            format!("_style/{folder}/{on_disk}.png"),
            media("picture.png"),
        );
        for (name, reference) in [
            ("own", format!("{written}.png")),
            ("shared", format!("../_style/{folder}/{written}.png")),
        ] {
            studio.drop_file(
                format!("{folder}/{name}.yaml"),
                format!(
                    "endpoint: text_to_image\nmodel: gen4_image\nratio: \"1280:720\"\nprompt: x\nreferenceImages: [{{ uri: {reference} }}]\n"
                ),
            );
        }
    }
    for folder in ["a", "b"] {
        studio.wait_done(&format!("{folder}/own.yaml"));
        studio.wait_done(&format!("{folder}/shared.yaml"));
    }
}

#[test]
fn row_15_a_reference_into_a_folder_of_another_unicode_form_is_no_job_of_its_own() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let studio = Studio::builder().image_defaults().run();
    for (number, on_disk, written) in [(1, decomposed, composed), (2, composed, decomposed)] {
        let request = |reference: &str| {
            format!(
                "endpoint: text_to_image\nmodel: gen4_image\nratio: \"1280:720\"\nprompt: x\nreferenceImages: [{{ uri: {reference} }}]\n"
            )
        };
        studio.drop_file(
            format!("own{number}.yaml"),
            request(&format!("{number}/{written}/{written}.png")),
        );
        studio.drop_file(
            format!("{number}/{on_disk}/{on_disk}.png"),
            media("picture.png"),
        );
        studio.drop_file(
            format!("_{number}/{on_disk}/{on_disk}.png"),
            media("picture.png"),
        );
        studio.drop_file(
            format!("shared{number}.yaml"),
            request(&format!("_{number}/{written}/{written}.png")),
        );
        // A sidecar that names the picture beside it.
        studio.drop_file(
            format!("{on_disk}{number}.jpg.yaml"),
            format!("promptImage: {written}{number}.jpg\n"),
        );
        studio.drop_file(format!("{on_disk}{number}.jpg"), jpeg(on_disk));
    }
    let jobs = studio.wait_all_ended(6);
    assert!(jobs.iter().all(|job| job.state() == "done"), "{jobs:#?}");
    assert_eq!(studio.submissions().len(), 6);
    // While its sidecar waits for another one, a picture stays out of the way of those that came after it.
    studio.drop_file(
        "both.yaml",
        format!(
            "endpoint: text_to_image\nmodel: gen4_image\nratio: \"1280:720\"\nprompt: x\nreferenceImages: [{{ uri: {composed}/one.png }}, {{ uri: {composed}/two.png }}]\n"
        ),
    );
    studio.drop_file(format!("{decomposed}/one.png"), media("picture.png"));
    studio.wait_reason("both.yaml", "two.png");
    studio.drop_file(format!("{decomposed}/late.jpg"), jpeg("late"));
    studio.wait_done(&format!("{decomposed}/late.jpg"));
    assert_eq!(studio.submissions().len(), 7);
    studio.drop_file(format!("{decomposed}/two.png"), media("picture.png"));
    studio.wait_done("both.yaml");
    assert_eq!(studio.submissions().len(), 8);
}

#[test]
fn jobs_of_any_name_survive_a_restart() {
    let mut studio = Studio::builder().image_defaults().task_seconds(1.5).run();
    let stems = stems();
    for (number, stem) in stems.iter().enumerate() {
        put(
            &studio.inbox(named(stem, ".jpg")),
            &jpeg(&format!("picture {number}")),
        );
    }
    studio.wait_until("some are running", |studio| {
        studio
            .jobs()
            .iter()
            .filter(|job| job.state() == "running")
            .count()
            >= 3
    });
    studio.kill9();
    studio.sim().change(taxiway::simulator::Change {
        task_seconds: Some(0.0),
        ..taxiway::simulator::Change::default()
    });
    studio.start();
    studio.wait_until("all have ended or are in doubt", |studio| {
        let jobs = studio.jobs();
        jobs.len() == stems.len()
            && jobs
                .iter()
                .all(|job| job.has_ended() || job.state() == "in_doubt")
    });
    let jobs = studio.jobs();
    let doubts: Vec<_> = jobs
        .iter()
        .filter(|job| job.state() == "in_doubt")
        .collect();
    assert!(
        jobs.iter()
            .all(|job| matches!(job.state(), "done" | "in_doubt")),
        "{jobs:#?}"
    );
    assert_eq!(
        studio.submissions().len(),
        stems.len(),
        "each was sent once; in doubt: {doubts:?}"
    );
}

#[test]
fn a_folder_of_any_name_is_kept_on_the_way() {
    let studio = Studio::builder().image_defaults().run();
    let mut stems = stems();
    stems.retain(|stem| stem.len() < 200);
    for (number, stem) in stems.iter().enumerate() {
        put(
            &studio.inbox(OsStr::from_bytes(stem)).join("red.jpg"),
            &jpeg(&format!("picture {number}")),
        );
    }
    studio.wait_all_ended(stems.len());
    for (number, stem) in stems.iter().enumerate() {
        let folder = OsStr::from_bytes(stem);
        let record = yaml(&studio.outbox(folder).join("red.mp4.yaml"));
        is_delivered(&studio.outbox(folder).join("red.mp4"), &record);
        let original = fs::read(studio.originals(folder).join("red.jpg")).unwrap();
        assert_eq!(original, jpeg(&format!("picture {number}")));
    }
}
