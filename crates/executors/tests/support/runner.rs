//! What this crate's tests start as separate processes: the hidden `task-runner` sub-command, and
//! `launch FOLDER UNIQUE COMMAND`, a control plane that launches one task and waits to be killed.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod sample;

use std::process::ExitCode;
use std::sync::Arc;

use waymark_executors::{Executor, LocalConfig, LocalExecutor};

fn main() -> ExitCode {
    if let Some(code) = waymark_executors::task_runner_main(std::env::args_os()) {
        return code;
    }
    let args: Vec<String> = std::env::args().collect();
    let [_, _, folder, unique, command] = args.as_slice() else { return ExitCode::from(2) };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (updates, mut told) = tokio::sync::mpsc::channel(16);
        let executor = LocalExecutor::new(LocalConfig::new(folder.into()), updates).unwrap();
        executor.launch(Arc::new(sample::task(sample::shell(command), unique)));
        while told.recv().await.is_some() {}
    });
    ExitCode::SUCCESS
}
