//! HAProxy's answers, read: `show info`, `show servers state`, `show stat`, the master's `show proc`. Pure.
//!
//! Fields are found by their names, so that a version with more of them is read as well.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The worker that answers on a statistics socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its process id, in HAProxy's own namespace.
    pub pid: u32,
    /// For how long it has run.
    pub uptime: Duration,
    /// Its version as it says it.
    pub version: String,
    /// Open connections of clients.
    pub connections: u64,
    /// Whether it only finishes what it has.
    pub stopping: bool,
}

impl Info {
    /// Reads the answer to `show info`. None if process id or uptime is missing.
    pub fn read(text: &str) -> Option<Self> {
        let fields: HashMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(k, v)| (k, v.trim()))
            .collect();
        Some(Self {
            pid: fields.get("Pid")?.parse().ok()?,
            uptime: Duration::from_secs(fields.get("Uptime_sec")?.parse().ok()?),
            version: fields.get("Version").copied().unwrap_or_default().to_owned(),
            connections: fields.get("CurrConns").and_then(|v| v.parse().ok()).unwrap_or(0),
            stopping: fields.get("Stopping").is_some_and(|v| *v != "0"),
        })
    }

    /// Whether this is the worker that gave `before`, `elapsed` ago: same process, and not started since.
    pub fn continues(&self, before: &Info, elapsed: Duration) -> bool {
        // Whole seconds are reported, on both sides.
        self.pid == before.pid && self.uptime + Duration::from_secs(2) >= before.uptime + elapsed
    }
}

/// One server as HAProxy has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerNow {
    /// Number of its backend. Frontends may have a backend's name, never its number.
    pub backend: u32,
    /// Value of `id`.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its address; `-` when it has none.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Whether it is in maintenance, for whatever reason: it gets no new connections.
    pub maintenance: bool,
    /// Its weight as a user sees it.
    pub weight: u16,
}

/// Maintenance forced, inherited, or for want of an address: in each the server gets nothing.
const MAINTENANCE: u32 = 0x01 | 0x02 | 0x20;

/// Servers by backend, in HAProxy's order.
pub type Servers = BTreeMap<String, Vec<ServerNow>>;

/// Reads the answer to `show servers state`. None when it is not of format 1 or lacks a column.
pub fn servers(text: &str) -> Option<Servers> {
    let (header, rows) = server_rows(text)?;
    let column = |name: &str| header.iter().position(|field| *field == name);
    let (backend_id, backend) = (column("be_id")?, column("be_name")?);
    let (id, name) = (column("srv_id")?, column("srv_name")?);
    let (address, port) = (column("srv_addr")?, column("srv_port")?);
    let (admin, weight) = (column("srv_admin_state")?, column("srv_uweight")?);
    let mut servers = Servers::new();
    for row in rows {
        let fields: Vec<&str> = row.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
        let word = |at: usize| fields.get(at).map(|field| (*field).to_owned());
        servers.entry(word(backend)?).or_default().push(ServerNow {
            backend: number(backend_id)?,
            id: number(id)?,
            name: word(name)?,
            address: word(address)?,
            port: u16::try_from(number(port)?).ok()?,
            maintenance: number(admin)? & MAINTENANCE != 0,
            weight: u16::try_from(number(weight)?).ok()?,
        });
    }
    Some(servers)
}

/// The column names and the rows of `show servers state`.
pub(super) fn server_rows(text: &str) -> Option<(Vec<&str>, impl Iterator<Item = &str>)> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    (lines.next()? == "1").then_some(())?;
    let header = lines.next()?.strip_prefix("# ")?.split(' ').collect();
    Some((header, lines.filter(|line| !line.starts_with('#'))))
}

/// Sessions and queued requests by server, from `show stat <number of a backend> 4 -1`. None if a column is missing.
pub fn busy(text: &str) -> Option<HashMap<&str, u64>> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let header: Vec<&str> = lines.next()?.strip_prefix("# ")?.split(',').collect();
    let column = |name: &str| header.iter().position(|field| *field == name);
    let (name, sessions, queued) = (column("svname")?, column("scur")?, column("qcur")?);
    let mut found = HashMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |at: usize| fields.get(at).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        *found.entry(*fields.get(name)?).or_default() += number(sessions) + number(queued);
    }
    Some(found)
}

/// A process of a master, from `show proc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its process id, in HAProxy's own namespace.
    pub pid: u32,
    /// For how long it has run.
    pub uptime: Duration,
}

/// A master and its workers, from `show proc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// The master's process id.
    pub master: Option<u32>,
    /// How many reloads failed since the last that did not; none if the version does not say it.
    pub failed: Option<u32>,
    /// The workers that take connections.
    pub workers: Vec<Process>,
    /// Those that only finish what they have.
    pub old: Vec<Process>,
}

