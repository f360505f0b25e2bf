//! The one total transition function.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Charge, Charged, Delivery, Doubt, Failure, Hold, InputFile, Job, Move, Plan, Seen, State,
    StateName, Task, Verdict,
};
use crate::files::RelPath;

/// Something that happened to a job. Each one is made durable before anything relies on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// All files of the job lie in `working/`.
    Moved {
        /// The files with their new places.
        files: Vec<InputFile>,
    },
    /// Its files were removed or exchanged before they were taken: what lies there now is another job's.
    NotTaken {
        /// Those that could not be put back, with their places in `working/`; the others have none any more.
        files: Vec<InputFile>,
    },
    /// The job stays in the queue for a reason, or no longer does.
    Held {
        /// The reason; `None` lifts it.
        hold: Option<Hold>,
    },
    /// It is the job's turn: its media are being made ready.
    Started,
    /// The attempt ended without a task, for certain, and may be repeated.
    Requeued {
        /// Why, and until when.
        hold: Option<Hold>,
    },
    /// A request that starts a task is about to leave.
    Intent {
        /// The organization's count of generations for the model, where it is known.
        used_before: Option<u32>,
        /// The files with their digests.
        files: Vec<InputFile>,
    },
    /// Runway answered with a task.
    Accepted {
        /// Runway's id.
        task: String,
        /// Runway's estimate in credits.
        estimated: Option<f64>,
        /// The API account that it belongs to.
        account: Option<String>,
    },
    /// A person named the task of a job in doubt, or of one that failed while a task may exist.
    Adopted {
        /// Runway's id.
        task: String,
        /// Which doubt was meant: another may have taken its place meanwhile. `None` for a job that failed.
        intent_at: Option<Timestamp>,
        /// The API account that it belongs to.
        account: Option<String>,
    },
    /// The request's outcome is not known.
    Doubtful {
        /// What came back, or that nothing did.
        why: String,
        /// The organization's count of generations for the model afterwards.
        used_after: Option<u32>,
    },
    /// Runway's counters were looked at after a request whose outcome is not known.
    Counted {
        /// Which doubt was meant.
        intent_at: Timestamp,
        /// The organization's count of generations for the model, less what other jobs started since.
        used_after: u32,
    },
    /// The task succeeded.
    Succeeded {
        /// What it cost, in credits.
        charged: Option<f64>,
    },
    /// The task failed in a way that may be repeated.
    TaskRetry {
        /// What it cost, in credits.
        charged: Option<f64>,
        /// Why, and until when.
        hold: Hold,
    },
    /// The outputs lie whole and durable in part files.
    Fetched {
        /// The outputs.
        outputs: Vec<Delivery>,
    },
    /// A part file is gone before its output had its name: it is fetched again.
    Refetch,
    /// The outputs' names are chosen.
    Named {
        /// A name for each output, in their order.
        names: Vec<RelPath>,
    },
    /// The outputs and their records have their names.
    Delivered,
    /// The job failed.
    Fails {
        /// Why.
        failure: Failure,
        /// What its last task cost, in credits, where Runway said so.
        charged: Option<f64>,
    },
    /// A person asked to cancel it.
    CancelAsked,
    /// It is cancelled.
    Cancelled {
        /// How.
        why: String,
        /// What its last task cost, in credits, where Runway said so.
        charged: Option<f64>,
    },
    /// Where the inputs go is chosen.
    MovesChosen {
        /// Each file's move.
        moves: Vec<Move>,
    },
    /// The inputs rest where they belong.
    Closed {
        /// The files with their new places.
        files: Vec<InputFile>,
    },
    /// A person gave up a job in doubt.
    Abandoned {
        /// What the note says.
        failure: Failure,
        /// Which doubt was meant.
        intent_at: Timestamp,
    },
    /// A person, or `on_doubt: resubmit`, decided that a job in doubt is sent again.
    Resubmitted {
        /// Which doubt was meant.
        intent_at: Timestamp,
        /// Not before when, where nobody is waiting for it.
        hold: Option<Hold>,
    },
    /// A person asked to run a failed or cancelled job again: its files go back to the inbox.
    RetryAsked,
    /// Its files could not go back to the inbox, or were taken away there.
    RetryDropped,
    /// The files of a failed or cancelled job were found in the inbox again.
    Retried {
        /// What is asked of Runway now; the sidecar may have been corrected.
        plan: Option<Box<Plan>>,
        /// Why nothing can be asked, where the input is still wrong.
        wrong: Option<Failure>,
        /// The files, back in the inbox, with their places in `working/` chosen anew.
        files: Vec<InputFile>,
    },
}

