//! The store: what must survive a restart, in one embedded database file.
//!
//! ```text
//! Core::stored(key) ──► Record ──► commit: one transaction, one fsync ──► waymark.redb
//! Core::restore     ◄── Stored ◄── load                              ◄──┘
//! ```
//!
//! After a failed write the database library refuses all further work until the file is opened
//! anew, so that is what the next commit does. Whether a failed commit reached the disk is not
//! known; the caller writes the same keys again later, with what they hold then.
//!
//! Nothing here decides anything. It is not asynchronous: call it where blocking is allowed.

mod error;
mod format;
mod read;
mod write;

use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, StorageBackend, TableDefinition};
use waymark_model::Version;

pub use error::StoreError;

use crate::core::{Key, Record, Stored};

/// The file's name in the data folder.
pub const FILE_NAME: &str = "waymark.redb";
/// The format of the file's contents; a higher one is refused.
pub const FORMAT: u32 = 1;
/// Versions of an app that are kept, besides those still in use (`zk_max_versions` of old Marathon).
pub const KEPT_VERSIONS: usize = 25;
/// Memory for the database's pages, in bytes. All reading is done at the start.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

type Text = TableDefinition<'static, &'static str, &'static str>;

const META: Text = TableDefinition::new("meta");
/// App → version of its current definition.
const APPS: TableDefinition<&str, u64> = TableDefinition::new("apps");
/// App and version → definition.
const VERSIONS: TableDefinition<(&str, u64), &str> = TableDefinition::new("app_versions");
const GROUPS: Text = TableDefinition::new("groups");
const TASKS: Text = TableDefinition::new("tasks");
const DEPLOYMENTS: Text = TableDefinition::new("deployments");
const FAILURES: Text = TableDefinition::new("failures");

const META_FORMAT: &str = "format";
const META_FRAMEWORK: &str = "framework_id";
const META_ROOT: &str = "root_version";
const META_CEILING: &str = "catalog_version_ceiling";

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// An open store.
pub struct Store {
    path: PathBuf,
    open: Open,
    /// `None` after a failure, and while it is closed.
    database: Option<Database>,
}

impl Store {
    /// Opens the store in the folder `data`, or makes it there.
    ///
    /// Errors: another process has it open, it is damaged, it was written by a newer Waymark, or it
    /// cannot be read or written.
    pub fn open(data: &Path) -> Result<Store, StoreError> {
        let path = data.join(FILE_NAME);
        let file = path.clone();
        Store::open_by(
            path,
            Box::new(move || Database::builder().set_cache_size(CACHE_BYTES).create(&file)),
        )
    }

    /// A store over another kind of storage; `backend` is asked for it at every opening.
    pub fn open_on<B: StorageBackend>(
        name: &str,
        backend: impl Fn() -> B + Send + 'static,
    ) -> Result<Store, StoreError> {
        let open =
            move || Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend());
        Store::open_by(PathBuf::from(name), Box::new(open))
    }

    fn open_by(path: PathBuf, open: Open) -> Result<Store, StoreError> {
        let mut store = Store { path, open, database: None };
        store.database()?;
        store.check_format()?;
        Ok(store)
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let database = (self.open)().map_err(|e| StoreError::opening(&self.path, e))?;
            self.database = Some(database);
        }
        self.database.as_ref().ok_or_else(|| StoreError::failed(&self.path, "it is closed"))
    }

    fn check_format(&mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let failed = |e: redb::Error| StoreError::reading(&path, e);
        let database = self.database()?;
        let found = write::format(database).map_err(failed)?;
        match found {
            Some(found) if found > FORMAT => Err(StoreError::Newer { path, found, known: FORMAT }),
            Some(_) => Ok(()),
            None => write::create(database).map_err(failed),
        }
    }

    /// Everything that is stored. The framework id is made by the first start and empty before.
    pub fn load(&mut self) -> Result<Stored, StoreError> {
        let path = self.path.clone();
        let transaction =
            self.database()?.begin_read().map_err(|e| StoreError::reading(&path, e.into()))?;
        read::all(&transaction).map_err(|e| e.at(&path))
    }

    /// The highest catalog version that may ever have been published.
    pub fn version_ceiling(&mut self) -> Result<Version, StoreError> {
        let path = self.path.clone();
        let database = self.database()?;
        let text = read::meta(database, META_CEILING).map_err(|e| StoreError::reading(&path, e))?;
        Ok(text.and_then(|t| t.parse().ok()).unwrap_or(0))
    }

    /// Stores all records in one transaction, durable when this returns. On an error it is not
    /// known whether they were.
    pub fn commit(&mut self, records: &[(Key, Record)]) -> Result<(), StoreError> {
        self.attempt(|database| write::records(database, records))
    }

    /// Stores the framework id.
    pub fn set_framework_id(&mut self, id: &str) -> Result<(), StoreError> {
        self.attempt(|database| write::meta(database, META_FRAMEWORK, id))
    }

    /// Allows catalog versions up to `ceiling` to be published.
    pub fn raise_version_ceiling(&mut self, ceiling: Version) -> Result<(), StoreError> {
        self.attempt(|database| write::meta(database, META_CEILING, &ceiling.to_string()))
    }

    /// Lets go of the file, so that another process can open it. What is done next opens it again.
    pub fn close(&mut self) {
        self.database = None;
    }

    fn attempt(
        &mut self,
        write: impl FnOnce(&Database) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        let result = write(self.database()?);
        result.map_err(|error| {
            // It would answer every further call with "previous I/O error".
            self.database = None;
            StoreError::writing(&path, error)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
