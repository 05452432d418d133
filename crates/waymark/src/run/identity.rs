//! Ids that are made once and kept in the data folder.

use std::fs;
use std::io;
use std::path::Path;

/// The file with this machine's id as an agent. Names of tasks in DNS depend on it.
const AGENT_ID: &str = "agent-id";

/// A framework id as Mesos makes them; used on the first start only, then the stored one counts.
pub fn new_framework_id() -> String {
    format!("{}-0000", new_uuid())
}

/// This machine's id as an agent, `<uuid>-S0` as Mesos makes them: the stored one, or a new one.
pub fn agent_id(data_dir: &Path) -> io::Result<String> {
    let path = data_dir.join(AGENT_ID);
    match fs::read_to_string(&path) {
        Ok(text) if is_agent_id(text.trim()) => return Ok(text.trim().to_owned()),
        // Cut short by a crash while it was written: nobody has used it.
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let id = format!("{}-S0", new_uuid());
    let new = data_dir.join("agent-id.new");
    fs::write(&new, format!("{id}\n"))?;
    fs::rename(&new, &path)?;
    Ok(id)
}

fn is_agent_id(text: &str) -> bool {
    text.len() == 39 && text.ends_with("-S0") && text.is_ascii()
}

fn new_uuid() -> uuid::Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_id_stays() {
        let folder = tempfile::tempdir().unwrap();
        let id = agent_id(folder.path()).unwrap();
        assert!(is_agent_id(&id), "{id}");
        assert_eq!(agent_id(folder.path()).unwrap(), id);
        fs::write(folder.path().join(AGENT_ID), "6f0b7c2e").unwrap();
        assert_ne!(agent_id(folder.path()).unwrap(), id);
        assert!(new_framework_id().ends_with("-0000"));
    }
}
