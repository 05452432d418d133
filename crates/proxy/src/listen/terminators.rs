//! TLS of service ports: what ends it at each, by the certificates that its label names.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tracing::warn;
use waymark_routing::PortRouting;

use crate::route::{ListenKey, RouteTable};
use crate::tls::Terminator;
use crate::worker::Worker;

/// What one worker has of them, for the service ports that somebody has asked for.
#[derive(Debug, Default)]
pub(crate) struct Terminators(RefCell<HashMap<ListenKey, Made, foldhash::fast::RandomState>>);

/// With the rules it was made from, to know when they have changed.
#[derive(Debug)]
struct Made {
    rules: Arc<PortRouting>,
    terminator: Arc<Terminator>,
}

impl Terminators {
    /// Forgets those of ports that have none any more.
    pub(crate) fn follow(&self, table: &RouteTable) {
        let has_tls = |key: &ListenKey| {
            table.listeners.get(key).is_some_and(|r| !r.certificates().is_empty())
        };
        self.0.borrow_mut().retain(|key, _| has_tls(key));
    }

    fn get(&self, key: &ListenKey, rules: &Arc<PortRouting>) -> Option<Arc<Terminator>> {
        let made = self.0.borrow();
        let made = made.get(key)?;
        let same = Arc::ptr_eq(&made.rules, rules)
            || (made.rules.certificates == rules.certificates
                && made.rules.mode == rules.mode
                && made.rules.bind_options == rules.bind_options);
        same.then(|| made.terminator.clone())
    }
}

/// What ends TLS at this service port. The first time its files are read, on another thread; `None`
/// if it cannot be made, which is logged.
pub(crate) async fn terminator(
    worker: &Rc<Worker>,
    key: ListenKey,
    rules: &Arc<PortRouting>,
) -> Option<Arc<Terminator>> {
    if let Some(made) = worker.terminators.get(&key, rules) {
        return Some(made);
    }
    let (certificates, wanted) = (worker.shared.certificates.clone(), rules.clone());
    let make = tokio::task::spawn_blocking(move || {
        certificates.terminator(&wanted.certificates, wanted.mode, &wanted.bind_options)
    });
    // It fails only when the program ends.
    match make.await.ok()? {
        Ok(terminator) => {
            let made = Made { rules: rules.clone(), terminator: terminator.clone() };
            worker.terminators.0.borrow_mut().insert(key, made);
            Some(terminator)
        }
        Err(error) => {
            if worker.shared.may_warn() {
                warn!(port = key.port, %error, "no TLS at a service port");
            }
            None
        }
    }
}
