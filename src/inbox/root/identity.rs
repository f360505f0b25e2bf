//! The filesystem that a folder is on, to see whether it is still the same.

use crate::files::mounts::Mount;

/// What tells the filesystem at a folder from another one, even after it was away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The device number, where it names a device. Numbers that the kernel makes up (NFS, SMB, FUSE, tmpfs, btrfs) may be different
    /// after the same share was mounted again.
    device: Option<u64>,
    /// The mount; `None` where the table cannot be read.
    pub mount: Option<Mount>,
}

impl Identity {
    /// The identity of a folder on `device` (as in stat(2)) and `mount`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folders::mounted::tests::{disk, nas};

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
    fn row_10_a_share_that_comes_after_the_start_is_told_from_one_that_goes() {
        let bare = Identity::new(device(254, 0), Some(disk()));
        let share = Identity::new(device(0, 36), Some(nas("//nas/one")));
        assert!(share.is_mounted_over(&bare));
        assert!(!bare.is_mounted_over(&share));
        assert!(!share.is_mounted_over(&share));
    }
}
