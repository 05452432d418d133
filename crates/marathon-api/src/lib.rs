//! Marathon's JSON in both directions.
