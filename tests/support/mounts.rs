//! What is mounted where, and how it goes away again.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::text;
use super::wait::LOOK;

/// Removes a folder. What is still mounted in it is unmounted first, and programs that have just ended may write for a moment.
pub fn remove_with_mounts(folder: &Path) -> std::io::Result<()> {
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        unmount_below(folder);
        match fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > limit => return Err(error),
            Err(_) => {}
        }
        // A test may have taken away its own permission.
        let mode = Command::new("chmod")
            .args(["--recursive", "--silent", "u+rwX"])
            .arg(folder)
            .status();
        assert!(mode.is_ok(), "{mode:?}");
        std::thread::sleep(LOOK);
    }
}

/// Unmounts all that is mounted in a folder, the innermost first.
fn unmount_below(folder: &Path) {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    points
        .map(Path::new)
        .filter(|point| point.starts_with(folder))
        .rev()
        .for_each(unmount);
}

/// The type of the filesystem that is mounted at exactly this place, if one is. Asks the table and not the mount, which may hang.
pub fn mounted(point: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    table
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|words| Path::new(words[1]) == point)
        .map(|words| words[2].to_owned())
}

/// Takes a mount away, whoever uses it, whatever state it is in.
pub fn unmount(point: &Path) {
    let output = Command::new("umount")
        .arg("--lazy")
        .arg(point)
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{}: {said}", point.display());
}
