//! Runway's side of a studio: what the simulator saw, and what it is told to do wrong.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use taxiway::media::probe;
use taxiway::simulator::{Action, Rule, Seen, Simulator, Snapshot};

use super::sha256;
use super::studio::Studio;

/// How the simulator's log tells a data URI of a file.
pub fn logged(bytes: &[u8]) -> String {
    let format = probe(&mut Cursor::new(bytes)).unwrap().format.unwrap();
    let head = format!("data:{};base64", format.mime());
    let uri = format!("{head},{}", STANDARD.encode(bytes));
    format!(
        "{head},… ({} characters, sha256 {})",
        uri.len(),
        &sha256(uri.as_bytes())[..16]
    )
}

/// A rule that acts on every request whose path begins so, `times` times.
pub fn fault(path: &str, times: u64, action: Action) -> Rule {
    Rule::on(path, action).times(times)
}

impl Studio {
    /// The simulator.
    pub fn sim(&self) -> &Simulator {
        self.simulator.as_ref().expect("no simulator runs")
    }

    /// What the API saw.
    pub fn seen(&self) -> Snapshot {
        self.sim().snapshot()
    }

    /// Every request that would start a task, whatever became of it.
    pub fn submissions(&self) -> Vec<Seen> {
        self.seen()
            .requests
            .into_iter()
            .filter(|seen| {
                seen.method == "POST"
                    && seen.path.starts_with("/v1/")
                    && !seen.path.starts_with("/v1/uploads")
                    && !seen.path.starts_with("/v1/organization")
            })
            .collect()
    }

    /// The only request that would start a task; it is an error if there are none or several.
    pub fn submission(&self) -> Seen {
        let mut all = self.submissions();
        assert_eq!(all.len(), 1, "{all:#?}\n{}", self.report());
        all.remove(0)
    }

    /// Runs something asynchronous, for instance `simulator.stop()`.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }
}
