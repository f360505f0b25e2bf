//! The state of the simulator, behind one lock that is held briefly and never across an `await`.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::board::{Board, Refused};
use super::clock::Millis;
use super::faults::Faults;
use super::log::{Log, Seen};
use super::options::Options;
use super::store::{Event, Store, Upload};
use super::tasks::{Kind, Limits, Order};
use crate::catalogue::Catalogue;
use crate::files::hex;

/// The settings that can change while the simulator runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) task_seconds: f64,
    pub(super) url_seconds: f64,
    pub(super) upload_seconds: f64,
    pub(super) key: Option<String>,
    pub(super) max_monthly_credit_spend: i64,
}

/// A change of settings at run time. Missing settings stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// How long new tasks take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_seconds: Option<f64>,
    /// How long new output URLs are valid, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_seconds: Option<f64>,
    /// How long uploads are valid, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_seconds: Option<f64>,
    /// The only valid key; an empty string accepts any key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The organization's credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit_balance: Option<i64>,
    /// The tier's limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// What all requests share.
#[derive(Debug)]
pub(super) struct App {
    inner: Mutex<Inner>,
    pub(super) catalogue: Catalogue,
    /// Cancelled when the simulator stops, so that no request waits any longer.
    pub(super) closing: CancellationToken,
    /// The address and port it listens on, for URLs in answers to requests without a host.
    pub(super) authority: String,
}

impl App {
    pub(super) fn new(catalogue: Catalogue, inner: Inner, authority: String) -> Self {
        Self {
            inner: Mutex::new(inner),
            catalogue,
            closing: CancellationToken::new(),
            authority,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

/// What the lock protects.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) board: Board,
    pub(super) uploads: HashMap<String, Upload>,
    pub(super) log: Log,
    pub(super) faults: Faults,
    pub(super) settings: Settings,
    /// Signs output URLs.
    pub(super) secret: String,
    store: Option<Store>,
}

impl Inner {
    /// The state at the start: what the directory has, if there is one, with the settings of the options.
    ///
    /// The balance of the options is for a new directory only; what was spent before a restart stays spent.
    pub(super) fn open(options: &Options, now: Millis) -> std::io::Result<Self> {
        let tier = &options.tier;
        let mut inner = Self {
            board: Board::new(tier.limits.clone(), tier.credit_balance),
            uploads: HashMap::new(),
            log: Log::default(),
            faults: Faults::default(),
            settings: Settings {
                task_seconds: options.task_seconds,
                url_seconds: options.url_seconds,
                upload_seconds: options.upload_seconds,
                key: options.key.clone(),
                max_monthly_credit_spend: tier.max_monthly_credit_spend,
            },
            secret: String::new(),
            store: None,
        };
        inner.faults.replace(options.faults.clone());
        if let Some(dir) = &options.dir {
            inner.store = Some(Store::open(dir, |event| inner.replay(event))?);
        }
        if inner.secret.is_empty() {
            let secret: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
            let secret = hex(&secret);
            inner.secret.clone_from(&secret);
            inner.keep(|| Event::Opened {
                secret,
                balance: tier.credit_balance,
            });
        }
        if inner.store.is_some() {
            // The file may have ended under other limits.
            inner.set_limits(tier.limits.clone(), now);
        }
        Ok(inner)
    }

    fn replay(&mut self, event: Event) {
        match event {
            Event::Opened { secret, balance } => {
                self.secret = secret;
                self.board.set_balance(balance);
            }
            Event::Started { order } => self.board.accept(order),
            Event::Withdrawn { kind, id, at } => {
                // If the task is gone, there is nothing to do.
                self.board.withdraw(kind, &id, at);
            }
            Event::Upload { upload } => {
                self.uploads.insert(upload.id.clone(), upload);
            }
            Event::Limits { limits, at } => self.board.set_limits(limits, at),
            Event::Balance { balance, at } => {
                // First the failures until then, with their refunds.
                self.board.balance(at);
                self.board.set_balance(balance);
            }
            Event::Seen { seen } => {
                self.log.push(*seen);
            }
        }
    }

    /// Writes an event to the store, if there is one.
    fn keep(&mut self, event: impl FnOnce() -> Event) {
        if let Some(store) = &mut self.store {
            store.append(&event());
        }
    }

    pub(super) fn start(&mut self, order: Order) -> Result<(), Refused> {
        self.board.check(&order)?;
        self.keep(|| Event::Started {
            order: order.clone(),
        });
        self.board.accept(order);
        Ok(())
    }

    /// Cancels or deletes a task. `false`: there is none.
    pub(super) fn withdraw(&mut self, kind: Kind, id: &str, at: Millis) -> bool {
        let done = self.board.withdraw(kind, id, at);
        if done {
            self.keep(|| Event::Withdrawn {
                kind,
                id: id.to_owned(),
                at,
            });
        }
        done
    }

    /// Stores an upload that was announced, or whose bytes arrived.
    pub(super) fn put_upload(&mut self, upload: Upload) {
        self.keep(|| Event::Upload {
            upload: upload.clone(),
        });
        self.uploads.insert(upload.id.clone(), upload);
    }

    pub(super) fn record(&mut self, seen: Seen) {
        let seen = self.log.push(seen);
        if let Some(store) = &mut self.store {
            store.append(&Event::Seen {
                seen: Box::new(seen.clone()),
            });
        }
    }

    fn set_limits(&mut self, limits: Limits, at: Millis) {
        self.keep(|| Event::Limits {
            limits: limits.clone(),
            at,
        });
        self.board.set_limits(limits, at);
    }

    pub(super) fn change(&mut self, change: Change, at: Millis) {
        let Change {
            task_seconds,
            url_seconds,
            upload_seconds,
            key,
            credit_balance,
            limits,
        } = change;
        let settings = &mut self.settings;
        settings.task_seconds = task_seconds.unwrap_or(settings.task_seconds);
        settings.url_seconds = url_seconds.unwrap_or(settings.url_seconds);
        settings.upload_seconds = upload_seconds.unwrap_or(settings.upload_seconds);
        if let Some(key) = key {
            settings.key = Some(key).filter(|key| !key.is_empty());
        }
        if let Some(balance) = credit_balance {
            self.keep(|| Event::Balance { balance, at });
            self.board.balance(at);
            self.board.set_balance(balance);
        }
        if let Some(limits) = limits {
            self.set_limits(limits, at);
        }
    }

    /// The current settings, without the key.
    pub(super) fn current_settings(&mut self, now: Millis) -> Change {
        Change {
            task_seconds: Some(self.settings.task_seconds),
            url_seconds: Some(self.settings.url_seconds),
            upload_seconds: Some(self.settings.upload_seconds),
            key: None,
            credit_balance: Some(self.board.balance(now)),
            limits: Some(self.board.limits().clone()),
        }
    }
}
