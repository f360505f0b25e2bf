//! How long a start takes with a long history and a long queue.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use taxiway::files::RelPath;
use taxiway::job::{
    Delivery, Event, FileRef, Folder, InputFile, Job, JobId, MediaUse, Move, Plan, Role, Spot,
    transition,
};
use taxiway::journal::{Entry, Jobs as _, SqliteJournal};
use taxiway::json::Step;
use taxiway::media::Kind;

use crate::studio::Studio;
use crate::table::{Row, Sorted, megabytes};
use crate::usage::memory;
use crate::{Result, media};

const STARTS: usize = 5;

/// So many of the open jobs have a task; the rest wait in the queue, since Runway takes no more at once.
const RUNNING: usize = 100;

/// Jobs that share a commit of the journal while it is filled.
const AT_ONCE: usize = 200;

/// Fills a journal by the daemon's own functions, then starts the daemon several times.
pub fn run(quick: bool) -> Result<Vec<Row>> {
    let (finished, open) = if quick {
        (2_000, 100)
    } else {
        (100_000, 1_000)
    };
    let studio = Studio::new(1e6)?;
    studio.configure("5s", &[("studio", json!({}))])?;
    let state = studio.path("state");
    let working = studio.path("studio/working/open");
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&working)?;
    let mut histories = Vec::new();
    for number in 0..open {
        let name = format!("{number:04}.png");
        let picture = media::png(number as u64, 64, 36);
        fs::write(working.join(&name), &picture)?;
        let job = Dropped::new(&format!("open/{name}"), picture.len() as u64)?;
        let task = (number < RUNNING)
            .then(|| start_task(&studio))
            .transpose()?;
        histories.push(job.open(task));
    }
    let past = (0..finished).map(|number| {
        let job = Dropped::new(&format!("{:03}/{number:06}.png", number / 1000), 2_500)?;
        Ok(job.finished())
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fill(&state, past.chain(histories.into_iter().map(Ok))))?;
    let journal = SqliteJournal::file(&state);
    // The connection ends in a thread of its own, and what is in the log goes to the file then.
    studio.wait(
        "the journal is closed",
        Duration::from_secs(120),
        Duration::from_millis(20),
        || Ok((!journal.with_extension("sqlite-wal").exists()).then_some(())),
    )?;
    let size = fs::metadata(&journal)?.len();

    let (mut times, mut now, mut peak) = (Vec::new(), 0, 0);
    for _ in 0..STARTS {
        let daemon = studio.daemon()?;
        let memory = memory(daemon.process())?;
        times.push(daemon.ready_after.as_secs_f64() * 1e3);
        now = now.max(memory.now);
        peak = peak.max(memory.peak);
    }
    let times = Sorted::new(times);
    Ok(vec![
        Row::new(
            "restart",
            "finished and open jobs",
            format!("{finished} and {open}"),
        ),
        Row::new("restart", "journal", megabytes(size)),
        Row::new(
            "restart",
            format!("until ready, median of {STARTS}"),
            format!("{:.0} ms", times.at(0.5)),
        ),
        Row::new(
            "restart",
            format!("until ready, max of {STARTS}"),
            format!("{:.0} ms", times.at(1.0)),
        ),
        Row::new("restart", "memory when ready", megabytes(now)),
        Row::new("restart", "peak memory until then", megabytes(peak)),
    ])
}

/// A task at the simulator that does not end, by its id.
fn start_task(studio: &Studio) -> Result<String> {
    let body = json!({
        "model": "gen4_turbo", "promptImage": "https://example.com/a.png", "ratio": "1280:720", "duration": 5,
    });
    let answer = studio
        .simulator
        .call("POST", "/v1/image_to_video", Some(&body))?;
    Ok(answer["id"].as_str().ok_or("a task without id")?.to_owned())
}

