//! A balancer's statistics, read: HAProxy's CSV, which Waymark's own load balancer writes too.

/// The longest CSV that makes sense to read rows of: some ten thousand apps have less.
const MAX_ROWS: usize = 1_000_000;

/// What one balancer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Nothing: it does not answer, or not in a form that is understood.
    Silent,
    /// Its servers.
    Seen {
        /// Whether an old worker of it still has connections that these rows do not show.
        reloading: bool,
        /// One for each server of the deployment.
        rows: Vec<Row>,
    },
}

/// A server of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name, marathon-lb's: host, address unless it is the host, and port.
    pub server: String,
    /// What it is to the balancer.
    pub state: State,
    /// Whether a session is open at it or waits for it.
    pub busy: bool,
}

/// What a server is to a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It gets requests: `UP`, or `no check` where nobody asks it.
    Serving,
    /// It gets nothing new (`MAINT`, `DRAIN`).
    Draining,
    /// It fails its check, or is about to be believed up or down.
    Down,
}

/// Why a text is no statistics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// The first line does not name the columns.
    #[error("the answer is no statistics: its first line names no column {0:?}")]
    NoColumn(&'static str),
    /// More rows than any balancer has.
    #[error("the statistics have more than {MAX_ROWS} rows")]
    TooLong,
}

/// The servers of a backend. Rows that are short or hold no number where one should be are taken as
/// being busy or down: nothing is killed because of a row that makes no sense.
pub fn rows(csv: &str, backend: &str) -> Result<Vec<Row>, StatsError> {
    let mut lines = csv.lines();
    let head: Vec<&str> =
        lines.next().unwrap_or_default().trim_start_matches(['#', ' ']).split(',').collect();
    let column =
        |name: &'static str| head.iter().position(|c| *c == name).ok_or(StatsError::NoColumn(name));
    let (proxy, server, status) = (column("pxname")?, column("svname")?, column("status")?);
    let (queued, sessions) = (column("qcur")?, column("scur")?);
    let mut rows = Vec::new();
    for (number, line) in lines.enumerate() {
        if number >= MAX_ROWS {
            return Err(StatsError::TooLong);
        }
        // Only the last columns are free text that may hold a quoted comma; those here come before.
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
        let name = cell(server);
        if cell(proxy) != backend || matches!(name, "FRONTEND" | "BACKEND") {
            continue;
        }
        rows.push(Row {
            server: name.to_owned(),
            state: state(cell(status)),
            busy: some(cell(queued)) || some(cell(sessions)),
        });
    }
    Ok(rows)
}

fn state(status: &str) -> State {
    match status {
        "UP" | "no check" => State::Serving,
        "DRAIN" => State::Draining,
        // `MAINT (via …)` too.
        status if status.starts_with("MAINT") => State::Draining,
        // `UP 1/3` and `DOWN 1/2` among them: on the way from one to the other.
        _ => State::Down,
    }
}

/// Whether a cell says that there is one or more. Empty is what does not apply.
fn some(cell: &str) -> bool {
    !matches!(cell, "" | "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,status,weight,\n\
        web_10000,FRONTEND,,,3,5,8192,20,1,2,OPEN,,\n\
        web_10000,10_0_0_1_31000,0,0,2,3,,9,1,2,UP,1,\n\
        web_10000,10_0_0_1_31001,0,0,0,3,,9,1,2,no check,1,\n\
        web_10000,10_0_0_2_31000,0,0,0,3,,9,1,2,MAINT,1,\n\
        web_10000,10_0_0_2_31001,0,0,1,3,,9,1,2,MAINT,1,\n\
        web_10000,10_0_0_2_31002,1,0,0,3,,9,1,2,DRAIN,1,\n\
        web_10000,10_0_0_3_31000,0,0,0,3,,9,1,2,UP 1/3,1,\n\
        web_10000,10_0_0_3_31001,0,0,0,3,,9,1,2,DOWN,1,\n\
        web_10000,short\n\
        web_10000,BACKEND,0,0,3,5,8192,20,1,2,UP,1,\n\
        webb_10000,10_0_0_1_31000,0,0,2,3,,9,1,2,UP,1,\n";

    #[test]
    fn servers_of_one_backend() {
        use State::{Down, Draining, Serving};
        let rows = rows(CSV, "web_10000").unwrap();
        let seen: Vec<(&str, State, bool)> =
            rows.iter().map(|r| (r.server.as_str(), r.state, r.busy)).collect();
        let want = [
            ("10_0_0_1_31000", Serving, true),
            ("10_0_0_1_31001", Serving, false),
            ("10_0_0_2_31000", Draining, false),
            ("10_0_0_2_31001", Draining, true),
            ("10_0_0_2_31002", Draining, true),
            ("10_0_0_3_31000", Down, false),
            ("10_0_0_3_31001", Down, false),
            ("short", Down, false),
        ];
        assert_eq!(seen, want);
        assert_eq!(super::rows(CSV, "none_1").unwrap(), []);
    }

    #[test]
    fn what_is_no_statistics_is_refused() {
        for text in ["", "<html>", "# pxname,svname,status,\n"] {
            assert!(rows(text, "web_10000").is_err(), "{text:?}");
        }
    }
}