/// The words of all events: one list, so that none is missing from [`Event::WORDS`].
macro_rules! words {
    ($($event:pat => $word:literal,)*) => {
        impl Event {
            /// The words of all events.
            pub const WORDS: &[&str] = &[$($word),*];

            /// The event's word in messages and in the history of a job.
            pub fn word(&self) -> &'static str {
                match self {
                    $($event => $word,)*
                }
            }
        }
    };
}

words! {
    Event::Moved { .. } => "moved to working",
    Event::NotTaken { .. } => "not taken",
    Event::Held { hold: Some(_) } => "held",
    Event::Held { hold: None } => "released",
    Event::Started => "started",
    Event::Requeued { .. } => "queued again",
    Event::Intent { .. } => "submitting",
    Event::Accepted { .. } => "accepted",
    Event::Adopted { .. } => "adopted",
    Event::Refetch => "fetched again",
    Event::Abandoned { .. } => "given up",
    Event::Doubtful { .. } => "in doubt",
    Event::Counted { .. } => "Runway's counters looked at",
    Event::Succeeded { .. } => "succeeded",
    Event::TaskRetry { .. } => "task failed, may be repeated",
    Event::Fetched { .. } => "fetched",
    Event::Named { .. } => "named",
    Event::Delivered => "delivered",
    Event::Fails { .. } => "failed",
    Event::CancelAsked => "cancel asked",
    Event::Cancelled { .. } => "cancelled",
    Event::MovesChosen { .. } => "resting places chosen",
    Event::Closed { .. } => "closed",
    Event::Resubmitted { .. } => "resubmitted",
    Event::RetryAsked => "retry asked",
    Event::RetryDropped => "retry dropped",
    Event::Retried { .. } => "retried",
}

/// An event that cannot happen to a job where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job {job} is {state}: it cannot be {event}")]
pub struct Illegal {
    /// The job.
    pub job: String,
    /// The name of its state.
    pub state: StateName,
    /// The word of the event.
    pub event: &'static str,
}

/// The job after `event`, or why that cannot be.
///
/// Total: every pair of a state and an event has an answer. The job's `seq` grows by one with every event.
pub fn transition(job: &Job, event: Event, now: Timestamp) -> Result<Job, Illegal> {
    let mut next = job.clone();
    next.state = next_state(&mut next, event, now).map_err(|word| Illegal {
        job: job.id.to_string(),
        state: job.state_name(),
        event: word,
    })?;
    next.seq = job.seq.saturating_add(1);
    next.updated_at = now;
    Ok(next)
}

