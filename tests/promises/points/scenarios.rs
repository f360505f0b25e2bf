//! What happens in the studio while points fail: files are dropped, Runway answers well or badly, a person steps in.

use std::collections::HashSet;
use std::fs;

use taxiway::control::{ControlError, Request, Resolution, ask};
use taxiway::failpoint::{Point, Request as Sent};
use taxiway::journal::{Spending as _, SqliteJournal};
use taxiway::simulator::{Action, Rule};

use crate::api::{jpeg_key, upload_key};
use crate::book::Book;
use crate::support::{Builder, Job, Studio, fault, jpeg, large_jpeg};

/// A path below the inbox, the content, and what tells the request that it leads to.
pub type Dropped = (&'static str, Vec<u8>, Option<String>);

/// One course of events. However it is disturbed, it comes to the same end.
pub struct Scenario {
    pub name: &'static str,
    /// What comes before the first pass of this point is another scenario's matter.
    pub from: Option<Point>,
    pub build: fn(Builder) -> Builder,
    /// What lies in the inbox before the daemon starts.
    pub dropped: fn() -> Vec<Dropped>,
    /// What else is there.
    pub before: fn(&Studio),
    /// What the person does, asked again and again.
    pub person: fn(&mut Person, &Studio, &[Job]),
    /// A pass of a point that fails in any case.
    pub always: Option<(Point, usize)>,
    /// How each job ends.
    pub ends: &'static [(&'static str, &'static str)],
    /// All files in the studio at the end.
    pub files: &'static [&'static str],
    /// How many tasks there are in the end.
    pub tasks: usize,
    /// The credits that are spent in the end.
    pub spent: i64,
}

/// The person at the keyboard, and what they remember.
#[derive(Default)]
pub struct Person {
    /// Tasks that they know of and decided not to wait for.
    pub dismissed: HashSet<String>,
    /// What they dropped.
    pub book: Book,
    /// Whether they have done what they do once only.
    pub did: bool,
}

impl Person {
    /// Drops a file, once.
    pub fn drops(&mut self, studio: &Studio, (path, bytes, key): Dropped) {
        let below = format!("inbox/{path}");
        self.book.drop(&[(&below, &bytes, key.as_deref())]);
        studio.drop_file(path, bytes);
    }

    /// A request to the daemon. That it is gone is seen elsewhere; what it refuses is asked again if it is still wanted.
    pub fn ask(
        &self,
        studio: &Studio,
        request: &Request,
    ) -> Result<Vec<serde_json::Value>, String> {
        match studio.block_on(ask(&studio.path("state"), request)) {
            Ok(values) => Ok(values),
            Err(ControlError::Refused(why)) => Err(why),
            Err(
                ControlError::NotRunning(_) | ControlError::Io { .. } | ControlError::Unreadable(_),
            ) => Err(String::new()),
        }
    }

    /// All jobs; none while nobody answers.
    pub fn look(&self, studio: &Studio) -> Option<Vec<Job>> {
        let lines = self.ask(studio, &Request::Status { ended: 100 }).ok()?;
        Some(lines.into_iter().map(Job).collect())
    }

    /// Settles each doubt by the truth: a task that Runway has and no job owns is the job's; without one it is sent again.
    pub fn settle(&mut self, studio: &Studio, jobs: &[Job]) {
        for job in jobs.iter().filter(|job| job.state() == "in_doubt") {
            match self.stray_task(studio) {
                None => self.resolve(studio, job, Resolution::Resubmit),
                Some(task) => {
                    let refused = self.ask_to_resolve(studio, job, Resolution::Adopt(task.clone()));
                    if refused.is_err_and(|why| why.contains("ended without an output")) {
                        self.dismissed.insert(task);
                    }
                }
            }
        }
    }

    /// What the daemon says against it does not matter: where it still applies, it is asked again.
    fn resolve(&self, studio: &Studio, job: &Job, way: Resolution) {
        drop(self.ask_to_resolve(studio, job, way));
    }

    fn ask_to_resolve(&self, studio: &Studio, job: &Job, way: Resolution) -> Result<(), String> {
        let job = job.id().to_owned();
        self.ask(studio, &Request::Resolve { job, way }).map(drop)
    }

