//! Certificates of the shared port of TLS, as curl and openssl see them, while files come and go.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, SignatureAlgorithm,
};
use serde_json::json;
use waymark_stories::{Waymark, eventually};

/// An authority that clients trust.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "stories");
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// Chain and key for these names.
    fn sign(&self, names: &[&str], algorithm: &'static SignatureAlgorithm) -> String {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        made.pem() + &key.serialize_pem()
    }
}

struct Story {
    waymark: Waymark,
    authority: Authority,
    /// The watched folder is in it, and what clients need.
    folder: tempfile::TempDir,
}

impl Story {
    /// Waymark with one app on two host names.
    fn start(files: &[(&str, &[&str], &'static SignatureAlgorithm)]) -> Story {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("ca.pem"), &authority.certificate).unwrap();
        let certs = folder.path().join("certs");
        fs::create_dir(&certs).unwrap();
        for (file, names, algorithm) in files {
            fs::write(certs.join(file), authority.sign(names, algorithm)).unwrap();
        }
        let flag = format!("--ssl-certs={}", certs.display());
        let waymark = Waymark::start(&["--https-port=0", "--http-port=0", &flag]);
        let app = json!({
            "id": "/web", "cmd": "exec waymark whoami --port $PORT0", "cpus": 0.001, "mem": 1,
            "labels": {"HAPROXY_0_VHOST": "a.test,b.test,x.b.test,c.test", "HAPROXY_0_MODE": "http"},
            "portDefinitions": [{"port": 0}],
        });
        assert_eq!(waymark.send("POST", "/v2/apps", &app).status, 201);
        waymark.wait_for_app("/web", 1);
        Story { waymark, authority, folder }
    }

    fn port(&self) -> String {
        let url = self.waymark.endpoint("https").expect("endpoints.json names https");
        url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned()
    }

    fn put(&self, file: &str, text: &str) {
        fs::write(self.certs().join(file), text).unwrap();
    }

    fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// The status of a request that trusts the authority alone, or curl's error.
    fn curl(&self, host: &str, more: &[&str]) -> Result<String, String> {
        let port = self.port();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "10", "--noproxy", "*", "-o", "/dev/null"]);
        curl.args(["-w", "%{http_code} HTTP/%{http_version}", "--cacert"]);
        curl.arg(self.folder.path().join("ca.pem"));
        curl.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]).args(more);
        let output = curl.arg(format!("https://{host}:{port}/")).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// What openssl says about a handshake.
    fn openssl(&self, more: &[&str]) -> String {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.port())]).args(more);
        let output = openssl.stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// As `openssl`, and waits for an answer: tickets of TLS 1.3 come after the handshake.
    fn openssl_that_asks(&self, more: &[&str]) -> String {
        use std::io::Write;
        let mut openssl = Command::new("openssl");
        let connect = format!("127.0.0.1:{}", self.port());
        openssl.args(["s_client", "-connect", &connect, "-servername", "a.test", "-ign_eof"]);
        let pipe = openssl.args(more).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipe.stderr(Stdio::null()).spawn().unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        child.stdin.as_mut().unwrap().write_all(request).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

const ECDSA: &SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;
const RSA: &SignatureAlgorithm = &PKCS_RSA_SHA256;

#[test]
fn the_certificate_is_that_of_the_name_and_of_a_kind_that_the_client_knows() {
    let story = Story::start(&[
        ("a.ecdsa.pem", &["a.test"], ECDSA),
        ("a.rsa.pem", &["a.test"], RSA),
        ("b.pem", &["*.b.test"], ECDSA),
    ]);
    let works = || story.curl("a.test", &[]).ok().filter(|status| status == "200 HTTP/2");
    eventually("a.test answers by HTTP/2", works);
    assert_eq!(story.curl("a.test", &["--http1.1"]).unwrap(), "200 HTTP/1.1");
    assert_eq!(story.curl("x.b.test", &[]).unwrap(), "200 HTTP/2");
    // The default one is shown, which is for another name.
    let error = story.curl("c.test", &[]).unwrap_err();
    assert!(error.contains("c.test"), "{error}");
    // The name that was asked for is served whatever the certificate; another one is not.
    assert_eq!(story.curl("c.test", &["-k"]).unwrap(), "200 HTTP/2");
    for version in ["--http1.1", "--http2"] {
        let status = story.curl("a.test", &[version, "-H", "Host: x.b.test"]).unwrap();
        assert!(status.starts_with("421 "), "{status}");
    }

    let any = story.openssl(&["-servername", "a.test"]);
    assert!(any.contains("Peer signature type: ECDSA"), "{any}");
    let rsa = ["-servername", "a.test", "-sigalgs", "rsa_pss_rsae_sha256:rsa_pkcs1_sha256"];
    let rsa = story.openssl(&rsa);
    assert!(rsa.contains("Peer signature type: RSA"), "{rsa}");
    // TLS 1.1 is gone (RFC 8996), 1.2 is not.
    let old = story.openssl(&["-servername", "a.test", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    assert!(!old.contains("Peer signature type"), "{old}");
    let second = story.openssl(&["-servername", "a.test", "-tls1_2"]);
    assert!(second.contains("Peer signature type: ECDSA"), "{second}");

    // A session goes on where it was, with both versions.
    for version in ["-tls1_2", "-tls1_3"] {
        let session = story.folder.path().join("session");
        let session = session.to_str().unwrap();
        let first = story.openssl_that_asks(&[version, "-sess_out", session]);
        assert!(first.contains("New, TLS"), "{first}");
        let again = story.openssl_that_asks(&[version, "-sess_in", session]);
        assert!(again.contains("Reused, TLS"), "{again}");
    }
}

#[test]
fn files_come_and_go_and_no_request_fails() {
    let story = Story::start(&[("a.pem", &["a.test"], ECDSA)]);
    eventually("a.test answers", || story.curl("a.test", &[]).ok());
    let ask = || story.curl("a.test", &[]).expect("a.test answers whatever the files");
    // What cannot be used stops nothing.
    story.put("a.pem", "-----BEGIN CERTIFICATE-----\nhalf writ");
    story.put("broken.pem", "nonsense");
    story.put("b.pem", &story.authority.sign(&["b.test"], RSA));
    eventually("b.test has its certificate", || {
        ask();
        story.curl("b.test", &[]).ok()
    });
    let text = story.authority.sign(&["a.test", "c.test"], ECDSA);
    // As Kubernetes does it: the file is a link to another one from one moment to the next.
    fs::write(story.folder.path().join("next.pem"), text).unwrap();
    let link = story.certs().join(".link");
    std::os::unix::fs::symlink(story.folder.path().join("next.pem"), &link).unwrap();
    fs::rename(link, story.certs().join("a.pem")).unwrap();
    eventually("the new certificate is served", || {
        ask();
        story.curl("c.test", &[]).ok()
    });
    fs::remove_file(story.certs().join("b.pem")).unwrap();
    eventually("the removed one is not served", || {
        ask();
        story.curl("b.test", &[]).err()
    });
    let log = story.waymark.errors() + &story.waymark.output();
    assert!(log.contains("broken.pem") && !log.contains("PRIVATE KEY"), "{log}");
}

#[test]
fn without_a_certificate_one_is_made() {
    let story = Story::start(&[]);
    eventually("it answers who does not verify", || story.curl("a.test", &["-k"]).ok());
    assert!(story.curl("a.test", &[]).is_err());
    let shown = story.openssl(&["-servername", "a.test"]);
    assert!(shown.contains("CN = *"), "{shown}");
}
