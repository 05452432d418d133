//! Memory and CPU limits by control groups, version 2.
//!
//! Input: the cgroup2 mount, this process's own group, an app's resources. Output: a group for
//! each task, `<base>/waymark/<task>`. The base is the nearest ancestor of our own group in which
//! we may make groups: writable, with the memory and cpu controllers, and without processes of its
//! own (the kernel gives controllers only to groups below such a one; the root is exempt). That
//! is the delegated part of a systemd unit or user session, or for root whatever is nearest.
//!
//! Where there is no such group, tasks run without limits and [`Cgroups::find`] says why.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use waymark_model::Resources;

/// The group below the base that holds the tasks' groups.
const PARENT: &str = "waymark";
/// What must be enabled for tasks' groups.
const CONTROLLERS: [&str; 2] = ["memory", "cpu"];
/// `cpu.weight` of a task with one CPU: the kernel's default.
const WEIGHT_OF_ONE_CPU: f64 = 100.0;
/// The period of `cpu.max`, in microseconds: the kernel's default.
const CPU_PERIOD_US: f64 = 100_000.0;
/// How often the removal of a group is tried, a millisecond apart: a dead process leaves its group
/// a moment after its end has been seen.
const REMOVALS: u32 = 50;

/// Where tasks' groups are made.
#[derive(Clone, Debug)]
pub struct Cgroups {
    parent: PathBuf,
    cpu_hard_limit: bool,
}

/// The group of one task.
#[derive(Clone, Debug)]
pub struct TaskGroup(PathBuf);

impl Cgroups {
    /// Finds the place for groups. `mount` is the cgroup2 mount when it is not to be looked for.
    ///
    /// # Errors
    /// One sentence for people: why there are no limits here.
    pub fn find(mount: Option<&Path>, cpu_hard_limit: bool) -> Result<Cgroups, String> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own_group(&own).unwrap_or("/");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mount.map(Path::to_owned).or_else(|| cgroup2_mount(&mounts));
        let reason = match mount {
            None => "no cgroup v2 hierarchy is mounted".to_owned(),
            Some(mount) => match Cgroups::below(&mount, own, cpu_hard_limit) {
                Ok(found) => return Ok(found),
                Err(reason) => reason,
            },
        };
        Err(format!("no memory and CPU limits: {reason}"))
    }

    fn below(mount: &Path, own: &str, cpu_hard_limit: bool) -> Result<Cgroups, String> {
        if let Some(missing) = missing_controller(mount) {
            return Err(format!(
                "cgroup v2 at {} has no {missing} controller (cgroup v1 has it, or the kernel lacks it)",
                mount.display()
            ));
        }
        let own = mount.join(own.trim_start_matches('/'));
        let candidates = own.ancestors().skip(usize::from(own != mount));
        let mut reason = String::new();
        for base in candidates.take_while(|p| p.starts_with(mount)) {
            match enable(base) {
                Ok(parent) => return Ok(Cgroups { parent, cpu_hard_limit }),
                Err(why) if reason.is_empty() => reason = format!("{}: {why}", base.display()),
                Err(_) => {}
            }
        }
        Err(format!(
            "no control group may be divided further ({reason}); run Waymark as a systemd unit \
             with Delegate=yes and DelegateSubgroup=control, or by `systemd-run --user --scope`"
        ))
    }

    /// Makes the group of a task and sets its limits. A group left over from before is used again.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn create(&self, name: &str, resources: &Resources) -> io::Result<TaskGroup> {
        let group = TaskGroup(self.parent.join(name));
        fs::create_dir_all(&group.0)?;
        let written = limits(resources, self.cpu_hard_limit)
            .into_iter()
            .try_for_each(|(file, value)| fs::write(group.0.join(file), value));
        match written {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    /// The group that a task was given before, if it is there.
    pub fn existing(&self, name: &str) -> Option<TaskGroup> {
        let path = self.parent.join(name);
        path.is_dir().then_some(TaskGroup(path))
    }
}

impl TaskGroup {
    /// The group's folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Kills every process in the group (Linux 5.14; before, nothing happens).
    pub fn kill(&self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Whether the kernel has killed a process of the group for lack of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        events
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim() != "0")
    }

    /// Removes the group of a task whose processes have ended.
    pub fn remove(&self) {
        for _ in 0..REMOVALS {
            match fs::remove_dir(&self.0) {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                    thread::sleep(Duration::from_millis(1));
                }
                _ => return,
            }
        }
        tracing::warn!(group = %self.0.display(), "the control group of an ended task is still in use");
    }
}

/// File and value of each limit.
fn limits(resources: &Resources, cpu_hard_limit: bool) -> Vec<(&'static str, String)> {
    let mut limits = Vec::new();
    if resources.mem > 0.0 {
        // `as` saturates, which is what a limit beyond all memory should do.
        limits.push(("memory.max", ((resources.mem * 1024.0 * 1024.0) as u64).to_string()));
        // A task that has lost one process for lack of memory is restarted as a whole.
        limits.push(("memory.oom.group", "1".to_owned()));
    }
    let weight = (resources.cpus * WEIGHT_OF_ONE_CPU).round().clamp(1.0, 10_000.0);
    limits.push(("cpu.weight", weight.to_string()));
    if cpu_hard_limit && resources.cpus > 0.0 {
        let quota = (resources.cpus * CPU_PERIOD_US).max(1000.0) as u64;
        limits.push(("cpu.max", format!("{quota} {CPU_PERIOD_US}")));
    }
    limits
}

