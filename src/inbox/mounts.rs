//! What kind of filesystem a folder lies on, read from the kernel's table of mounts: asking the filesystem itself can hang.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

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
    /// Major and minor number, as the table has them.
    pub device: String,
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
    let mut fields = before.split(' ');
    let device = fields.nth(2)?.to_owned();
    let point = fields.nth(1)?;
    Some(Mount {
        point: unescape(point),
        kind: after.split(' ').next()?.to_owned(),
        device,
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
}
