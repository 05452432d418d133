//! What is known of each file, and which certificate it stands for. Pure: what was seen on the
//! disk and the time are arguments.
//!
//! The rules:
//! * a file that cannot be used, or has become expired or not yet valid, changes nothing: the
//!   certificate read from it before stays;
//! * a file that is gone from its folder takes its certificate with it, when it was missing twice
//!   and the folder has others. A folder that is empty or unreadable, or a missing file that was
//!   configured by itself, changes nothing;
//! * a certificate that expires while it is used stays, behind those that are valid.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::{info, warn};

use super::bundle::{Algorithm, Certificate};
use super::files::{FileSeen, Known, Seen, Stamp};

/// Whether and how a file is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateState {
    /// Its certificate is served.
    Served,
    /// It cannot be used as it is now; what it was before is served.
    Kept,
    /// Nothing of it is served.
    Refused,
    /// No file: made here, since there was no other certificate.
    SelfSigned,
}

/// A certificate file as status and metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// Where it is; empty for the one made here.
    pub file: PathBuf,
    /// Whether it is used.
    pub state: CertificateState,
    /// Why it is not, or what is wrong with it.
    pub reason: Option<String>,
    /// What the served certificate is for.
    pub names: Vec<String>,
    /// The kind of its key.
    pub algorithm: Option<Algorithm>,
    /// From when on it is valid, in seconds since 1970.
    pub not_before: Option<i64>,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: Option<i64>,
}

/// All files of all configured paths.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sources: BTreeMap<PathBuf, Source>,
    files: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Default)]
struct Source {
    files: Vec<PathBuf>,
    /// Files that were missing when the folder was last looked at.
    missing: BTreeSet<PathBuf>,
    problem: Option<String>,
}

#[derive(Debug, Default)]
struct Entry {
    known: Known,
    /// What was read of it last, if it could be used.
    newest: Option<Arc<Certificate>>,
    served: Option<Arc<Certificate>>,
    problem: Option<String>,
}

impl Ledger {
    /// What is known of the files, for who looks at them.
    pub(crate) fn known(&self) -> BTreeMap<PathBuf, Known> {
        self.files.iter().map(|(path, entry)| (path.clone(), entry.known)).collect()
    }

    /// Those of these paths that have not been looked at.
    pub(crate) fn unread(&self, sources: &[PathBuf]) -> Vec<PathBuf> {
        sources.iter().filter(|path| !self.sources.contains_key(*path)).cloned().collect()
    }

    /// Takes in what was seen of one path. True when another certificate is served than before.
    pub(crate) fn take_in(&mut self, seen: Seen, now: i64) -> bool {
        let listed: Vec<PathBuf> = seen.files.iter().map(|(path, _)| path.clone()).collect();
        let mut changed = false;
        for (path, file) in seen.files {
            let entry = self.files.entry(path.clone()).or_default();
            changed |= entry.take_in(&path, file, now);
        }
        let source = self.sources.entry(seen.source.clone()).or_default();
        let before = std::mem::take(&mut source.files);
        source.list(&before, &seen.source, listed, seen.problem, seen.is_folder);
        let mut gone = before.iter().filter(|file| source.files.binary_search(file).is_err());
        let files = &self.files;
        changed |= gone.any(|file| files.get(file).is_some_and(|entry| entry.served.is_some()));
        if before != source.files {
            self.forget_unlisted();
        }
        changed
    }

    /// Forgets paths that nobody has configured any more.
    pub(crate) fn keep_only(&mut self, wanted: &BTreeSet<PathBuf>) {
        let before = self.sources.len();
        self.sources.retain(|path, _| wanted.contains(path));
        if before != self.sources.len() {
            self.forget_unlisted();
        }
    }

    fn forget_unlisted(&mut self) {
        let sources = self.sources.values();
        let listed: BTreeSet<&PathBuf> = sources.flat_map(|source| &source.files).collect();
        self.files.retain(|path, _| listed.contains(path));
    }

    /// The certificates of these paths, in their order.
    pub(crate) fn certificates(&self, sources: &[PathBuf]) -> Vec<Arc<Certificate>> {
        let files = sources.iter().filter_map(|path| self.sources.get(path));
        let entries =
            files.flat_map(|source| &source.files).filter_map(|path| self.files.get(path));
        entries.filter_map(|entry| entry.served.clone()).collect()
    }

    /// Whether the certificates that are valid may be others at `now` than at `before`.
    pub(crate) fn validity_changed(&self, before: i64, now: i64) -> bool {
        let mut served = self.files.values().filter_map(|entry| entry.served.as_ref());
        served.any(|certificate| certificate.valid_at(before) != certificate.valid_at(now))
    }

    /// Every file, and every path that has a problem of its own.
    pub(crate) fn status(&self, now: i64) -> Vec<CertificateStatus> {
        let sources = self.sources.iter().filter_map(|(path, source)| {
            let reason = source.problem.clone()?;
            Some(CertificateStatus::without(path, CertificateState::Refused, Some(reason)))
        });
        sources.chain(self.files.iter().map(|(path, entry)| entry.status(path, now))).collect()
    }
}

