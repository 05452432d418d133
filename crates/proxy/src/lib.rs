//! Service ports to tasks: routes, balancers, listeners, relay.
