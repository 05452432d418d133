//! Writing: every function is one durable transaction.

use redb::{Database, Error, ReadableDatabase, ReadableTable, Table, TableError, WriteTransaction};
use serde::Serialize;
use waymark_marathon_api::app_to_stored;
use waymark_model::{App, AppId, Timestamp};

use super::format::{DeploymentRecord, FailureRecord, GroupRecord, TaskRecord};
use super::{
    APPS, DEPLOYMENTS, FAILURES, FORMAT, GROUPS, KEPT_VERSIONS, META, META_FORMAT, META_ROOT,
    TASKS, Text, VERSIONS,
};
use crate::core::{Key, Record};

/// The format of the contents; `None` when nothing has been stored yet.
pub fn format(database: &Database) -> Result<Option<u32>, Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = table.get(META_FORMAT)?.map(|v| v.value().to_owned());
    text.map(|t| t.parse().map_err(|_| Error::Corrupted(format!("format {t:?}")))).transpose()
}

/// Makes all tables.
pub fn create(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(APPS)?;
    transaction.open_table(VERSIONS)?;
    for table in [GROUPS, TASKS, DEPLOYMENTS, FAILURES] {
        transaction.open_table(table)?;
    }
    put(&transaction, META, META_FORMAT, Some(&FORMAT.to_string()))?;
    Ok(transaction.commit()?)
}

/// Stores one value of the meta table.
pub fn meta(database: &Database, key: &str, value: &str) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    put(&transaction, META, key, Some(value))?;
    Ok(transaction.commit()?)
}

/// Stores all records.
pub fn records(database: &Database, records: &[(Key, Record)]) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    for (key, record) in records {
        write(&transaction, key, record)?;
    }
    Ok(transaction.commit()?)
}

fn write(transaction: &WriteTransaction, key: &Key, record: &Record) -> Result<(), Error> {
    match (key, record) {
        (Key::Root, Record::Root(version)) => {
            put(transaction, META, META_ROOT, Some(&version.0.to_string()))
        }
        (Key::App(id), Record::App { current, referred }) => {
            app(transaction, id, current.as_deref(), referred)
        }
        (Key::Group(id), Record::Group(group)) => {
            let text = group.as_ref().map(|g| json(&GroupRecord::from(&**g)));
            put(transaction, GROUPS, id.as_str(), text.as_deref())
        }
        (Key::Task(id), Record::Task(task)) => {
            if let Some(task) = task {
                ensure_version(&mut transaction.open_table(VERSIONS)?, &task.app)?;
            }
            let text = task.as_ref().map(|t| json(&TaskRecord::from(&**t)));
            put(transaction, TASKS, id.as_str(), text.as_deref())
        }
        (Key::Deployment(id), Record::Deployment(deployment)) => {
            let before = deployment.iter().flat_map(|d| d.before.values().flatten());
            let mut versions = transaction.open_table(VERSIONS)?;
            for app in before {
                ensure_version(&mut versions, app)?;
            }
            let text = deployment.as_ref().map(|d| json(&DeploymentRecord::from(&**d)));
            put(transaction, DEPLOYMENTS, id, text.as_deref())
        }
        (Key::Failure(id), Record::Failure(failure)) => {
            let text = failure.as_ref().map(|f| json(&FailureRecord::from(&**f)));
            put(transaction, FAILURES, id.as_str(), text.as_deref())
        }
        // A key and a record of another kind are never paired.
        _ => Ok(()),
    }
}

/// Puts an app's current definition and forgets old versions that nothing refers to.
fn app(
    transaction: &WriteTransaction,
    id: &AppId,
    current: Option<&App>,
    referred: &[Timestamp],
) -> Result<(), Error> {
    let mut apps = transaction.open_table(APPS)?;
    let mut versions = transaction.open_table(VERSIONS)?;
    match current {
        Some(app) => {
            apps.insert(id.as_str(), app.version.0)?;
            ensure_version(&mut versions, app)?;
        }
        None => drop(apps.remove(id.as_str())?),
    }
    let kept = if current.is_some() { KEPT_VERSIONS } else { 0 };
    let all = versions
        .range((id.as_str(), 0)..=(id.as_str(), u64::MAX))?
        .map(|row| row.map(|(key, _)| key.value().1))
        .collect::<Result<Vec<u64>, _>>()?;
    let old = all.iter().take(all.len().saturating_sub(kept));
    for version in old.filter(|v| !referred.contains(&Timestamp(**v))) {
        versions.remove((id.as_str(), *version))?;
    }
    Ok(())
}

fn ensure_version(
    versions: &mut Table<'_, (&'static str, u64), &'static str>,
    app: &App,
) -> Result<(), Error> {
    let key = (app.id.as_str(), app.version.0);
    if versions.get(key)?.is_none() {
        versions.insert(key, app_to_stored(app).as_str())?;
    }
    Ok(())
}

fn put(
    transaction: &WriteTransaction,
    table: Text,
    key: &str,
    value: Option<&str>,
) -> Result<(), Error> {
    let mut table = transaction.open_table(table)?;
    match value {
        Some(value) => drop(table.insert(key, value)?),
        None => drop(table.remove(key)?),
    }
    Ok(())
}

fn json(record: &impl Serialize) -> String {
    // Records are plain values with text keys, which always have a JSON form.
    serde_json::to_string(record).unwrap_or_default()
}
