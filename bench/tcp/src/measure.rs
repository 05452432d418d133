//! Starts everything, takes the times, prints the table.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// Where the proxy under test runs, and where everything else does.
const PROXY_CPU: &str = "0";
const OTHER_CPU: &str = "1";

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every Linux platform we build for.
const TICK: Duration = Duration::from_millis(10);

/// A process that is killed when this goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy under test.
struct Subject {
    name: &'static str,
    port: u16,
    process: Running,
}

/// Alternates both proxies under both loads.
pub fn compare(rounds: usize, seconds: u64) -> Outcome {
    let own = std::env::current_exe()?;
    let folder = tempfile::tempdir()?;
    let backend_port = free_port()?;
    let _backend = start(OTHER_CPU, &own, &["backend".into(), backend_port.to_string()])?;
    wait_until_open(backend_port)?;
    let subjects = [waymark(&own, backend_port)?, haproxy(folder.path(), backend_port)?];
    for (load, unit) in [("keep-alive", "request"), ("connections", "connection")] {
        let mut results = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            for (subject, results) in subjects.iter().zip(&mut results) {
                let one = measure(&own, subject, load, seconds)?;
                // The first round only warms up.
                if round > 0 {
                    println!("{load:12} {:8} {one:6.2} µs of CPU a {unit}", subject.name);
                    results.push(one);
                }
            }
        }
        for (subject, results) in subjects.iter().zip(&mut results) {
            results.sort_by(f64::total_cmp);
            let median = results.get(results.len() / 2).copied().unwrap_or(f64::NAN);
            println!("{load:12} {:8} {median:6.2} µs: the median", subject.name);
        }
    }
    Ok(())
}

/// Microseconds of the subject's CPU time for each thing that the load got done.
fn measure(
    own: &Path,
    subject: &Subject,
    load: &str,
    seconds: u64,
) -> Result<f64, Box<dyn std::error::Error>> {
    let pid = subject.process.0.id();
    let before = cpu_time(pid)?;
    let args = ["load".into(), load.into(), subject.port.to_string(), seconds.to_string()];
    let output = pinned(OTHER_CPU, own, &args).stderr(Stdio::inherit()).output()?;
    let used = cpu_time(pid)?.saturating_sub(before);
    let text = String::from_utf8(output.stdout)?;
    let (done, failed) = text.trim().split_once(' ').ok_or("the load printed nothing")?;
    if failed != "0" {
        eprintln!("{} {load}: {failed} failed of {done}", subject.name);
    }
    Ok(used.as_secs_f64() * 1e6 / done.parse::<f64>()?)
}

/// User and system time of a process (proc(5): fields 14 and 15 of `stat`).
fn cpu_time(pid: u32) -> Result<Duration, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, field 2, may hold anything; fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || -> Result<u32, Box<dyn std::error::Error>> {
        Ok(fields.next().ok_or("too few fields in stat")?.parse()?)
    };
    Ok(TICK * (next()? + next()?))
}

fn waymark(own: &Path, backend: u16) -> Result<Subject, Box<dyn std::error::Error>> {
    let port = free_port()?;
    let args = ["proxy".into(), port.to_string(), backend.to_string()];
    let process = start(PROXY_CPU, own, &args)?;
    wait_until_open(port)?;
    Ok(Subject { name: "waymark", port, process })
}

fn haproxy(folder: &Path, backend: u16) -> Result<Subject, Box<dyn std::error::Error>> {
    let port = free_port()?;
    let config = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\n  maxconn 8000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen bench\n  bind 127.0.0.1:{port}\n  balance leastconn\n  \
         server one 127.0.0.1:{backend}\n"
    );
    std::fs::write(&config, text)?;
    let args = ["-db".into(), "-f".into(), config.display().to_string()];
    let process = start(PROXY_CPU, Path::new("haproxy"), &args)
        .map_err(|e| format!("haproxy cannot be started ({e}): apt-get install haproxy"))?;
    wait_until_open(port)?;
    Ok(Subject { name: "haproxy", port, process })
}

fn pinned(cpu: &str, program: &Path, args: &[String]) -> Command {
    // taskset replaces itself by the program, so the process id is the program's.
    let mut command = Command::new("taskset");
    command.args(["-c", cpu]).arg(PathBuf::from(program)).args(args).stdin(Stdio::null());
    command
}

fn start(cpu: &str, program: &Path, args: &[String]) -> io::Result<Running> {
    pinned(cpu, program, args).spawn().map(Running)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait_until_open(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let since = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if since.elapsed() > Duration::from_secs(10) {
            return Err(format!("nobody listens on port {port}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
