//! Health checks: what a probe's outcome means (pure), and making probes.
//!
//! ```text
//! control ──► Prober::watch/forget ──► probes ──► ProbeReport (channel) ──► control
//!                                                     └─► record() (pure) ──► Verdict
//! ```
//!
//! Nothing here kills or routes; it only says what was found.
