//! A Samba server of a test's own, and a mount of its share.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{helper, kill, mounted, text, unmount, wait_until};

/// A Samba server on a port of 127.0.0.1 with one share, `nas`, for everybody.
pub struct Server {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts one; it answers when this returns.
    pub fn new() -> Server {
        let folder = tempfile::Builder::new()
            .prefix("taxiway-share-")
            .tempdir()
            .unwrap();
        // Whoever takes the same port until Samba has it makes the test fail and not succeed wrongly.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let mut server = Server {
            folder,
            port,
            process: None,
        };
        for folder in ["state", "data/studio"] {
            fs::create_dir_all(server.path(folder)).unwrap();
        }
        let state = server.path("state");
        let state = state.display();
        let config = format!(
            "[global]\n\
             workgroup = TAXIWAY\n\
             server role = standalone server\n\
             interfaces = 127.0.0.1\n\
             bind interfaces only = yes\n\
             map to guest = Bad User\n\
             guest account = root\n\
             private dir = {state}\n\
             lock directory = {state}\n\
             state directory = {state}\n\
             cache directory = {state}\n\
             pid directory = {state}\n\
             ncalrpc dir = {state}/ncalrpc\n\
             log file = {state}/log\n\
             load printers = no\n\
             disable spoolss = yes\n\
             # The client takes in as much as this before it sends: slow writers write in pieces of this size.\n\
             smb2 max write = {PIECE}\n\
             [nas]\n\
             path = {data}\n\
             read only = no\n\
             guest only = yes\n",
            data = server.path("data").display(),
        );
        fs::write(server.path("smb.conf"), config).unwrap();
        server.start();
        server
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The shared folder as the server's own disk has it.
    pub fn data(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path("data/studio").join(below)
    }

    /// Starts it again.
    pub fn start(&mut self) {
        let mut command = helper("/usr/sbin/smbd");
        command
            .args(["--foreground", "--no-process-group", "-s"])
            .arg(self.path("smb.conf"))
            .args(["-p", &self.port.to_string()])
            .stderr(fs::File::create(self.path("smbd.err")).unwrap());
        self.process = Some(command.spawn().unwrap());
        wait_until("Samba answers", || {
            self.client("ls").output().unwrap().status.success()
        });
    }

    /// Ends it; connections break, since what serves each of them goes with the server.
    pub fn stop(&mut self) {
        kill(self.process.take().unwrap());
        wait_until("Samba is gone", || {
            !self.client("ls").output().unwrap().status.success()
        });
    }

    /// Another client of the share, which does this.
    fn client(&self, command: &str) -> Command {
        let mut client = Command::new("smbclient");
        client
            .args(["-N", "-D", "studio", "-p", &self.port.to_string(), "-s"])
            .arg(self.path("smb.conf"))
            .args(["//127.0.0.1/nas", "-c", command])
            .stdin(Stdio::null());
        client
    }

    /// Has another client do something.
    pub fn ask(&self, command: &str) {
        let output = self.client(command).output().unwrap();
        assert!(
            output.status.success(),
            "{command}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }

    /// Another client puts a file, under its name from the beginning, as people's computers do.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let mut local = tempfile::NamedTempFile::new().unwrap();
        local.write_all(bytes.as_ref()).unwrap();
        self.ask(&format!("put \"{}\" \"{name}\"", local.path().display()));
    }

    /// Another client puts a file piece by piece, with a pause after each. Pieces have [`PIECE`] bytes.
    pub fn put_slowly(&self, name: &str, bytes: &[u8], pause: Duration) -> JoinHandle<()> {
        let mut client = self
            .client(&format!("put - \"{name}\""))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bytes = bytes.to_owned();
        std::thread::spawn(move || {
            let mut pipe = client.stdin.take().unwrap();
            for piece in bytes.chunks(PIECE) {
                pipe.write_all(piece).unwrap();
                std::thread::sleep(pause);
            }
            drop(pipe);
            assert!(client.wait().unwrap().success());
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = self.process.take() {
            kill(child);
        }
    }
}

/// How many bytes a slow client sends at once.
pub const PIECE: usize = 64 * 1024;

/// A share, mounted.
pub struct Share {
    pub server: Server,
    /// Where it is mounted.
    point: PathBuf,
    process: Option<Child>,
}

impl Share {
    /// A new server's share, mounted at a folder beside it.
    pub fn new() -> Share {
        let server = Server::new();
        let point = server.path("mnt");
        fs::create_dir(&point).unwrap();
        fs::write(
            server.path("rclone.conf"),
            format!(
                "[nas]\ntype = smb\nhost = 127.0.0.1\nport = {}\nuser = guest\n",
                server.port
            ),
        )
        .unwrap();
        let mut share = Share {
            server,
            point,
            process: None,
        };
        share.mount();
        share
    }

    /// A path below the mountpoint.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.point.join(below)
    }

    /// Mounts it, as whoever shares it with others should:
    ///
    /// - `--vfs-cache-mode off`, rclone's own default: what is written goes to the server at once, and closing a file waits
    ///   until the server has it. With `writes` and `full` the file goes up after it was closed; a rename meanwhile, which
    ///   is how files appear whole, happens in the cache only and is lost, or others see the file grow under its name.
    /// - `--dir-cache-time` of a second: what others put there is seen only when rclone reads the folder anew, and a file
    ///   that grows looks quiet for as long. It has to be well below `settle`; rclone's default is five minutes.
    /// - `--attr-timeout`: what the kernel keeps on top of that; a second is the default.
    pub fn mount(&mut self) {
        let mut command = helper("rclone");
        command
            .args(["mount", "nas:nas/studio"])
            .arg(&self.point)
            .arg("--config")
            .arg(self.server.path("rclone.conf"))
            .arg("--cache-dir")
            .arg(self.server.path("cache"))
            .args(["--vfs-cache-mode", "off"])
            .args(["--dir-cache-time", "1s", "--attr-timeout", "1s"])
            // A server that is gone is an error soon, and not in minutes.
            .args([
                "--contimeout",
                "1s",
                "--timeout",
                "10s",
                "--low-level-retries",
                "1",
            ])
            .arg("--log-file")
            .arg(self.server.path("rclone.log"));
        self.process = Some(command.spawn().unwrap());
        wait_until("the share is mounted", || {
            mounted(&self.point).as_deref() == Some("fuse.rclone")
        });
    }

    /// Unmounts it; a bare folder remains.
    pub fn unmount(&mut self) {
        unmount(&self.point);
        self.end();
    }

    /// The program behind the mount dies: the mount remains, and everything in it fails.
    pub fn kill_mount(&mut self) {
        kill(self.process.take().unwrap());
        wait_until("the mount is dead", || {
            fs::metadata(&self.point).is_err_and(|error| {
                error.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error())
            })
        });
    }

    /// What [`Share::kill_mount`] left is unmounted, and the share mounted again.
    pub fn mount_again(&mut self) {
        unmount(&self.point);
        self.mount();
    }

    /// Everything below the mountpoint, whatever is mounted there.
    pub fn listing(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.point).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// rclone ends by itself once nobody has a file open there, and is ended otherwise.
    fn end(&mut self) {
        let Some(mut child) = self.process.take() else {
            return;
        };
        let limit = Instant::now() + Duration::from_secs(2);
        while Instant::now() < limit {
            if child.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        kill(child);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read(self.server.path("rclone.log")).unwrap_or_default();
            eprintln!("--- rclone\n{}", text(&log));
        }
        if mounted(&self.point).is_some() {
            unmount(&self.point);
        }
        self.end();
    }
}