/// Changes what lies beside the state in `job` and answers with the next state, or with the word of the illegal event.
fn next_state(job: &mut Job, event: Event, now: Timestamp) -> Result<State, &'static str> {
    let word = event.word();
    let illegal = Err(word);
    // The state moves out, so that its data moves on without copies.
    let state = std::mem::replace(&mut job.state, State::Taking { wrong: None });
    match event {
        Event::Moved { files } => match state {
            State::Taking { wrong: None } => {
                job.files = files;
                Ok(State::Queued { hold: None })
            }
            State::Taking {
                wrong: Some(failure),
            } => {
                job.files = files;
                Ok(State::Closing {
                    verdict: Verdict::Failed(failure),
                    moves: None,
                })
            }
            _ => illegal,
        },
        Event::NotTaken { files } => match state {
            State::Taking { .. } => {
                job.files = files;
                Ok(State::Closing {
                    verdict: Verdict::Cancelled {
                        why: "cancelled: its file was deleted or exchanged before it was taken"
                            .to_owned(),
                        task: None,
                    },
                    moves: None,
                })
            }
            _ => illegal,
        },
        Event::Held { hold } => match state {
            State::Queued { .. } => Ok(State::Queued { hold }),
            _ => illegal,
        },
        Event::Started => match state {
            State::Queued { .. } => Ok(State::Uploading),
            _ => illegal,
        },
        Event::Requeued { hold } => match state {
            State::Uploading | State::Submitting { .. } => Ok(State::Queued { hold }),
            _ => illegal,
        },
        Event::Intent { used_before, files } => match state {
            State::Uploading => {
                job.files = files;
                job.attempts = job.attempts.saturating_add(1);
                Ok(State::Submitting {
                    intent_at: now,
                    used_before,
                })
            }
            _ => illegal,
        },
        Event::Accepted {
            task,
            estimated,
            account,
        } => match state {
            State::Submitting { .. } => Ok(run(job, task, estimated, account, now)),
            _ => illegal,
        },
        Event::Adopted {
            task,
            intent_at,
            account,
        } => match state {
            // Whoever adopts a task wants its output, whatever was asked before.
            State::InDoubt { doubt } if Some(doubt.intent_at) == intent_at => {
                job.cancel_asked = false;
                Ok(run(job, task, None, account, now))
            }
            // While its files are on their way to run again, a task would be its second.
            State::Failed { failure }
                if intent_at.is_none() && failure.kind.may_have_a_task() && !job.retry_asked =>
            {
                if let Some(last) = job.charges.last_mut()
                    && last.what == Charged::Doubt
                {
                    // The request that was given up is this task: it costs once, and as the task.
                    last.charged = Some(0.0);
                }
                job.cancel_asked = false;
                Ok(run(job, task, None, account, now))
            }
            _ => illegal,
        },
        Event::Refetch => match state {
            State::Delivering { task, .. } => Ok(State::Downloading { task }),
            _ => illegal,
        },
        Event::Abandoned { failure, intent_at } => match state {
            State::InDoubt { doubt } if doubt.intent_at == intent_at => {
                charge_doubt(job, &doubt);
                Ok(State::Closing {
                    verdict: Verdict::Failed(failure),
                    moves: None,
                })
            }
            _ => illegal,
        },
        Event::Doubtful { why, used_after } => match state {
            State::Submitting {
                intent_at,
                used_before,
            } => Ok(State::InDoubt {
                doubt: Doubt {
                    intent_at,
                    why,
                    used_before,
                    used_after,
                },
            }),
            _ => illegal,
        },
        Event::Counted {
            intent_at,
            used_after,
        } => match state {
            State::InDoubt { doubt } if doubt.intent_at == intent_at => Ok(State::InDoubt {
                doubt: Doubt {
                    used_after: Some(used_after),
                    ..doubt
                },
            }),
            _ => illegal,
        },
        Event::Succeeded { charged } => match state {
            State::Running { task, .. } => {
                settle_charge(job, charged);
                Ok(State::Downloading { task })
            }
            _ => illegal,
        },
        Event::TaskRetry { charged, hold } => match state {
            State::Running { .. } => {
                settle_charge(job, charged);
                job.task_failures = job.task_failures.saturating_add(1);
                Ok(State::Queued { hold: Some(hold) })
            }
            _ => illegal,
        },
        Event::Fetched { outputs } => match state {
            State::Downloading { task } => Ok(State::Delivering { task, outputs }),
            _ => illegal,
        },
        Event::Named { names } => match state {
            State::Delivering { task, mut outputs } if names.len() == outputs.len() => {
                for (output, name) in outputs.iter_mut().zip(names) {
                    output.name = Some(name);
                }
                Ok(State::Delivering { task, outputs })
            }
            _ => illegal,
        },
        Event::Delivered => match state {
            State::Delivering { task, outputs }
                if outputs.iter().all(|output| output.name.is_some()) =>
            {
                Ok(State::Closing {
                    verdict: Verdict::Done {
                        task,
                        outputs: outputs.into_iter().filter_map(|o| o.name).collect(),
                    },
                    moves: None,
                })
            }
            _ => illegal,
        },
        Event::Fails { failure, charged } => match state {
            State::Taking { .. }
            | State::Queued { .. }
            | State::Uploading
            | State::Submitting { .. }
            | State::Running { .. }
            | State::Downloading { .. }
            | State::Delivering { .. } => {
                settle_charge(job, charged);
                Ok(State::Closing {
                    verdict: Verdict::Failed(failure),
                    moves: None,
                })
            }
            State::InDoubt { .. }
            | State::Closing { .. }
            | State::Done { .. }
            | State::Failed { .. }
            | State::Cancelled { .. } => illegal,
        },
        Event::CancelAsked => match state {
            State::Taking { .. }
            | State::Queued { .. }
            | State::Uploading
            | State::Submitting { .. }
            | State::Running { .. } => {
                job.cancel_asked = true;
                Ok(state)
            }
            State::Downloading { .. }
            | State::Delivering { .. }
            | State::InDoubt { .. }
            | State::Closing { .. }
            | State::Done { .. }
            | State::Failed { .. }
            | State::Cancelled { .. } => illegal,
        },
        Event::Cancelled { why, charged } => {
            let task = match state {
                State::Taking { .. } | State::Queued { .. } | State::Uploading => None,
                State::Running { task, .. } => Some(task),
                _ => return illegal,
            };
            settle_charge(job, charged);
            Ok(State::Closing {
                verdict: Verdict::Cancelled { why, task },
                moves: None,
            })
        }
        Event::MovesChosen { moves } => match state {
            State::Closing { verdict, .. } => Ok(State::Closing {
                verdict,
                moves: Some(moves),
            }),
            _ => illegal,
        },
        Event::Closed { files } => match state {
            State::Closing { verdict, .. } => {
                job.files = files;
                Ok(match verdict {
                    Verdict::Done { task, outputs } => State::Done { task, outputs },
                    Verdict::Failed(failure) => State::Failed { failure },
                    Verdict::Cancelled { why, task } => State::Cancelled { why, task },
                })
            }
            _ => illegal,
        },
        Event::Resubmitted { intent_at, hold } => match state {
            State::InDoubt { doubt } if doubt.intent_at == intent_at => {
                charge_doubt(job, &doubt);
                // A person who says this wants it sent; a rule of the configuration knows nothing of what was asked.
                job.cancel_asked &= hold.is_some();
                Ok(State::Queued { hold })
            }
            _ => illegal,
        },
        Event::RetryAsked => match state {
            State::Failed { .. } | State::Cancelled { .. } => {
                job.retry_asked = true;
                Ok(state)
            }
            _ => illegal,
        },
        Event::RetryDropped => match state {
            State::Failed { .. } | State::Cancelled { .. } => {
                job.retry_asked = false;
                Ok(state)
            }
            _ => illegal,
        },
        Event::Retried { plan, wrong, files } => match state {
            State::Failed { .. } | State::Cancelled { .. } => {
                job.retry_asked = false;
                job.plan = plan.map(|plan| *plan);
                job.files = files;
                job.cancel_asked = false;
                job.task_failures = 0;
                Ok(State::Taking { wrong })
            }
            _ => illegal,
        },
    }
}