/// Makes `base` give its controllers to `<base>/waymark/*`.
fn enable(base: &Path) -> Result<PathBuf, String> {
    if let Some(missing) = missing_controller(base) {
        return Err(format!("the {missing} controller is not given to it"));
    }
    // Moving a task's process there needs write access to the common ancestor's cgroup.procs.
    let procs = base.join("cgroup.procs");
    fs::File::options().write(true).open(&procs).map_err(|e| e.to_string())?;
    let parent = base.join(PARENT);
    give_controllers(base).map_err(|e| match e.kind() {
        io::ErrorKind::ResourceBusy => "it holds processes of its own".to_owned(),
        _ => e.to_string(),
    })?;
    fs::create_dir_all(&parent).map_err(|e| e.to_string())?;
    give_controllers(&parent).map_err(|e| e.to_string())?;
    Ok(parent)
}

fn give_controllers(group: &Path) -> io::Result<()> {
    let wanted = CONTROLLERS.map(|c| format!("+{c}")).join(" ");
    fs::write(group.join("cgroup.subtree_control"), wanted)
}

fn missing_controller(group: &Path) -> Option<&'static str> {
    let there = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    CONTROLLERS.into_iter().find(|c| !there.split_whitespace().any(|t| t == *c))
}

/// Our own group in the v2 hierarchy, from `/proc/self/cgroup`.
fn own_group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The first cgroup2 mount, from `/proc/self/mountinfo` (proc(5): the file system's type is the
/// first field after a lone dash, the mount point the fifth).
fn cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let is_cgroup2 = right.split(' ').next() == Some("cgroup2");
        is_cgroup2.then(|| left.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder tree that looks like a cgroup2 mount: (group, its controllers).
    fn tree(groups: &[(&str, &str)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        for (group, controllers) in groups {
            let folder = mount.path().join(group);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cgroup.controllers"), controllers).unwrap();
            fs::write(folder.join("cgroup.procs"), "").unwrap();
        }
        mount
    }

    fn text(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn reads_proc() {
        assert_eq!(own_group("4:memory:/x\n0::/a.slice/b.scope\n"), Some("/a.slice/b.scope"));
        assert_eq!(own_group("4:memory:/x\n"), None);
        let mounts = "24 1 0:22 / /proc rw - proc proc rw\n\
                      31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(mounts), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(cgroup2_mount("31 24 0:27 / /x rw - cgroup cgroup rw,memory\n"), None);
    }

    #[test]
    fn makes_groups_beside_our_own() {
        let all = "cpuset cpu io memory pids";
        let mount = tree(&[("", all), ("unit", "cpu memory"), ("unit/control", "cpu memory")]);
        let cgroups = Cgroups::below(mount.path(), "/unit/control", true).unwrap();
        let unit = mount.path().join("unit");
        assert_eq!(text(unit.join("cgroup.subtree_control")), "+memory +cpu");
        assert_eq!(text(unit.join("waymark/cgroup.subtree_control")), "+memory +cpu");
        assert!(!mount.path().join("cgroup.subtree_control").exists());

        let resources = Resources { cpus: 0.5, mem: 64.0, ..Resources::default() };
        let group = cgroups.create("t.1", &resources).unwrap();
        assert_eq!(group.path(), unit.join("waymark/t.1"));
        let want = [
            ("memory.max", "67108864"),
            ("memory.oom.group", "1"),
            ("cpu.weight", "50"),
            ("cpu.max", "50000 100000"),
        ];
        for (file, value) in want {
            assert_eq!(text(group.path().join(file)), value, "{file}");
        }
        assert!(!group.ran_out_of_memory());
        fs::write(group.path().join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
        assert!(group.ran_out_of_memory());
        assert!(cgroups.existing("t.1").is_some() && cgroups.existing("t.2").is_none());
    }

    #[test]
    fn extreme_resources() {
        let of = |cpus, mem| limits(&Resources { cpus, mem, ..Resources::default() }, false);
        assert_eq!(of(0.0, 0.0), [("cpu.weight", "1".to_owned())]);
        assert_eq!(of(1e9, f64::MAX)[0].1, u64::MAX.to_string());
        assert_eq!(of(1e9, 1.0)[2].1, "10000");
    }

    #[test]
    fn says_why_not() {
        let mount = tree(&[("", "cpuset"), ("a", "")]);
        let error = Cgroups::below(mount.path(), "/a", false).unwrap_err();
        assert!(error.contains("has no memory controller"), "{error}");

        let mount = tree(&[("", "cpu memory"), ("user", "memory"), ("user/session", "")]);
        fs::remove_file(mount.path().join("cgroup.procs")).unwrap();
        let error = Cgroups::below(mount.path(), "/user/session", false).unwrap_err();
        assert!(error.contains("user: the cpu controller is not given to it"), "{error}");
        assert!(error.contains("Delegate=yes"), "{error}");

        let nowhere = Path::new("/nowhere");
        let error = Cgroups::find(Some(nowhere), false).unwrap_err();
        assert!(error.starts_with("no memory and CPU limits: "), "{error}");
    }
}
