//! App definitions from files: found, read and checked, all before anything is done with them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use waymark_marathon_api::document::{self, Document};
use waymark_model::{App, AppId, Group, GroupId};

/// A file longer than this is refused.
const MAX_FILE_BYTES: u64 = 32 << 20;
/// What stands for standard input.
const STDIN: &str = "-";

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    /// The apps.
    pub apps: BTreeMap<AppId, App>,
    /// The groups that have properties of their own.
    pub groups: BTreeMap<GroupId, Group>,
}

/// Reads files; of folders, their `*.json` files in the order of their names. The error is a whole
/// message: `file:line:column: field: what is wrong`.
pub fn read<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<Definitions, String> {
    let mut all = Definitions::default();
    let mut origins: BTreeMap<AppId, PathBuf> = BTreeMap::new();
    for path in paths {
        for file in files(path)? {
            let document = one(&file)?;
            for app in document.apps {
                if let Some(first) = origins.insert(app.id.clone(), file.clone()) {
                    return Err(format!(
                        "{}: app {} is defined in {} already; remove one of the two",
                        file.display(),
                        app.id,
                        first.display()
                    ));
                }
                all.apps.insert(app.id.clone(), app);
            }
            all.groups.extend(document.groups);
        }
    }
    Ok(all)
}

fn one(file: &Path) -> Result<Document, String> {
    let text = text(file).map_err(|e| format!("{}: {e}", file.display()))?;
    document::parse(&text)
        .map_err(|e| format!("{}:{}:{}: {}", file.display(), e.line, e.column, e.message))
}

fn text(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES + 1;
    if file == Path::new(STDIN) {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn files(path: &PathBuf) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.clone()]);
    }
    let list = || {
        let entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        let json = entries
            .into_iter()
            .map(|e| e.path())
            .filter(|p| p.extension() == Some("json".as_ref()));
        Ok::<Vec<PathBuf>, io::Error>(json.collect())
    };
    let mut files = list().map_err(|e| format!("{}: {e}", path.display()))?;
    if files.is_empty() {
        return Err(format!("{}: no *.json file in this folder", path.display()));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn folders_and_files_together() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "b.json", r#"[{"id": "/two", "cmd": "x"}, {"id": "/three", "cmd": "x"}]"#);
        write(&folder, "a.json", r#"{"id": "/one", "cmd": "x"}"#);
        write(&folder, "c.txt", "not JSON");
        let read = read([&folder.path().to_owned()]).unwrap();
        let ids: Vec<&str> = read.apps.keys().map(AppId::as_str).collect();
        assert_eq!(ids, ["/one", "/three", "/two"]);
    }

    #[test]
    fn wrong_files_are_named_with_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let typed = write(&folder, "typed.json", "{\n  \"id\": \"/a\",\n  \"cmd\": 7\n}");
        let error = read([&typed]).unwrap_err();
        assert!(error.contains("typed.json:3:") && error.contains("cmd"), "{error}");
        let twice = write(&folder, "twice.json", r#"{"id": "/a", "cmd": "x"}"#);
        let again = write(&folder, "again.json", r#"{"id": "/a", "cmd": "y"}"#);
        let error = read([&twice, &again]).unwrap_err();
        assert!(error.contains("app /a is defined in") && error.contains("twice.json"), "{error}");
        let missing = folder.path().join("none.json");
        assert!(read([&missing]).unwrap_err().contains("none.json: No such file"));
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert!(read([&empty]).unwrap_err().contains("no *.json file"));
    }

    #[test]
    fn the_examples_are_right() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let read = read([&examples]).unwrap();
        let ids: Vec<&str> = read.apps.keys().map(AppId::as_str).collect();
        assert_eq!(ids, ["/hello", "/python", "/shop/api", "/shop/web", "/shop/worker"]);
    }
}