/// Writes jobs with all that happened to them.
pub(crate) async fn fill(
    state: &Path,
    histories: impl Iterator<Item = Result<(Job, Vec<Event>)>>,
) -> Result<()> {
    let journal = SqliteJournal::open(state).await?;
    let mut entries = Vec::new();
    let mut jobs = 0;
    for history in histories {
        let (mut job, events) = history?;
        entries.push(Entry {
            event: None,
            job: job.clone(),
            notices: Vec::new(),
        });
        for event in events {
            let now = job.updated_at + SignedDuration::from_millis(50);
            job = transition(&job, event.clone(), now)?;
            entries.push(Entry {
                event: Some(event),
                job: job.clone(),
                notices: Vec::new(),
            });
        }
        jobs += 1;
        if jobs % AT_ONCE == 0 {
            journal.commit(&entries).await?;
            entries.clear();
        }
    }
    journal.commit(&entries).await?;
    Ok(())
}

/// A picture that was dropped, with its request.
pub(crate) struct Dropped {
    input: RelPath,
    bytes: u64,
}

impl Dropped {
    pub(crate) fn new(input: &str, bytes: u64) -> Result<Dropped> {
        let input = RelPath::new(Path::new(input)).ok_or("no path below a folder")?;
        Ok(Dropped { input, bytes })
    }

    /// The picture in a folder.
    fn file(&self, folder: Folder) -> InputFile {
        InputFile {
            role: Role::Main,
            dropped: self.input.clone(),
            at: Some(Spot {
                folder,
                path: self.input.clone(),
            }),
            working: self.input.clone(),
            mount: None,
            bytes: self.bytes,
            version: None,
            sha256: None,
        }
    }

    /// The picture in a folder, once it was read.
    fn read(&self, folder: Folder) -> InputFile {
        InputFile {
            sha256: Some("5e".repeat(32)),
            ..self.file(folder)
        }
    }

    fn job(&self) -> Job {
        let mut body = Map::new();
        for (key, value) in [
            ("promptText", json!("Slow dolly in")),
            ("model", json!("gen4_turbo")),
            ("ratio", json!("1280:720")),
            ("duration", json!(5)),
            ("promptImage", Value::String(self.input.to_string())),
        ] {
            body.insert(key.to_owned(), value);
        }
        let plan = Plan {
            endpoint: "image_to_video".to_owned(),
            model: Some("gen4_turbo".to_owned()),
            path: "/v1/image_to_video".to_owned(),
            poll: "/v1/tasks/{id}".to_owned(),
            body,
            media: vec![MediaUse {
                slot: vec![Step::Key("promptImage".to_owned())],
                file: FileRef::Own(0),
                kind: Kind::Image,
                mime: "image/png".to_owned(),
            }],
            estimated: Some(25.0),
            priority: 0,
            output: None,
            warnings: Vec::new(),
        };
        Job::taken(
            JobId::random(),
            "studio",
            self.input.clone(),
            vec![self.file(Folder::Inbox)],
            Ok(plan),
            Timestamp::now(),
        )
    }

    /// A job that waits in the queue, or runs under this task.
    pub(crate) fn open(&self, task: Option<String>) -> (Job, Vec<Event>) {
        let mut events = vec![Event::Moved {
            files: vec![self.file(Folder::Working)],
        }];
        if let Some(task) = task {
            events.extend(self.submitted(task));
        }
        (self.job(), events)
    }

    /// A job whose output is delivered.
    pub(crate) fn finished(&self) -> (Job, Vec<Event>) {
        let job = self.job();
        let output = self.input.with_name("output.mp4".as_ref());
        let (_, mut events) = self.open(Some(format!("task-{}", job.id)));
        events.extend([
            Event::Succeeded {
                charged: Some(25.0),
            },
            Event::Fetched {
                outputs: vec![Delivery {
                    part: self.input.with_name(".output.part".as_ref()),
                    name: None,
                    sha256: "a7".repeat(32),
                    bytes: 1_234_567,
                    extension: "mp4".to_owned(),
                }],
            },
            Event::Named {
                names: vec![output],
            },
            Event::Delivered,
            Event::MovesChosen {
                moves: vec![Move {
                    file: 0,
                    to: self.read(Folder::Originals).at,
                }],
            },
            Event::Closed {
                files: vec![self.read(Folder::Originals)],
            },
        ]);
        (job, events)
    }

    fn submitted(&self, task: String) -> [Event; 3] {
        [
            Event::Started,
            Event::Intent {
                used_before: None,
                files: vec![self.read(Folder::Working)],
            },
            Event::Accepted {
                task,
                estimated: Some(25.0),
                account: None,
            },
        ]
    }
}
