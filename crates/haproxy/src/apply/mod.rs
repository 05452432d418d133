//! How a running HAProxy comes to follow what was rendered: what HAProxy refuses is never installed, what the runtime API can
//! do is not reloaded, and what is on disk is always what a HAProxy that starts anew shall run.
//!
//! Input is a [`Rendered`](crate::Rendered); output are files, commands and reloads. `plan`, `frame`, `keywords`, `answers`,
//! `command`, `state_file` and `search` are pure; `socket` asks a running HAProxy, `validate` its program, `install` writes,
//! `reload` reloads, `supervise` starts it. [`Applier`] puts
//! them together (`applier`, `accept`, `look`), [`start`] gives it a thread. Nothing here renders, and nothing touches a configuration that HAProxy has.

mod accept;
mod answers;
mod applier;
mod command;
mod frame;
mod install;
mod keywords;
mod look;
mod options;
mod plan;
mod reload;
mod run;
mod search;
mod socket;
mod state_file;
mod supervise;
mod validate;
mod version;

pub use answers::{Info, Process, Processes, ServerNow, Servers};
pub use applier::Applier;
pub use command::{Command, Name};
pub use install::{Archive, Files, InstallError, Staged, replace};
pub use options::{ApplyError, Options, Outcome, Status, Wanted, Without};
pub use plan::{Difference, Leaving, Plan, Running, Why, deviation, difference, plan};
pub use reload::{Lingering, Method, Patience, ReloadError, detect, lingering, reload, split};
pub use run::{Handle, start};
pub use search::{Found, search};
pub use socket::{Address, Socket, SocketError};
pub use state_file::reconcile;
pub use supervise::{End, Program, Supervised, supervise};
pub use validate::{ValidateError, Validator};
pub use version::{Capabilities, Version};
