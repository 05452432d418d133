//! One rendered configuration: the text, and beside it what the text says of servers, so that whoever applies it can
//! compare two of them without parsing.
//!
//! Made by the renderer, read by the applier and by `waymark shadow`. Nothing here does I/O.

use std::collections::BTreeMap;

/// What one run of the renderer gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The whole of `haproxy.cfg`.
    pub config: String,
    /// Map files by their name in the folder of the configuration (`domain2backend.map`, `app2backend.map`). Without
    /// `--haproxy-map` both are there and empty, as marathon-lb truncates them.
    pub maps: BTreeMap<String, String>,
    /// [`config`](Self::config) without the `server` lines of services: two configurations with equal frames differ in
    /// servers only. Lines of which [`Server`] does not say all (`templated`) are in it.
    pub frame: String,
    /// Every service's backend by its name in HAProxy.
    pub backends: BTreeMap<String, Backend>,
    /// Apps of which something could not be rendered, with the reason, in the order of their names.
    pub refused: Vec<Refused>,
    /// Services that want the same name or port.
    pub conflicts: Vec<Conflict>,
}

/// The servers of one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// Name of the app that it belongs to, as in Marathon (`/shop/web`).
    pub app: String,
    /// In the order of their lines.
    pub servers: Vec<Server>,
}

/// One `server` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name of the server (`10_20_0_11_31001`).
    pub name: String,
    /// Value of `id`.
    pub id: u32,
    /// Address, as text: what stands before the colon.
    pub address: String,
    /// Port of the task.
    pub port: u16,
    /// Everything after the address: `id`, cookie and check options and what a template adds, without `disabled`.
    pub options: String,
    /// Whether the line ends with `disabled`: the server is being drained.
    pub disabled: bool,
    /// Whether a label or template replaced the line's form: then the fields above may not say all of it.
    pub templated: bool,
}

/// Why an app, or its change, is not in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The app's name (`/shop/web`).
    pub app: String,
    /// The reason, for whoever wrote the app: what, where, what would be right.
    pub reason: String,
    /// Whether the app is served by its last good form meanwhile.
    pub kept: bool,
}

/// Two services that want the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Two services have one name (`/a/b` and `/a_b`, or two ports of an app with one number). The
    /// text has the first.
    Name {
        /// The name.
        backend: String,
        /// The app whose service is in the text.
        written: String,
        /// The app whose service is not.
        left_out: String,
    },
    /// Two services are bound to one address and port. Both are in the text, as marathon-lb has it,
    /// and the kernel spreads connections over them.
    Bind {
        /// The address as the label has it.
        address: String,
        /// The port.
        port: u16,
        /// The two backends.
        backends: [String; 2],
    },
}
