//! Operations on files, each with what survives a crash.

mod advice;
mod digest;
mod folders;
pub(crate) mod mounts;
pub(crate) mod names;
mod open;
mod rel_path;
mod remove;
mod rename;
mod stamp;
pub(crate) mod stored_path;
mod transfer;
mod write;

pub(crate) use advice::advice;
pub(crate) use digest::{hash_bytes, hash_file, hash_path, hex};
pub(crate) use folders::{
    create_folders, create_own_folders, find_usable_folder, sync_file, sync_folder, sync_parent,
};
pub(crate) use open::{ends_in_zeros, has_hole, open_beneath, open_own, open_part, open_plain};
pub use rel_path::RelPath;
pub(crate) use rel_path::{is_invisible, shown};
pub(crate) use remove::{exists, remove_file, remove_folder};
pub(crate) use rename::rename_new;
pub use stamp::Version;
pub(crate) use stamp::{Stamp, folder_times, stamp};
pub(crate) use transfer::move_new;
pub(crate) use write::{part_of_write_over, write_new, write_over};
