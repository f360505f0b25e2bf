//! What kind of filesystem a folder lies on, read from the kernel's table of mounts: asking the filesystem itself can hang.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;

/// Filesystems whose changes all go through this kernel, so that its events tell of every change.
const LOCAL: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "zfs", "bcachefs", "jfs", "reiserfs",
    "vfat", "exfat", "ntfs3", "ramfs",
];

/// The mount that a folder lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The filesystem's type, such as `ext4` or `fuse.rclone`.
    pub kind: String,
    /// What is mounted: a device, `//nas/one`, `host:/x`.
    pub source: String,
}

/// What tells one filesystem at a folder from another, over the time that it may be away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The device number, where it names a device. Numbers that the kernel makes up (NFS, SMB, FUSE, tmpfs, btrfs) may be others
    /// after the same share was mounted again.
    device: Option<u64>,
    /// The mount; `None` where the table cannot be read.
    pub mount: Option<Mount>,
}

impl Identity {
    /// Of a folder on `device` (as stat(2) has it) and `mount`.
    pub fn new(device: u64, mount: Option<Mount>) -> Identity {
        Identity {
            device: (rustix::fs::major(device) != 0).then_some(device),
            mount,
        }
    }

    /// Whether something was mounted at the folder, or between it and where its filesystem was mounted, since `before`.
    pub fn is_mounted_over(&self, before: &Identity) -> bool {
        match (&self.mount, &before.mount) {
            (Some(now), Some(before)) => {
                now.point != before.point && now.point.starts_with(&before.point)
            }
            (Some(_) | None, None) | (None, Some(_)) => false,
        }
    }
}

/// What a file can be renamed within: one mount of one filesystem. A folder of the same filesystem that is mounted a second
/// time is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Realm {
    device: u64,
    /// `None` where the kernel is too old to tell.
    mount: Option<u64>,
}

/// The realm of a folder. Asked of folders only: on an overlay files may have other device numbers than their folder.
///
/// # Errors
/// It cannot be looked at.
pub fn realm(folder: &Path) -> io::Result<Realm> {
    let device = std::fs::metadata(folder)?.dev();
    let told = statx(CWD, folder, AtFlags::empty(), StatxFlags::MNT_ID);
    let mount = match told {
        Ok(told) if StatxFlags::from_bits_retain(told.stx_mask).contains(StatxFlags::MNT_ID) => {
            Some(told.stx_mnt_id)
        }
        Ok(_) | Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Realm { device, mount })
}

impl Mount {
    /// Whether the kernel's events tell of every change.
    pub fn is_local(&self) -> bool {
        LOCAL.contains(&self.kind.as_str())
    }
}

/// The mount of a path, from the text of `/proc/self/mountinfo`. The last mount over a point counts.
pub fn mount_of(table: &str, path: &Path) -> Option<Mount> {
    table
        .lines()
        .filter_map(parse_line)
        .filter(|mount| path.starts_with(&mount.point))
        .enumerate()
        .max_by_key(|(index, mount)| (mount.point.components().count(), *index))
        .map(|(_, mount)| mount)
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw` (proc_pid_mountinfo(5)).
fn parse_line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    let mut fields = after.split(' ');
    Some(Mount {
        point: unescape(point),
        kind: fields.next()?.to_owned(),
        source: fields.next().unwrap_or_default().to_owned(),
    })
}

/// Spaces, tabs, newlines and backslashes stand as `\040` and the like.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The mount of a path on this machine; `None` where the table cannot be read.
pub fn here(path: &Path) -> Option<Mount> {
    match std::fs::read("/proc/self/mountinfo") {
        Ok(table) => mount_of(&String::from_utf8_lossy(&table), path),
        Err(error) => {
            tracing::debug!(%error, path = ?path.as_os_str().as_bytes(), "the table of mounts cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:36 / /mnt/nas\\040one rw - cifs //nas/one rw
41 40 0:37 / /mnt/nas\\040one/deep rw - fuse.rclone nas: rw
42 22 0:38 / /srv rw - tmpfs tmpfs rw
43 22 0:39 / /srv rw - nfs4 host:/x rw
";

    #[test]
    fn row_02_the_deepest_and_last_mount_counts() {
        let kind = |path: &str| mount_of(TABLE, Path::new(path)).map(|mount| mount.kind);
        assert_eq!(kind("/home/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/mnt/nas one/in").as_deref(), Some("cifs"));
        assert_eq!(kind("/mnt/nas one/deep/in").as_deref(), Some("fuse.rclone"));
        assert_eq!(kind("/srv/in").as_deref(), Some("nfs4"));
        assert_eq!(kind("/srvx").as_deref(), Some("ext4"));
    }

    #[test]
    fn row_01_events_are_trusted_on_local_filesystems_only() {
        let local = |path: &str| mount_of(TABLE, Path::new(path)).unwrap().is_local();
        assert!(local("/home"));
        assert!(!local("/mnt/nas one"));
        assert!(!local("/mnt/nas one/deep"));
    }

    /// A device number as stat(2) has it.
    fn device(major: u32, minor: u32) -> u64 {
        rustix::fs::makedev(major, minor)
    }

    #[test]
    fn row_10_a_share_that_is_mounted_again_under_another_number_is_the_same() {
        let nas = || mount_of(TABLE, Path::new("/mnt/nas one/in"));
        let before = Identity::new(device(0, 36), nas());
        assert_eq!(before, Identity::new(device(0, 51), nas()));
        // Another disk at the same place is not.
        let disk = || mount_of(TABLE, Path::new("/home"));
        assert_ne!(
            Identity::new(device(254, 0), disk()),
            Identity::new(device(254, 1), disk())
        );
        // Nor is another share.
        let other = TABLE.replace("//nas/one", "//nas/two");
        let other = mount_of(&other, Path::new("/mnt/nas one/in"));
        assert_ne!(before, Identity::new(device(0, 36), other));
    }

    #[test]
    fn row_10_a_share_that_comes_after_the_start_is_told_from_one_that_goes() {
        let root = Path::new("/mnt/nas one/in");
        let without = TABLE.lines().next().unwrap();
        let bare = Identity::new(device(254, 0), mount_of(without, root));
        let share = Identity::new(device(0, 36), mount_of(TABLE, root));
        assert!(share.is_mounted_over(&bare));
        assert!(!bare.is_mounted_over(&share));
        assert!(!share.is_mounted_over(&share));
    }

    #[test]
    fn row_02_folders_of_one_mount_have_one_realm() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        std::fs::create_dir(&below).unwrap();
        assert_eq!(realm(dir.path()).unwrap(), realm(&below).unwrap());
        assert_ne!(
            realm(dir.path()).unwrap(),
            realm(Path::new("/proc")).unwrap()
        );
    }
}
