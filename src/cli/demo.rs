//! `taxiway demo`: everything at once, with no key and no network.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;

use tracing_subscriber::filter::LevelFilter;

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::config::{
    ApiKey, Config, Defaults, Folders, Inbox, JournalKind, KeySource, Limits, Notify, Runway, Web,
};
use crate::control::{Request, Source, answer, status};
use crate::daemon::Daemon;
use crate::files::{create_folders, write_new};
use crate::job::StateName;
use crate::simulator::{Options, Simulator};
use crate::status::Line;

/// How long a task of the simulator takes, in seconds.
const TASK_SECONDS: f64 = 3.0;
/// The demo gives up after this time; it takes a third of it.
const LIMIT: Duration = Duration::from_secs(60);
/// How often the screen is updated.
const FRAME: Duration = Duration::from_millis(150);

/// One sample: what is dropped, and what it shows.
struct Sample {
    /// The input's name, as `status` shows it.
    input: &'static str,
    shows: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

const WALK: &[u8] = include_bytes!("../demo/samples/walk.mp4");

const SAMPLES: &[Sample] = &[
    Sample {
        input: "harbour.jpg",
        shows: "image to video",
        files: &[
            ("harbour.jpg", include_bytes!("../demo/samples/harbour.jpg")),
            (
                "harbour.jpg.yaml",
                b"prompt: |\n  Slow dolly in over the water at dusk. #cinematic\nmodel: gen4_turbo\nratio: \"1280:720\"\nduration: 5\n",
            ),
        ],
    },
    Sample {
        input: "walk.mp4",
        shows: "video to video",
        files: &[
            ("walk.mp4", WALK),
            ("walk.yaml", b"prompt: The same walk, in falling snow\nmodel: aleph2\n"),
        ],
    },
    Sample {
        input: "storm.yaml",
        shows: "text to video",
        files: &[(
            "storm.yaml",
            b"endpoint: text_to_video\nmodel: veo3.1_fast\nprompt: A storm rolls over the plain\nratio: \"1280:720\"\nduration: 4\n",
        )],
    },
    Sample {
        input: "poster.yaml",
        shows: "text to image",
        files: &[(
            "poster.yaml",
            b"endpoint: text_to_image\nmodel: gen4_image\nprompt: A travel poster of a small airport\nratio: \"1920:1080\"\n",
        )],
    },
    Sample {
        input: "finals/walk.mp4",
        shows: "video upscale",
        files: &[
            ("finals/walk.mp4", WALK),
            ("finals/walk.mp4.yaml", b"endpoint: video_upscale\nmodel: magnific_video_upscaler_creative\n"),
        ],
    },
    Sample {
        input: "thunder.yaml",
        shows: "sound effect",
        files: &[(
            "thunder.yaml",
            b"endpoint: sound_effect\nmodel: eleven_text_to_sound_v2\nprompt: Distant thunder over water\nduration: 4\n",
        )],
    },
    Sample {
        input: "portrait.webp",
        shows: "no sidecar: the defaults",
        files: &[("portrait.webp", include_bytes!("../demo/samples/portrait.webp"))],
    },
    Sample {
        input: "runway.png",
        shows: "a sidecar with mistakes",
        files: &[
            ("runway.png", include_bytes!("../demo/samples/runway.png")),
            ("runway.png.yaml", b"promt: Planes land at dawn\nmodel: gen4_turbo\nratio: 16:10\nduration: five\n"),
        ],
    },
    Sample {
        input: "endless.yaml",
        shows: "cancelled while it runs",
        files: &[(
            "endless.yaml",
            b"endpoint: text_to_video\nmodel: veo3.1_fast\nprompt: \"An endless road [[slow 30]]\"\nratio: \"1280:720\"\nduration: 8\n",
        )],
    },
];

/// Which sample is cancelled.
const CANCELLED: &str = "endless.yaml";

/// Show everything at once, with no key and no network
///
/// Starts the simulator and a daemon over a folder with sample inputs, and shows what becomes of them. Ends by itself.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Where the sample folders are made; default: taxiway-demo, or taxiway-demo-2 and so on if it exists
    dir: Option<PathBuf>,
}

impl Demo {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        global.log(LevelFilter::ERROR);
        run(global, self.dir.as_deref()).await
    }
}