impl Source {
    fn list(
        &mut self,
        before: &[PathBuf],
        path: &Path,
        listed: Vec<PathBuf>,
        problem: Option<String>,
        folder: bool,
    ) {
        let problem = match problem {
            None if folder && listed.is_empty() => Some("the folder is empty".to_owned()),
            other => other,
        };
        if problem.is_some() && problem != self.problem {
            warn!(path = %path.display(), reason = problem.as_deref(), "a folder of certificates \
                cannot be used as it is");
        }
        self.problem = problem;
        // Nothing is dropped by a list that cannot be trusted, nor at once by one that can.
        let there: BTreeSet<&PathBuf> = listed.iter().collect();
        let gone: Vec<&PathBuf> = before.iter().filter(|file| !there.contains(file)).collect();
        let missing: BTreeSet<PathBuf> = gone.iter().map(|file| (*file).clone()).collect();
        let certain = !listed.is_empty();
        let kept =
            gone.into_iter().filter(|file| !(certain && self.missing.contains(*file))).cloned();
        let mut files: Vec<PathBuf> = listed.iter().cloned().chain(kept).collect();
        files.sort_unstable();
        self.missing = missing;
        self.files = files;
    }
}

impl Entry {
    /// True when another certificate is served than before.
    fn take_in(&mut self, path: &Path, seen: FileSeen, now: i64) -> bool {
        match seen {
            FileSeen::Unchanged => self.known.seen = self.known.read,
            FileSeen::Changing(stamp) => self.known.seen = Some(stamp),
            FileSeen::Gone(reason) => {
                self.known = Known::default();
                self.newest = None;
                self.tell(path, Some(format!("it cannot be read: {reason}")));
            }
            FileSeen::Read(stamp, read) => self.read(path, stamp, read, now),
        }
        self.serve_newest(path, now)
    }

    fn read(
        &mut self,
        path: &Path,
        stamp: Stamp,
        read: Result<Certificate, super::bundle::Refused>,
        now: i64,
    ) {
        self.known = Known { read: Some(stamp), seen: Some(stamp) };
        match read {
            Ok(certificate) => {
                self.newest = Some(Arc::new(certificate));
                let out_of_time = self.newest.as_deref().and_then(|c| out_of_time(c, now));
                self.tell(path, out_of_time);
            }
            Err(refused) => {
                self.newest = None;
                self.tell(path, Some(refused.to_string()));
            }
        }
    }

    /// What was read last is served, unless that would put a useless one in a good one's place.
    fn serve_newest(&mut self, path: &Path, now: i64) -> bool {
        let Some(newest) = &self.newest else { return false };
        let better = newest.valid_at(now) || self.served.as_ref().is_none_or(|c| !c.valid_at(now));
        let same = self.served.as_ref().is_some_and(|served| {
            Arc::ptr_eq(served, newest)
                || served.key.cert == newest.key.cert && served.names == newest.names
        });
        if !better || same {
            return false;
        }
        info!(file = %path.display(), names = ?newest.names, key = %newest.algorithm,
            until = date(newest.not_after), "certificate loaded");
        self.served = Some(newest.clone());
        true
    }

    fn tell(&mut self, path: &Path, problem: Option<String>) {
        if let Some(reason) = problem.as_deref().filter(|_| problem != self.problem) {
            let kept = self.served.is_some();
            warn!(file = %path.display(), reason, kept, "a certificate cannot be used as it is");
        }
        self.problem = problem;
    }

    fn status(&self, path: &Path, now: i64) -> CertificateStatus {
        let served = self.served.as_deref();
        // Time goes on also for what was read long ago.
        let of_time = self.newest.as_deref().or(served).map(|c| out_of_time(c, now));
        let reason = match (&self.newest, of_time) {
            (Some(_), Some(reason)) => reason,
            (None, Some(_)) | (_, None) => self.problem.clone(),
        };
        let is_newest = match (&self.served, &self.newest) {
            (Some(served), Some(newest)) => served.key.cert == newest.key.cert,
            _ => false,
        };
        let state = match (served, is_newest) {
            (None, _) => CertificateState::Refused,
            (Some(_), true) => CertificateState::Served,
            (Some(_), false) => CertificateState::Kept,
        };
        CertificateStatus::of(path, state, reason, served)
    }
}

impl CertificateStatus {
    fn without(file: &Path, state: CertificateState, reason: Option<String>) -> CertificateStatus {
        CertificateStatus::of(file, state, reason, None)
    }

    pub(crate) fn of(
        file: &Path,
        state: CertificateState,
        reason: Option<String>,
        served: Option<&Certificate>,
    ) -> CertificateStatus {
        CertificateStatus {
            file: file.to_owned(),
            state,
            reason,
            names: served.map(|certificate| certificate.names.clone()).unwrap_or_default(),
            algorithm: served.map(|certificate| certificate.algorithm),
            not_before: served.map(|certificate| certificate.not_before),
            not_after: served.map(|certificate| certificate.not_after),
        }
    }
}

fn out_of_time(certificate: &Certificate, now: i64) -> Option<String> {
    if now > certificate.not_after {
        return Some(format!("it expired on {}", date(certificate.not_after)));
    }
    (now < certificate.not_before)
        .then(|| format!("it is not valid before {}", date(certificate.not_before)))
}

fn date(seconds: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok();
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