    fn cancel(&self, studio: &Studio, job: &Job) {
        let job = job.id().to_owned();
        drop(self.ask(studio, &Request::Cancel { job }));
    }

    fn retry(&self, studio: &Studio, job: &Job) {
        let job = job.id().to_owned();
        drop(self.ask(studio, &Request::Retry { job }));
    }

    /// A task that Runway has, no job owns and the person has not dismissed.
    fn stray_task(&self, studio: &Studio) -> Option<String> {
        let journal = studio
            .block_on(SqliteJournal::open_to_read(&studio.path("state")))
            .unwrap()
            .unwrap();
        let mut tasks = studio.seen().tasks.into_iter().map(|task| task.id);
        tasks.find(|task| {
            let owner = studio.block_on(journal.owner_of_task(task)).unwrap();
            owner.is_none() && !self.dismissed.contains(task)
        })
    }

    /// Waits for none of the tasks that there are.
    fn dismiss_all(&mut self, studio: &Studio) {
        self.dismissed
            .extend(studio.seen().tasks.into_iter().map(|task| task.id));
    }
}

const PLAIN: Scenario = Scenario {
    name: "an image with a sidecar",
    from: None,
    build: Builder::image_defaults,
    dropped: || {
        vec![
            picture("shoes/red.jpg", "red"),
            sidecar("shoes/red.jpg.yaml", "prompt: a red shoe\n", "a red shoe"),
        ]
    },
    before: |_| {},
    person: Person::settle,
    always: None,
    ends: &[("shoes/red.jpg", "done")],
    files: &[
        "originals/shoes/red.jpg",
        "originals/shoes/red.jpg.yaml",
        "outbox/shoes/red.mp4",
        "outbox/shoes/red.mp4.yaml",
    ],
    tasks: 1,
    spent: 25,
};

fn uploaded(path: &'static str, bytes: Vec<u8>) -> Dropped {
    let key = upload_key(&bytes);
    (path, bytes, Some(key))
}

fn picture(path: &'static str, words: &str) -> Dropped {
    let bytes = jpeg(words);
    let key = jpeg_key(&bytes);
    (path, bytes, Some(key))
}

fn sidecar(path: &'static str, text: &str, prompt: &str) -> Dropped {
    (path, text.into(), Some(prompt.to_owned()))
}

fn red() -> Vec<Dropped> {
    vec![picture("red.jpg", "red")]
}

const RED_DONE: &[&str] = &["originals/red.jpg", "outbox/red.mp4", "outbox/red.mp4.yaml"];
const RED_FAILED: &[&str] = &["failed/red.jpg", "failed/red.jpg.error.txt"];

const ONE: Scenario = Scenario {
    dropped: red,
    ends: &[("red.jpg", "done")],
    files: RED_DONE,
    ..PLAIN
};

fn submits(builder: Builder, action: Action) -> Builder {
    let rule = fault("/v1/image_to_video", 1, action);
    builder
        .image_defaults()
        .simulator(|options| options.faults.push(rule))
}

fn refuses(builder: Builder, code: u16) -> Builder {
    let status = Action::Status {
        code,
        body: None,
        headers: Default::default(),
    };
    submits(builder, status)
}

fn task_fails(builder: Builder, code: &str) -> Builder {
    let fails = Action::TaskFails {
        code: code.to_owned(),
        message: None,
        charged: None,
    };
    submits(builder, fails)
}

