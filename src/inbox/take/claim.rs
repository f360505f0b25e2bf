//! Taking what is ready: the journal first, then the renames into `working/`, then the journal again; a few at a time, each only
//! if it still is what was looked at.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::files::Stamp;
use crate::files::advice;
use crate::files::mounts::Mount;
use crate::files::{RelPath, Version, stamp};
use crate::folders::mounted::{Realm, realm};
use crate::folders::take::{Taking, finish_taking, free_spot};
use crate::inbox::evaluate::rules::{Candidate, Waiting};
use crate::inbox::take::again::Retried;
use crate::inbox::worker::{TRY_AGAIN, Worker};
use crate::job::{Event, Folder, InputFile, Job, JobId, Spot, State, working_inside};
use crate::ledger::LedgerError;

/// How often single files are tried again that cannot be taken where they lie.
const REFUSED_AGAIN: Duration = Duration::from_secs(10);

/// At most this many jobs are made durable before their files move, so that little can happen to the files in between.
const TAKE_AT_ONCE: usize = 20;

/// What jobs of an inbox have a claim to, and where files can be renamed.
struct Claims {
    /// Paths below the inbox of files that jobs are taking already.
    dropped: HashSet<RelPath>,
    /// Paths below the inbox of files that are taken in this round.
    used: HashSet<RelPath>,
    /// Paths below `working`, and below the folder that takes its place on each mount inside the inbox.
    working: HashMap<Option<RelPath>, HashSet<RelPath>>,
    /// Where `working` lies.
    realm: Realm,
    /// Where the inbox's folders lie.
    realms: HashMap<RelPath, Realm>,
}

/// Why a candidate is not taken now.
enum Refusal {
    /// It is no longer what it was: it is judged anew at once.
    LookAgain,
    /// A job has it that could not move it yet, and says so itself.
    Claimed,
    /// It has to wait: for what.
    Wait(String),
}

impl Worker {
    /// Takes what is ready in a folder, a few at a time. Answers with what cannot be taken now, and why.
    pub(crate) fn take_ready(&mut self, folder: &RelPath, ready: Vec<Candidate>) -> Vec<Waiting> {
        let mut refused = Vec::new();
        // The names under which they waited become the jobs'.
        let held = self.held.get(folder).cloned().unwrap_or_default();
        let names: HashMap<&RelPath, &JobId> = held
            .iter()
            .map(|held| (&held.waiting.input, &held.id))
            .collect();
        let mut all = ready.into_iter().map(|candidate| {
            let name = names.get(&candidate.input);
            (
                name.map_or_else(JobId::random, |id| (*id).clone()),
                candidate,
            )
        });
        let mut claims = self.claims();
        while !self.is_stopped() {
            self.beat();
            let ready: Vec<(JobId, Candidate)> = all.by_ref().take(TAKE_AT_ONCE).collect();
            if ready.is_empty() {
                break;
            }
            let inputs: Vec<RelPath> = ready.iter().map(|(_, one)| one.input.clone()).collect();
            let taken = match (&mut claims, self.root_is_known()) {
                (Ok(claims), Ok(())) => self.take(ready, claims),
                (Err(error), Ok(())) => Err(format!(
                    "the folder {} cannot be used: {error}. {}",
                    self.setup.places.working.display(),
                    advice(error)
                )),
                (_, Err(why)) => {
                    self.freeze(why.clone());
                    Err(why)
                }
            };
            match taken {
                Ok(more) => {
                    self.trouble = None;
                    refused.extend(more);
                }
                Err(why) => {
                    if self.trouble.as_ref() != Some(&why) {
                        tracing::error!(inbox = %self.setup.name, "files cannot be taken now: {why}");
                    }
                    self.look_later(folder, TRY_AGAIN);
                    self.trouble = Some(why.clone());
                    let reason: Arc<str> = format!("it cannot be taken now: {why}").into();
                    let rest = all.map(|(_, one)| one.input);
                    refused.extend(inputs.into_iter().chain(rest).map(|input| Waiting {
                        input,
                        reason: reason.clone(),
                    }));
                    break;
                }
            }
        }
        if !refused.is_empty() {
            self.look_later(folder, REFUSED_AGAIN);
        }
        refused
    }

