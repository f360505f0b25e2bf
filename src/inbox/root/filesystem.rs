//! The filesystem that a folder lies on: whether it is still the same, what files can be renamed within it, and whether the
//! kernel's events are trusted there.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;

use crate::config::Watch;
use crate::files::RelPath;
use crate::files::mounts::{Mount, mount_of, mounted, mounts_below};

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
    mount_of(&table(), path).cloned()
}

/// The mounts below a folder on this machine; none where the table cannot be read.
pub fn below(root: &Path) -> Vec<(RelPath, Mount)> {
    mounts_below(table(), root)
}

fn table() -> Vec<Mount> {
    mounted().unwrap_or_else(|error| {
        tracing::debug!(%error, "the table of mounts cannot be read");
        vec![]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Mount {
        mount("/", "ext4", "/dev/vda")
    }

    fn nas(source: &str) -> Mount {
        mount("/mnt/nas one", "cifs", source)
    }

    fn mount(point: &str, kind: &str, source: &str) -> Mount {
        Mount {
            point: point.into(),
            kind: kind.to_owned(),
            source: source.to_owned(),
        }
    }

    /// A device number as stat(2) has it.
    fn device(major: u32, minor: u32) -> u64 {
        rustix::fs::makedev(major, minor)
    }

    #[test]
    fn row_10_a_share_that_is_mounted_again_under_another_number_is_the_same() {
        let before = Identity::new(device(0, 36), Some(nas("//nas/one")));
        assert_eq!(before, Identity::new(device(0, 51), Some(nas("//nas/one"))));
        // Another disk at the same place is not.
        assert_ne!(
            Identity::new(device(254, 0), Some(disk())),
            Identity::new(device(254, 1), Some(disk()))
        );
        // Nor is another share.
        assert_ne!(before, Identity::new(device(0, 36), Some(nas("//nas/two"))));
    }

    #[test]
    fn row_10_a_bare_mount_point_is_told_by_what_was_or_is_to_be_mounted_there() {
        let root = Path::new("/mnt/nas one/in");
        let (bare, share, other) = (disk(), nas("//nas/one"), nas("//nas/two"));
        let why = missing_mount(root, Some(&bare), Some(&share), None).unwrap();
        assert!(
            why.contains("//nas/one") && why.contains("accept-folders"),
            "{why}"
        );
        let point = Path::new("/mnt/nas one");
        assert!(missing_mount(root, Some(&bare), None, Some(point)).is_some());
        // It is there.
        assert_eq!(
            missing_mount(root, Some(&share), Some(&share), Some(point)),
            None
        );
        // It is another one at the same place, or the inbox was moved to a local disk on purpose.
        assert_eq!(missing_mount(root, Some(&other), Some(&share), None), None);
        let moved = Path::new("/srv/in");
        assert_eq!(missing_mount(moved, Some(&bare), Some(&share), None), None);
        // Something is mounted over what was a plain folder.
        assert_eq!(missing_mount(root, Some(&share), Some(&bare), None), None);
    }

    #[test]
    fn row_10_a_share_that_comes_after_the_start_is_told_from_one_that_goes() {
        let bare = Identity::new(device(254, 0), Some(disk()));
        let share = Identity::new(device(0, 36), Some(nas("//nas/one")));
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
