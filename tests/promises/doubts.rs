//! Doubts: which have a reason, and which have none.

#![allow(dead_code)]

use std::collections::{BTreeMap, HashSet};

use crate::api::Api;
use crate::audit::{Promise, Verdict};
use crate::book::Book;
use crate::support::Job;

/// Tells doubts that have a reason from those that have none.
#[derive(Debug, Default, Clone)]
pub struct Doubts {
    /// Jobs that the journal had as `submitting` at a kill or a power cut.
    submitting: HashSet<String>,
    /// Jobs that were ever in doubt, with their input and why.
    seen: BTreeMap<String, (String, String)>,
}

impl Doubts {
    /// Notes what a journal holds while no daemon runs: who is submitting, who is in doubt.
    pub fn at_a_kill(&mut self, jobs: &[Job]) {
        for job in jobs.iter().filter(|job| job.state() == "submitting") {
            self.submitting.insert(job.id().to_owned());
        }
        self.note(jobs);
    }

    /// Notes who is in doubt.
    pub fn note(&mut self, jobs: &[Job]) {
        for job in jobs.iter().filter(|job| job.state() == "in_doubt") {
            let why = (job.input().to_owned(), job.reason().to_owned());
            self.seen.entry(job.id().to_owned()).or_insert(why);
        }
    }

    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// A doubt is real if the journal said `submitting` at a kill, or the API answered a request of the same file in a way
    /// that leaves it open.
    pub fn judge(&self, book: &Book, api: &Api, verdict: &mut Verdict) {
        let unclear = api.unclear_keys();
        for (job, (input, why)) in &self.seen {
            let real = self.submitting.contains(job)
                || book
                    .keys_at(&format!("inbox/{input}"))
                    .iter()
                    .any(|key| unclear.contains(key));
            if !real {
                verdict.breach(Promise::FalseDoubt, format!("job {job} ({input}): {why}"));
            }
        }
    }
}
