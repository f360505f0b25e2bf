//! Removing files and folders, and checking whether a name is taken.

use std::fs;
use std::io;
use std::path::Path;

use crate::failpoint::{self, Point};

/// Removes a file. A power cut may undo it until the folder is synced.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    failpoint::hit(Point::Remove)?;
    fs::remove_file(path)
}

pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    failpoint::hit(Point::RemoveFolder)?;
    fs::remove_dir(path)
}

/// Whether anything has this name, even a broken link.
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
