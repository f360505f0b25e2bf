//! Small filesystems of a test's own, which go when the test ends, however it ends.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{mounted, unmount};

/// Something mounted; unmounted when it is dropped.
pub struct Mount {
    path: PathBuf,
}

impl Mount {
    /// A filesystem in memory.
    pub fn tmpfs(path: &Path, size: &str) -> Mount {
        fs::create_dir_all(path).unwrap();
        let options = format!("size={size}");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &options, "taxiway-test"],
            path,
        );
        Mount {
            path: path.to_owned(),
        }
    }

    /// An ext4 of so many MB in a file beside it.
    pub fn ext4(path: &Path, megabytes: u64) -> Mount {
        fs::create_dir_all(path).unwrap();
        let image = path.with_extension("ext4");
        let file = fs::File::create(&image).unwrap();
        file.set_len(megabytes * 1024 * 1024).unwrap();
        // Nothing kept back for root, so that full is full for everybody.
        run(
            "mkfs.ext4",
            &["-q", "-F", "-m", "0", "-b", "1024", "-E", "root_owner=0:0"],
            &image,
        );

        let image = image.to_string_lossy().into_owned();
        run("mount", &["-o", "loop", &image], path);
        Mount {
            path: path.to_owned(),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it to the last byte; [`Mount::make_room`] ends that.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.filler()).unwrap();
        let block = vec![0x5a_u8; 64 * 1024];
        for size in [block.len(), 1024, 1, 1024, 1] {
            loop {
                match filler.write_all(&block[..size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => panic!("{}: {error}", self.path.display()),
                }
            }
            // Only what is on the disk takes its final room.
            match filler.sync_data() {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
                Err(error) => panic!("{}: {error}", self.path.display()),
            }
        }
    }

    /// What filled it goes.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.path.join(".filler")
    }

    /// Has the kernel find an error, after which it writes no more to it.
    pub fn break_filesystem(&self) {
        assert!(self.remount("errors=remount-ro"));
        let (device, _) = self.device();
        let name = device.rsplit('/').next().unwrap_or_default();
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").unwrap();
    }

    /// Unmounts it, has it checked, and mounts it again. Nobody may use it.
    pub fn repair(&self) {
        let (_, image) = self.device();
        run("umount", &[], &self.path);
        // Its exit code says that there was something to mend.
        let status = Command::new("e2fsck")
            .args(["-f", "-y"])
            .arg(&image)
            .output()
            .unwrap()
            .status;
        assert!(status.code().is_some_and(|code| code < 4), "{status}");
        run("mount", &["-o", "loop", &image], &self.path);
    }

    /// The loop device, and the file behind it.
    fn device(&self) -> (String, String) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let path = self.path.to_string_lossy();
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == Some(&path));
        let device = line.unwrap().split(' ').next().unwrap().to_owned();
        let image = self
            .path
            .with_extension("ext4")
            .to_string_lossy()
            .into_owned();
        (device, image)
    }

    /// Read-only or writable again. Answers false where somebody has a file open for writing.
    pub fn remount(&self, how: &str) -> bool {
        let options = format!("remount,{how}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(&self.path)
            .output();
        status.unwrap().status.success()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The studio around it may have gone already, and this with it.
        if mounted(&self.path).is_some() {
            unmount(&self.path);
        }
    }
}

/// Runs a program on a path; it has to succeed.
pub fn run(program: &str, arguments: &[&str], path: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .arg(path)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?} {}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}
