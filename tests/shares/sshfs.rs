//! A mount whose server can be made to hang: it answers nothing, and ends nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{helper, kill, mounted, unmount, wait_until};

/// Where Debian has the server's side of SFTP.
const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// A folder of this machine, mounted through SFTP without SSH.
pub struct Sshfs {
    folder: TempDir,
    process: Option<Child>,
    server: Option<Pid>,
}

impl Sshfs {
    /// Mounts one.
    pub fn new() -> Sshfs {
        let folder = tempfile::Builder::new()
            .prefix("taxiway-sshfs-")
            .tempdir()
            .unwrap();
        for name in ["data", "mnt"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let note = folder.path().join("pid");
        // Stands in for ssh: leaves its arguments aside and becomes the server, which ends with sshfs. It cannot ask to be killed with
        // its parent, which is a process in between that ends at once.
        let ssh = folder.path().join("ssh");
        let script = format!(
            "#!/bin/sh\necho $$ >'{}'\nexec {SFTP_SERVER}\n",
            note.display()
        );
        fs::write(&ssh, script).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).unwrap();
        let point = folder.path().join("mnt");
        let mut command = helper("sshfs");
        command
            .arg(format!("nas:{}", folder.path().join("data").display()))
            .arg(&point)
            .arg("-f")
            .arg("-o")
            // Others write there, too: what they do is to be seen within a second.
            .arg(format!("ssh_command={},dcache_timeout=1", ssh.display()));
        // Made before anything can go wrong, so that it is unmounted then.
        let mut share = Sshfs {
            folder,
            process: Some(command.spawn().unwrap()),
            server: None,
        };
        wait_until("it is mounted, and its server known", || {
            let note = fs::read_to_string(&note).unwrap_or_default();
            // Without the end of its line it is not written yet.
            let pid = note.strip_suffix('\n').and_then(|pid| pid.parse().ok());
            share.server = pid.and_then(Pid::from_raw);
            share.server.is_some() && mounted(&point).is_some()
        });
        share
    }

    /// A path below the mountpoint.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("mnt").join(below)
    }

    /// The same as the server has it.
    pub fn data(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("data").join(below)
    }

    /// The server answers nothing more until what this returns is dropped: before the daemon is, since nobody can end a
    /// process that waits for an answer here.
    pub fn hang_server(&self) -> Hung {
        Hung::new(self.server.unwrap())
    }

    /// The same of the program behind the mount. It takes nothing up any more, so that who waits for it can be ended.
    pub fn hang_mount(&self) -> Hung {
        Hung::new(Pid::from_child(self.process.as_ref().unwrap()))
    }
}

/// A process that is stopped.
pub struct Hung(Pid);

impl Hung {
    fn new(pid: Pid) -> Hung {
        kill_process(pid, Signal::STOP).unwrap();
        Hung(pid)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

impl Drop for Sshfs {
    fn drop(&mut self) {
        if let Some(child) = self.process.take() {
            kill(child);
        }
        let point = self.path("");
        if mounted(&self.folder.path().join("mnt")).is_some() {
            unmount(&point);
        }
    }
}
