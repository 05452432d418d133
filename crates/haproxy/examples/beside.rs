//! Renders cases, to be compared with what another program makes of them: one JSON case (as in
//! tests/golden) a line on standard input, one JSON answer a line on standard output.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use waymark_model::Timestamp;

fn main() {
    for line in std::io::stdin().lines() {
        let case: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let catalog = support::catalog(&json!({ "apps": case["apps"] }), 1);
        let rendered = support::renderer(&case).render(&catalog, Timestamp(1)).unwrap();
        let refused = rendered.refused.iter().map(|r| format!("{}: {}", r.app, r.reason));
        let answer = json!({
            "config": rendered.config,
            "maps": rendered.maps,
            "refused": refused.collect::<Vec<_>>(),
            "conflicts": rendered.conflicts.len(),
        });
        println!("{answer}");
    }
}
