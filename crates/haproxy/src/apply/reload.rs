//! Having HAProxy start a new worker from the files on disk, and waiting until it has.
//!
//! Input is a [`Method`]; the way to see the new worker is HAProxy's own sockets, never process ids of this machine: HAProxy
//! may live in a container of its own. One reload at a time; when is decided by whoever calls.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::answers::{Info, Process};
use super::socket::{Socket, SocketError};

/// How often the sockets are asked for the new worker.
const POLL: Duration = Duration::from_millis(100);
/// Longest run of a reload command, as `systemctl reload` waits for its unit.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);
/// Most old workers that are asked how many connections they still have.
const MOST_ASKED: usize = 16;

/// Why a reload did not happen, or is not known to have happened.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no way to reload.
    #[error(
        "there is no command, no master socket and no known init system by which HAProxy could be reloaded"
    )]
    NoMethod,
    /// The command cannot be run.
    #[error("cannot run '{command}': {source}")]
    Command {
        /// The command's first word.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// The command failed.
    #[error("'{command}' failed with {status}")]
    Failed {
        /// The command's first word.
        command: String,
        /// Its exit status.
        status: String,
    },
    /// HAProxy's master says that no new worker came of it; the old one runs on.
    #[error("HAProxy could not start a worker with the new configuration: {0}")]
    Refused(String),
    /// No new worker was seen in time.
    #[error("no new worker of HAProxy was seen after {attempts} reloads within {waited:?}")]
    NoWorker {
        /// How often it was reloaded.
        attempts: u32,
        /// How long altogether.
        waited: Duration,
    },
    /// The master did not answer.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// How HAProxy is reloaded.
#[derive(Clone, Debug)]
pub enum Method {
    /// By a command (`--command`), its words as they are passed.
    Command(Vec<String>),
    /// By its master's socket.
    Master(Socket),
    /// By the socket of a master that is supervised: one that does not run is being started, from the files as they are.
    Supervised(Socket),
}

/// The command by which this machine's init system reloads HAProxy, in marathon-lb's order: Upstart, systemd, System V.
/// `root` is `/`.
pub fn detect(root: &Path) -> Option<Vec<String>> {
    let there = |path: &str| root.join(path).exists();
    let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect());
    let units = ["usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system"];
    if there("etc/init/haproxy.conf") {
        words("reload haproxy")
    } else if units.iter().any(|folder| there(&format!("{folder}/haproxy.service"))) {
        words("systemctl reload haproxy")
    } else if there("etc/init.d/haproxy") {
        words("/etc/init.d/haproxy reload")
    } else {
        None
    }
}

/// Splits a command as a shell does: blanks, quotes, backslashes. Nothing is expanded and no shell is started.
/// None when a quote is not closed.
pub fn split(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), letter) if letter == open => quote = None,
            (None, '\\') => word.get_or_insert_default().push(letters.next()?),
            (Some('"'), '\\') => {
                let next = letters.next()?;
                if !matches!(next, '"' | '\\' | '$' | '`') {
                    word.get_or_insert_default().push('\\');
                }
                word.get_or_insert_default().push(next);
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// How long to wait for the new worker (`--max-reload-retries`, `--reload-interval`).
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often the reload is repeated when no new worker is seen; None repeats for ever.
    pub retries: Option<u32>,
    /// Time between two reloads.
    pub interval: Duration,
}

impl Patience {
    /// marathon-lb's numbers: -1 repeats for ever, and 0, which waits for ever there, is one attempt here.
    pub fn new(retries: i64, interval: Duration) -> Self {
        Self { retries: u32::try_from(retries).ok().map(|retries| retries.max(1)), interval }
    }
}

/// Reloads, and waits until another worker than `before` answers on `worker`. Without a socket to ask, the method's own
/// word is all there is. Returns how often HAProxy was reloaded: not at all when it was only waited for.
///
/// # Errors
/// See [`ReloadError`]. The old worker runs on unless HAProxy itself is gone.
pub async fn reload(
    method: &Method,
    worker: Option<&Socket>,
    before: Option<(&Info, Instant)>,
    patience: Patience,
) -> Result<u32, ReloadError> {
    let started = Instant::now();
    let (mut attempts, mut reloads) = (0, 0);
    loop {
        attempts += 1;
        reloads += 1;
        match method {
            Method::Command(words) => command(words).await?,
            Method::Master(master) => by_master(master, patience.interval).await?,
            Method::Supervised(master) => match by_master(master, patience.interval).await {
                Err(ReloadError::Socket(SocketError::Unreachable { .. })) => reloads -= 1,
                done => done?,
            },
        }
        let Some(worker) = worker else { return Ok(reloads) };
        if appears(worker, before, patience.interval).await {
            return Ok(reloads);
        }
        if patience.retries.is_some_and(|most| attempts >= most) {
            return Err(ReloadError::NoWorker { attempts, waited: started.elapsed() });
        }
        tracing::warn!(attempts, "no new worker of HAProxy is seen yet, reloading again");
    }
}

