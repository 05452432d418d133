//! What can be wrong with the store, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use redb::{DatabaseError, StorageError};
use thiserror::Error;

/// Why the store cannot be used. The text names the file and what to do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("{} is used by another Waymark: stop that one or choose another data folder", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer version.
    #[error(
        "{} has format {found} and this Waymark knows {known}: install the newer version again, or choose another data folder",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// Its contents make no sense.
    #[error(
        "{} is damaged ({cause}): restore it from a copy, or move it away to start with nothing",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The disk is full.
    #[error("no space is left on the disk of {}: free some", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{} cannot be used ({cause}): check the disk and the permissions", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What failed.
        cause: String,
    },
}

impl StoreError {
    pub(super) fn failed(path: &Path, cause: &str) -> StoreError {
        StoreError::Failed { path: path.to_owned(), cause: cause.to_owned() }
    }

    pub(super) fn damaged(path: &Path, cause: impl ToString) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), cause: cause.to_string() }
    }

    pub(super) fn opening(path: &Path, error: DatabaseError) -> StoreError {
        let locked = StoreError::Locked { path: path.to_owned() };
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => locked,
            DatabaseError::Storage(error) => StoreError::storage(path, error),
            DatabaseError::UpgradeRequired(format) => {
                StoreError::damaged(path, format!("it has the old file format {format}"))
            }
            other => StoreError::failed(path, &other.to_string()),
        }
    }

    pub(super) fn reading(path: &Path, error: redb::Error) -> StoreError {
        StoreError::of(path, error)
    }

    pub(super) fn writing(path: &Path, error: redb::Error) -> StoreError {
        StoreError::of(path, error)
    }

    fn of(path: &Path, error: redb::Error) -> StoreError {
        match error {
            redb::Error::Io(error) => StoreError::io(path, &error),
            redb::Error::Corrupted(cause) => StoreError::damaged(path, cause),
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => StoreError::damaged(path, error),
            other => StoreError::failed(path, &other.to_string()),
        }
    }

    fn storage(path: &Path, error: StorageError) -> StoreError {
        match error {
            StorageError::Io(error) => StoreError::io(path, &error),
            StorageError::Corrupted(cause) => StoreError::damaged(path, cause),
            other => StoreError::failed(path, &other.to_string()),
        }
    }

    fn io(path: &Path, error: &io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::Full { path: path.to_owned() }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                StoreError::damaged(path, error)
            }
            _ => StoreError::failed(path, &error.to_string()),
        }
    }
}
