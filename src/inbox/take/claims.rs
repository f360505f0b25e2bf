//! Where the files of a job can be taken, so that no two jobs have the same file.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::files::mounts::Mount;
use crate::files::{RelPath, Version, advice, stamp};
use crate::folders::mounted::{Realm, find_realm};
use crate::folders::take::find_free_path;
use crate::inbox::evaluate::rules::Candidate;
use crate::inbox::look::tree::Tree;
use crate::inbox::root::check::Root;
use crate::inbox::setup::Setup;
use crate::job::{Folder, InputFile, Spot, State, working_inside};

/// What jobs of an inbox have a claim to, and within what files can be renamed.
pub(crate) struct Claims<'a> {
    setup: &'a Setup,
    /// Paths below the inbox of files that jobs are taking already.
    dropped: HashSet<RelPath>,
    /// Paths below the inbox of files that are taken in this round.
    used: HashSet<RelPath>,
    /// Paths below `working`, and below the folder that replaces it on each mount inside the inbox.
    working: HashMap<Option<RelPath>, HashSet<RelPath>>,
    /// What `working` is on.
    realm: Realm,
    /// What the inbox's folders are on.
    realms: HashMap<RelPath, Realm>,
}

/// Why a candidate is not taken now.
pub(crate) enum Refusal {
    /// It is no longer what it was: evaluate it again at once.
    LookAgain,
    /// A job that has it could not move it yet, and reports that itself.
    Claimed,
    /// It has to wait: for what.
    Wait(String),
}

impl<'a> Claims<'a> {
    /// What the open jobs of an inbox have a claim to.
    ///
    /// # Errors
    /// `working` cannot be used.
    pub(crate) fn collect(setup: &'a Setup) -> io::Result<Claims<'a>> {
        let folder = &setup.places.working;
        let realm = match find_realm(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                setup.create_working()?;
                find_realm(folder)?
            }
            other => other?,
        };
        let mut claims = Claims {
            setup,
            dropped: HashSet::new(),
            used: HashSet::new(),
            working: HashMap::new(),
            realm,
            realms: HashMap::new(),
        };
        for job in setup.own_jobs() {
            // While the renames of a job have not succeeded yet, its files are still in the inbox.
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

    /// Chooses where each of a candidate's files goes.
    pub(crate) fn choose(
        &mut self,
        candidate: &Candidate,
        tree: &Tree,
        root: &Root,
    ) -> Result<Vec<InputFile>, Refusal> {
        for (_, file) in &candidate.files {
            self.check_free(file, tree)?;
        }
        let mut files = Vec::new();
        for (role, file) in &candidate.files {
            let mount = self.find_mount_inside(&file.parent(), tree)?;
            let working = self.choose_spot(file, &mount, tree)?;
            let lasting = root
                .mount_of(&file.parent())
                .is_some_and(Mount::has_lasting_inodes);
            let seen = tree.sighting(file).map(|sighting| sighting.stamp);
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
        let used = candidate.files.iter().map(|(_, file)| file.clone());
        self.used.extend(used);
        Ok(files)
    }

    /// Checks that no other job has a file, and that it is as it was seen.
    fn check_free(&mut self, file: &RelPath, tree: &Tree) -> Result<(), Refusal> {
        if self.dropped.contains(file) {
            return Err(Refusal::Claimed);
        }
        self.find_mount_inside(&file.parent(), tree)?;
        // Another job of this round has it.
        if self.used.contains(file) {
            return Err(Refusal::LookAgain);
        }
        let Some(seen) = tree.sighting(file) else {
            return Err(Refusal::LookAgain);
        };
        match stamp(&tree.absolute(file)) {
            Ok(Some(now)) if now == seen.stamp => Ok(()),
            Ok(_) => Err(Refusal::LookAgain),
            // It would be no better at once.
            Err(error) => Err(Refusal::Wait(format!(
                "it cannot be accessed: {error}. {}",
                advice(&error)
            ))),
        }
    }

    /// A free path for a file in `working`, or in the folder that replaces it on its mount.
    fn choose_spot(
        &mut self,
        file: &RelPath,
        mount: &Option<RelPath>,
        tree: &Tree,
    ) -> Result<RelPath, Refusal> {
        let (folder, wanted) = match mount {
            None => (self.setup.places.working.clone(), file.clone()),
            Some(mount) => {
                let below = file.as_path().strip_prefix(mount.as_path());
                let below = below.ok().and_then(RelPath::new);
                let folder = tree.absolute(&working_inside(mount));
                (folder, below.unwrap_or_else(|| file.clone()))
            }
        };
        let promised = self.working.entry(mount.clone()).or_default();
        let spot = find_free_path(&folder, &wanted, promised).map_err(|error| {
            Refusal::Wait(format!(
                "no place can be found for it in {}: {error}. {}",
                folder.display(),
                advice(&error)
            ))
        })?;
        promised.insert(spot.clone());
        Ok(spot)
    }

    /// The mount inside the inbox that a folder is on; `None` where that is the inbox's own.
    fn find_mount_inside(
        &mut self,
        folder: &RelPath,
        tree: &Tree,
    ) -> Result<Option<RelPath>, Refusal> {
        let found = self.realm_of(folder, tree)?;
        if found == self.realm {
            return Ok(None);
        }
        if folder.is_root() || found == self.realm_of(&RelPath::default(), tree)? {
            return Err(Refusal::Wait(format!(
                "`working` ({}) is on another filesystem or mount than the inbox: configure a folder on the same one",
                self.setup.places.working.display()
            )));
        }
        // The topmost folder that is on it.
        let mut top = folder.clone();
        while !top.is_root() && self.realm_of(&top.parent(), tree)? == found {
            top = top.parent();
        }
        Ok(Some(top))
    }

    fn realm_of(&mut self, folder: &RelPath, tree: &Tree) -> Result<Realm, Refusal> {
        if let Some(realm) = self.realms.get(folder) {
            return Ok(*realm);
        }
        let path = tree.absolute(folder);
        match find_realm(&path) {
            Ok(realm) => {
                self.realms.insert(folder.clone(), realm);
                Ok(realm)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Refusal::LookAgain),
            Err(error) => Err(Refusal::Wait(format!(
                "its folder cannot be accessed: {error}"
            ))),
        }
    }
}
