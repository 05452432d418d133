//! A network of its own for one story: nothing but loopback, every port free, and its own
//! `/etc/resolv.conf`. Needs root.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::eventually;

/// A network and mount namespace, and the programs that were started in it, which end with it.
pub struct Namespace {
    holder: Child,
    programs: Vec<Child>,
    folder: TempDir,
}

impl Namespace {
    /// A network whose loopback device is up.
    pub fn new() -> Namespace {
        let folder = TempDir::with_prefix("waymark-network-").expect("a temporary folder");
        fs::write(folder.path().join("resolv.conf"), "").expect("the file is written");
        // The file is bound over the machine's, so writing to it configures the resolver.
        let set_up = "ip link set lo up && mount --bind resolv.conf /etc/resolv.conf \
                      && touch ready && exec sleep infinity";
        let holder = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-ec", set_up])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let network = Namespace { holder, programs: Vec::new(), folder };
        eventually("a network of its own (this story must run as root)", || {
            network.folder().join("ready").exists().then_some(())
        });
        network
    }

    /// A folder that goes away with the network.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the content of `/etc/resolv.conf`.
    pub fn set_resolv_conf(&self, content: &str) {
        fs::write(self.folder().join("resolv.conf"), content).expect("the file is written");
    }

    /// A program in this network, not started yet.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--mount", "--target", &self.holder.id().to_string()])
            .arg(format!("--wdns={}", self.folder().display()))
            .arg("--")
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Starts a program that runs as long as the network; its output goes to `NAME.log`.
    pub fn start(&mut self, name: &str, mut command: Command) {
        let log = self.folder().join(format!("{name}.log"));
        let open = || fs::File::options().create(true).append(true).open(&log).expect("a log");
        command.stdout(open()).stderr(open());
        self.programs.push(command.spawn().expect("the program starts"));
    }

    /// What a program wrote so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// What a program prints, and whether it succeeded.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> (bool, String) {
        let output = self.command(program).args(args).output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text)
    }
}

impl Default for Namespace {
    fn default() -> Namespace {
        Namespace::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for child in self.programs.iter_mut().chain([&mut self.holder]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
