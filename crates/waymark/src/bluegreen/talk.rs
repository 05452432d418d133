//! What is said to people, what they are asked, and Ctrl-C.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use waymark_bluegreen::{Light, Picture, Plan, Step, Waiting};

use super::drive::Colours;
use super::ending::Ending;
use super::flags::{Flags, Kind};
use super::{SHOWN_STEPS, id, seconds};
use crate::terminal;

/// The terminal.
pub struct Talk {
    kind: Kind,
    asks: bool,
    quiet: bool,
    started: Instant,
    told: String,
    stop: watch::Receiver<bool>,
}

impl Talk {
    /// Begins to listen for Ctrl-C and SIGTERM; the second one ends the process at once.
    pub fn new(flags: &Flags) -> Talk {
        let (stopping, stop) = watch::channel(false);
        tokio::spawn(async move {
            for signals in 0.. {
                interrupted().await;
                if signals > 0 {
                    std::process::exit(130);
                }
                terminal::note("stopping after the request that is under way");
                // Whoever does not listen any more has stopped.
                let _ = stopping.send(true);
            }
        });
        let started = Instant::now();
        let asks = !flags.force;
        Talk { kind: flags.kind, asks, quiet: flags.quiet, started, told: String::new(), stop }
    }

    /// Whether somebody wants it to stop.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Since it began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sleeps, unless somebody wants it to stop.
    pub async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Says something that matters.
    pub fn note(&self, text: &str) {
        terminal::note(text);
    }

    /// Says how far it has got, once.
    pub fn progress(&mut self, text: &str) {
        if !self.quiet && self.told != text {
            terminal::note(&format!("[{}] {text}", seconds(self.elapsed())));
            text.clone_into(&mut self.told);
        }
    }

    /// The app that is created: zdd.py prints it always.
    pub fn document(&self, app: &Value, dry_run: bool) {
        if self.kind == Kind::Zdd || dry_run {
            terminal::print(&format!("{app:#}\n"));
        }
    }

    /// What is going to be done.
    pub fn plan(&self, plan: &Plan, colours: &Colours) {
        if self.quiet {
            return;
        }
        let course = plan.course(colours.counts.0, colours.counts.1, SHOWN_STEPS);
        let steps: Vec<String> = course.iter().map(|(new, old)| format!("{new}+{old}")).collect();
        terminal::note(&format!(
            "plan: {} takes over from {}; tasks of both (new+old): {}{}",
            colours.new,
            colours.old,
            steps.join(", "),
            if course.len() == SHOWN_STEPS { ", …" } else { "" },
        ));
    }

    /// What people should know before a deployment begins.
    pub fn warn(&self, app: &Value, wished: Option<u64>) {
        if let Some(wished) = wished {
            terminal::note(&format!(
                "note: the document's {wished} instances have no effect; {} takes as many as the app \
                 before it has",
                id(app)
            ));
        }
        let checks = app.get("healthChecks").and_then(Value::as_array);
        if checks.is_none_or(Vec::is_empty) {
            terminal::note(
                "warning: the app has no health check: marathon-lb drains old tasks as soon as new ones \
                 are asked for, whether these run or not",
            );
        }
    }

    /// How things are, when that is news.
    pub fn show(&mut self, seen: &Picture, step: &Step, colours: &Colours) {
        let up = |side: &waymark_bluegreen::Side| {
            let serving = |b| side.count(b, |light| light == Light::Serving);
            (0..seen.balancers).map(serving).min().unwrap_or(0)
        };
        let out = seen.old.anywhere(|light| matches!(light, Light::Draining | Light::Drained));
        let what = match step {
            Step::Wait(Waiting::Marathon) => "tasks are starting".to_owned(),
            Step::Wait(Waiting::Answer) => "a balancer does not answer".to_owned(),
            Step::Wait(Waiting::Reload) => "a balancer is reloading".to_owned(),
            Step::Wait(Waiting::New) => "new tasks are not up everywhere yet".to_owned(),
            Step::Wait(Waiting::Capacity) => "too few tasks are up".to_owned(),
            Step::Wait(Waiting::Drain) if out => "sessions at drained tasks are open".to_owned(),
            Step::Wait(Waiting::Drain) => "old tasks are to be drained".to_owned(),
            Step::Advance { kill, cut, scale } => advance(kill, *cut, *scale, colours),
            Step::Delete { .. } => format!("deleting {}", colours.old),
            Step::Done => "both colours stay".to_owned(),
            Step::Fail(failure) => failure.to_string(),
        };
        let side = |name: &str, side: &waymark_bluegreen::Side| {
            format!("{name} {} up of {}", up(side), side.instances)
        };
        let text =
            format!("{}, {}: {what}", side(&colours.new, &seen.new), side(&colours.old, &seen.old));
        self.progress(&text);
    }

    /// Asks before the deployment begins. Of `bluegreen` only whoever sits at a terminal.
    pub async fn first_question(&mut self, question: &str) -> Result<(), Ending> {
        if self.kind == Kind::BlueGreen && !stdin().is_terminal() {
            self.asks = false;
        }
        self.ask(question).await?;
        self.asks &= self.kind == Kind::Zdd;
        Ok(())
    }

    /// Asks `question`; a mere Enter is yes, and the end of the input is no.
    pub async fn ask(&mut self, question: &str) -> Result<(), Ending> {
        if !self.asks {
            return Ok(());
        }
        loop {
            let mut out = stdout();
            // Who cannot see the question can still answer it.
            let _ = write!(out, "{question} [Y/n] ").and_then(|()| out.flush());
            let line = tokio::task::spawn_blocking(|| {
                let mut line = String::new();
                stdin().read_line(&mut line).map(|length| (length, line))
            });
            let answer = tokio::select! {
                answer = line => answer,
                _ = self.stop.wait_for(|stop| *stop) => return Err(Ending::Interrupted),
            };
            let nobody =
                || Ending::Refused("nobody answers the question; --force asks none".to_owned());
            let (length, line) = answer.map_err(|_| nobody())?.map_err(|_| nobody())?;
            match line.trim().to_ascii_lowercase().as_str() {
                "" if length == 0 => return Err(nobody()),
                "" | "y" | "ye" | "yes" => return Ok(()),
                "n" | "no" => return Err(Ending::Refused("refused".to_owned())),
                _ => terminal::note("Please respond with 'yes' or 'no' (or 'y' or 'n')."),
            }
        }
    }

    /// From now on nobody is asked: what must be undone is undone.
    pub fn ask_no_more(&mut self) {
        self.asks = false;
    }
}

fn advance(kill: &[String], cut: bool, scale: Option<u32>, colours: &Colours) -> String {
    let kills = match (kill.len(), cut) {
        (0, _) => None,
        (n, false) => Some(format!("killing {n} drained tasks of {}", colours.old)),
        (n, true) => Some(format!("killing {n} tasks of {} with open sessions", colours.old)),
    };
    let scale = scale.map(|n| format!("scaling {} to {n}", colours.new));
    [kills, scale].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Ctrl-C or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => _ = signals.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        // Where it cannot be listened for, it ends the process as ever.
        Ok(()) = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
