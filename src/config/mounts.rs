//! What a configuration must know of the machine: where filesystems are mounted, where links lead, what can be written.
//!
//! Files are moved between an inbox and its `working` folder by renaming, and a rename works within one mount only. The
//! kernel's table of mounts is asked before any folder is touched, since a share whose server is gone hangs whoever
//! touches it. `/etc/fstab` counts, too: a share that is not mounted yet must not be taken for a plain folder.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// A place where a filesystem is mounted, or is meant to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The folder.
    pub target: PathBuf,
    /// Whether the files are elsewhere, so that touching them may hang.
    pub remote: bool,
}

/// What is known of the machine. Tests make up their own.
pub struct Surroundings<'a> {
    /// All mounts; empty where the system does not tell.
    pub mounts: Vec<Mount>,
    /// Where a symbolic link leads; nothing if the path is none.
    pub read_link: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// Whether names can be made in a folder, or could be in the folder above it that exists.
    pub writable: &'a dyn Fn(&Path) -> bool,
}

impl Surroundings<'_> {
    /// The machine that this runs on, as it is now.
    pub fn of_this_machine() -> Surroundings<'static> {
        // Neither file need be there (a container without `/etc/fstab`, a system without `/proc`): fewer mounts are known
        // then, and the daemon's own probe of the folders says the rest at start.
        let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        let planned = std::fs::read("/etc/fstab").unwrap_or_default();
        Surroundings {
            mounts: parse_mountinfo(&mounts)
                .chain(parse_fstab(&planned))
                .collect(),
            // Whatever cannot be read as a link is taken as it stands; opening it tells what is wrong with it.
            read_link: &|path| std::fs::read_link(path).ok(),
            writable: &writable,
        }
    }

    /// The path with its symbolic links followed as far as it exists, and `.` and `..` taken out. Links on remote
    /// filesystems are not looked at.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        /// More links than this lead in a circle; the kernel has the same bound.
        const MAX_LINKS: usize = 40;
        let mut links = 0;
        let mut resolved = PathBuf::new();
        let mut rest: VecDeque<OsString> = parts(path).collect();
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&part);
            let link = if part == "/" || links >= MAX_LINKS || self.is_remote(&next) {
                None
            } else {
                (self.read_link)(&next)
            };
            match link {
                Some(target) => {
                    links += 1;
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                // An absolute part replaces what is before it.
                None => resolved = next,
            }
        }
        resolved
    }

    /// The mount that a resolved path lies on.
    pub(super) fn mount_of(&self, resolved: &Path) -> Option<&Mount> {
        self.mounts
            .iter()
            .filter(|mount| resolved.starts_with(&mount.target))
            .max_by_key(|mount| mount.target.components().count())
    }

    /// Whether a filesystem is mounted at a resolved path itself.
    pub(super) fn is_mount_point(&self, resolved: &Path) -> bool {
        self.mounts.iter().any(|mount| mount.target == resolved)
    }

    fn is_remote(&self, resolved: &Path) -> bool {
        self.mount_of(resolved).is_some_and(|mount| mount.remote)
    }

    /// Whether names can be made in the folder above a resolved path. On a remote filesystem this is taken for granted
    /// rather than tried, since trying may hang; the daemon's probe at start tells.
    pub(super) fn parent_writable(&self, resolved: &Path) -> bool {
        resolved
            .parent()
            .is_some_and(|parent| self.is_remote(parent) || (self.writable)(parent))
    }
}

/// The parts of a path, without those that mean nothing.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_owned())
}

/// Whether names can be made in a folder or, where it does not exist, in the nearest one above it that does.
fn writable(folder: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    use rustix::io::Errno;
    folder
        .ancestors()
        .find_map(|folder| {
            match accessat(
                CWD,
                folder,
                Access::WRITE_OK | Access::EXEC_OK,
                AtFlags::empty(),
            ) {
                Ok(()) => Some(true),
                Err(Errno::NOENT) => None,
                Err(_) => Some(false),
            }
        })
        .unwrap_or(false)
}

/// Kinds of filesystems whose files are elsewhere.
fn remote(kind: &[u8]) -> bool {
    const REMOTE: [&str; 14] = [
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
    kind.starts_with(b"fuse.") || REMOTE.iter().any(|name| name.as_bytes() == kind)
}

/// The mounts of `/proc/self/mountinfo`; its format is in proc(5).
fn parse_mountinfo(text: &[u8]) -> impl Iterator<Item = Mount> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let target = unescape(fields.nth(4)?);
        // Optional fields end with a dash; the kind of filesystem comes after it.
        fields.find(|field| *field == b"-")?;
        Some(Mount {
            target,
            remote: remote(fields.next()?),
        })
    })
}

