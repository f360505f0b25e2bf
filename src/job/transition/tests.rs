use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::files::RelPath;
use crate::job::{Delivery, Failure, FailureKind, Hold, HoldReason, samples};

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
fn a_job_without_trouble_ends_in_done() {
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
fn only_a_decision_moves_a_job_in_doubt() {
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
fn a_task_that_was_given_up_can_be_adopted_and_costs_once() {
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
fn the_cost_of_a_failed_attempt_is_added_to_the_next_one() {
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