/// What goes well.
pub const DELIVERIES: &[Scenario] = &[
    PLAIN,
    Scenario {
        name: "an upload",
        from: Some(Point::BeforeRequest(Sent::UploadSlot)),
        dropped: || {
            vec![
                uploaded("red.jpg", large_jpeg("red", 300_000)),
                sidecar("red.jpg.yaml", "prompt: a red shoe\n", "a red shoe"),
            ]
        },
        files: &[
            "originals/red.jpg",
            "originals/red.jpg.yaml",
            "outbox/red.mp4",
            "outbox/red.mp4.yaml",
        ],
        ..ONE
    },
    Scenario {
        name: "several outputs, one name taken",
        from: Some(Point::AfterRequest(Sent::Submit)),
        build: |builder| builder,
        dropped: || {
            let text = "endpoint: generate/image\nconfigId: still\nprompt: A tower\ninput: { outputCount: 2 }\n";
            vec![sidecar("still.yaml", text, "A tower")]
        },
        before: |studio| fs::create_dir_all(studio.outbox("still-2.png")).unwrap(),
        ends: &[("still.yaml", "done")],
        files: &[
            "originals/still.yaml",
            "outbox/still-1.png",
            "outbox/still-1.png.yaml",
            "outbox/still-2 (2).png",
            "outbox/still-2 (2).png.yaml",
        ],
        spent: 10,
        ..PLAIN
    },
    Scenario {
        name: "inputs that are deleted at the end",
        from: Some(Point::BeforeCommit("delivered")),
        build: |builder| builder.image_defaults().inbox("on_success: delete"),
        files: &["outbox/red.mp4", "outbox/red.mp4.yaml"],
        ..ONE
    },
    Scenario {
        name: "a fetched output that somebody removes",
        from: Some(Point::AfterCommit("fetched")),
        // Keeps the job from naming the output for a moment, in which the person removes it.
        always: Some((Point::BeforeCommit("named"), 1)),
        person: removes_fetched,
        ..ONE
    },
    Scenario {
        name: "a fetched output that somebody removes when its record lies there",
        from: Some(Point::AfterCommit("named")),
        // Of the renames the first takes the input, the second is that of the record.
        always: Some((Point::BeforeRename, 3)),
        person: |person, studio, jobs| {
            let has_record = studio.tree().contains(&"outbox/red.mp4.yaml".to_owned());
            person.settle(studio, jobs);
            if has_record {
                removes_fetched(person, studio, jobs);
            }
        },
        ..ONE
    },
];

/// Removes what was fetched and has no name yet, once.
fn removes_fetched(person: &mut Person, studio: &Studio, jobs: &[Job]) {
    person.settle(studio, jobs);
    if person.did || !jobs.iter().any(|job| job.state() == "delivering") {
        return;
    }
    for name in studio.tree() {
        if name.starts_with("outbox/.") {
            // It may have been given its name just now.
            person.did |= fs::remove_file(studio.path(name)).is_ok();
        }
    }
}

/// What fails, is refused or is repeated.
pub const REFUSALS: &[Scenario] = &[
    Scenario {
        name: "a sidecar with a mistake",
        from: Some(Point::BeforeCommit("insert")),
        dropped: || {
            vec![(
                "red.yaml",
                b"endpoint: text_to_video\nsped: 3\n".to_vec(),
                None,
            )]
        },
        ends: &[("red.yaml", "failed")],
        files: &["failed/red.yaml", "failed/red.yaml.error.txt"],
        tasks: 0,
        spent: 0,
        ..PLAIN
    },
    Scenario {
        name: "a request that Runway refuses",
        from: Some(Point::AfterRequest(Sent::Submit)),
        build: |builder| refuses(builder, 400),
        person: |person, studio, jobs| {
            // What was refused and forgotten is sent again, and refused again.
            studio.sim().set_faults(vec![refusal(400)]);
            person.settle(studio, jobs);
        },
        ends: &[("red.jpg", "failed")],
        files: RED_FAILED,
        tasks: 0,
        spent: 0,
        ..ONE
    },
    Scenario {
        name: "a task that moderation ends",
        from: Some(Point::AfterRequest(Sent::Submit)),
        build: |builder| task_fails(builder, "SAFETY.INPUT.TEXT"),
        person: |person, studio, jobs| {
            person.settle(studio, jobs);
            // Nothing comes of sending it again.
            for job in jobs.iter().filter(|job| job.state() == "in_doubt") {
                if !person.dismissed.is_empty() {
                    person.resolve(studio, job, Resolution::Abandon);
                }
            }
        },
        ends: &[("red.jpg", "failed")],
        files: RED_FAILED,
        ..ONE
    },
    Scenario {
        name: "a task that fails and is repeated",
        from: Some(Point::AfterRequest(Sent::Submit)),
        build: |builder| task_fails(builder, "INTERNAL.BAD_OUTPUT.CODE01"),
        tasks: 2,
        ..ONE
    },
    Scenario {
        name: "too many requests, then one that is taken",
        from: Some(Point::AfterRequest(Sent::Submit)),
        build: |builder| refuses(builder, 429),
        ..ONE
    },
];

