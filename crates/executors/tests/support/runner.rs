//! The hidden `task-runner` sub-command alone: the program that this crate's tests run as runner.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = waymark_executors::task_runner_main(std::env::args_os()) {
        return code;
    }
    ExitCode::from(2)
}
