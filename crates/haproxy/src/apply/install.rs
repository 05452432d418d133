//! Putting a configuration and its maps into place: temporary files beside the old ones, validation by HAProxy itself, then
//! renames. What was there stays untouched until HAProxy has accepted the new text, and on every error.
//!
//! Input is a [`Rendered`]; output are files. Blocks on the disk: called where that is allowed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::Rendered;

/// Why files could not be put into place. The old ones are as they were.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {source}", path = .path.display())]
pub struct InstallError {
    what: &'static str,
    path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl InstallError {
    fn new(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { what, path, source }
    }
}

/// The files of one HAProxy.
#[derive(Clone, Debug)]
pub struct Files {
    config: PathBuf,
    folder: PathBuf,
}

impl Files {
    /// The configuration's path. Maps stand beside it.
    ///
    /// # Errors
    /// The path names no file or its folder cannot be found.
    pub fn new(config: &Path) -> Result<Self, InstallError> {
        let parent = match config.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => {
                return Err(InstallError::new("write", config)(io::ErrorKind::IsADirectory.into()));
            }
        };
        let folder =
            fs::canonicalize(parent).map_err(InstallError::new("find the folder", parent))?;
        Ok(Self { config: folder.join(config.file_name().unwrap_or_default()), folder })
    }

    /// Path of the configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Folder of the configuration and the maps.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the files say exactly this.
    pub fn hold(&self, rendered: &Rendered) -> bool {
        let says =
            |path: &Path, text: &str| fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes());
        let maps = rendered.maps.iter().all(|(name, text)| says(&self.folder.join(name), text));
        maps && says(&self.config, &rendered.config)
    }

    /// Writes temporary files, and one more for the validation if there are maps: its text names the temporary maps.
    ///
    /// # Errors
    /// The disk is full, the folder read-only, …; no temporary file stays behind.
    pub fn stage(&self, rendered: &Rendered) -> Result<Staged, InstallError> {
        let mut staged = Staged { files: vec![], check: None, folder: self.folder.clone() };
        let mut check = rendered.config.clone();
        for (name, text) in &rendered.maps {
            let path = self.folder.join(name);
            let temporary = staged.write(&path, text)?;
            check = check.replace(&*path.to_string_lossy(), &temporary.to_string_lossy());
        }
        let temporary = staged.write(&self.config, &rendered.config)?;
        staged.check = Some(if check == rendered.config {
            temporary
        } else {
            let path = beside(&self.config, "check");
            staged.temporary(&path, &check, 0o600)?;
            path
        });
        Ok(staged)
    }
}

/// Temporary files that wait to be renamed. Dropped, they are removed.
#[derive(Debug)]
pub struct Staged {
    /// Temporary file and its place.
    files: Vec<(PathBuf, PathBuf)>,
    check: Option<PathBuf>,
    folder: PathBuf,
}

impl Staged {
    /// The file that HAProxy is asked to validate.
    pub fn check(&self) -> &Path {
        self.check.as_deref().unwrap_or(&self.folder)
    }

    fn write(&mut self, path: &Path, text: &str) -> Result<PathBuf, InstallError> {
        // The mode that its owner gave the old file; else the usual one.
        let mode = fs::metadata(path).map_or(0o644, |old| old.permissions().mode() & 0o7777);
        let temporary = beside(path, "new");
        self.files.push((temporary.clone(), path.to_owned()));
        self.temporary(&temporary, text, mode)?;
        Ok(temporary)
    }

    /// Creates a file that must not be there, so that no link of somebody else's is written through.
    fn temporary(&mut self, path: &Path, text: &str, mode: u32) -> Result<(), InstallError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(InstallError::new("replace", path)(error));
            }
            _ => {}
        }
        let failed = || InstallError::new("write", path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed())?;
        file.write_all(text.as_bytes()).map_err(failed())?;
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed())?;
        file.sync_all().map_err(failed())
    }

    /// Renames all, the maps first and the configuration last, and has the folder written to the disk.
    ///
    /// # Errors
    /// A rename failed. Files that were renamed before it stay: each is complete.
    pub fn commit(mut self) -> Result<(), InstallError> {
        for (temporary, path) in std::mem::take(&mut self.files) {
            if let Err(error) = fs::rename(&temporary, &path) {
                self.files.push((temporary, path.clone()));
                return Err(InstallError::new("replace", &path)(error));
            }
        }
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(InstallError::new("write", &self.folder))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let temporary = self.files.iter().map(|(temporary, _)| temporary).chain(&self.check);
        for path in temporary {
            // Renamed already, or never written.
            let _ = fs::remove_file(path);
        }
    }
}

/// A hidden file beside another.
fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.waymark-{what}"))
}

/// Replaces one file by a text, in one step.
///
/// # Errors
/// As for [`Files::stage`] and [`Staged::commit`].
pub fn replace(path: &Path, text: &str) -> Result<(), InstallError> {
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut staged = Staged { files: vec![], check: None, folder };
    staged.write(path, text)?;
    staged.commit()
}

