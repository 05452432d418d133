//! Scenario files: reading, comparing, writing. README.md beside this tells the format.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What a comment at the top begins with that says why Waymark differs anywhere in the file.
const REASON: &str = "# Waymark:";

/// One file.
pub struct Scenario {
    path: PathBuf,
    /// What stands above the first block.
    about: Vec<String>,
    pub blocks: Vec<Block>,
}

/// A heading and the lines below it.
pub struct Block {
    pub heading: String,
    lines: Vec<String>,
}

impl Scenario {
    /// All files below a folder.
    pub fn all(folder: &Path) -> Vec<Scenario> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        let here = files.into_iter().filter(|path| path.extension() == Some("scenario".as_ref()));
        let mut all: Vec<Scenario> = here.map(Scenario::read).collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all.into_iter().chain(folders.iter().flat_map(|folder| Scenario::all(folder))).collect()
    }

    fn read(path: PathBuf) -> Scenario {
        let text = fs::read_to_string(&path).unwrap();
        let mut scenario = Scenario { path, about: Vec::new(), blocks: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let is_heading = !line.starts_with([' ', '+', '-', '#']);
            if is_heading {
                scenario.blocks.push(Block { heading: line.to_owned(), lines: Vec::new() });
            } else if let Some(block) = scenario.blocks.last_mut() {
                block.lines.push(line.to_owned());
            } else {
                scenario.about.push(line.to_owned());
            }
        }
        scenario
    }

    /// The JSON below a heading; `null` when there is no such heading.
    pub fn json(&self, heading: &str) -> Value {
        let block = self.blocks.iter().find(|block| block.heading == heading);
        block.map_or(Value::Null, |block| {
            serde_json::from_str(&block.lines.join("\n"))
                .unwrap_or_else(|e| panic!("{}: {heading}: {e}", self.name()))
        })
    }

    /// Compares a block with what Waymark says.
    pub fn check(&self, block: usize, said: &[String]) -> Result<(), String> {
        let block = &self.blocks[block];
        let mut expected = block.marked(&[' ', '+']);
        let mut said = said.to_vec();
        expected.sort();
        said.sort();
        let differs = block.lines.iter().any(|line| line.starts_with(['+', '-']));
        let mut comments = self.about.iter().filter(|line| line.starts_with(REASON));
        if differs && comments.next().is_none() && !block.lines[0].starts_with('#') {
            return Err("no reason is given why Waymark differs".to_owned());
        }
        let only = |mark: &str, of: &[String], other: &[String]| -> String {
            of.iter().filter(|l| !other.contains(l)).map(|l| format!("{mark} {l}\n")).collect()
        };
        let wrong = only("missing:", &expected, &said) + &only("unexpected:", &said, &expected);
        if expected == said { Ok(()) } else { Err(wrong) }
    }

    pub fn name(&self) -> String {
        self.path.file_stem().unwrap().to_string_lossy().into_owned()
    }

    pub fn write(&self) {
        let mut text = self.about.join("\n");
        for block in &self.blocks {
            text += &format!("\n\n{}\n{}", block.heading, block.lines.join("\n"));
        }
        fs::write(&self.path, text + "\n").unwrap();
    }
}

impl Block {
    /// Marks the lines by what Waymark says.
    pub fn mark(&mut self, said: &[String]) {
        let mesos_dns = self.marked(&[' ', '-']);
        let reasons = self.lines.iter().filter(|line| line.starts_with('#')).cloned();
        let theirs = mesos_dns
            .iter()
            .map(|line| format!("{} {line}", if said.contains(line) { ' ' } else { '-' }));
        let ours = said.iter().filter(|line| !mesos_dns.contains(line)).map(|l| format!("+ {l}"));
        self.lines = reasons.chain(theirs).chain(ours).collect();
    }

    fn marked(&self, marks: &[char]) -> Vec<String> {
        let lines = self.lines.iter().filter(|line| line.starts_with(marks));
        lines.map(|line| line[1..].trim_start().to_owned()).collect()
    }
}
