//! What the driver of a test knows of its own doings, exactly: the audit's model.
//!
//! Every dropped file has bytes like no other's, and every request that a drop leads to can be told by its keys
//! (`Api::keyed`): a unique prompt, and the picture in it.

#![allow(dead_code)]

use std::collections::{HashMap, HashSet};

use crate::support::sha256;

/// A file that was dropped.
#[derive(Debug, Clone)]
pub struct Content {
    /// Below the studio's folder, such as `inbox/shoes/red.jpg`.
    pub path: String,
    /// Digest of its bytes, which no other file has.
    pub sha256: String,
    /// What tells the requests that it leads to.
    pub key: Option<String>,
    /// Files of one drop have the same number.
    pub drop: usize,
}

/// What the driver of a test knows.
#[derive(Debug, Default, Clone)]
pub struct Book {
    contents: Vec<Content>,
    drops: usize,
    /// Digests of what the person took back, or deleted, and got.
    taken_back: HashSet<String>,
    /// How often each key may have been paid beyond once, because a person said so.
    again: HashMap<String, usize>,
}

impl Book {
    /// A drop of several files, each with its path below the studio's folder, its bytes, and its key.
    pub fn drop(&mut self, files: &[(&str, &[u8], Option<&str>)]) -> usize {
        self.drops += 1;
        for (path, bytes, key) in files {
            self.late(self.drops, path, bytes, *key);
        }
        self.drops
    }

    /// A further file of an earlier drop, or a new version of one of its files.
    pub fn late(&mut self, drop: usize, path: &str, bytes: &[u8], key: Option<&str>) {
        let digest = sha256(bytes);
        assert!(
            !self.contents.iter().any(|known| known.sha256 == digest),
            "{path}: a file with the same bytes was dropped before"
        );
        self.contents.push(Content {
            path: path.to_owned(),
            sha256: digest,
            key: key.map(str::to_owned),
            drop,
        });
    }

    /// The person renamed a file in the inbox.
    pub fn renamed(&mut self, bytes: &[u8], to: &str) {
        let digest = sha256(bytes);
        for content in &mut self.contents {
            if content.sha256 == digest {
                content.path = to.to_owned();
            }
        }
    }

    /// The person took these bytes back, and has them: they are no longer the daemon's responsibility.
    pub fn taken_back(&mut self, bytes: &[u8]) {
        self.taken_back.insert(sha256(bytes));
    }

    /// The person dropped bytes again that had been taken back.
    pub fn dropped_again(&mut self, bytes: &[u8], path: &str) {
        self.taken_back.remove(&sha256(bytes));
        self.renamed(bytes, path);
    }

    /// A person, by `retry` or by `resolve --resubmit` against the truth, caused one more payment.
    pub fn allow_again(&mut self, key: &str) {
        *self.again.entry(key.to_owned()).or_default() += 1;
    }

    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    pub fn drops(&self) -> usize {
        self.drops
    }

    /// The keys of what was dropped under a path below the studio's folder, the latest first.
    pub fn keys_at(&self, path: &str) -> Vec<String> {
        let drops: HashSet<usize> = self
            .contents
            .iter()
            .filter(|content| content.path == path)
            .map(|content| content.drop)
            .collect();
        self.contents
            .iter()
            .rev()
            .filter(|content| drops.contains(&content.drop))
            .filter_map(|content| content.key.clone())
            .collect()
    }

    /// Whether the person has it again.
    pub fn is_taken_back(&self, content: &Content) -> bool {
        self.taken_back.contains(&content.sha256)
    }

    /// How many tasks a key may have, beside those that failed in a way that may be repeated.
    pub fn allowed(&self, key: &str) -> usize {
        1 + self.again.get(key).copied().unwrap_or(0)
    }
}