/// Whether another worker answers within the time.
async fn appears(worker: &Socket, before: Option<(&Info, Instant)>, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if let Ok(info) = worker.info().await {
            let is_new = before.is_none_or(|(before, at)| !info.continues(before, at.elapsed()));
            if is_new && !info.stopping {
                return true;
            }
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn command(words: &[String]) -> Result<(), ReloadError> {
    let (program, arguments) = words.split_first().ok_or(ReloadError::NoMethod)?;
    let failed = |source| ReloadError::Command { command: program.clone(), source };
    // Its output goes where ours goes. It is not read: what it starts may keep it open for ever.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let status = tokio::time::timeout(COMMAND_LIMIT, child.wait());
    let status =
        status.await.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(ReloadError::Failed { command: program.clone(), status: status.to_string() })
}

/// Reloads by the master, and finds out whether it started a worker: it says so itself from 2.7 on; before that its count of
/// failed reloads does.
async fn by_master(master: &Socket, limit: Duration) -> Result<(), ReloadError> {
    let before = master.processes().await?;
    let answer = match master.patient(limit).ask("reload").await {
        // The master of 2.6 starts itself anew and lets go of its connections at once.
        Err(SocketError::Broken { .. }) => String::new(),
        answer => answer?,
    };
    if answer.starts_with("Success=1") {
        return Ok(());
    }
    if answer.starts_with("Success=0") {
        return Err(ReloadError::Refused(alerts(&answer)));
    }
    let deadline = Instant::now() + limit;
    loop {
        tokio::time::sleep(POLL).await;
        // Between its two lives the master answers nobody.
        let now = match master.processes().await {
            Ok(now) => now,
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => continue,
        };
        if now.failed.unwrap_or(0) > before.failed.unwrap_or(0) {
            return Err(ReloadError::Refused("its log says why".to_owned()));
        }
        let new = |worker: &Process| !before.workers.iter().any(|old| old.pid == worker.pid);
        if now.workers.iter().any(new) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ReloadError::NoWorker { attempts: 1, waited: limit });
        }
    }
}

fn alerts(answer: &str) -> String {
    let alert = answer.lines().find(|line| line.contains("[ALERT]"));
    alert.unwrap_or("it does not say why").trim().chars().take(300).collect()
}

/// Old workers that still finish what they have. marathon-lb never sees them; long connections let them pile up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lingering {
    /// How many.
    pub workers: usize,
    /// Age of the oldest since it was started.
    pub oldest: Duration,
    /// Connections that they still have, those of the first 16 workers.
    pub connections: u64,
}

/// Looks at a master's old workers.
///
/// # Errors
/// The master does not answer.
pub async fn lingering(master: &Socket) -> Result<Lingering, SocketError> {
    let old = master.processes().await?.old;
    let mut connections = 0;
    for worker in old.iter().take(MOST_ASKED) {
        // One that has ended meanwhile has none.
        let info = master.process(worker.pid).info().await;
        connections += info.map_or(0, |info| info.connections);
    }
    let oldest = old.iter().map(|worker| worker.uptime).max().unwrap_or_default();
    Ok(Lingering { workers: old.len(), oldest, connections })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_by_a_shell() {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        for (text, wanted) in [
            ("/marathon-lb/reload_haproxy.sh", words(&["/marathon-lb/reload_haproxy.sh"])),
            ("  sv  reload\thaproxy ", words(&["sv", "reload", "haproxy"])),
            (r#"sh -c 'echo "a b"; x' """#, words(&["sh", "-c", r#"echo "a b"; x"#, ""])),
            (r#"a\ b "c\"d\e" e'f'g"#, words(&["a b", r#"c"d\e"#, "efg"])),
            ("", words(&[])),
            ("a 'b", None),
            ("a\\", None),
        ] {
            assert_eq!(split(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_init_system_is_found_in_marathon_lbs_order() {
        let root = tempfile::tempdir().unwrap();
        let touch = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let found = || detect(root.path()).map(|words| words.join(" "));
        assert_eq!(found(), None);
        touch("etc/init.d/haproxy");
        assert_eq!(found().as_deref(), Some("/etc/init.d/haproxy reload"));
        touch("lib/systemd/system/haproxy.service");
        assert_eq!(found().as_deref(), Some("systemctl reload haproxy"));
        touch("etc/init/haproxy.conf");
        assert_eq!(found().as_deref(), Some("reload haproxy"));
    }

    #[test]
    fn retries_are_marathon_lbs() {
        let retries = |n| Patience::new(n, Duration::from_secs(10)).retries;
        assert_eq!((retries(10), retries(-1), retries(0)), (Some(10), None, Some(1)));
    }
}
