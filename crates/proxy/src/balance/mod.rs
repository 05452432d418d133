//! Which of several candidates gets the next request or connection.
//!
//! Pure: who may take part, loads, costs and randomness are arguments; one file a way of choosing.
//! Each answers with the position of a candidate that takes part, or `None` when none does. Loads
//! and states are read where they are needed: other threads change them meanwhile, and a choice
//! made by a load of a moment ago is as good.

mod hash;
mod least_connections;
mod round_robin;
mod two_choices;

pub(crate) use hash::{Key, rendezvous};
pub(crate) use least_connections::least_connections;
pub(crate) use round_robin::{first, random, round_robin};
pub(crate) use two_choices::{peak_ewma, two_choices};
