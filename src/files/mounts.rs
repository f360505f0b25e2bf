//! The kernel's table of mounts, and the mounts that `/etc/fstab` plans. Both are read before any folder is touched, since
//! asking a filesystem itself can block.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::RelPath;

/// Filesystems that only this kernel changes, so that its events report every change.
const LOCAL: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "zfs", "bcachefs", "jfs", "reiserfs",
    "vfat", "exfat", "ntfs3", "ramfs",
];

/// Local filesystems that invent inode numbers, and may give a file another one later.
const UNSTABLE_INODES: &[&str] = &["vfat", "exfat"];

/// Filesystems whose files are on another machine, so that access may block. All of FUSE counts as well.
const REMOTE: &[&str] = &[
    "9p",
    "afs",
    "autofs",
    "beegfs",
    "ceph",
    "cifs",
    "davfs",
    "glusterfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "virtiofs",
];

/// A filesystem that is mounted, or planned to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The folder where it is mounted.
    #[serde(with = "crate::files::stored_path")]
    pub point: PathBuf,
    /// The filesystem's type, such as `ext4` or `fuse.rclone`.
    pub kind: String,
    /// What is mounted: a device, `//nas/one`, `host:/x`.
    pub source: String,
}

impl Mount {
    /// Whether the kernel's events report every change.
    pub fn is_local(&self) -> bool {
        LOCAL.contains(&self.kind.as_str())
    }

    /// Whether the files are on another machine, so that access may block.
    pub fn is_remote(&self) -> bool {
        self.kind.starts_with("fuse.") || REMOTE.contains(&self.kind.as_str())
    }

    /// Whether a file keeps its inode number when it is renamed, and over time. On FUSE the number often comes from the path or
    /// from a counter, and on SMB from the client where the server has none.
    pub fn has_lasting_inodes(&self) -> bool {
        self.is_local() && !UNSTABLE_INODES.contains(&self.kind.as_str())
    }
}

/// Finds the mount that a path is on: the deepest and, of several at one point, the last.
pub fn mount_of<'a>(mounts: impl IntoIterator<Item = &'a Mount>, path: &Path) -> Option<&'a Mount> {
    mounts
        .into_iter()
        .filter(|mount| path.starts_with(&mount.point))
        // The last of those that are as deep.
        .max_by_key(|mount| mount.point.components().count())
}

/// Finds what is mounted below a folder: each path once, with the last mount there.
pub fn mounts_below(mounts: Vec<Mount>, root: &Path) -> Vec<(RelPath, Mount)> {
    let mut found: BTreeMap<RelPath, Mount> = BTreeMap::new();
    for mount in mounts {
        let below = mount.point.strip_prefix(root).ok();
        if let Some(below) = below.and_then(RelPath::new).filter(|at| !at.is_root()) {
            found.insert(below, mount);
        }
    }
    found.into_iter().collect()
}

/// Finds the deepest folder at or above `path`, other than `/`, where a filesystem is planned to be mounted at boot.
pub fn planned_at_boot(planned: &[Planned], path: &Path) -> Option<PathBuf> {
    planned
        .iter()
        .filter(|planned| planned.at_boot)
        .map(|planned| &planned.mount.point)
        .filter(|point| path.starts_with(point) && point.parent().is_some())
        .max_by_key(|point| point.components().count())
        .cloned()
}

/// Reads all mounts of this machine, in the order in which they were mounted.
///
/// # Errors
/// The table cannot be read, for example without `/proc`.
pub fn mounted() -> io::Result<Vec<Mount>> {
    // This is read every few seconds, and the file does not say how long it is.
    let mut table = Vec::with_capacity(32 * 1024);
    std::fs::File::open("/proc/self/mountinfo")?.read_to_end(&mut table)?;
    Ok(parse_mountinfo(&table))
}

/// Reads what is planned to be mounted on this machine. Without `/etc/fstab`, as in a container, that is nothing.
pub fn planned() -> Vec<Planned> {
    parse_fstab(&std::fs::read("/etc/fstab").unwrap_or_default())
}

