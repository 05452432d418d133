//! Golden files, one a case: `golden/*.json` in, `golden/*.cfg` out. `WAYMARK_WRITE_GOLDEN=1` writes
//! the latter anew. Every one of them is given to a real HAProxy.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use waymark_haproxy::Rendered;
use waymark_haproxy::apply::Version;
use waymark_model::Timestamp;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = files.filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    cases.sort();
    cases
}

/// The last of a case's `steps` (lists of apps; each but the last is accepted), or its `apps`.
fn rendered(case: &Value) -> Rendered {
    let mut renderer = support::renderer(case);
    let single = vec![case["apps"].clone()];
    let steps = case["steps"].as_array().unwrap_or(&single);
    let mut last = None;
    for (n, apps) in steps.iter().enumerate() {
        if last.is_some() {
            renderer.accept();
        }
        let catalog = support::catalog(&json!({ "apps": apps }), n as u64 + 1);
        last = Some(renderer.render(&catalog, Timestamp(n as u64)).unwrap());
    }
    last.unwrap()
}

/// What a golden file holds. The head is left out but where it is what the case is about.
fn written(case: &Value, rendered: &Rendered) -> String {
    let begin = if case["head"] == json!(true) { 0 } else { body(&rendered.config) };
    let mut text = rendered.config[begin..].to_owned();
    for (name, map) in rendered.maps.iter().filter(|(_, map)| !map.is_empty()) {
        write!(text, "\n# {name}\n{map}").unwrap();
    }
    for refused in &rendered.refused {
        let kept = if refused.kept { "kept" } else { "left out" };
        writeln!(text, "\n# {kept}: {}: {}", refused.app, refused.reason).unwrap();
    }
    for conflict in &rendered.conflicts {
        writeln!(text, "\n# {conflict:?}").unwrap();
    }
    text
}

/// Where the head ends.
fn body(config: &str) -> usize {
    let begins = ["\nuserlist ", "\nfrontend marathon_http"];
    begins.iter().filter_map(|begin| config.find(begin)).min().unwrap()
}

#[test]
fn every_case_is_rendered_as_its_file_says() {
    let mut differ = Vec::new();
    for path in cases() {
        let case: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let text = written(&case, &rendered(&case));
        let golden = path.with_extension("cfg");
        if std::env::var_os("WAYMARK_WRITE_GOLDEN").is_some() {
            fs::write(&golden, &text).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != text {
            differ.push(format!("{}:\n{text}", golden.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n\n"));
}

/// The case's text as the HAProxy of this machine is to read it.
fn accepted(case: &Value, version: &str, folder: &Path) -> Result<(), String> {
    let mut case = case.clone();
    case["settings"]["haproxy"] = json!(version);
    case["settings"]["lua"] = json!(false);
    let rendered = rendered(&case);
    let folder_text = folder.to_str().unwrap();
    for (name, map) in &rendered.maps {
        fs::write(folder.join(name), map).unwrap();
    }
    let config = rendered.config.replace("/etc/haproxy/", &format!("{folder_text}/"));
    let config = config.replace("/etc/ssl/", &format!("{folder_text}/"));
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let output = Command::new("haproxy").arg("-c").arg("-f").arg(&file).output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn haproxy_accepts_every_case() {
    let banner = Command::new("haproxy").arg("-v").output().expect("haproxy is installed");
    let version = Version::read(&String::from_utf8_lossy(&banner.stdout)).unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("cert.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2"])
        .arg("-keyout")
        .arg(&pem)
        .arg("-out")
        .arg(folder.path().join("only.crt"))
        .output()
        .unwrap();
    assert!(made.status.success());
    let crt = fs::read_to_string(folder.path().join("only.crt")).unwrap();
    fs::write(&pem, fs::read_to_string(&pem).unwrap() + &crt).unwrap();
    for name in ["a.pem", "b.pem"] {
        fs::copy(&pem, folder.path().join(name)).unwrap();
    }
    let mut refused = Vec::new();
    for path in cases() {
        let case: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        if let Err(reason) = accepted(&case, &version, folder.path()) {
            refused.push(format!("{}:\n{reason}", path.display()));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
}
