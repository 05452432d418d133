//! Families of metrics as OpenMetrics text.

use std::fmt::{Display, Write};

/// Writes one family: its head, then a line for each sample.
pub struct Family<'a> {
    out: &'a mut String,
    name: &'a str,
    suffix: &'a str,
}

impl<'a> Family<'a> {
    /// Numbers that only grow; `_total` is added.
    pub fn counter(out: &'a mut String, name: &'a str, help: &str) -> Family<'a> {
        Family::new(out, name, "counter", "_total", help)
    }

    /// Numbers that go up and down.
    pub fn gauge(out: &'a mut String, name: &'a str, help: &str) -> Family<'a> {
        Family::new(out, name, "gauge", "", help)
    }

    /// How often something took how long, for [`Family::buckets`].
    pub fn histogram(out: &'a mut String, name: &'a str, help: &str) -> Family<'a> {
        Family::new(out, name, "histogram", "", help)
    }

    fn new(
        out: &'a mut String,
        name: &'a str,
        kind: &str,
        suffix: &'a str,
        help: &str,
    ) -> Family<'a> {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { out, name, suffix }
    }

    /// One sample. Labels are `key="value"` pairs joined by commas; no value here needs escaping.
    pub fn sample(&mut self, labels: &str, value: impl Display) {
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.out, "{}{}{braces} {value}", self.name, self.suffix);
    }
}

impl Family<'_> {
    /// One histogram: how many were in each bucket, the buckets' upper ends in seconds (the last
    /// one has none), and the sum.
    pub fn buckets(&mut self, labels: &str, counts: &[u64], ends: &[f64], sum: f64) {
        let (name, mut total) = (self.name, 0);
        let ends = ends.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (n, end) in counts.iter().zip(ends) {
            total += n;
            let _ = writeln!(self.out, "{name}_bucket{{{labels},le=\"{end}\"}} {total}");
        }
        let _ =
            writeln!(self.out, "{name}_count{{{labels}}} {total}\n{name}_sum{{{labels}}} {sum}");
    }
}
