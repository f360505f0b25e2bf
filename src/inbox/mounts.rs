//! What kind of filesystem a folder lies on, read from the kernel's table of mounts: asking the filesystem itself can hang.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::config::Watch;
use crate::job::RelPath;

/// Filesystems whose changes all go through this kernel, so that its events tell of every change.
const LOCAL: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "zfs", "bcachefs", "jfs", "reiserfs",
    "vfat", "exfat", "ntfs3", "ramfs",
];

/// Local filesystems that make up the number of a file when they first look at it, and may make up another one later.
const NUMBERED_ANEW: &[&str] = &["vfat", "exfat"];

/// The mount that a folder lies on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Whether a file keeps its inode's number when it is renamed, and when nobody has looked at it for a while. On FUSE the
    /// number often comes from the path or from a counter, and on SMB from the client where the server has none.
    pub fn has_lasting_inodes(&self) -> bool {
        self.is_local() && !NUMBERED_ANEW.contains(&self.kind.as_str())
    }
}

/// How changes below a folder are noticed, for people, and whether the kernel's events are trusted to tell of each. `events`
/// says whether there are any.
pub fn trust(watch: Watch, mount: Option<&Mount>, events: bool) -> (bool, String) {
    let kind = mount.map_or("a filesystem of unknown kind", |mount| mount.kind.as_str());
    let local = mount.is_some_and(Mount::is_local);
    match (watch, events, local) {
        (Watch::Scan, _, _) => (false, format!("scans only, as configured, on {kind}")),
        (Watch::Events, true, _) => (true, format!("events on {kind}, as configured, and scans")),
        (Watch::Auto, true, true) => (true, format!("events on {kind}, and scans")),
        (Watch::Auto, true, false) => (
            false,
            format!("scans on {kind}, where events do not tell of every change"),
        ),
        (Watch::Auto | Watch::Events, false, _) => (
            false,
            format!("scans on {kind}, since the kernel gives no events (too few watches)"),
        ),
    }
}

/// Why a folder is not to be touched although something lies there: the filesystem that it is meant to lie on is not mounted,
/// so that this would be written under a bare mount point. `remembered` is the mount that it lay on when it was last used,
/// `planned` the deepest one that is mounted at boot.
pub fn missing_mount(
    root: &Path,
    now: Option<&Mount>,
    remembered: Option<&Mount>,
    planned: Option<&Path>,
) -> Option<String> {
    let now = now?;
    let deeper = |point: &Path| {
        root.starts_with(point) && point != now.point && point.starts_with(&now.point)
    };
    if let Some(before) = remembered.filter(|before| deeper(&before.point)) {
        return Some(format!(
            "nothing is mounted at {}, where {} ({}) was when {} was last used: is the share offline? Nothing is read or written there \
             until it is mounted. If it is meant to be so, start taxiway once with `taxiway run --accept-folders`",
            before.point.display(),
            before.source,
            before.kind,
            root.display()
        ));
    }
    planned.filter(|point| deeper(point)).map(|point| {
        format!(
            "nothing is mounted at {}, and /etc/fstab says that something is to be. Nothing is read or written below it until it is \
             mounted: run `mount {}`",
            point.display(),
            point.display()
        )
    })
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

/// What is mounted below a folder, from the text of `/proc/self/mountinfo`: each path below it once, with the last mount there.
pub fn mounts_below(table: &str, root: &Path) -> Vec<(RelPath, Mount)> {
    let mut found: BTreeMap<RelPath, Mount> = BTreeMap::new();
    for mount in table.lines().filter_map(parse_line) {
        let below = mount.point.strip_prefix(root).ok();
        if let Some(below) = below.and_then(RelPath::new).filter(|at| !at.is_root()) {
            found.insert(below, mount);
        }
    }
    found.into_iter().collect()
}

/// The kernel's table of mounts. It is looked at every few seconds and says no length beforehand, so a table of usual length
/// is read at once.
fn table() -> io::Result<Vec<u8>> {
    let mut table = Vec::with_capacity(32 * 1024);
    std::fs::File::open("/proc/self/mountinfo")?.read_to_end(&mut table)?;
    Ok(table)
}

/// The same on this machine; nothing where the table cannot be read.
pub fn below(root: &Path) -> Vec<(RelPath, Mount)> {
    let table = table().unwrap_or_default();
    mounts_below(&String::from_utf8_lossy(&table), root)
}

/// Whether something is mounted at a folder below an inbox, or at least not what the inbox itself lies on. Hangs where that
/// does.
pub fn is_mounted(inbox: &Path, at: &RelPath) -> bool {
    match (realm(inbox), realm(&inbox.join(at.as_path()))) {
        (Ok(own), Ok(there)) => own != there,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// The mount of a path on this machine; `None` where the table cannot be read.
pub fn here(path: &Path) -> Option<Mount> {
    match table() {
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
    fn row_02_mounts_inside_an_inbox_are_known_by_their_folders() {
        let found = mounts_below(TABLE, Path::new("/mnt/nas one"));
        let found: Vec<_> = found
            .iter()
            .map(|(at, mount)| (at.to_string(), mount.kind.as_str()))
            .collect();
        assert_eq!(found, [("deep".to_owned(), "fuse.rclone")]);
        assert_eq!(mounts_below(TABLE, Path::new("/srv/in")), []);
    }

    #[test]
    fn row_01_events_are_trusted_on_local_filesystems_only() {
        let local = |path: &str| mount_of(TABLE, Path::new(path)).unwrap().is_local();
        assert!(local("/home"));
        assert!(!local("/mnt/nas one"));
        assert!(!local("/mnt/nas one/deep"));
    }

    #[test]
    fn a_file_is_known_by_its_inode_only_where_that_lasts() {
        let lasting = |path: &str| {
            mount_of(TABLE, Path::new(path))
                .unwrap()
                .has_lasting_inodes()
        };
        assert!(lasting("/home"));
        assert!(!lasting("/mnt/nas one/deep"));
        let stick = TABLE.replace("ext4", "exfat");
        let stick = mount_of(&stick, Path::new("/home")).unwrap();
        assert!(stick.is_local() && !stick.has_lasting_inodes());
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
    fn row_10_a_bare_mount_point_is_told_by_what_was_or_is_to_be_mounted_there() {
        let root = Path::new("/mnt/nas one/in");
        let bare = TABLE.lines().next().unwrap();
        let bare = mount_of(bare, root);
        let share = mount_of(TABLE, root);
        let why = missing_mount(root, bare.as_ref(), share.as_ref(), None).unwrap();
        assert!(
            why.contains("//nas/one") && why.contains("accept-folders"),
            "{why}"
        );
        let point = Path::new("/mnt/nas one");
        assert!(missing_mount(root, bare.as_ref(), None, Some(point)).is_some());
        // It is there.
        assert_eq!(
            missing_mount(root, share.as_ref(), share.as_ref(), Some(point)),
            None
        );
        // It is another one at the same place, or the inbox was moved to a local disk on purpose.
        let other = TABLE.replace("//nas/one", "//nas/two");
        let other = mount_of(&other, root);
        assert_eq!(
            missing_mount(root, other.as_ref(), share.as_ref(), None),
            None
        );
        assert_eq!(
            missing_mount(Path::new("/srv/in"), bare.as_ref(), share.as_ref(), None),
            None
        );
        // Something is mounted over what was a plain folder.
        assert_eq!(
            missing_mount(root, share.as_ref(), bare.as_ref(), None),
            None
        );
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
