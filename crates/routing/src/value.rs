//! Values of labels, text in and types out. Each function's error says what would be right; none
//! panics, whatever the text.

pub(crate) mod access;
pub(crate) mod balance;
pub(crate) mod bind;
pub(crate) mod host;
pub(crate) mod instant;
pub(crate) mod plain;
pub(crate) mod target;
pub(crate) mod upstream;
mod words;