/// Copies of what was installed and of what HAProxy refused, numbered from 1, the newest.
///
/// Names are marathon-lb's (`hap_cfg.N`, `domain_map.N`, `app_map.N`, `haproxy_temp_config_fail.N`). The folder is Waymark's
/// own, readable by its user alone: configurations hold hashes of passwords. marathon-lb writes to `/tmp`, where anybody may
/// prepare a link of that name.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The folder.
    pub folder: PathBuf,
    /// How many copies are kept (`--archive-versions`); 0 keeps none.
    pub versions: usize,
}

impl Archive {
    /// Keeps copies of what was installed.
    ///
    /// # Errors
    /// The folder cannot be written. Nothing else is affected.
    pub fn keep(&self, rendered: &Rendered) -> Result<(), InstallError> {
        self.add("hap_cfg", &rendered.config)?;
        for (map, name) in [("domain2backend.map", "domain_map"), ("app2backend.map", "app_map")] {
            if let Some(text) = rendered.maps.get(map).filter(|text| !text.is_empty()) {
                self.add(name, text)?;
            }
        }
        Ok(())
    }

    /// Keeps a copy of what was refused, and says where.
    ///
    /// # Errors
    /// As [`keep`](Self::keep).
    pub fn keep_refused(&self, config: &str) -> Result<Option<PathBuf>, InstallError> {
        self.add("haproxy_temp_config_fail", config)
    }

    fn add(&self, name: &str, text: &str) -> Result<Option<PathBuf>, InstallError> {
        if self.versions == 0 {
            return Ok(None);
        }
        if !self.folder.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .create(&self.folder)
                .map_err(InstallError::new("create", &self.folder))?;
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&self.folder, private)
                .map_err(InstallError::new("create", &self.folder))?;
        }
        let numbered = |number: usize| self.folder.join(format!("{name}.{number}"));
        for number in (1..self.versions).rev() {
            let (from, to) = (numbered(number), numbered(number + 1));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(InstallError::new("keep", &from)(error));
                }
                _ => {}
            }
        }
        let newest = numbered(1);
        let mut staged = Staged { files: vec![], check: None, folder: self.folder.clone() };
        let temporary = beside(&newest, "new");
        staged.files.push((temporary.clone(), newest.clone()));
        staged.temporary(&temporary, text, 0o600)?;
        staged.commit()?;
        Ok(Some(newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Rendered {
        let maps = [("app2backend.map".to_owned(), format!("/{text} x\n"))].into();
        Rendered { config: format!("{text}\n"), maps, ..Rendered::default() }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_and_keep_their_modes() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("haproxy.cfg");
        fs::write(&config, "old").unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).unwrap();
        let files = Files::new(&config).unwrap();
        assert!(!files.hold(&rendered("a")));
        files.stage(&rendered("a")).unwrap().commit().unwrap();
        assert!(files.hold(&rendered("a")) && !files.hold(&rendered("b")));
        assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(
            fs::metadata(folder.path().join("app2backend.map")).unwrap().permissions().mode()
                & 0o777,
            0o644
        );
        assert_eq!(names(folder.path()), ["app2backend.map", "haproxy.cfg"]);
    }

    #[test]
    fn what_is_not_committed_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("haproxy.cfg");
        fs::write(&config, "old").unwrap();
        let files = Files::new(&config).unwrap();
        let staged = files.stage(&rendered("a")).unwrap();
        assert_ne!(staged.check(), config);
        drop(staged);
        assert_eq!(
            (fs::read_to_string(&config).unwrap().as_str(), names(folder.path()).len()),
            ("old", 1)
        );
    }

    #[test]
    fn validation_reads_the_new_maps() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(&folder.path().join("haproxy.cfg")).unwrap();
        let map = files.folder().join("app2backend.map");
        let config = format!("use_backend %[path,map({})]\n", map.display());
        let staged = files.stage(&Rendered { config, ..rendered("a") }).unwrap();
        let text = fs::read_to_string(staged.check()).unwrap();
        assert!(
            text.contains(".app2backend.map.waymark-new)") && !text.contains("/app2backend.map)"),
            "{text}"
        );
        staged.commit().unwrap();
        assert_eq!(names(folder.path()), ["app2backend.map", "haproxy.cfg"]);
    }

    #[test]
    fn a_prepared_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".haproxy.cfg.waymark-new"))
            .unwrap();
        let files = Files::new(&folder.path().join("haproxy.cfg")).unwrap();
        files.stage(&rendered("a")).unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(files.hold(&rendered("a")));
    }

    #[test]
    fn as_many_versions_are_kept_as_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive { folder: folder.path().join("kept"), versions: 2 };
        for text in ["one", "two", "three"] {
            archive.keep(&rendered(text)).unwrap();
        }
        archive.keep_refused("bad").unwrap();
        assert_eq!(
            names(&archive.folder),
            ["app_map.1", "app_map.2", "hap_cfg.1", "hap_cfg.2", "haproxy_temp_config_fail.1"]
        );
        assert_eq!(fs::read_to_string(archive.folder.join("hap_cfg.1")).unwrap(), "three\n");
        assert_eq!(fs::read_to_string(archive.folder.join("hap_cfg.2")).unwrap(), "two\n");
        assert_eq!(fs::metadata(&archive.folder).unwrap().permissions().mode() & 0o777, 0o700);
        Archive { folder: folder.path().join("none"), versions: 0 }.keep(&rendered("x")).unwrap();
        assert!(!folder.path().join("none").exists());
    }
}
