//! What the API saw, from a simulator in this process or in another, and the latter's controls.

#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use taxiway::simulator::{Rule, Seen, SeenTask, Snapshot};

/// What the API saw up to some moment.
#[derive(Debug, Default, Clone)]
pub struct Api {
    pub requests: Vec<Seen>,
    pub tasks: Vec<SeenTask>,
}

impl From<Snapshot> for Api {
    fn from(snapshot: Snapshot) -> Api {
        Api {
            requests: snapshot.requests,
            tasks: snapshot.tasks,
        }
    }
}

/// A simulator in another process; it ends with this.
pub struct Remote {
    child: Child,
    address: String,
    /// The requests that were read before: the simulator forgets the oldest of very many. Questions are not kept.
    seen: Vec<Seen>,
    since: u64,
}

impl Remote {
    /// Starts one with this build of the program. `dir` keeps its tasks over a restart.
    pub fn start(binary: &Path, task_seconds: f64, dir: Option<&Path>) -> Remote {
        let mut command = Command::new(binary);
        command
            .args(["simulate", "--task-seconds", &task_seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(dir) = dir {
            command.arg("--dir").arg(dir);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().to_owned();
        let remote = Remote {
            child,
            address,
            seen: Vec::new(),
            since: 0,
        };
        remote.set(&json!({
            "credit_balance": 1_000_000_000,
            "limits": {"default": {"max_concurrent": null, "max_daily": null}},
        }));
        remote
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Replaces the rules of what goes wrong.
    pub fn set_faults(&self, rules: &[Rule]) {
        self.ask("POST", "/_simulator/faults", &json!(rules));
    }

    /// Changes settings, as `POST /_simulator/settings` takes them.
    pub fn set(&self, change: &Value) {
        self.ask("POST", "/_simulator/settings", change);
    }

    /// What it has seen so far.
    pub fn api(&mut self) -> Api {
        let path = format!("/_simulator/log?since={}", self.since);
        let mut log = self.ask("GET", &path, &Value::Null);
        let new: Vec<Seen> = serde_json::from_value(log["requests"].take()).unwrap();
        let count = log["count"].as_u64().unwrap();
        assert_eq!(
            count,
            self.since + new.len() as u64,
            "the simulator forgot requests"
        );
        self.since = count;
        self.seen.extend(
            new.into_iter()
                .filter(|seen| seen.method == "POST" || !seen.violations.is_empty()),
        );
        let tasks = self.ask("GET", "/_simulator/tasks", &Value::Null);
        Api {
            requests: self.seen.clone(),
            tasks: serde_json::from_value(tasks).unwrap(),
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{method} {path}: {}",
            String::from_utf8_lossy(&answer)
        );
        // Its JSON always comes with a length, never in chunks.
        serde_json::from_slice(&answer[end + 4..]).unwrap()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("the simulator could not be ended: {error}");
        }
    }
}

/// Whether this request would start a task.
pub fn starts_a_task(seen: &Seen) -> bool {
    seen.method == "POST"
        && seen.path.starts_with("/v1/")
        && !seen.path.starts_with("/v1/uploads")
        && !seen.path.starts_with("/v1/organization")
}

/// The key of a picture that is uploaded first.
pub fn upload_key(bytes: &[u8]) -> String {
    format!("upload {}", crate::support::sha256(bytes))
}

/// The key of a JPEG that goes into the request as it is.
pub fn jpeg_key(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let uri = format!("data:image/jpeg;base64,{encoded}");
    picture_key(&crate::support::sha256(uri.as_bytes())[..16])
}

fn picture_key(digest: &str) -> String {
    format!("picture {digest}")
}

impl Api {
    /// What tells each request that would start a task apart: its prompt, and the picture that lies in it or was uploaded
    /// for it.
    pub fn keyed(&self) -> Vec<(&Seen, Vec<String>)> {
        let uploads: HashMap<&str, &str> = self
            .requests
            .iter()
            .filter_map(|seen| {
                let id = seen.path.strip_prefix("/_storage/upload/")?;
                Some((id, seen.body_sha256.as_deref()?))
            })
            .collect();
        let picture = |uri: &str| match uri.strip_prefix("runway://") {
            Some(id) => Some(format!("upload {}", uploads.get(id)?)),
            None => {
                let digest = uri.split_once("sha256 ")?.1;
                Some(picture_key(digest.trim_end_matches(')')))
            }
        };
        self.requests
            .iter()
            .filter(|seen| starts_a_task(seen))
            .map(|seen| {
                let body = seen.body.as_ref();
                let text = |name: &str| body.and_then(|body| body[name].as_str());
                let nested = || body.and_then(|body| body["input"]["promptText"].as_str());
                let prompt = text("promptText").or_else(nested).map(str::to_owned);
                let picture = text("promptImage").and_then(picture);
                (seen, prompt.into_iter().chain(picture).collect())
            })
            .collect()
    }

    /// The tasks that each key's requests started, in order.
    pub fn tasks_by_key(&self) -> HashMap<String, Vec<&SeenTask>> {
        let tasks: HashMap<&str, &SeenTask> = self
            .tasks
            .iter()
            .map(|task| (task.id.as_str(), task))
            .collect();
        let mut by_key: HashMap<String, Vec<&SeenTask>> = HashMap::new();
        for (seen, keys) in self.keyed() {
            let task = seen.task.as_deref().and_then(|id| tasks.get(id));
            if let Some(task) = task {
                for key in keys {
                    by_key.entry(key).or_default().push(task);
                }
            }
        }
        by_key
    }

    /// The keys whose requests met something at the API after which nobody can know whether a task was started.
    pub fn unclear_keys(&self) -> std::collections::HashSet<String> {
        self.keyed()
            .into_iter()
            .filter(|(seen, _)| {
                let fault = seen.fault.as_deref();
                // `status` is unclear for 500 and what nobody has defined; a refusal that is understood is a clear no.
                match fault {
                    Some("reset_before" | "reset_after" | "garbage" | "no_id" | "redirect") => true,
                    Some("status") => seen
                        .status
                        .is_some_and(|status| matches!(status, 408 | 409 | 500 | 501 | 505..=599)),
                    _ => false,
                }
            })
            .flat_map(|(_, keys)| keys)
            .collect()
    }
}
