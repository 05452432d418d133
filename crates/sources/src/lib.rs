//! What fills the catalog from clusters that somebody else runs.
