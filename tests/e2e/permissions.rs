//! Who may do what: what taxiway makes belongs to those whom its folder belongs to, and folders that it cannot work in are
//! named at once, in words.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::support::{Studio, give, jpeg, text, unwrapped};

/// Debian's `nobody`, who is in no group but `nogroup`.
const NOBODY: u32 = 65534;
/// A group that no local file names.
const TEAM: u32 = 4242;
/// Whoever starts the daemon so lets nobody else read what it makes.
const UMASK: [&str; 4] = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];

fn set(path: &Path, user: u32, group: u32, mode: u32) {
    chown(path, Some(user), Some(group)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Owner, group, and the mode in octal digits.
fn whose(path: &Path) -> (u32, u32, String) {
    let meta = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (
        meta.uid(),
        meta.gid(),
        format!("{:04o}", meta.mode() & 0o7777),
    )
}

#[test(needs = [ROOT])]
fn row_14_what_is_made_takes_group_and_mode_from_the_outbox_whatever_the_umask() {
    for (folder, file) in [("0775", "0664"), ("2775", "0664"), ("0770", "0660")] {
        let mut studio = Studio::builder().image_defaults().wrapper(&UMASK).open();
        for name in ["outbox", "failed"] {
            fs::create_dir(studio.path(name)).unwrap();
            set(
                &studio.path(name),
                0,
                NOBODY,
                u32::from_str_radix(folder, 8).unwrap(),
            );
        }
        studio.start();
        studio.drop_file("shoes/red.jpg", jpeg("red"));
        studio.drop_file("bad.jpg", jpeg("bad"));
        studio.drop_file("bad.jpg.yaml", "promt: x\n");
        studio.wait_done("shoes/red.jpg");
        studio.wait_failed("bad.jpg");
        for made in [
            "outbox/shoes/red.mp4",
            "outbox/shoes/red.mp4.yaml",
            "failed/bad.jpg.error.txt",
        ] {
            let found = whose(&studio.path(made));
            assert_eq!(
                found,
                (0, NOBODY, file.to_owned()),
                "{made} in {folder}: {found:?}"
            );
        }
        let found = whose(&studio.outbox("shoes"));
        assert_eq!(
            found,
            (0, NOBODY, folder.to_owned()),
            "in {folder}: {found:?}"
        );
    }
}

#[test(needs = [ROOT])]
fn row_14_a_daemon_that_is_not_root_hands_what_it_makes_to_a_group_that_it_belongs_to() {
    // Where the program was built, that user may not even look.
    let place = tempfile::tempdir().unwrap();
    set(place.path(), 0, 0, 0o755);
    let program = place.path().join("taxiway");
    fs::copy(env!("CARGO_BIN_EXE_taxiway"), &program).unwrap();
    let mut wrapper = vec!["setpriv", "--reuid=65534", "--regid=65534", "--groups=4242"];
    wrapper.extend(UMASK);
    let mut studio = Studio::builder()
        .image_defaults()
        .binary(&program)
        .wrapper(&wrapper)
        .open();
    for folder in ["outbox", "inbox/shoes"] {
        fs::create_dir(studio.path(folder)).unwrap();
    }
    give(&studio.root, NOBODY);
    set(&studio.path("outbox"), NOBODY, TEAM, 0o2770);
    studio.start();
    studio.drop_file("shoes/red.jpg", jpeg("red"));
    studio.wait_done("shoes/red.jpg");
    for made in ["outbox/shoes/red.mp4", "outbox/shoes/red.mp4.yaml"] {
        let found = whose(&studio.path(made));
        assert_eq!(found, (NOBODY, TEAM, "0660".to_owned()), "{made}");
    }
    let found = whose(&studio.outbox("shoes"));
    assert_eq!(found, (NOBODY, TEAM, "2770".to_owned()));
    assert!(studio.stop().success());
}

/// What `taxiway check` says to somebody.
fn check_as(studio: &Studio, user: u32) -> String {
    // Where that user cannot run the program where it was built, the studio has a copy.
    let copy = studio.path("taxiway");
    let mut command = if copy.exists() {
        Command::new(copy)
    } else {
        studio.command()
    };
    std::os::unix::process::CommandExt::uid(&mut command, user);
    std::os::unix::process::CommandExt::gid(&mut command, user);
    let output = command
        .current_dir(&studio.root)
        .args(["check", "--config"])
        .arg(&studio.config)
        .output()
        .unwrap();
    unwrapped(&(text(&output.stdout) + &text(&output.stderr)))
}

#[test(needs = [ROOT])]
fn row_14_folders_that_cannot_be_used_are_named_at_start_with_what_cannot_be_done_and_by_whom() {
    let mut studio = Studio::builder().image_defaults().user(NOBODY).open();
    let outbox = studio.path("outbox");
    fs::create_dir(&outbox).unwrap();
    set(&outbox, 0, 0, 0o755);
    studio.start();
    let words = [
        format!("the outbox folder {} cannot be used", outbox.display()),
        "files cannot be created in it".to_owned(),
        "user 65534 (nobody)".to_owned(),
        "belongs to user 0 (root) and group 0 (root) with mode 0755".to_owned(),
    ];
    let (log, status, check) = (
        studio.log(),
        unwrapped(&studio.cli_ok(&["status"])),
        check_as(&studio, NOBODY),
    );
    for words in &words {
        for said in [&log, &status, &check] {
            assert!(said.contains(words), "{words:?} in {said}");
        }
    }
    // A job waits, and goes on by itself once that is mended.
    studio.drop_file("red.jpg", jpeg("red"));
    studio.wait_until("it waits for the outbox", |studio| {
        studio
            .job("red.jpg")
            .is_some_and(|job| job.reason().contains("outbox"))
    });
    set(&outbox, NOBODY, NOBODY, 0o755);
    studio.wait_done("red.jpg");
    studio.wait_until("it says that all is well", |studio| {
        !studio.cli_ok(&["status"]).contains("cannot be used")
            && !check_as(studio, NOBODY).contains("cannot be used")
    });
    assert_eq!(studio.submissions().len(), 1);
}

/// A folder in which files can be made and nothing can be renamed or deleted.
struct AppendOnly<'a>(&'a Path);

impl<'a> AppendOnly<'a> {
    fn new(folder: &'a Path) -> AppendOnly<'a> {
        let status = Command::new("chattr").arg("+a").arg(folder).status();
        assert!(status.unwrap().success());
        AppendOnly(folder)
    }
}

impl Drop for AppendOnly<'_> {
    fn drop(&mut self) {
        let status = Command::new("chattr").arg("-a").arg(self.0).status();
        assert!(status.unwrap().success());
    }
}

#[test(needs = [ROOT, APPEND_ONLY])]
fn row_14_a_folder_in_which_nothing_can_be_renamed_is_named_so() {
    let mut studio = Studio::builder().image_defaults().open();
    let outbox = studio.path("outbox");
    fs::create_dir(&outbox).unwrap();
    let append_only = AppendOnly::new(&outbox);
    studio.start();
    let said = studio.log();
    assert!(said.contains("files cannot be renamed in it"), "{said}");
    assert!(said.contains(&*outbox.to_string_lossy()), "{said}");
    let check = studio.cli(&["check"]);
    let check = unwrapped(&(text(&check.stdout) + &text(&check.stderr)));
    assert!(check.contains("files cannot be renamed in it"), "{check}");
    drop(append_only);
    assert!(studio.stop().success());
}
