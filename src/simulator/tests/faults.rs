//! Trouble on request.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::ErrorKind;

use super::*;

#[tokio::test]
async fn a_reset_before_starts_nothing_and_a_reset_after_starts_a_task() {
    let simulator = Simulator::start(instant()).await.unwrap();
    for (action, tasks) in [(Action::ResetBefore, 0), (Action::ResetAfter, 1)] {
        simulator.set_faults(vec![Rule::on("/v1/sound_effect", action)]);
        let error = call(&simulator, "POST /v1/sound_effect", &sound("rain"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let seen = simulator.snapshot();
        assert_eq!(seen.tasks.len(), tasks);
        assert_eq!(seen.requests.last().unwrap().status, None);
    }
}

#[tokio::test]
async fn answers_can_be_refusals_nonsense_or_lack_the_id() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let rules = json!([
        {"match": {"path": "/v1/sound_effect", "nth": 1}, "action": {"status": {"code": 503, "headers": {"retry-after": "7"}}}},
        {"match": {"path": "/v1/sound_effect", "nth": 1}, "action": {"garbage": {"html": true}}},
        {"match": {"path": "/v1/sound_effect", "nth": 1}, "action": {"garbage": {}}},
        {"match": {"path": "/v1/sound_effect", "nth": 1}, "action": "no_id"},
        {"match": {"path": "/v1/sound_effect", "nth": 1}, "action": {"redirect": {"to": "https://example.com/"}}},
    ]);
    let set = call(&simulator, "POST /_simulator/faults", &rules)
        .await
        .unwrap();
    assert_eq!(set.status, 200);
    let next = async || {
        call(&simulator, "POST /v1/sound_effect", &sound("rain"))
            .await
            .unwrap()
    };
    let refused = next().await;
    assert_eq!(
        (refused.status, refused.headers["retry-after"].as_str()),
        (503, "7")
    );
    let page = next().await;
    assert_eq!(
        (page.status, page.headers["content-type"].as_str()),
        (200, "text/html")
    );
    assert!(serde_json::from_slice::<Value>(&next().await.body).is_err());
    let nameless = next().await.json();
    assert!(nameless.get("id").is_none() && nameless.get("estimatedCost").is_some());
    assert_eq!(next().await.status, 307);
    assert_eq!(next().await.status, 200);
    // The refusal and the redirect started nothing; the rest did, and whoever lost an id has paid for it.
    assert_eq!(simulator.snapshot().tasks.len(), 4);
}

#[tokio::test]
async fn tasks_fail_or_hang_on_request() {
    let simulator = Simulator::start(instant()).await.unwrap();
    let fails = Action::TaskFails {
        code: "INTERNAL.BAD_OUTPUT.CODE01".into(),
        message: None,
        charged: None,
    };
    simulator.set_faults(vec![
        Rule::on("/v1/sound_effect", fails).times(1),
        Rule::on("/v1/sound_effect", Action::Stuck),
    ]);
    let failed = start_sound(&simulator, "rain").await;
    let stuck = start_sound(&simulator, "rain").await;
    let failed = task(&simulator, &failed).await;
    assert_eq!(failed["status"], "FAILED");
    assert_eq!(failed["failureCode"], "INTERNAL.BAD_OUTPUT.CODE01");
    assert_eq!(failed["cost"]["credits"], 0);
    assert_ne!(task(&simulator, &stuck).await["status"], "SUCCEEDED");
    let line = format!("DELETE /v1/tasks/{stuck}");
    assert_eq!(
        call(&simulator, &line, &Value::Null).await.unwrap().status,
        204
    );
    assert_eq!(task(&simulator, &stuck).await["status"], "CANCELLED");
    assert_eq!(
        call(&simulator, &line, &Value::Null).await.unwrap().status,
        204
    );
    assert_eq!(
        call(&simulator, &line, &Value::Null).await.unwrap().status,
        404
    );
}

#[tokio::test]
async fn a_request_whose_caller_hung_up_while_waiting_has_still_counted() {
    let simulator = Simulator::start(instant()).await.unwrap();
    simulator.set_faults(vec![Rule::on(
        "/v1/sound_effect",
        Action::Slow { ms: 600_000 },
    )]);
    let body = sound("rain");
    let waiting = call(&simulator, "POST /v1/sound_effect", &body);
    let taken = async {
        while simulator.snapshot().requests.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = waiting => panic!("answered at once: {answer:?}"),
        () = taken => {}
    }
    assert_eq!(simulator.snapshot().tasks.len(), 1);
    assert_eq!(
        simulator.snapshot().requests[0].fault.as_deref(),
        Some("slow")
    );
}
