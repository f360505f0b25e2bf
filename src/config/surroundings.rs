//! What a configuration must know of the machine: its environment, mounts and links, and what can be written.
//!
//! Files are moved between an inbox and its `working` folder by renaming, and a rename works within one mount only. The
//! kernel's table of mounts is read before any folder is touched, since a call on a share whose server is gone does not
//! return. `/etc/fstab` counts, too: a share that is not mounted yet must not be taken for a plain folder.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::files::mounts::{self, Mount};

/// The environment: gives the value of a variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The process's environment.
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The value of a variable. One that is empty counts as not set.
pub(super) fn variable(env: Env<'_>, name: &str) -> Option<OsString> {
    env(name).filter(|value| !value.is_empty())
}

/// What is known of the machine. Tests make up their own.
pub(super) struct Surroundings<'a> {
    /// All mounts; empty where the system does not list them.
    pub mounts: Vec<Mount>,
    /// Where a symbolic link leads; `None` if the path is not one.
    pub read_link: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// Whether names can be made in a folder, or could be in the folder above it that exists.
    pub writable: &'a dyn Fn(&Path) -> bool,
}

impl Surroundings<'_> {
    /// The machine that this runs on, as it is now.
    pub fn of_this_machine() -> Surroundings<'static> {
        // Either file may be missing (a container without `/etc/fstab`, a system without `/proc`): fewer mounts are known
        // then, and the daemon's own probe of the folders finds the rest at start.
        let mut mounts = mounts::mounted().unwrap_or_default();
        mounts.extend(mounts::planned().into_iter().map(|planned| planned.mount));
        Surroundings {
            mounts,
            // What cannot be read as a link is taken as it is; opening it shows what is wrong with it.
            read_link: &|path| std::fs::read_link(path).ok(),
            writable: &writable,
        }
    }

    /// The path with its symbolic links followed as far as it exists, and `.` and `..` taken out. Links on remote
    /// filesystems are not followed.
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

    /// The mount that a resolved path is on.
    pub(super) fn mount_of(&self, resolved: &Path) -> Option<&Mount> {
        mounts::mount_of(&self.mounts, resolved)
    }

    /// Whether a filesystem is mounted at a resolved path itself.
    pub(super) fn is_mount_point(&self, resolved: &Path) -> bool {
        self.mounts.iter().any(|mount| mount.point == resolved)
    }

    fn is_remote(&self, resolved: &Path) -> bool {
        self.mount_of(resolved).is_some_and(Mount::is_remote)
    }

    /// Whether names can be made in the folder above a resolved path. On a remote filesystem this is assumed rather than
    /// tried, since trying may hang; the daemon's probe at start finds out.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn mount(point: &str, kind: &str) -> Mount {
        Mount {
            point: point.into(),
            kind: kind.to_owned(),
            source: String::new(),
        }
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
            mounts: vec![mount("/", "ext4"), mount("/nas", "cifs")],
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
            Some(&mount("/nas", "cifs"))
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
