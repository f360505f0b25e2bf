//! Runway's official Python SDK works against the simulator, unchanged.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
extern crate taxiway_test_attribute;

mod support {
    pub mod runner;
}

use std::process::Command;

use taxiway::simulator::{Options, Simulator};

/// Names the Python to use, which must have the package runwayml.
const PYTHON: &str = "TAXIWAY_TEST_PYTHON";

fn main() -> std::process::ExitCode {
    support::runner::main()
}

#[test(needs = [SDK])]
fn runways_own_sdk_works_against_the_simulator() {
    let python = std::env::var_os(PYTHON).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let options = Options {
        task_seconds: 0.5,
        ..Options::default()
    };
    let simulator = runtime.block_on(Simulator::start(options)).unwrap();
    let url = simulator.base_url();
    let done = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk_python.py"))
        .env("SIMULATOR_URL", url)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    let seen = simulator.snapshot();
    assert_eq!(seen.violations().count(), 0);
    runtime.block_on(simulator.stop());
}