impl Processes {
    /// Reads the answer to `show proc`. None if there is no master in it.
    pub fn read(text: &str) -> Option<Self> {
        let mut processes = Self::default();
        let mut old = false;
        for line in text.lines() {
            if line.starts_with('#') {
                old = line.starts_with("# old workers");
                continue;
            }
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(pid), Some(kind)) =
                (fields.first().and_then(|pid| pid.parse().ok()), fields.get(1))
            else {
                continue;
            };
            match *kind {
                "master" => {
                    processes.master = Some(pid);
                    processes.failed = line
                        .split_once("[failed: ")
                        .and_then(|(_, rest)| rest.split_once(']'))
                        .and_then(|(number, _)| number.parse().ok());
                }
                "worker" => {
                    let uptime = fields.iter().find_map(|field| uptime(field)).unwrap_or_default();
                    let list = if old { &mut processes.old } else { &mut processes.workers };
                    list.push(Process { pid, uptime });
                }
                _ => {}
            }
        }
        processes.master.is_some().then_some(processes)
    }
}

/// Reads `1d02h03m04s`.
fn uptime(text: &str) -> Option<Duration> {
    let (days, rest) = text.split_once('d')?;
    let (hours, rest) = rest.split_once('h')?;
    let (minutes, rest) = rest.split_once('m')?;
    let seconds = rest.strip_suffix('s')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|n| *n < 1 << 32);
    Some(Duration::from_secs(
        ((number(days)? * 24 + number(hours)?) * 60 + number(minutes)?) * 60 + number(seconds)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_tells_workers_apart() {
        let info = |pid, uptime| {
            Info::read(&format!("Name: HAProxy\nVersion: 2.6.12\nPid: {pid}\nUptime_sec: {uptime}\nCurrConns: 3\nStopping: 0\n")).unwrap()
        };
        let first = info(8, 100);
        assert_eq!(
            (first.connections, first.stopping, first.version.as_str()),
            (3, false, "2.6.12")
        );
        assert!(info(8, 109).continues(&first, Duration::from_secs(10)));
        assert!(!info(9, 110).continues(&first, Duration::from_secs(10)));
        assert!(
            !info(8, 4).continues(&first, Duration::from_secs(10)),
            "the same number in a new container"
        );
        assert_eq!(Info::read("Permission denied\n"), None);
    }

    #[test]
    fn states_of_servers_are_read() {
        let text = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_port\n\
                    3 a_1 5 s1 127.0.0.1 2 0 1 1 18081\n3 a_1 7 n2 - 0 1 4 1 0\n3 b 7 n2 ::1 0 4 1 1 80\n\n";
        let servers = servers(text).unwrap();
        let of = |backend: &str, at: usize| servers[backend][at].clone();
        assert_eq!(
            (of("a_1", 0).id, of("a_1", 0).port, of("a_1", 0).maintenance),
            (5, 18081, false)
        );
        assert_eq!(
            (of("a_1", 1).address.as_str(), of("a_1", 1).weight, of("a_1", 1).maintenance),
            ("-", 4, true)
        );
        assert!(
            !of("b", 0).maintenance,
            "maintenance from the configuration that was lifted since"
        );
        assert_eq!(super::servers("Can't find backend.\n"), None);
        assert_eq!(super::servers("1\n# be_id be_name\n1 x\n"), None);
    }

    #[test]
    fn sessions_are_summed_by_server() {
        let text =
            "# pxname,svname,qcur,qmax,scur,smax,\na,s1,1,0,2,0,\na,s2,,0,0,0,\na,s1,0,0,1,0,\n\n";
        assert_eq!(busy(text), Some(HashMap::from([("s1", 4), ("s2", 0)])));
        assert_eq!(busy("No such proxy.\n"), None);
    }

    #[test]
    fn a_master_and_its_workers_are_read() {
        let text = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
                    1162            master          5 [failed: 1]   0d00h02m07s     2.5-dev13\n# workers\n\
                    1271            worker          1               0d00h00m00s     2.5-dev13\n# old workers\n\
                    1233            worker          3               1d02h00m43s     2.0-dev3-6019f6-289\n# programs\n";
        let processes = Processes::read(text).unwrap();
        assert_eq!((processes.master, processes.failed), (Some(1162), Some(1)));
        assert_eq!(processes.workers, [Process { pid: 1271, uptime: Duration::ZERO }]);
        assert_eq!(processes.old, [Process { pid: 1233, uptime: Duration::from_secs(93_643) }]);
        assert_eq!(Processes::read("Unknown command\n"), None);
    }
}
