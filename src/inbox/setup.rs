//! What an inbox's thread is started with.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::catalogue::Catalogue;
use crate::config::{Config, Inbox};
use crate::files::RelPath;
use crate::folders::Places;
use crate::folders::mounted::find_missing_mount;
use crate::folders::take::create_working;
use crate::inbox::look::scan::Ignore;
use crate::job::Job;
use crate::ledger::Ledger;
use crate::sidecar::layers::Layer;

/// All that the thread of an inbox needs.
pub struct Setup {
    /// The inbox's name.
    pub name: String,
    /// Names that it had before, under which jobs in its folders are still in progress.
    pub formerly: Vec<String>,
    /// Its folders.
    pub places: Places,
    /// Everything else that is configured.
    pub inbox: Arc<Inbox>,
    /// Largest input in bytes.
    pub max_input: u64,
    /// Names of files and folders that are ignored.
    pub ignore: Ignore,
    /// The configuration's `defaults`.
    pub defaults: Layer,
    /// Endpoints, models and parameters.
    pub catalogue: Arc<Catalogue>,
    /// Whether models that the catalogue does not know are accepted.
    pub allow_unknown_models: bool,
    /// The owner of all jobs.
    pub ledger: Ledger,
    /// Where the thread's questions to the ledger and the journal run.
    pub runtime: Handle,
}

impl Setup {
    /// Whether a job is this inbox's, under this name or one that it had before.
    pub(crate) fn is_ours(&self, job: &Job) -> bool {
        job.inbox == self.name || self.formerly.contains(&job.inbox)
    }

    /// The open jobs of this inbox.
    pub(crate) fn own_jobs(&self) -> impl Iterator<Item = Arc<Job>> {
        let jobs = self.ledger.jobs().into_iter();
        jobs.filter(|job| self.is_ours(job))
    }

    /// Why a folder must not be touched yet: what it was on, or is to be on, is not mounted.
    pub(crate) fn find_missing_mount(&self, folder: &Path) -> Option<String> {
        self.runtime
            .block_on(find_missing_mount(self.ledger.journal().as_ref(), folder))
            .unwrap_or_else(|error| Some(error.to_string()))
    }

    /// See [`create_working`].
    pub(crate) fn create_working(&self) -> io::Result<()> {
        let jobs: Vec<_> = self.own_jobs().collect();
        create_working(&self.places.working, jobs.iter().map(AsRef::as_ref))
    }
}

/// Where an inbox's folders are.
pub fn places(inbox: &Inbox) -> Places {
    Places {
        inbox: inbox.path.clone(),
        working: inbox.folders.working.clone(),
        outbox: inbox.folders.outbox.clone(),
        originals: inbox.folders.originals.clone(),
        failed: inbox.folders.failed.clone(),
    }
}

/// The inbox's `defaults` as the weakest layer of its requests.
pub fn defaults_layer(config: &Config, inbox: &Inbox) -> Layer {
    Layer {
        label: config.file.as_ref().map_or_else(
            || "the configuration".to_owned(),
            |file| file.display().to_string(),
        ),
        folder: RelPath::default(),
        values: inbox.defaults.values.clone(),
        document: inbox.defaults.source.clone(),
    }
}