async fn run(global: &Global, dir: Option<&Path>) -> Result<(), CommandError> {
    let dir = choose_folder(dir)?;
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        CommandError::Failed(format!("{what}: {error}"))
    };
    let options = Options {
        task_seconds: TASK_SECONDS,
        ..Options::default()
    };
    let simulator = Simulator::start(options)
        .await
        .map_err(|error| failed("the simulator cannot be started", &error))?;
    let config = configuration(&dir, &simulator.base_url())?;
    let outbox = dir.join("outbox");
    let key = ApiKey {
        secret: SecretString::from("key_demo"),
        source: KeySource::Variable("RUNWAYML_API_SECRET"),
    };
    let daemon = Daemon::start(config, Ok(key), false).await?;
    daemon.ready().await;
    let mut screen = Screen::new(global, &dir);
    screen.begin(&simulator.base_url(), daemon.page().unwrap_or_default())?;
    for sample in SAMPLES {
        for (name, content) in sample.files {
            let path = dir.join("inbox").join(name);
            path.parent()
                .map_or(Ok(()), create_folders)
                .and_then(|()| write_new(&path, content))
                .map_err(|error| failed("a sample cannot be dropped", &error))?;
        }
    }
    let ended = follow(&daemon, &mut screen).await;
    let late = daemon.stop().await;
    simulator.stop().await;
    for name in late {
        tracing::warn!("the demo did not wait for {name}");
    }
    let lines = ended?;
    screen.end(&lines, &outbox)
}

/// The folder for the demo: one that is new, so that what is shown was made just now.
fn choose_folder(wanted: Option<&Path>) -> Result<PathBuf, CommandError> {
    let free = |path: &Path| match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    let dir = match wanted {
        Some(dir) if free(dir) => dir.to_owned(),
        Some(dir) => {
            return Err(CommandError::Failed(format!(
                "{} is not empty: name a new folder for the demo",
                dir.display()
            )));
        }
        None => (1_u32..1000)
            .map(|number| match number {
                1 => PathBuf::from("taxiway-demo"),
                number => PathBuf::from(format!("taxiway-demo-{number}")),
            })
            .find(|path| free(path))
            .ok_or_else(|| {
                CommandError::Failed("there are many demo folders here: remove some".to_owned())
            })?,
    };
    create_folders(&dir).map_err(|error| {
        CommandError::Failed(format!("{} cannot be made: {error}", dir.display()))
    })?;
    Ok(dir)
}

fn configuration(dir: &Path, base_url: &str) -> Result<Config, CommandError> {
    let dir = std::path::absolute(dir)
        .map_err(|error| CommandError::Failed(format!("no current folder: {error}")))?;
    let base_url = base_url.parse().map_err(|error| {
        CommandError::Failed(format!("the simulator's address cannot be used: {error}"))
    })?;
    let defaults = json!({"model": "gen4_turbo", "ratio": "960:960", "duration": 5});
    let folders = Folders {
        working: dir.join("working"),
        outbox: dir.join("outbox"),
        originals: dir.join("originals"),
        failed: dir.join("failed"),
    };
    Ok(Config {
        file: None,
        state_dir: dir.join("state"),
        journal: JournalKind::Sqlite,
        runway: Runway {
            base_url,
            poll_interval: Duration::from_millis(250),
            ..Runway::default()
        },
        notify: Notify::default(),
        inboxes: vec![Inbox {
            name: "inbox".to_owned(),
            path: dir.join("inbox"),
            folders: folders.clone(),
            settle: Some(Duration::from_secs(1)),
            pair_wait: Duration::from_secs(2),
            status_file: Some(dir.join("STATUS.html")),
            on_mount: (folders, None),
            defaults: Defaults {
                values: defaults.as_object().cloned().unwrap_or_default(),
                source: None,
            },
            ..Inbox::default()
        }],
        limits: Limits::default(),
        web: Web {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            ..Web::default()
        },
    })
}

/// Shows what happens until every sample has come to its end.
async fn follow(
    daemon: &Daemon,
    screen: &mut Screen,
) -> Result<HashMap<String, Line>, CommandError> {
    let begin = Instant::now();
    let mut asked_to_cancel = false;
    loop {
        let lines = status(&Source::Hub(daemon.hub()), 100).await;
        let lines = lines.map_err(|refusal| CommandError::Failed(refusal.to_string()))?;
        let lines: HashMap<String, Line> = lines
            .into_iter()
            .map(|line| (line.input.clone(), line))
            .collect();
        screen.draw(&lines)?;
        if let Some(line) = lines.get(CANCELLED)
            && line.progress.is_some()
            && !asked_to_cancel
        {
            asked_to_cancel = true;
            let request = Request::Cancel {
                job: line.id.clone(),
            };
            let cancelled = answer(&Source::Hub(daemon.hub()), request).await;
            cancelled.map_err(|refusal| CommandError::Failed(refusal.to_string()))?;
        }
        let over = |sample: &Sample| {
            lines
                .get(sample.input)
                .is_some_and(|line| StateName::ENDED.contains(&line.state))
        };
        if SAMPLES.iter().all(over) {
            return Ok(lines);
        }
        if begin.elapsed() > LIMIT {
            return Err(CommandError::Failed(format!(
                "the demo did not come to its end within {} s; its folders show how far it came",
                LIMIT.as_secs()
            )));
        }
        tokio::time::sleep(FRAME).await;
    }
}

