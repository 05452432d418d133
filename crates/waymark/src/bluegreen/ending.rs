//! How a deployment ends, and with which exit code.

use std::process::ExitCode;

use waymark_bluegreen::{DocumentError, Failure};

/// Why a deployment did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Ending {
    /// Somebody said no at a question, or there was nobody to ask.
    #[error("{0}")]
    Refused(String),
    /// A file, a credential or a flag is not usable.
    #[error("{0}")]
    Usage(String),
    /// The flags do not fit what is there.
    #[error("{0}")]
    Misfit(String),
    /// The document cannot be deployed.
    #[error("{file}: {error}")]
    Document {
        /// Which file.
        file: String,
        /// What is wrong.
        error: DocumentError,
    },
    /// A balancer does not answer.
    #[error("{0}")]
    Balancer(String),
    /// Marathon does not answer, or not as Marathon does.
    #[error("{0}")]
    Marathon(String),
    /// The new app was not created.
    #[error("the app was not created: {0}")]
    Create(String),
    /// The old app was not deleted.
    #[error("the old app was not deleted: {0}")]
    Delete(String),
    /// Tasks were not killed, or an app not scaled.
    #[error("an app was not scaled: {0}")]
    Scale(String),
    /// It cannot go on.
    #[error("{0}")]
    Stuck(Failure),
    /// The hook said no.
    #[error("{0}")]
    Hook(String),
    /// It failed and was taken back.
    #[error("rolled back, the old app serves as before; the new one failed: {0}")]
    RolledBack(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Ending {
    /// zdd.py's exit code, as far as it has one.
    fn code(&self) -> u8 {
        match self {
            Ending::Refused(_) => 1,
            Ending::Usage(_) | Ending::Stuck(_) | Ending::Hook(_) => 2,
            Ending::Misfit(_) => 3,
            Ending::Document { .. } => 4,
            Ending::Balancer(_) => 5,
            Ending::Marathon(_) => 6,
            Ending::Create(_) => 7,
            Ending::Delete(_) => 8,
            Ending::Scale(_) => 9,
            Ending::RolledBack(_) => 10,
            Ending::Interrupted => 130,
        }
    }

    /// Whether taking the new app back mends it: the new app is at fault, not Marathon or a balancer.
    pub fn is_fault_of_the_new_app(&self) -> bool {
        match self {
            Ending::Stuck(failure) => *failure != Failure::Silent,
            Ending::Hook(_) => true,
            _ => false,
        }
    }
}

impl From<&Ending> for ExitCode {
    fn from(ending: &Ending) -> ExitCode {
        ExitCode::from(ending.code())
    }
}