/// The job with a task that Runway has taken on.
fn run(
    job: &mut Job,
    task: String,
    estimated: Option<f64>,
    account: Option<String>,
    now: Timestamp,
) -> State {
    // One that was given up and is taken up again costs once.
    let what = Charged::Task(task.clone());
    if job.charges.iter().all(|charge| charge.what != what) {
        job.charges.push(Charge {
            what,
            at: now,
            estimated: estimated.or_else(|| job.plan.as_ref().and_then(|plan| plan.estimated)),
            charged: None,
        });
    }
    State::Running {
        task: Task {
            id: task,
            accepted_at: now,
            account,
        },
        seen: Seen::nothing(),
    }
}

/// A request in doubt that is given up or sent again may have been paid for: it counts as what was expected.
fn charge_doubt(job: &mut Job, doubt: &Doubt) {
    job.charges.push(Charge {
        what: Charged::Doubt,
        at: doubt.intent_at,
        estimated: job.plan.as_ref().and_then(|plan| plan.estimated),
        charged: None,
    });
}

/// Writes down what the last task cost.
fn settle_charge(job: &mut Job, charged: Option<f64>) {
    if let (Some(charge), Some(credits)) = (job.charges.last_mut(), charged) {
        charge.charged = Some(credits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FailureKind, HoldReason, samples};
    use proptest::prelude::*;
    use std::path::Path;

    fn job() -> Job {
        samples::planned("storm.yaml", at(0))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn failure() -> Failure {
        Failure {
            kind: FailureKind::Task,
            what: "failed".into(),
            details: vec![],
            advice: "try again".into(),
            task: None,
        }
    }

    fn hold() -> Hold {
        Hold {
            reason: HoldReason::Retry("busy".into()),
            until: None,
        }
    }

    fn delivery() -> Delivery {
        Delivery {
            part: RelPath::new(Path::new(".p")).unwrap(),
            name: None,
            sha256: String::new(),
            bytes: 1,
            extension: "mp4".into(),
        }
    }

    fn run(job: Job, events: impl IntoIterator<Item = Event>) -> Result<Job, Illegal> {
        events
            .into_iter()
            .try_fold(job, |job, event| transition(&job, event, at(1)))
    }

    fn submitted() -> Vec<Event> {
        vec![
            Event::Moved { files: vec![] },
            Event::Started,
            Event::Intent {
                used_before: None,
                files: vec![],
            },
        ]
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Moved { files: vec![] }),
            Just(Event::NotTaken { files: vec![] }),
            Just(Event::Held { hold: Some(hold()) }),
            Just(Event::Held { hold: None }),
            Just(Event::Started),
            Just(Event::Requeued { hold: Some(hold()) }),
            Just(Event::Intent {
                used_before: Some(3),
                files: vec![]
            }),
            "[a-z]{4}".prop_map(|task| Event::Accepted {
                task,
                estimated: Some(25.0),
                account: None
            }),
            Just(Event::Doubtful {
                why: "reset".into(),
                used_after: None
            }),
            Just(Event::Succeeded {
                charged: Some(25.0)
            }),
            Just(Event::TaskRetry {
                charged: Some(0.0),
                hold: hold()
            }),
            Just(Event::Fetched {
                outputs: vec![delivery()]
            }),
            Just(Event::Named {
                names: vec![RelPath::new(Path::new("storm.mp4")).unwrap()]
            }),
            Just(Event::Delivered),
            Just(Event::Fails {
                failure: failure(),
                charged: None
            }),
            Just(Event::CancelAsked),
            Just(Event::Cancelled {
                why: "asked".into(),
                charged: None
            }),
            Just(Event::MovesChosen { moves: vec![] }),
            Just(Event::Closed { files: vec![] }),
            Just(Event::Resubmitted {
                intent_at: at(1),
                hold: None
            }),
            Just(Event::Adopted {
                task: "adopted".into(),
                intent_at: Some(at(1)),
                account: None
            }),
            Just(Event::Counted {
                intent_at: at(1),
                used_after: 4
            }),
            Just(Event::Refetch),
            Just(Event::Abandoned {
                failure: failure(),
                intent_at: at(1)
            }),
            Just(Event::RetryAsked),
            Just(Event::RetryDropped),
            Just(Event::Retried {
                plan: job().plan.map(Box::new),
                wrong: None,
                files: vec![]
            }),
        ]
    }

    #[test]
    fn the_straight_way_ends_in_done() {
        let mut events = submitted();
        events.extend([
            Event::Accepted {
                task: "t1".into(),
                estimated: None,
                account: None,
            },
            Event::Succeeded {
                charged: Some(160.0),
            },
            Event::Fetched {
                outputs: vec![delivery()],
            },
            Event::Named {
                names: vec![RelPath::new(Path::new("storm.mp4")).unwrap()],
            },
            Event::Delivered,
            Event::Closed { files: vec![] },
        ]);
        let done = run(job(), events).unwrap();
        assert_eq!(done.state_name(), StateName::Done);
        assert_eq!(done.charged(), Some(160.0));
        assert!(!done.is_open());
    }

    #[test]
    fn a_job_in_doubt_goes_nowhere_by_itself() {
        let mut events = submitted();
        events.push(Event::Doubtful {
            why: "reset".into(),
            used_after: None,
        });
        let doubt = run(job(), events).unwrap();
        for event in [
            Event::Started,
            Event::Requeued { hold: None },
            Event::CancelAsked,
        ] {
            assert!(transition(&doubt, event, at(2)).is_err());
        }
        let again = |intent_at| Event::Resubmitted {
            intent_at,
            hold: None,
        };
        assert!(transition(&doubt, again(at(9)), at(2)).is_err());
        let again = transition(&doubt, again(at(1)), at(2)).unwrap();
        // What may have been paid for counts.
        assert_eq!(again.charges.len(), 1);
    }

    #[test]
    fn a_task_that_was_given_up_can_be_taken_up_again_and_costs_once() {
        let accepted = |task: &str| Event::Accepted {
            task: task.into(),
            estimated: None,
            account: None,
        };
        let adopted = Event::Adopted {
            task: "t1".into(),
            intent_at: None,
            account: None,
        };
        for (kind, can) in [
            (FailureKind::TaskGone, true),
            (FailureKind::Output, true),
            (FailureKind::Task, false),
            (FailureKind::Refused, false),
        ] {
            let mut events = submitted();
            events.extend([
                accepted("t1"),
                Event::Fails {
                    failure: Failure { kind, ..failure() },
                    charged: None,
                },
                Event::Closed { files: vec![] },
            ]);
            let failed = run(job(), events).unwrap();
            let again = transition(&failed, adopted.clone(), at(2));
            assert_eq!(again.is_ok(), can, "{kind:?}");
            if let Ok(again) = again {
                assert_eq!(
                    (again.state_name(), again.charges.len()),
                    (StateName::Running, 1)
                );
            }
        }
    }

    #[test]
    fn a_doubt_that_was_given_up_and_whose_task_turns_up_costs_once() {
        let mut events = submitted();
        events.extend([
            Event::Doubtful {
                why: "reset".into(),
                used_after: None,
            },
            Event::Abandoned {
                failure: Failure {
                    kind: FailureKind::Abandoned,
                    ..failure()
                },
                intent_at: at(1),
            },
            Event::Closed { files: vec![] },
        ]);
        let failed = run(job(), events).unwrap();
        assert_eq!((failed.cost(), failed.charged()), (160.0, None));
        let adopted = Event::Adopted {
            task: "t1".into(),
            intent_at: None,
            account: None,
        };
        let running = transition(&failed, adopted, at(2)).unwrap();
        assert_eq!(running.cost(), 160.0);
        let charged = Some(150.0);
        let done = transition(&running, Event::Succeeded { charged }, at(3)).unwrap();
        assert_eq!((done.cost(), done.charged()), (150.0, charged));
    }

    #[test]
    fn outputs_cannot_be_delivered_before_they_have_names() {
        let mut events = submitted();
        events.extend([
            Event::Accepted {
                task: "t1".into(),
                estimated: None,
                account: None,
            },
            Event::Succeeded { charged: None },
            Event::Fetched {
                outputs: vec![delivery()],
            },
        ]);
        let delivering = run(job(), events).unwrap();
        assert!(transition(&delivering, Event::Delivered, at(2)).is_err());
    }

    #[test]
    fn what_a_failed_attempt_cost_is_counted_beside_the_next_one() {
        let mut events = submitted();
        events.extend([
            Event::Accepted {
                task: "t1".into(),
                estimated: None,
                account: None,
            },
            Event::TaskRetry {
                charged: Some(10.0),
                hold: hold(),
            },
            Event::Held { hold: None },
            Event::Started,
            Event::Intent {
                used_before: None,
                files: vec![],
            },
            Event::Accepted {
                task: "t2".into(),
                estimated: None,
                account: None,
            },
            Event::Succeeded {
                charged: Some(160.0),
            },
        ]);
        let job = run(job(), events).unwrap();
        assert_eq!(job.charged(), Some(170.0));
        assert_eq!((job.attempts, job.task_failures), (2, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever happens in whatever order: two tasks are never started for one intent, a task is never forgotten
        /// without an end, and what the journal stores reads back as the same job.
        #[test]
        fn no_history_starts_two_tasks_for_one_intent(events in prop::collection::vec(any_event(), 0..60)) {
            let mut job = job();
            let mut intents = 0_usize;
            let mut adopted = 0_usize;
            for event in events {
                let before = job.clone();
                let was_accepted =
                    matches!(event, Event::Accepted { .. } | Event::Adopted { .. });
                let was_intent = matches!(event, Event::Intent { .. });
                let Ok(next) = transition(&job, event, at(1)) else {
                    continue;
                };
                intents += usize::from(was_intent);
                adopted += usize::from(was_accepted);
                prop_assert!(adopted <= intents);
                prop_assert_eq!(job.seq + 1, next.seq);
                // A task leaves the job only towards an end or, having failed, back to the queue.
                if let (State::Running { task, .. }, State::Submitting { .. } | State::Uploading) = (&before.state, &next.state) {
                    prop_assert!(false, "task {} forgotten", task.id);
                }
                let text = serde_json::to_string(&next).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Job>(&text).unwrap(), &next);
                job = next;
            }
        }
    }
}