/// The terminal: redrawn in place, or a line for each change where there is no terminal.
struct Screen {
    live: bool,
    json: bool,
    dir: PathBuf,
    drawn: usize,
    said: BTreeMap<&'static str, StateName>,
}

impl Screen {
    fn new(global: &Global, dir: &Path) -> Screen {
        Screen {
            live: std::io::stdout().is_terminal() && !global.json,
            json: global.json,
            dir: dir.to_owned(),
            drawn: 0,
            said: BTreeMap::new(),
        }
    }

    fn begin(&mut self, base_url: &str, page: &str) -> Result<(), CommandError> {
        if self.json {
            return Ok(());
        }
        output::text(&format!(
            "A daemon watches {}, and a simulator stands in for Runway at {base_url}.\n\
             Its page, while this runs: {page}\nNow {} inputs are dropped there.\n\n",
            self.dir.join("inbox").display(),
            SAMPLES.len()
        ))
    }

    fn draw(&mut self, lines: &HashMap<String, Line>) -> Result<(), CommandError> {
        if self.json {
            return Ok(());
        }
        if !self.live {
            let mut text = String::new();
            for sample in SAMPLES {
                let Some(line) = lines.get(sample.input) else {
                    continue;
                };
                let now = line.state;
                if self.said.insert(sample.input, now) != Some(now) {
                    text.push_str(&format!(
                        "{:<16} {:<26} {now}\n",
                        sample.input, sample.shows
                    ));
                }
            }
            return output::text(&text);
        }
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for sample in SAMPLES {
            let shown = match lines.get(sample.input) {
                None => "dropped".to_owned(),
                Some(line) => match line.progress {
                    Some(progress) if line.state == StateName::Running => {
                        format!("{} {:>3.0} %", bar(progress), progress * 100.0)
                    }
                    Some(_) | None => line.state.to_string(),
                },
            };
            text.push_str(&format!(
                "\x1b[2K{:<16} {:<26} {shown}\n",
                sample.input, sample.shows
            ));
        }
        self.drawn = SAMPLES.len();
        output::text(&text)
    }

    fn end(&self, lines: &HashMap<String, Line>, outbox: &Path) -> Result<(), CommandError> {
        if self.json {
            let lines = SAMPLES.iter().filter_map(|sample| lines.get(sample.input));
            return output::json_lines(&lines.collect::<Vec<_>>());
        }
        let mut rows = vec![output::row(["INPUT", "SHOWS", "BECAME", "FILE"])];
        for sample in SAMPLES {
            let Some(line) = lines.get(sample.input) else {
                continue;
            };
            let file = match line.state {
                StateName::Done => line
                    .outputs
                    .iter()
                    .map(|path| self.shown(Path::new(path)))
                    .collect::<Vec<_>>()
                    .join(", "),
                StateName::Waiting
                | StateName::Queued
                | StateName::Uploading
                | StateName::Submitting
                | StateName::Running
                | StateName::Downloading
                | StateName::Delivering
                | StateName::Failed
                | StateName::Cancelled
                | StateName::InDoubt => self
                    .dir
                    .join("failed")
                    .join(format!("{}.error.txt", line.input))
                    .display()
                    .to_string(),
            };
            rows.push(vec![
                line.input.clone(),
                sample.shows.to_owned(),
                line.state.to_string(),
                file,
            ]);
        }
        let failed = self.dir.join("failed").join("runway.png.error.txt");
        output::text(&format!(
            "\n{}\nA record next to each output says how it was made, such as\n  {}\n\
             The finished inputs are in\n  {}\n\
             The problem with the sidecar is described in\n  {}\n\n\
             To start with your own folder: taxiway init DIR\n",
            output::table(&rows),
            self.shown(&outbox.join("harbour.mp4.yaml")),
            self.dir.join("originals").display(),
            failed.display(),
        ))
    }

    /// A path as short as the one that the person gave.
    fn shown(&self, path: &Path) -> String {
        let below = std::path::absolute(&self.dir).ok().and_then(|dir| {
            path.strip_prefix(dir)
                .map(|below| self.dir.join(below))
                .ok()
        });
        below
            .unwrap_or_else(|| path.to_owned())
            .display()
            .to_string()
    }
}

fn bar(progress: f64) -> String {
    const WIDTH: usize = 20;
    // Between 0 and 20, so the cast loses nothing that matters.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let full = ((progress.clamp(0.0, 1.0) * 20.0) as usize).min(WIDTH);
    format!("{}{}", "█".repeat(full), "░".repeat(WIDTH - full))
}