/// The deepest folder at or above `path` where `/etc/fstab` has a filesystem mounted at boot, beside the root.
pub fn planned_mount(path: &Path) -> Option<PathBuf> {
    // Without the file nothing is planned.
    let planned = std::fs::read("/etc/fstab").unwrap_or_default();
    planned_in(&planned, path)
}

fn planned_in(text: &[u8], path: &Path) -> Option<PathBuf> {
    let at_boot: Vec<&[u8]> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| {
            let options = line
                .split(u8::is_ascii_whitespace)
                .filter(|field| !field.is_empty())
                .nth(3)
                .unwrap_or_default();
            !options
                .split(|byte| *byte == b',')
                .any(|word| word == b"noauto")
        })
        .collect();
    parse_fstab(&at_boot.join(&b'\n'))
        .map(|mount| mount.target)
        .filter(|target| path.starts_with(target) && target.parent().is_some())
        .max_by_key(|target| target.components().count())
}

/// The mounts that `/etc/fstab` plans; its format is in fstab(5).
fn parse_fstab(text: &[u8]) -> impl Iterator<Item = Mount> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line
            .split(u8::is_ascii_whitespace)
            .filter(|field| !field.is_empty());
        if fields.next()?.starts_with(b"#") {
            return None;
        }
        let target = unescape(fields.next()?);
        let kind = fields.next()?;
        target.is_absolute().then(|| Mount {
            target,
            remote: remote(kind),
        })
    })
}

/// A path with its `\040` and the like made into characters.
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
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn mount(target: &str, remote: bool) -> Mount {
        Mount {
            target: target.into(),
            remote,
        }
    }

    #[test]
    fn mounts_are_read_with_optional_fields_and_escaped_names() {
        let text = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            40 22 0:35 / /mnt/my\\040share rw - cifs //nas/share rw,vers=3.0\n\
            41 22 0:36 / /mnt/cloud rw shared:3 master:1 - fuse.rclone cloud: rw\n\
            42 22 8:1 /data /srv/inbox rw - ext4 /dev/sda1 rw\nbroken line\n";
        assert_eq!(
            parse_mountinfo(text).collect::<Vec<_>>(),
            [
                mount("/", false),
                mount("/mnt/my share", true),
                mount("/mnt/cloud", true),
                mount("/srv/inbox", false)
            ]
        );
    }

    #[test]
    fn planned_mounts_are_read_without_comments_and_swap() {
        let text = b"# /etc/fstab\nUUID=1 / ext4 defaults 0 1\n\nUUID=2 none swap sw 0 0\n\
            \tnas:/films\t/mnt/films/\tnfs4 noauto 0 0\n";
        assert_eq!(
            parse_fstab(text).collect::<Vec<_>>(),
            [mount("/", false), mount("/mnt/films", true)]
        );
    }

    #[test]
    fn a_mount_that_is_planned_at_boot_is_found_by_what_lies_below_it() {
        let text = b"UUID=1 / ext4 defaults 0 1\nnas:/films /mnt/films nfs4 _netdev,nofail 0 0\n\
            nas:/old /mnt/old nfs4 noauto,ro 0 0\n";
        let planned = |path: &str| planned_in(text, Path::new(path));
        assert_eq!(planned("/mnt/films/inbox"), Some("/mnt/films".into()));
        assert_eq!(planned("/mnt/old/inbox"), None);
        assert_eq!(planned("/srv/inbox"), None);
    }

    #[test]
    fn links_are_followed_but_never_touched_on_a_share() {
        let read_link = |path: &Path| {
            assert!(!path.starts_with("/nas"), "touched {}", path.display());
            match path.to_str() {
                Some("/data") => Some("/disk/one".into()),
                Some("/disk/one/in") => Some("../two/./in".into()),
                Some("/loop") => Some("/loop".into()),
                _ => None,
            }
        };
        let here = Surroundings {
            mounts: vec![mount("/", false), mount("/nas", true)],
            read_link: &read_link,
            writable: &|_| panic!("nothing need be written"),
        };
        assert_eq!(
            here.resolve(Path::new("/data/in/x")),
            Path::new("/disk/two/in/x")
        );
        assert_eq!(here.resolve(Path::new("/nas/in")), Path::new("/nas/in"));
        assert_eq!(here.resolve(Path::new("/loop/x")), Path::new("/loop/x"));
        assert_eq!(
            here.mount_of(Path::new("/nas/in")),
            Some(&mount("/nas", true))
        );
        assert!(here.parent_writable(Path::new("/nas/in")));
    }

    #[test]
    fn this_machine_has_a_root_and_a_writable_temporary_folder() {
        let here = Surroundings::of_this_machine();
        let folder = tempfile::tempdir().unwrap();
        assert!((here.writable)(&folder.path().join("not/there/yet")));
        if Path::new("/proc/self/mountinfo").exists() {
            assert!(here.is_mount_point(Path::new("/")));
        }
    }
}
