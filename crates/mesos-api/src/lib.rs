//! Mesos's JSON: state documents, operator events, and RecordIO, the framing of its streams.