    /// What other jobs of this inbox have a claim to.
    fn claims(&self) -> std::io::Result<Claims> {
        let working = &self.setup.places.working;
        let realm_of = |folder: &Path| match realm(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.make_own_working()?;
                realm(folder)
            }
            other => other,
        };
        let mut claims = Claims {
            dropped: HashSet::new(),
            used: HashSet::new(),
            working: HashMap::new(),
            realm: realm_of(working)?,
            realms: HashMap::new(),
        };
        for job in self.setup.ledger.jobs() {
            if !self.is_ours(&job) {
                continue;
            }
            // Files of a job whose renames did not succeed yet still lie in the inbox.
            let taking = matches!(job.state, State::Taking { .. });
            for file in &job.files {
                let working = claims.working.entry(file.mount.clone()).or_default();
                working.insert(file.working.clone());
                if taking {
                    claims.dropped.insert(file.dropped.clone());
                }
            }
        }
        Ok(claims)
    }

    /// Takes files: journal first, then the renames, then the journal again. Trouble with one candidate holds no other up.
    ///
    /// # Errors
    /// None of them can be taken now.
    fn take(
        &mut self,
        candidates: Vec<(JobId, Candidate)>,
        claims: &mut Claims,
    ) -> Result<Vec<Waiting>, String> {
        let mut refused = Vec::new();
        let mut new = Vec::new();
        let mut jobs = Vec::new();
        for (id, candidate) in candidates {
            // They may go back to where they came from.
            if self.is_coming(&candidate.input) {
                self.look_later(&candidate.input.parent(), TRY_AGAIN);
                continue;
            }
            let files = match self.choose(&candidate, claims) {
                Ok(files) => files,
                Err(Refusal::LookAgain) => {
                    self.dirty.insert(candidate.input.parent());
                    self.due.insert(candidate.input.parent(), Instant::now());
                    continue;
                }
                Err(Refusal::Claimed) => {
                    self.look_later(&candidate.input.parent(), TRY_AGAIN);
                    continue;
                }
                Err(Refusal::Wait(reason)) => {
                    refused.push(Waiting {
                        input: candidate.input,
                        reason: reason.into(),
                    });
                    continue;
                }
            };
            match self.retried(&candidate, files.clone())? {
                Retried::Again(job) => jobs.push(*job),
                Retried::Coming => self.look_later(&candidate.input.parent(), TRY_AGAIN),
                Retried::Wait(reason) => {
                    self.look_later(&candidate.input.parent(), TRY_AGAIN);
                    refused.push(Waiting {
                        input: candidate.input,
                        reason: reason.into(),
                    });
                }
                Retried::No => new.push(Job::taken(
                    id,
                    &self.setup.name,
                    candidate.input,
                    files,
                    candidate.plan,
                    Timestamp::now(),
                )),
            }
        }
        let (inserted, claimed) = self.insert(new)?;
        refused.extend(claimed);
        jobs.extend(inserted);
        for job in jobs {
            // What is left so is finished by the next thread or by the engine.
            if self.is_stopped() {
                break;
            }
            self.move_files(&job);
        }
        Ok(refused)
    }

    /// Where each of a candidate's files goes.
    fn choose(
        &self,
        candidate: &Candidate,
        claims: &mut Claims,
    ) -> Result<Vec<InputFile>, Refusal> {
        for (_, file) in &candidate.files {
            if claims.dropped.contains(file) {
                return Err(Refusal::Claimed);
            }
            self.mount_inside(&file.parent(), claims)?;
            // Changed since it was looked at, or another job of this round has it.
            if claims.used.contains(file) {
                return Err(Refusal::LookAgain);
            }
            match self.is_as_seen(file) {
                Ok(true) => {}
                Ok(false) => return Err(Refusal::LookAgain),
                // At once it would be no better.
                Err(error) => {
                    return Err(Refusal::Wait(format!(
                        "it cannot be looked at: {error}. {}",
                        advice(&error)
                    )));
                }
            }
        }
        let mut files = Vec::new();
        for (role, file) in &candidate.files {
            let mount = self.mount_inside(&file.parent(), claims)?;
            let lasting = self
                .mount_of(&file.parent())
                .is_some_and(Mount::has_lasting_inodes);
            let (folder, wanted) = match &mount {
                None => (self.setup.places.working.clone(), file.clone()),
                Some(mount) => {
                    let below = file.as_path().strip_prefix(mount.as_path());
                    let below = below.ok().and_then(RelPath::new);
                    let folder = self.tree.absolute(&working_inside(mount));
                    (folder, below.unwrap_or_else(|| file.clone()))
                }
            };
            let promised = claims.working.entry(mount.clone()).or_default();
            let working = free_spot(&folder, &wanted, promised).map_err(|error| {
                Refusal::Wait(format!(
                    "no place can be found for it in {}: {error}. {}",
                    folder.display(),
                    advice(&error)
                ))
            })?;
            promised.insert(working.clone());
            let seen = self.tree.sighting(file).map(|sighting| sighting.stamp);
            files.push(InputFile {
                role: *role,
                dropped: file.clone(),
                at: Some(Spot {
                    folder: Folder::Inbox,
                    path: file.clone(),
                }),
                working,
                mount,
                bytes: seen.map_or(0, |stamp| stamp.size),
                version: seen.as_ref().map(|stamp| Version {
                    inode: lasting.then_some(stamp.ino),
                    ..stamp.version()
                }),
                sha256: None,
            });
        }
        for (_, file) in &candidate.files {
            claims.used.insert(file.clone());
        }
        Ok(files)
    }

    /// The mount inside the inbox that a folder lies on; `None` where it is the inbox's own.
    fn mount_inside(
        &self,
        folder: &RelPath,
        claims: &mut Claims,
    ) -> Result<Option<RelPath>, Refusal> {
        let found = self.realm_of(folder, claims)?;
        if found == claims.realm {
            return Ok(None);
        }
        if folder.is_root() || found == self.realm_of(&RelPath::default(), claims)? {
            return Err(Refusal::Wait(format!(
                "`working` ({}) lies on another filesystem or mount than the inbox: configure a folder on the same one",
                self.setup.places.working.display()
            )));
        }
        // The topmost folder that lies on it.
        let mut top = folder.clone();
        while !top.is_root() && self.realm_of(&top.parent(), claims)? == found {
            top = top.parent();
        }
        Ok(Some(top))
    }

    fn realm_of(&self, folder: &RelPath, claims: &mut Claims) -> Result<Realm, Refusal> {
        if let Some(realm) = claims.realms.get(folder) {
            return Ok(*realm);
        }
        match realm(&self.tree.absolute(folder)) {
            Ok(realm) => {
                claims.realms.insert(folder.clone(), realm);
                Ok(realm)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Refusal::LookAgain),
            Err(error) => Err(Refusal::Wait(format!(
                "its folder cannot be looked at: {error}"
            ))),
        }
    }

    /// Makes new jobs durable. A file that another job has a claim to is refused, and the others go on.
    fn insert(&self, new: Vec<Job>) -> Result<(Vec<Job>, Vec<Waiting>), String> {
        if new.is_empty() {
            return Ok((new, Vec::new()));
        }
        let insert = |jobs: Vec<Job>| self.runtime.block_on(self.setup.ledger.insert(jobs));
        match insert(new.clone()) {
            Ok(()) => return Ok((new, Vec::new())),
            Err(LedgerError::Claimed { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        let (mut inserted, mut refused) = (Vec::new(), Vec::new());
        for job in new {
            match insert(vec![job.clone()]) {
                Ok(()) => inserted.push(job),
                // Where the journal fails now, the others before have been inserted all the same.
                Err(error) => refused.push(Waiting {
                    input: job.input,
                    reason: error.to_string().into(),
                }),
            }
        }
        Ok((inserted, refused))
    }

    /// Renames a durable job's files into `working`, and has the journal note it.
    fn move_files(&mut self, job: &Job) {
        let unchanged = job.files.iter().all(|file| {
            let seen = self.tree.sighting(&file.dropped);
            seen.is_some_and(|seen| is_version(&self.tree.absolute(&file.dropped), &seen.stamp))
        });
        for file in &job.files {
            self.tree.forget_file(&file.dropped);
        }
        let now = self.setup.ledger.get(&job.id);
        let taking = now.is_some_and(|job| matches!(job.state, State::Taking { .. }));
        if unchanged && taking {
            match finish_taking(job, &self.setup.places) {
                Ok(Taking::All(files)) => {
                    let (ledger, id) = (self.setup.ledger.clone(), job.id.clone());
                    let event = Event::Moved { files };
                    let noted = async move { ledger.apply(&id, event).await };
                    self.moves.push(self.runtime.spawn(noted));
                }
                // The engine finishes it, or finds that the person took it back.
                Ok(Taking::Undone(_)) => {}
                Err(error) => {
                    // The engine tries it again, and says what to do.
                    tracing::debug!(job = %job.id, input = %job.input, %error, "the files cannot be moved to working yet");
                }
            }
        } else {
            // The engine takes jobs, too, and was faster: what lies there now under the same name is another file. Or somebody
            // changed a file in this moment, and the engine finds that out.
            let folder = job.input.parent();
            self.dirty.insert(folder.clone());
            self.look_later(&folder, TRY_AGAIN);
        }
        // So that a file that a person deletes there is noticed at once.
        let folders: HashSet<PathBuf> = job
            .files
            .iter()
            .filter_map(|file| {
                let path = self.setup.places.path(&file.taken_at());
                path.parent().map(Path::to_owned)
            })
            .collect();
        for folder in folders {
            self.watch_folder(&folder);
        }
        tracing::info!(job = %job.id, inbox = %job.inbox, input = %job.input, "taken");
    }

    /// Waits until the journal knows of all renames.
    pub(crate) fn finish_moves(&mut self) {
        for noted in std::mem::take(&mut self.moves) {
            match self.runtime.block_on(noted) {
                Ok(Ok(_)) => {}
                // The engine was faster, or finishes it.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "taken files are not noted as moved by the inbox's thread");
                }
                Err(error) => {
                    tracing::debug!(%error, "taken files are not noted as moved yet");
                }
            }
        }
    }

    fn is_as_seen(&self, file: &RelPath) -> std::io::Result<bool> {
        let seen = self.tree.sighting(file).map(|sighting| sighting.stamp);
        Ok(seen.is_some() && stamp(&self.tree.absolute(file))? == seen)
    }
}

/// Whether the file at a path is the version that was seen. Its ctime is left out, since a change of mode or owner is none of
/// the content.
pub(crate) fn is_version(path: &Path, seen: &Stamp) -> bool {
    matches!(
        stamp(path),
        Ok(Some(now)) if (now.dev, now.ino, now.size, now.mtime) == (seen.dev, seen.ino, seen.size, seen.mtime)
    )
}
