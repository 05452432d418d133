//! Reading everything at the start.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use serde::de::DeserializeOwned;
use thiserror::Error;
use waymark_marathon_api::app_from_stored;
use waymark_model::{Agent, App, AppId, Timestamp};

use super::format::{DeploymentRecord, FailureRecord, GroupRecord, TaskRecord, path_id};
use super::{
    APPS, DEPLOYMENTS, FAILURES, GROUPS, META, META_FRAMEWORK, META_ROOT, StoreError, TASKS, Text,
    VERSIONS,
};
use crate::core::Stored;

/// Why the contents could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error(transparent)]
    Database(#[from] redb::Error),
    #[error("{table} {key}: {cause}")]
    Record { table: &'static str, key: String, cause: String },
}

impl ReadError {
    pub fn at(self, path: &Path) -> StoreError {
        match self {
            ReadError::Database(error) => StoreError::reading(path, error),
            record => StoreError::damaged(path, record),
        }
    }
}

impl From<redb::TableError> for ReadError {
    fn from(error: redb::TableError) -> Self {
        ReadError::Database(error.into())
    }
}

impl From<redb::StorageError> for ReadError {
    fn from(error: redb::StorageError) -> Self {
        ReadError::Database(error.into())
    }
}

type Versions = HashMap<(AppId, Timestamp), Arc<App>>;

/// Everything.
pub fn all(transaction: &ReadTransaction) -> Result<Stored, ReadError> {
    let versions = versions(transaction)?;
    let definitions = |id: &AppId, version| versions.get(&(id.clone(), version)).cloned();
    // A stored task ran on this machine; the core puts the machine's present name in.
    let agent = Arc::new(Agent {
        id: String::new(),
        hostname: String::new(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    });
    Ok(Stored {
        framework_id: value(transaction, META_FRAMEWORK)?.unwrap_or_default(),
        root_version: Timestamp(
            value(transaction, META_ROOT)?.and_then(|t| t.parse().ok()).unwrap_or(0),
        ),
        apps: current(transaction, &definitions)?,
        groups: texts(transaction, GROUPS, "group", |id, record: GroupRecord| {
            Ok((path_id(id)?, Arc::new(record.read()?)))
        })?,
        tasks: texts(transaction, TASKS, "task", |id, record: TaskRecord| {
            Ok(Arc::new(record.read(id, &agent, &definitions)?))
        })?,
        deployments: texts(transaction, DEPLOYMENTS, "deployment", |id, r: DeploymentRecord| {
            Ok(Arc::new(r.read(id, &definitions)?))
        })?,
        failures: texts(transaction, FAILURES, "failure of", |id, record: FailureRecord| {
            Ok((path_id(id)?, Arc::new(record.read()?)))
        })?,
    })
}

/// One value of the meta table.
pub fn meta(database: &Database, key: &str) -> Result<Option<String>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(META)?;
    Ok(table.get(key)?.map(|v| v.value().to_owned()))
}

fn value(transaction: &ReadTransaction, key: &str) -> Result<Option<String>, ReadError> {
    Ok(transaction.open_table(META)?.get(key)?.map(|v| v.value().to_owned()))
}

fn versions(transaction: &ReadTransaction) -> Result<Versions, ReadError> {
    let table = transaction.open_table(VERSIONS)?;
    let mut versions = HashMap::new();
    for row in table.iter()? {
        let (key, value) = row?;
        let (id, version) = key.value();
        let wrong = |cause: String| record("app", &format!("{id} at {version}"), cause);
        let app = app_from_stored(value.value()).map_err(|e| wrong(format!("{e:?}")))?;
        let id = path_id(id).map_err(wrong)?;
        versions.insert((id, Timestamp(version)), Arc::new(app));
    }
    Ok(versions)
}

fn current(
    transaction: &ReadTransaction,
    definitions: &super::format::Definitions<'_>,
) -> Result<Vec<Arc<App>>, ReadError> {
    let table = transaction.open_table(APPS)?;
    let mut apps = Vec::new();
    for row in table.iter()? {
        let (id, version) = row?;
        let wrong = |cause: String| record("app", id.value(), cause);
        let path = path_id(id.value()).map_err(wrong)?;
        let app = definitions(&path, Timestamp(version.value()));
        apps.push(app.ok_or_else(|| wrong("its current definition is missing".to_owned()))?);
    }
    Ok(apps)
}

/// All records of a table of texts.
fn texts<R: DeserializeOwned, T>(
    transaction: &ReadTransaction,
    table: Text,
    name: &'static str,
    read: impl Fn(&str, R) -> Result<T, String>,
) -> Result<Vec<T>, ReadError> {
    let table = transaction.open_table(table)?;
    let mut found = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        let parsed: Result<R, _> = serde_json::from_str(value.value());
        let item = parsed.map_err(|e| e.to_string()).and_then(|r| read(key.value(), r));
        found.push(item.map_err(|cause| record(name, key.value(), cause))?);
    }
    Ok(found)
}

fn record(table: &'static str, key: &str, cause: String) -> ReadError {
    ReadError::Record { table, key: key.to_owned(), cause }
}
