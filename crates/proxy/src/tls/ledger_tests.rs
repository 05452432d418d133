//! The rules of the ledger, with files on a disk that it is told about step by step.

use std::fs;
use std::os::unix::fs::symlink;

use rcgen::{PKCS_ECDSA_P256_SHA256 as ECDSA, SignatureAlgorithm};
use tempfile::TempDir;

use super::*;
use crate::tls::files::look;
use crate::tls::testing::{Made, NOW, make};

const KIND: &SignatureAlgorithm = &ECDSA;

struct Disk {
    folder: TempDir,
    ledger: Ledger,
}

impl Disk {
    fn new() -> Disk {
        Disk { folder: tempfile::tempdir().unwrap(), ledger: Ledger::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Written beside and renamed, as careful tools do it.
    fn write(&self, name: &str, text: &str) {
        let new = self.path(".new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn look_at(&mut self, path: &Path, at_once: bool, now: i64) -> bool {
        let seen = look(path, &self.ledger.known(), at_once);
        self.ledger.take_in(seen, now)
    }

    fn look(&mut self) -> bool {
        let folder = self.folder.path().to_owned();
        self.look_at(&folder, false, NOW)
    }

    fn look_twice(&mut self) -> bool {
        let first = self.look();
        self.look() || first
    }

    /// The first names of what is served.
    fn served(&self) -> Vec<String> {
        let served = self.ledger.certificates(&[self.folder.path().to_owned()]);
        served.iter().map(|certificate| certificate.names[0].clone()).collect()
    }

    fn status(&self, name: &str, now: i64) -> (CertificateState, Option<String>) {
        let all = self.ledger.status(now);
        let of = all.iter().find(|status| status.file == self.path(name)).unwrap();
        (of.state, of.reason.clone())
    }
}

fn valid(name: &str) -> Made {
    make(&[name], KIND, NOW + 1000)
}

#[test]
fn wrong_files_stop_no_other() {
    let mut disk = Disk::new();
    disk.write("a.pem", &valid("a.test").pem());
    disk.write("b.pem", "nonsense");
    let split = valid("c.test");
    disk.write("c.crt", &split.chain);
    disk.write("c.key", &split.key);
    disk.write("d.pem", &split.chain);
    disk.write("e.pem", &make(&["e.test"], KIND, NOW - 1).pem());
    disk.write(".hidden", &valid("hidden.test").pem());
    fs::create_dir(disk.path("folder")).unwrap();
    symlink("nowhere", disk.path("z.pem")).unwrap();
    let folder = disk.folder.path().to_owned();
    assert!(disk.look_at(&folder, true, NOW));
    // A key of any name stands beside no certificate but that of its own name.
    assert_eq!(disk.served(), ["a.test", "c.test", "e.test"]);
    assert_eq!(disk.status("a.pem", NOW), (CertificateState::Served, None));
    let (state, reason) = disk.status("b.pem", NOW);
    assert_eq!(state, CertificateState::Refused);
    assert_eq!(reason.as_deref(), Some("there is no certificate in PEM form in it"));
    assert_eq!(disk.status("d.pem", NOW).0, CertificateState::Refused);
    let (state, reason) = disk.status("e.pem", NOW);
    assert_eq!(state, CertificateState::Served);
    assert_eq!(reason.as_deref(), Some("it expired on 2027-01-15T07:59:59Z"));
    assert_eq!(disk.status("z.pem", NOW).0, CertificateState::Refused);
    assert!(!disk.look_twice(), "nothing happened since");
}

#[test]
fn a_change_counts_when_it_was_seen_twice() {
    let mut disk = Disk::new();
    disk.write("a.pem", &valid("one.test").pem());
    assert!(!disk.look(), "it may be being written");
    assert!(disk.look());
    disk.write("a.pem", &valid("two.test").pem());
    assert!(!disk.look());
    disk.write("a.pem", &valid("three.test").pem());
    assert!(!disk.look(), "it is another one again");
    assert_eq!(disk.served(), ["one.test"]);
    assert!(disk.look());
    assert_eq!(disk.served(), ["three.test"]);
}

#[test]
fn what_cannot_be_used_does_not_replace() {
    let mut disk = Disk::new();
    let good = valid("a.test");
    disk.write("a.pem", &good.pem());
    disk.look_twice();
    let half = &good.pem()[..good.pem().len() / 2];
    let expired = make(&["a.test"], KIND, NOW - 1).pem();
    let mismatch = good.chain.clone() + &valid("b.test").key;
    for bad in ["", half, &expired, &mismatch, &good.chain] {
        disk.write("a.pem", bad);
        assert!(!disk.look_twice());
        let (state, reason) = disk.status("a.pem", NOW);
        assert_eq!(state, CertificateState::Kept, "{bad}");
        assert!(reason.is_some());
        assert_eq!(disk.served(), ["a.test"]);
    }
    disk.write("a.pem", &valid("new.test").pem());
    assert!(disk.look_twice());
    assert_eq!(disk.served(), ["new.test"]);
    assert_eq!(disk.status("a.pem", NOW), (CertificateState::Served, None));
}

#[test]
fn one_that_is_not_yet_valid_takes_over_when_it_is() {
    let mut disk = Disk::new();
    let folder = disk.folder.path().to_owned();
    disk.write("a.pem", &make(&["old.test"], KIND, NOW + 10).pem());
    disk.look_twice();
    // By the clock of three weeks ago, what is valid from 1970 on comes in time.
    assert!(disk.ledger.validity_changed(-1, NOW) && !disk.ledger.validity_changed(NOW, NOW + 10));
    assert!(disk.ledger.validity_changed(NOW, NOW + 11));
    disk.write("a.pem", &make(&["short.test"], KIND, NOW + 5).pem());
    disk.look_at(&folder, false, NOW + 7);
    assert!(!disk.look_at(&folder, false, NOW + 7), "expired, unlike the one before");
    assert_eq!(disk.served(), ["old.test"]);
    // Now both are: the newer one counts.
    assert!(disk.look_at(&folder, false, NOW + 11));
    assert_eq!(disk.served(), ["short.test"]);
}

#[test]
fn files_and_folders_that_go() {
    let mut disk = Disk::new();
    disk.write("a.pem", &valid("a.test").pem());
    disk.write("b.pem", &valid("b.test").pem());
    disk.look_twice();
    fs::remove_file(disk.path("b.pem")).unwrap();
    disk.look();
    assert_eq!(disk.served(), ["a.test", "b.test"], "it may be being replaced");
    disk.look();
    assert_eq!(disk.served(), ["a.test"]);
    fs::remove_file(disk.path("a.pem")).unwrap();
    for _ in 0..3 {
        assert!(!disk.look());
    }
    assert_eq!(disk.served(), ["a.test"], "an empty folder is an accident");
    let all = disk.ledger.status(NOW);
    let folder = disk.folder.path();
    let of_folder = all.iter().find(|status| status.file == folder).unwrap();
    assert_eq!(of_folder.reason.as_deref(), Some("the folder is empty"));
    disk.write("c.pem", &valid("c.test").pem());
    disk.look_twice();
    assert_eq!(disk.served(), ["c.test"]);
    // A file that was configured by itself stays, whatever becomes of it.
    let single = disk.path("c.pem");
    disk.look_at(&single, true, NOW);
    fs::remove_file(&single).unwrap();
    for _ in 0..3 {
        disk.look_at(&single, false, NOW);
    }
    assert_eq!(disk.ledger.certificates(std::slice::from_ref(&single)).len(), 1);
    assert_eq!(disk.status("c.pem", NOW).0, CertificateState::Kept);
    disk.ledger.keep_only(&BTreeSet::from([single.clone()]));
    assert_eq!(disk.ledger.status(NOW).len(), 1);
    disk.ledger.keep_only(&BTreeSet::new());
    assert!(disk.ledger.status(NOW).is_empty());
}

/// As Kubernetes mounts secrets: the files are links into a folder, which is a link that changes.
#[test]
fn links_that_are_swapped() {
    let mut disk = Disk::new();
    let version = |name: &str, made: &Made| {
        fs::create_dir(disk.path(name)).unwrap();
        fs::write(disk.path(name).join("tls.crt"), &made.chain).unwrap();
        fs::write(disk.path(name).join("tls.key"), &made.key).unwrap();
    };
    version("..1", &valid("one.test"));
    version("..2", &valid("two.test"));
    symlink("..1", disk.path("..data")).unwrap();
    symlink("..data/tls.crt", disk.path("tls.crt")).unwrap();
    symlink("..data/tls.key", disk.path("tls.key")).unwrap();
    disk.look_twice();
    assert_eq!(disk.served(), ["one.test"]);
    symlink("..2", disk.path("..next")).unwrap();
    fs::rename(disk.path("..next"), disk.path("..data")).unwrap();
    assert!(disk.look_twice());
    assert_eq!(disk.served(), ["two.test"]);
    assert_eq!(disk.ledger.status(NOW).len(), 1);
}
