//! The mounts that folders are on: whether they are there, and which files can be renamed within one.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;

use crate::files::RelPath;
use crate::files::mounts::{self, Mount, mount_of, mounted, mounts_below};
use crate::files::stored_path::to_text;
use crate::journal::{Journal, JournalError};

/// What a file can be renamed within: one mount of one filesystem. A folder of the same filesystem that is mounted a second
/// time is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Realm {
    device: u64,
    /// `None` where the kernel is too old to report it.
    mount: Option<u64>,
}

/// The realm of a folder. Only for folders: on an overlay files may have other device numbers than their folder.
///
/// # Errors
/// The folder cannot be accessed.
pub fn find_realm(folder: &Path) -> io::Result<Realm> {
    let device = std::fs::metadata(folder)?.dev();
    let found = statx(CWD, folder, AtFlags::empty(), StatxFlags::MNT_ID);
    let mount = match found {
        Ok(found) if StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID) => {
            Some(found.stx_mnt_id)
        }
        Ok(_) | Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Realm { device, mount })
}

/// Why a folder must not be touched although it exists: the filesystem that it belongs to is not mounted, and files would be written
/// under a bare mount point. `remembered` is the mount that it was on when it was last used, `planned` the deepest one that is
/// mounted at boot.
pub fn explain_missing_mount(
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

/// Whether a folder below an inbox is on another mount than the inbox itself. Hangs where the mount does.
pub fn is_mounted(inbox: &Path, at: &RelPath) -> bool {
    match (find_realm(inbox), find_realm(&inbox.join(at.as_path()))) {
        (Ok(own), Ok(there)) => own != there,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// The mount of a path on this machine; `None` where the table cannot be read.
pub fn find_mount(path: &Path) -> Option<Mount> {
    mount_of(&read_mounts(), path).cloned()
}

/// The mounts below a folder on this machine; none where the table cannot be read.
pub fn find_mounts_below(root: &Path) -> Vec<(RelPath, Mount)> {
    mounts_below(read_mounts(), root)
}

fn read_mounts() -> Vec<Mount> {
    mounted().unwrap_or_else(|error| {
        tracing::debug!(%error, "the table of mounts cannot be read");
        vec![]
    })
}

/// Why a folder must not be touched: what it was on when it was last used, or is to be on, is not mounted, so that files would be
/// written under a bare mount point. Reads the journal and the table of mounts, and touches nothing.
///
/// # Errors
/// The journal cannot be read.
pub async fn find_missing_mount(
    journal: &dyn Journal,
    folder: &Path,
) -> Result<Option<String>, JournalError> {
    let remembered = load_mount(journal, folder).await?;
    let planned = mounts::planned_at_boot(&mounts::planned(), folder);
    Ok(explain_missing_mount(
        folder,
        find_mount(folder).as_ref(),
        remembered.as_ref(),
        planned.as_deref(),
    ))
}

/// Whether a folder is itself the point at which something was mounted when it was last used, and nothing is now.
///
/// # Errors
/// The journal cannot be read.
pub async fn is_bare_mount_point(
    journal: &dyn Journal,
    folder: &Path,
) -> Result<bool, JournalError> {
    let was_point = load_mount(journal, folder)
        .await?
        .is_some_and(|mount| mount.point == folder);
    let is_point = find_mount(folder).is_some_and(|mount| mount.point == folder);
    Ok(was_point && !is_point)
}

/// The mount that a folder was on when it was last used.
async fn load_mount(journal: &dyn Journal, folder: &Path) -> Result<Option<Mount>, JournalError> {
    let mut text = journal.folder(&to_text(folder)).await?;
    if text.is_none() && folder.to_str().is_none() {
        // Under the key that versions before format 4 gave it, which other folders may have had as well.
        text = journal.folder(&folder.to_string_lossy()).await?;
    }
    Ok(text.and_then(|text| match serde_json::from_str::<Mount>(&text) {
        Ok(mount) => Some(mount),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "the mount that the folder was on before cannot be read");
            None
        }
    }))
}

/// Remembers what a folder is on, for [`find_missing_mount`].
///
/// # Errors
/// The journal cannot be read or written.
pub async fn remember_mount(journal: &dyn Journal, folder: &Path) -> Result<(), JournalError> {
    let Some(mount) = find_mount(folder) else {
        return Ok(());
    };
    let key = to_text(folder);
    let text = match serde_json::to_string(&mount) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "the mount that the folder is on cannot be remembered");
            return Ok(());
        }
    };
    match journal.folder(&key).await? {
        Some(known) if known == text => Ok(()),
        Some(_) | None => journal.remember_folder(&key, &text).await,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::journal::Folders as _;

    pub(crate) fn disk() -> Mount {
        mount("/", "ext4", "/dev/vda")
    }

    pub(crate) fn nas(source: &str) -> Mount {
        mount("/mnt/nas one", "cifs", source)
    }

    fn mount(point: &str, kind: &str, source: &str) -> Mount {
        Mount {
            point: point.into(),
            kind: kind.to_owned(),
            source: source.to_owned(),
        }
    }

    #[test]
    fn row_10_a_bare_mount_point_is_told_by_what_was_or_is_to_be_mounted_there() {
        let root = Path::new("/mnt/nas one/in");
        let (bare, share, other) = (disk(), nas("//nas/one"), nas("//nas/two"));
        let why = explain_missing_mount(root, Some(&bare), Some(&share), None).unwrap();
        assert!(
            why.contains("//nas/one") && why.contains("accept-folders"),
            "{why}"
        );
        let point = Path::new("/mnt/nas one");
        assert!(explain_missing_mount(root, Some(&bare), None, Some(point)).is_some());
        // It is there.
        assert_eq!(
            explain_missing_mount(root, Some(&share), Some(&share), Some(point)),
            None
        );
        // It is another one at the same place, or the inbox was moved to a local disk on purpose.
        assert_eq!(
            explain_missing_mount(root, Some(&other), Some(&share), None),
            None
        );
        let moved = Path::new("/srv/in");
        assert_eq!(
            explain_missing_mount(moved, Some(&bare), Some(&share), None),
            None
        );
        // Something is mounted over what was a plain folder.
        assert_eq!(
            explain_missing_mount(root, Some(&share), Some(&bare), None),
            None
        );
    }

    #[test]
    fn row_02_folders_of_one_mount_have_one_realm() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        std::fs::create_dir(&below).unwrap();
        assert_eq!(find_realm(dir.path()).unwrap(), find_realm(&below).unwrap());
        assert_ne!(
            find_realm(dir.path()).unwrap(),
            find_realm(Path::new("/proc")).unwrap()
        );
    }

    #[tokio::test]
    async fn folders_that_differ_in_bytes_that_are_not_text_are_remembered_apart() {
        let dir = tempfile::tempdir().unwrap();
        let journal = crate::journal::SqliteJournal::open(dir.path())
            .await
            .unwrap();
        let folder = |name: &'static [u8]| dir.path().join(OsStr::from_bytes(name));
        let (one, other) = (folder(b"st\xfedio"), folder(b"st\xffdio"));
        remember_mount(&journal, &one).await.unwrap();
        assert!(load_mount(&journal, &one).await.unwrap().is_some());
        assert_eq!(load_mount(&journal, &other).await.unwrap(), None);
        // What an earlier version remembered is still known.
        let key = one.to_string_lossy();
        let text = serde_json::to_string(&disk()).unwrap();
        journal.remember_folder(&key, &text).await.unwrap();
        assert_eq!(load_mount(&journal, &other).await.unwrap(), Some(disk()));
        assert_eq!(load_mount(&journal, &one).await.unwrap(), find_mount(&one));
    }
}
