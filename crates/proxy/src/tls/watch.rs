//! The certificates of all listeners, and the thread that looks after their files.
//!
//! In: paths of files and folders. Out: a [`Terminator`] for each listener, whose certificates are
//! replaced while it is used; the status of every file; the counters of handshakes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tracing::{error, warn};
use waymark_routing::{BindOptions, Mode};

use super::bundle::{self, Certificate};
use super::choice::Choice;
use super::files::{self, Seen};
use super::ledger::{CertificateState, CertificateStatus, Ledger};
use super::server::{Counters, MAX_HANDSHAKES, Scope, Terminator, TerminatorError, TlsStats};

/// How often the files are looked at. A file that changes is read when it was the same twice.
const POLL: Duration = Duration::from_secs(1);

/// Looking takes at most one part in so many of the time: with very many files it is done less
/// often.
const POLL_SHARE: u32 = 50;

/// What a listener's configuration depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    files: Vec<PathBuf>,
    alpn: Vec<Vec<u8>>,
    tls13_only: bool,
}

/// The certificates of all listeners. The files are watched from the first listener on, until this
/// is dropped.
#[derive(Debug)]
pub struct Certificates {
    /// The paths of the listeners that bring none of their own, in their order.
    shared: Vec<PathBuf>,
    state: Mutex<State>,
    status: ArcSwap<Vec<CertificateStatus>>,
    counters: Arc<Counters>,
    handshakes: Arc<Semaphore>,
    watching: Once,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    scopes: HashMap<Vec<PathBuf>, Weak<Scope>>,
    terminators: HashMap<Key, Weak<Terminator>>,
    self_signed: Option<Arc<Certificate>>,
    /// Listeners' files of which nothing can be used, and that was said.
    bare: HashSet<Vec<PathBuf>>,
    /// When the validity of certificates was last taken into account, in seconds since 1970.
    judged: i64,
}

impl Certificates {
    /// Those of these files and folders, for listeners that bring none of their own.
    pub fn new(shared: Vec<PathBuf>) -> Arc<Certificates> {
        Arc::new(Certificates {
            shared,
            state: Mutex::default(),
            status: ArcSwap::default(),
            counters: Arc::default(),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            watching: Once::new(),
        })
    }

    /// What ends TLS at a listener: with the certificates of these paths (`SSL_CERT` labels), or
    /// of the configured ones where there are none. In mode http both versions of HTTP are offered
    /// unless the options say otherwise, in mode tcp none.
    ///
    /// It is the same one for the same arguments as long as somebody holds it, so that sessions
    /// can be resumed at every worker. The first time its files are read: this may take a while.
    pub fn terminator(
        self: &Arc<Certificates>,
        files: &[PathBuf],
        mode: Mode,
        options: &BindOptions,
    ) -> Result<Arc<Terminator>, TerminatorError> {
        let files = if files.is_empty() { &self.shared } else { files };
        let alpn = alpn(mode, options);
        let key = Key { files: files.to_vec(), alpn, tls13_only: options.tls13_only };
        if let Some(there) = self.state().terminators.get(&key).and_then(Weak::upgrade) {
            return Ok(there);
        }
        let unread = self.state().ledger.unread(files);
        let nothing = BTreeMap::new();
        let seen = unread.iter().map(|path| files::look(path, &nothing, true));
        let terminator = self.add(key, seen.collect(), now())?;
        self.watching.call_once(|| start_watching(self));
        Ok(terminator)
    }

    fn add(&self, key: Key, seen: Vec<Seen>, now: i64) -> Result<Arc<Terminator>, TerminatorError> {
        let mut state = self.state();
        for seen in seen {
            state.ledger.take_in(seen, now);
        }
        let scope = state.scope(&key.files, now)?;
        let made = Terminator::new(
            scope,
            key.alpn.clone(),
            key.tls13_only,
            self.counters.clone(),
            self.handshakes.clone(),
        )?;
        // Another thread may have been faster; what is held by two must be one.
        let slot = state.terminators.entry(key).or_default();
        let terminator = slot.upgrade().unwrap_or_else(|| Arc::new(made));
        *slot = Arc::downgrade(&terminator);
        self.status.store(Arc::new(state.status(now)));
        Ok(terminator)
    }

    /// Reads all files anew, as they are now. Blocks while they are read.
    pub fn reload(&self) {
        self.look(true);
    }

    /// Every file as it stood when it was last looked at.
    pub fn status(&self) -> Arc<Vec<CertificateStatus>> {
        self.status.load_full()
    }