fn refusal(code: u16) -> Rule {
    let status = Action::Status {
        code,
        body: None,
        headers: Default::default(),
    };
    Rule::on("/v1/image_to_video", status)
}

/// Where a person decides.
pub const PERSONS: &[Scenario] = &[
    Scenario {
        name: "a doubt that is settled by adopting the task",
        from: Some(Point::AfterRequest(Sent::Submit)),
        build: |builder| submits(builder, Action::ResetAfter),
        ..ONE
    },
    Scenario {
        name: "a doubt that is settled by sending again",
        from: Some(Point::BeforeCommit("doubtful")),
        build: |builder| submits(builder, Action::ResetAfter),
        person: |person, studio, jobs| {
            if !person.did && jobs.iter().any(|job| job.state() == "in_doubt") {
                person.did = true;
                person.dismiss_all(studio);
                for key in person.book.keys_at("inbox/red.jpg") {
                    person.book.allow_again(&key);
                }
            }
            person.settle(studio, jobs);
        },
        tasks: 2,
        spent: 50,
        ..ONE
    },
    Scenario {
        name: "a doubt that is given up",
        from: Some(Point::BeforeCommit("doubtful")),
        build: |builder| submits(builder, Action::ResetAfter),
        person: |person, studio, jobs| {
            for job in jobs.iter().filter(|job| job.state() == "in_doubt") {
                person.dismiss_all(studio);
                person.resolve(studio, job, Resolution::Abandon);
            }
        },
        ends: &[("red.jpg", "failed")],
        files: RED_FAILED,
        ..ONE
    },
    Scenario {
        name: "a task that is cancelled",
        from: Some(Point::AfterCommit("accepted")),
        build: |builder| submits(builder, Action::Stuck),
        person: |person, studio, jobs| {
            person.settle(studio, jobs);
            for job in jobs.iter().filter(|job| job.state() == "running") {
                person.cancel(studio, job);
            }
        },
        ends: &[("red.jpg", "cancelled")],
        files: RED_FAILED,
        ..ONE
    },
    Scenario {
        name: "a failed job that is run again",
        from: Some(Point::BeforeCommit("closed")),
        build: |builder| refuses(builder, 400),
        person: |person, studio, jobs| {
            person.settle(studio, jobs);
            for job in jobs.iter().filter(|job| job.state() == "failed") {
                person.retry(studio, job);
            }
        },
        ..ONE
    },
    Scenario {
        name: "a failed job whose files cannot be moved back at first",
        from: Some(Point::BeforeCommit("retry_asked")),
        build: |builder| refuses(builder, 400),
        person: |person, studio, jobs| {
            person.settle(studio, jobs);
            for job in jobs.iter().filter(|job| job.state() == "failed") {
                person.retry(studio, job);
            }
        },
        // The renames before it are into `working` and into `failed`.
        always: Some((Point::BeforeRename, 3)),
        ..ONE
    },
    Scenario {
        name: "a job that the spending limit holds",
        from: Some(Point::BeforeCommit("held")),
        build: |builder| {
            builder
                .image_defaults()
                .top("limits: { credits_per_day: 30 }")
        },
        person: |person, studio, jobs| {
            person.settle(studio, jobs);
            let is = |input: &str, state: &str| {
                jobs.iter()
                    .any(|job| job.input() == input && job.state() == state)
            };
            if !person.did && is("red.jpg", "done") {
                person.did = true;
                person.drops(studio, picture("blue.jpg", "blue"));
            }
            for job in jobs
                .iter()
                .filter(|job| job.reason().contains("credits_per_day"))
            {
                person.cancel(studio, job);
            }
        },
        ends: &[("red.jpg", "done"), ("blue.jpg", "cancelled")],
        files: &[
            "failed/blue.jpg",
            "failed/blue.jpg.error.txt",
            "originals/red.jpg",
            "outbox/red.mp4",
            "outbox/red.mp4.yaml",
        ],
        ..ONE
    },
];
