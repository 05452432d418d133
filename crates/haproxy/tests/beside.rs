//! Renders cases from a file, to be compared with what another program makes of them: a development
//! aid, without effect unless `WAYMARK_CASES` names the file (a JSON case a line). Writes one JSON
//! object a line beside it.

mod support;

use std::fmt::Write;

use serde_json::{Value, json};
use waymark_model::Timestamp;

#[test]
fn cases_are_rendered() {
    let Some(file) = std::env::var_os("WAYMARK_CASES") else { return };
    let mut out = String::new();
    for line in std::fs::read_to_string(&file).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut renderer = support::renderer(&case);
        let catalog = support::catalog(&json!({ "apps": case["apps"] }), 1);
        let rendered = renderer.render(&catalog, Timestamp(1)).unwrap();
        let refused: Vec<_> = rendered.refused.iter().map(|r| format!("{}: {}", r.app, r.reason)).collect();
        let answer = json!({
            "config": rendered.config, "maps": rendered.maps, "refused": refused,
            "conflicts": rendered.conflicts.len(),
        });
        writeln!(out, "{answer}").unwrap();
    }
    let mut answers = file;
    answers.push(".answers");
    std::fs::write(answers, out).unwrap();
}
