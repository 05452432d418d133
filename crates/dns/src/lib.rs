//! Names for tasks: zone, answers, server.