    /// What happened in handshakes since the start.
    pub fn stats(&self) -> TlsStats {
        self.counters.stats(MAX_HANDSHAKES - self.handshakes.available_permits())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all files and publishes what changed. The disk is read without the lock.
    fn look(&self, at_once: bool) {
        let (wanted, known) = {
            let mut state = self.state();
            (state.wanted(&self.shared), state.ledger.known())
        };
        let seen: Vec<Seen> =
            wanted.iter().map(|path| files::look(path, &known, at_once)).collect();
        let now = now();
        let mut state = self.state();
        let mut changed = state.ledger.validity_changed(state.judged, now);
        for seen in seen {
            changed |= state.ledger.take_in(seen, now);
        }
        if changed {
            state.publish(now);
        }
        state.judged = now;
        state.rotate_tickets(now);
        let status = state.status(now);
        if **self.status.load() != status {
            self.status.store(Arc::new(status));
        }
    }
}

impl State {
    /// All configured paths, after forgetting those of listeners that are gone.
    fn wanted(&mut self, shared: &[PathBuf]) -> BTreeSet<PathBuf> {
        self.terminators.retain(|_, terminator| terminator.strong_count() > 0);
        self.scopes.retain(|_, scope| scope.strong_count() > 0);
        self.bare.retain(|files| self.scopes.contains_key(files));
        let paths = self.scopes.keys().flatten().chain(shared);
        let wanted: BTreeSet<PathBuf> = paths.cloned().collect();
        self.ledger.keep_only(&wanted);
        wanted
    }

    fn scope(&mut self, files: &[PathBuf], now: i64) -> Result<Arc<Scope>, TerminatorError> {
        if let Some(there) = self.scopes.get(files).and_then(Weak::upgrade) {
            return Ok(there);
        }
        let scope = Arc::new(Scope::new(self.choice(files, now)?, now)?);
        self.scopes.insert(files.to_vec(), Arc::downgrade(&scope));
        Ok(scope)
    }

    fn choice(&mut self, files: &[PathBuf], now: i64) -> Result<Choice, TerminatorError> {
        let mut certificates = self.ledger.certificates(files);
        if !certificates.is_empty() {
            self.bare.remove(files);
        } else {
            if self.bare.insert(files.to_vec()) {
                warn!(
                    ?files,
                    "there is no certificate that can be used: one made here is served, \
                    which no client that verifies accepts"
                );
            }
            certificates.push(self.self_signed()?);
        }
        Ok(Choice::new(&certificates, now))
    }

    fn self_signed(&mut self) -> Result<Arc<Certificate>, TerminatorError> {
        if let Some(made) = &self.self_signed {
            return Ok(made.clone());
        }
        let made = bundle::self_signed().map_err(|e| TerminatorError::SelfSigned(e.to_string()))?;
        Ok(self.self_signed.insert(Arc::new(made)).clone())
    }

    /// Gives every listener its certificates as they are now.
    fn publish(&mut self, now: i64) {
        let scopes: Vec<(Vec<PathBuf>, Arc<Scope>)> = self
            .scopes
            .iter()
            .filter_map(|(files, scope)| Some((files.clone(), scope.upgrade()?)))
            .collect();
        for (files, scope) in scopes {
            match self.choice(&files, now) {
                Ok(choice) => scope.replace(choice),
                Err(error) => error!(%error, "certificates stay as they were"),
            }
        }
    }

    fn rotate_tickets(&self, now: i64) {
        for scope in self.scopes.values().filter_map(Weak::upgrade) {
            scope.rotate_tickets(now);
        }
    }

    fn status(&self, now: i64) -> Vec<CertificateStatus> {
        let mut status = self.ledger.status(now);
        let scopes = self.scopes.iter().filter(|(_, scope)| scope.strong_count() > 0);
        let mut bare = scopes.filter(|(files, _)| self.ledger.certificates(files).is_empty());
        if let Some((files, _)) = bare.next() {
            let reason = match files.is_empty() {
                true => "no certificate is configured".to_owned(),
                false => format!("of {files:?} nothing can be used"),
            };
            let (state, made) = (CertificateState::SelfSigned, self.self_signed.as_deref());
            status.push(CertificateStatus::of("".as_ref(), state, Some(reason), made));
        }
        status
    }
}

/// The protocols that a listener offers, the preferred one first.
fn alpn(mode: Mode, options: &BindOptions) -> Vec<Vec<u8>> {
    match (mode, options.alpn.as_slice()) {
        (Mode::Http, []) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        (_, named) => named.iter().map(|name| name.clone().into_bytes()).collect(),
    }
}

fn start_watching(certificates: &Arc<Certificates>) {
    let watched = Arc::downgrade(certificates);
    let thread = thread::Builder::new().name("certificates".to_owned());
    if let Err(error) = thread.spawn(move || keep_watching(&watched)) {
        error!(%error, "certificates are not watched: a thread could not be started");
    }
}

fn keep_watching(watched: &Weak<Certificates>) {
    let mut pause = POLL;
    loop {
        thread::sleep(pause);
        let Some(certificates) = watched.upgrade() else { return };
        let begun = Instant::now();
        certificates.look(false);
        pause = POLL.max(begun.elapsed() * POLL_SHARE);
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
