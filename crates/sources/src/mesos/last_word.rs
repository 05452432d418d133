//! The last word on disk: what the catalog knew of the cluster, for a start while everything else
//! is down.
//!
//! A line of [`crate::lines`] for every agent, framework and group, in this order.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use waymark_model::{
    Cluster, ClusterAgent, ClusterPort, ClusterTask, Framework, Master, Masters, Readiness,
    TaskAddresses, TaskGroup, TaskGroupId, TaskId, Version,
};

use crate::lines::{self, Heading, Unreadable};

/// The name of the file in the data directory.
const FILE: &str = "mesos-state.json";

/// A word from disk.
pub(crate) struct LastWord {
    pub cluster: Cluster,
    /// Where the cluster was looked for: each master or ZooKeeper server with its path.
    pub places: Vec<String>,
    /// No version above this one was published.
    pub version: Version,
    /// When it was last known to be true.
    pub saved: SystemTime,
}

/// What the first line says about all of it.
#[derive(Serialize, Deserialize)]
struct Origin {
    places: Vec<String>,
    masters: Option<MastersLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Agent(AgentLine),
    Framework(FrameworkLine),
    Group(GroupLine),
}

#[derive(Serialize, Deserialize)]
struct MastersLine {
    leader: Option<MasterLine>,
    all: Vec<MasterLine>,
}

#[derive(Serialize, Deserialize)]
struct MasterLine {
    addresses: Vec<IpAddr>,
    port: u16,
}

#[derive(Serialize, Deserialize)]
struct AgentLine {
    id: String,
    hostname: String,
    addresses: Vec<IpAddr>,
    port: u16,
}

#[derive(Serialize, Deserialize)]
struct FrameworkLine {
    id: String,
    name: String,
    addresses: Vec<IpAddr>,
    port: Option<u16>,
}

#[derive(Serialize, Deserialize)]
struct GroupLine {
    framework: String,
    name: String,
    discovered: bool,
    framework_name: String,
    tasks: Vec<TaskLine>,
}

#[derive(Serialize, Deserialize)]
struct TaskLine {
    id: String,
    name: String,
    agent: String,
    netinfo: Vec<IpAddr>,
    docker: Vec<IpAddr>,
    mesos: Vec<IpAddr>,
    host_ports: Vec<u16>,
    ports: Vec<PortLine>,
    labels: BTreeMap<String, String>,
    readiness: String,
}

#[derive(Serialize, Deserialize)]
struct PortLine {
    number: u16,
    name: Option<String>,
    protocol: String,
}

/// The file in a data directory.
pub(crate) fn file_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Reads the last word; `None` when there is no file.
pub(crate) fn load(file: &Path) -> Result<Option<LastWord>, Unreadable> {
    let (mut cluster, mut agents) = (Cluster::default(), HashMap::new());
    let heading = lines::load::<Origin, Line>(file, |line| {
        match line {
            Line::Agent(line) => {
                let agent = Arc::new(agent_of(line));
                agents.insert(agent.id.clone(), agent.clone());
                cluster.agents.insert(agent.id.clone(), agent);
            }
            Line::Framework(line) => {
                let framework = framework_of(line);
                cluster.frameworks.insert(framework.id.clone(), Arc::new(framework));
            }
            Line::Group(line) => {
                let group = group_of(line, &agents)?;
                cluster.groups.insert(group.id.clone(), Arc::new(group));
            }
        }
        Ok(())
    })?;
    let Some(Heading { version, saved, more }) = heading else { return Ok(None) };
    cluster.masters = more.masters.map(masters_of);
    Ok(Some(LastWord { cluster, places: more.places, version, saved }))
}

/// Puts the word in the place of the one on disk; the old one stays whole until then.
pub(crate) fn save(file: &Path, word: &LastWord) -> io::Result<()> {
    let LastWord { cluster, places, version, saved } = word;
    let masters = cluster.masters.as_deref().map(masters_line);
    let more = Origin { places: places.clone(), masters };
    let agents = cluster.agents.values().map(|agent| Line::Agent(agent_line(agent)));
    let frameworks = cluster.frameworks.values();
    let frameworks = frameworks.map(|framework| Line::Framework(framework_line(framework)));
    let groups = cluster.groups.values().map(|group| Line::Group(group_line(group)));
    let heading = Heading { version: *version, saved: *saved, more };
    lines::save(file, heading, agents.chain(frameworks).chain(groups))
}

fn masters_line(masters: &Masters) -> MastersLine {
    let line = |m: &Master| MasterLine { addresses: m.addresses.clone(), port: m.port };
    MastersLine {
        leader: masters.leader.as_ref().map(line),
        all: masters.all.iter().map(line).collect(),
    }
}

fn masters_of(line: MastersLine) -> Arc<Masters> {
    let master = |m: MasterLine| Master { addresses: m.addresses, port: m.port };
    let all = line.all.into_iter().map(master).collect();
    Arc::new(Masters { leader: line.leader.map(master), all })
}

fn agent_line(agent: &ClusterAgent) -> AgentLine {
    AgentLine {
        id: agent.id.to_string(),
        hostname: agent.hostname.to_string(),
        addresses: agent.addresses.clone(),
        port: agent.port,
    }
}

fn agent_of(line: AgentLine) -> ClusterAgent {
    let AgentLine { id, hostname, addresses, port } = line;
    ClusterAgent { id: id.into(), hostname: hostname.into(), addresses, port }
}

