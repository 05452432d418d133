//! The hidden `task-runner` sub-command alone, and a control plane that dies: what this crate's
//! tests start as separate processes.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = waymark_executors::task_runner_main(std::env::args_os()) {
        return code;
    }
    ExitCode::from(2)
}
