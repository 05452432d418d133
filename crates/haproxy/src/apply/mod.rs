//! How a running HAProxy comes to follow what was rendered: what HAProxy refuses is never installed, what the runtime API can
//! do is not reloaded, and what is on disk is always what a HAProxy that starts anew shall run.
//!
//! Input is a [`Rendered`](crate::Rendered); output are files, commands and reloads. `plan`, `frame`, `keywords`, `answers`,
//! `command`, `state_file` and `search` are pure; `socket` asks a running HAProxy, `validate` its program, `install` writes,
//! `reload` reloads, `supervise` starts it. Nothing here renders, and nothing touches a configuration that HAProxy has.

mod answers;
mod command;
mod frame;
mod install;
mod keywords;
mod plan;
mod reload;
mod search;
mod socket;
mod state_file;
mod supervise;
mod validate;
mod version;

pub use answers::{Info, Process, Processes, ServerNow, Servers, busy};
pub use command::{Command, Name};
pub use frame::{certificates, state_file as state_file_of, stops_hard};
pub use install::{Archive, Files, InstallError, Staged, replace};
pub use plan::{Difference, Leaving, Plan, Running, Why, deviation, difference, plan};
pub use reload::{Lingering, Method, Patience, ReloadError, detect, lingering, reload, split};
pub use search::{Found, search};
pub use socket::{Address, Socket, SocketError};
pub use state_file::reconcile;
pub use supervise::{End, Program, Supervised, supervise};
pub use validate::{ValidateError, Validator};
pub use version::{Capabilities, Version};