fn framework_line(framework: &Framework) -> FrameworkLine {
    FrameworkLine {
        id: framework.id.to_string(),
        name: framework.name.to_string(),
        addresses: framework.addresses.clone(),
        port: framework.port,
    }
}

fn framework_of(line: FrameworkLine) -> Framework {
    let FrameworkLine { id, name, addresses, port } = line;
    Framework { id: id.into(), name: name.into(), addresses, port }
}

fn group_line(group: &TaskGroup) -> GroupLine {
    GroupLine {
        framework: group.id.framework.to_string(),
        name: group.id.name.to_string(),
        discovered: group.id.discovered,
        framework_name: group.framework.to_string(),
        tasks: group.tasks.iter().map(|task| task_line(task)).collect(),
    }
}

fn task_line(task: &ClusterTask) -> TaskLine {
    let port = |port: &ClusterPort| PortLine {
        number: port.number,
        name: port.name.clone(),
        protocol: port.protocol.clone(),
    };
    TaskLine {
        id: task.id.as_str().to_owned(),
        name: task.name.to_string(),
        agent: task.agent.id.to_string(),
        netinfo: task.addresses.netinfo.clone(),
        docker: task.addresses.docker.clone(),
        mesos: task.addresses.mesos.clone(),
        host_ports: task.host_ports.clone(),
        ports: task.ports.iter().map(port).collect(),
        labels: task.labels.clone(),
        readiness: match task.readiness {
            Readiness::Ready => "ready",
            Readiness::HealthUnknown => "unknown",
            Readiness::Unhealthy => "unhealthy",
            Readiness::Draining => "draining",
        }
        .to_owned(),
    }
}

fn group_of(
    line: GroupLine,
    agents: &HashMap<Arc<str>, Arc<ClusterAgent>>,
) -> Result<TaskGroup, Unreadable> {
    let name: Arc<str> = line.name.into();
    let (framework, discovered) = (line.framework.into(), line.discovered);
    let id = TaskGroupId { framework, name, discovered };
    if line.tasks.is_empty() {
        return Err(Unreadable::Content("a group without tasks"));
    }
    let tasks = line.tasks.into_iter().map(|task| task_of(task, &id.name, agents).map(Arc::new));
    let tasks = tasks.collect::<Result<_, _>>()?;
    Ok(TaskGroup { id, framework: line.framework_name.into(), tasks })
}

fn task_of(
    line: TaskLine,
    group: &Arc<str>,
    agents: &HashMap<Arc<str>, Arc<ClusterAgent>>,
) -> Result<ClusterTask, Unreadable> {
    let agent = agents.get(&*line.agent).ok_or(Unreadable::Content("a task without agent"))?;
    let port = |p: PortLine| ClusterPort { number: p.number, name: p.name, protocol: p.protocol };
    let (netinfo, docker, mesos) = (line.netinfo, line.docker, line.mesos);
    Ok(ClusterTask {
        id: TaskId::from_text(&line.id),
        name: if line.name == **group { group.clone() } else { line.name.into() },
        agent: agent.clone(),
        addresses: TaskAddresses { netinfo, docker, mesos },
        host_ports: line.host_ports,
        ports: line.ports.into_iter().map(port).collect(),
        labels: line.labels,
        readiness: match &*line.readiness {
            "ready" => Readiness::Ready,
            "unknown" => Readiness::HealthUnknown,
            "unhealthy" => Readiness::Unhealthy,
            "draining" => Readiness::Draining,
            _ => return Err(Unreadable::Content("an unknown readiness")),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    use waymark_mesos_api::{Hosts, State, parse, sample};

    use super::*;
    use crate::keep::mark;

    struct Literals;

    impl Hosts for Literals {
        fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
            host.parse().ok().map(|address| vec![address])
        }
    }

    fn word() -> LastWord {
        let mut state = State::default();
        state.replace(parse(sample::state(3, 40).as_bytes()).unwrap());
        let master = Master { addresses: vec![IpAddr::from([10, 0, 0, 1])], port: 5050 };
        state.set_masters(Masters { leader: Some(master.clone()), all: vec![master] });
        let saved = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let (cluster, places) = (state.refresh(&Literals).clone(), vec!["a:5050".to_owned()]);
        LastWord { cluster, places, version: 77, saved }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory.path().join("new"));
        assert!(load(&file).unwrap().is_none());
        let word = word();
        for _ in 0..2 {
            save(&file, &word).unwrap();
            let loaded = load(&file).unwrap().unwrap();
            assert_eq!(loaded.cluster, word.cluster);
            assert_eq!((loaded.version, loaded.places), (word.version, word.places.clone()));
            let later = word.saved + Duration::from_secs(2_000_000_000);
            mark(&file, later).unwrap();
            assert_eq!(load(&file).unwrap().unwrap().saved, later);
        }
        let names = fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "nothing stays beside it");
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_refused_and_nothing_panics() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(directory.path());
        save(&file, &word()).unwrap();
        let whole = fs::read(&file).unwrap();
        for cut in (0..whole.len() - 1).step_by(97) {
            fs::write(&file, &whole[..cut]).unwrap();
            assert!(load(&file).is_err(), "cut at {cut}");
            let mut odd = whole.clone();
            odd[cut] ^= 0x15;
            fs::write(&file, &odd).unwrap();
            let _ = load(&file);
        }
        let other = String::from_utf8(whole).unwrap().replace("\"format\":1", "\"format\":2");
        fs::write(&file, other).unwrap();
        assert!(load(&file).is_err());
    }
}