/// An entry of `/etc/fstab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What is planned to be mounted.
    pub mount: Mount,
    /// Whether it is mounted at boot, and not only on request.
    pub at_boot: bool,
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw` (proc_pid_mountinfo(5)). Optional fields end with the dash.
fn parse_mountinfo(table: &[u8]) -> Vec<Mount> {
    let parse = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let point = unescape(fields.nth(4)?);
        fields.find(|field| *field == b"-")?;
        Some(Mount {
            point,
            kind: text(fields.next()?),
            source: text(fields.next().unwrap_or_default()),
        })
    };
    let lines = table.split(|byte| *byte == b'\n');
    lines.filter_map(parse).collect()
}

/// `nas:/films /mnt/films nfs4 noauto,ro 0 0` (fstab(5)).
fn parse_fstab(table: &[u8]) -> Vec<Planned> {
    let parse = |line: &[u8]| {
        let mut fields = line
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty());
        let source = fields.next().filter(|field| !field.starts_with(b"#"))?;
        let point = unescape(fields.next()?);
        let kind = text(fields.next()?);
        let mut options = fields
            .next()
            .unwrap_or_default()
            .split(|byte| *byte == b',');
        let at_boot = !options.any(|option| option == b"noauto");
        let source = text(source);
        point.is_absolute().then_some(Planned {
            mount: Mount {
                point,
                kind,
                source,
            },
            at_boot,
        })
    };
    let lines = table.split(|byte| *byte == b'\n');
    lines.filter_map(parse).collect()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Decodes `\040` and the like in a path.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        match (byte, after) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    // A trailing slash in `/etc/fstab` means nothing.
    Path::new(OsStr::from_bytes(&bytes)).components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:36 / /mnt/nas\\040one rw - cifs //nas/one rw
41 40 0:37 / /mnt/nas\\040one/deep rw shared:3 master:1 - fuse.rclone nas: rw
broken line
42 22 0:38 / /srv rw - tmpfs tmpfs rw
43 22 0:39 /data /srv rw - nfs4 host:/x rw
";

    #[test]
    fn a_mount_at_a_path_of_any_bytes_is_remembered_as_it_is() {
        use std::os::unix::ffi::OsStrExt as _;
        let mount = Mount {
            point: PathBuf::from(std::ffi::OsStr::from_bytes(b"/mnt/n\xffs")),
            kind: "cifs".to_owned(),
            source: "//nas/one".to_owned(),
        };
        let text = serde_json::to_string(&mount).unwrap();
        assert_eq!(serde_json::from_str::<Mount>(&text).unwrap(), mount);
    }

    fn at(path: &str) -> Mount {
        let mounts = parse_mountinfo(TABLE);
        mount_of(&mounts, Path::new(path)).unwrap().clone()
    }

    #[test]
    fn row_02_the_deepest_and_last_mount_counts() {
        assert_eq!(at("/home/x").kind, "ext4");
        assert_eq!(at("/mnt/nas one/in").kind, "cifs");
        assert_eq!(at("/mnt/nas one/in").source, "//nas/one");
        assert_eq!(at("/mnt/nas one/deep/in").kind, "fuse.rclone");
        assert_eq!(at("/srv/in").kind, "nfs4");
        assert_eq!(at("/srvx").kind, "ext4");
    }

    #[test]
    fn a_mount_point_whose_name_is_not_utf8_is_known_by_its_bytes() {
        let mounts = parse_mountinfo(
            b"9 1 0:1 / / rw - ext4 a rw\n40 22 0:36 / /mnt/\xff rw - cifs //nas/one rw\n",
        );
        let path = Path::new(OsStr::from_bytes(b"/mnt/\xff/in"));
        assert_eq!(mount_of(&mounts, path).unwrap().kind, "cifs");
    }

    #[test]
    fn row_02_mounts_inside_an_inbox_are_known_by_their_folders() {
        let below = |root: &str| mounts_below(parse_mountinfo(TABLE), Path::new(root));
        let found: Vec<_> = below("/mnt/nas one")
            .into_iter()
            .map(|(at, mount)| (at.to_string(), mount.kind))
            .collect();
        assert_eq!(found, [("deep".to_owned(), "fuse.rclone".to_owned())]);
        assert_eq!(below("/srv/in"), []);
    }

    #[test]
    fn row_01_events_are_trusted_on_local_filesystems_only() {
        assert!(at("/home").is_local() && !at("/home").is_remote());
        for share in ["/mnt/nas one", "/mnt/nas one/deep", "/srv"] {
            assert!(!at(share).is_local() && at(share).is_remote(), "{share}");
        }
    }

    #[test]
    fn a_file_is_known_by_its_inode_only_where_that_lasts() {
        assert!(at("/home").has_lasting_inodes());
        assert!(!at("/mnt/nas one/deep").has_lasting_inodes());
        let mut stick = at("/home");
        stick.kind = "exfat".into();
        assert!(stick.is_local() && !stick.has_lasting_inodes());
    }

    #[test]
    fn planned_mounts_are_read_without_comments_and_swap() {
        let table = b"# /etc/fstab\nUUID=1 / ext4 defaults 0 1\n\nUUID=2 none swap sw 0 0\n\
            \tnas:/films\t/mnt/films/\tnfs4 noauto 0 0\nnas:/x /mnt/x nfs4\n";
        let planned: Vec<_> = parse_fstab(table)
            .into_iter()
            .map(|Planned { mount, at_boot }| (mount.point, mount.kind, at_boot))
            .collect();
        let wanted = |point: &str, kind: &str, at_boot| (point.into(), kind.to_owned(), at_boot);
        assert_eq!(
            planned,
            [
                wanted("/", "ext4", true),
                wanted("/mnt/films", "nfs4", false),
                wanted("/mnt/x", "nfs4", true)
            ]
        );
    }

    #[test]
    fn a_mount_that_is_planned_at_boot_is_found_by_what_lies_below_it() {
        let planned = parse_fstab(
            b"UUID=1 / ext4 defaults 0 1\nnas:/films /mnt/films nfs4 _netdev,nofail 0 0\n\
            nas:/old /mnt/old nfs4 noauto,ro 0 0\n",
        );
        let planned = |path: &str| planned_at_boot(&planned, Path::new(path));
        assert_eq!(planned("/mnt/films/inbox"), Some("/mnt/films".into()));
        assert_eq!(planned("/mnt/old/inbox"), None);
        assert_eq!(planned("/srv/inbox"), None);
    }
}
