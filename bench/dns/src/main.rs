//! CPU time per DNS query, beside the peers.

fn main() {}
