//! Showing progress: a live display on a terminal, a line for each change otherwise.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use waymark_model::AppId;

use super::progress::{Row, counted};
use crate::telemetry::Screen;

/// Apps with a line of their own in the live display; the others are counted in one line.
const MAX_LINES: usize = 16;
/// Shown one after another before apps that are on their way.
const SPINNER: [char; 4] = ['|', '/', '-', '\\'];

/// Shows progress until it is dropped.
pub enum Display {
    /// On a terminal.
    Live {
        /// The screen's live part.
        area: MultiProgress,
        /// Its lines.
        bars: Vec<ProgressBar>,
        /// How often it was drawn.
        frame: usize,
    },
    /// In a pipe or a file.
    Plain {
        /// Where lines go.
        screen: Screen,
        /// What was said last of each app.
        said: HashMap<AppId, String>,
    },
}

impl Display {
    /// As the screen allows.
    pub fn new(screen: &Screen) -> Display {
        match screen.live() {
            Some(area) => Display::Live { area: area.clone(), bars: Vec::new(), frame: 0 },
            None => Display::Plain { screen: screen.clone(), said: HashMap::new() },
        }
    }

    /// Shows how it is now.
    pub fn show(&mut self, rows: &[Row]) {
        match self {
            Display::Plain { screen, said } => say_changes(screen, said, rows),
            Display::Live { area, bars, frame } => {
                *frame += 1;
                let lines = live_lines(rows, SPINNER[*frame % SPINNER.len()]);
                while bars.len() < lines.len() {
                    let style = ProgressStyle::with_template("{msg}")
                        .unwrap_or_else(|_| ProgressStyle::default_spinner());
                    bars.push(area.add(ProgressBar::new_spinner().with_style(style)));
                }
                for (bar, line) in bars.iter().zip(lines) {
                    bar.set_message(line);
                    bar.tick();
                }
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Display::Live { area, bars, .. } = self {
            bars.iter().for_each(ProgressBar::finish_and_clear);
            // A terminal that is gone needs no clearing.
            let _ = area.clear();
        }
    }
}

fn say_changes(screen: &Screen, said: &mut HashMap<AppId, String>, rows: &[Row]) {
    for row in rows {
        let line = line(row);
        if said.get(&row.app) != Some(&line) {
            screen.write(format!("{line}\n").as_bytes());
            said.insert(row.app.clone(), line);
        }
    }
}

fn live_lines(rows: &[Row], spinner: char) -> Vec<String> {
    let ready = rows.iter().filter(|row| row.ready).count();
    let mut lines = vec![format!("{ready} of {} apps as wanted", rows.len())];
    // With many apps, those that still need something are the ones to look at.
    let shown = |row: &&Row| rows.len() <= MAX_LINES || !row.ready;
    for row in rows.iter().filter(shown).take(MAX_LINES) {
        let mark = if row.ready { '*' } else { spinner };
        lines.push(format!(" {mark} {}", line(row)));
    }
    lines
}

fn line(row: &Row) -> String {
    let note = if row.note.is_empty() { String::new() } else { format!("  ({})", row.note) };
    format!("{} {}{note}", row.app, counted(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, good: u32, ready: bool) -> Row {
        let app = AppId::parse(id).unwrap();
        Row { app, good, wanted: 2, checked: true, ready, note: String::new() }
    }

    #[test]
    fn with_many_apps_only_the_unready_have_lines() {
        let few = [row("/a", 2, true), row("/b", 1, false)];
        assert_eq!(
            live_lines(&few, '|'),
            ["1 of 2 apps as wanted", " * /a 2/2 healthy", " | /b 1/2 healthy"]
        );
        let many: Vec<Row> = (0..100).map(|n| row(&format!("/a{n}"), 2, n != 50)).collect();
        assert_eq!(live_lines(&many, '|'), ["99 of 100 apps as wanted", " | /a50 2/2 healthy"]);
    }
}
