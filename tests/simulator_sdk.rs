//! Runway's official Python SDK works against the simulator, unchanged.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

use taxiway::simulator::{Options, Simulator};

/// Names the Python to use, which must have the package runwayml.
const PYTHON: &str = "TAXIWAY_TEST_PYTHON";

#[tokio::test(flavor = "multi_thread")]
async fn runways_own_sdk_works_against_the_simulator() {
    let Some(python) = std::env::var_os(PYTHON) else {
        println!(
            "left out: {PYTHON} names no Python with the package runwayml; tests/run sets it up"
        );
        return;
    };
    let options = Options {
        task_seconds: 0.5,
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let url = simulator.base_url();
    let run = move || {
        Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk_python.py"))
            .env("SIMULATOR_URL", url)
            .env("NO_PROXY", "127.0.0.1")
            .output()
    };
    let done = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    let seen = simulator.snapshot();
    assert_eq!(seen.violations().count(), 0);
    simulator.stop().await;
}
