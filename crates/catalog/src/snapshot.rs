//! The writer and the readers of the snapshot.

use std::sync::Arc;

use tokio::sync::watch;
use waymark_model::{AppEntry, AppId, Catalog, Cluster, Version};

/// The only one who publishes.
pub struct Writer {
    next: Catalog,
    sender: watch::Sender<Arc<Catalog>>,
}

/// One who reads. Cloning makes another reader that has seen as much as this one.
#[derive(Clone)]
pub struct Reader {
    receiver: watch::Receiver<Arc<Catalog>>,
}

impl Writer {
    /// A writer whose first publication has version `last + 1`; pass the highest version that may
    /// ever have been published before (0 on a first start).
    pub fn new(last: Version) -> (Writer, Reader) {
        let next = Catalog { version: last, ..Catalog::default() };
        // Readers see version 0, "nothing published yet", until the first publication.
        let (sender, receiver) = watch::channel(Arc::new(Catalog::default()));
        (Writer { next, sender }, Reader { receiver })
    }

    /// Puts each app's new entry (`None` = gone) and publishes the result under the next version,
    /// which it returns. An entry equal to the present one keeps the present `Arc`.
    pub fn publish(
        &mut self,
        changes: impl IntoIterator<Item = (AppId, Option<AppEntry>)>,
    ) -> Version {
        for (app, entry) in changes {
            match entry {
                None => {
                    self.next.apps.remove(&app);
                }
                Some(entry) if self.next.apps.get(&app).is_some_and(|e| **e == entry) => {}
                Some(entry) => {
                    self.next.apps.insert(app, Arc::new(entry));
                }
            }
        }
        self.send()
    }

    /// Changes what is known of a Mesos cluster and publishes the result under the next version,
    /// which it returns; `None` when `change` says that there is nothing to publish. What does not
    /// change must keep its `Arc`, since readers compare pointers.
    pub fn publish_cluster(
        &mut self,
        change: impl FnOnce(&mut Cluster) -> bool,
    ) -> Option<Version> {
        change(&mut self.next.cluster).then(|| self.send())
    }

    fn send(&mut self) -> Version {
        self.next.version += 1;
        self.sender.send_replace(Arc::new(self.next.clone()));
        self.next.version
    }

    /// The version last published (or passed to [`Writer::new`]).
    pub fn version(&self) -> Version {
        self.next.version
    }

    /// Another reader.
    pub fn reader(&self) -> Reader {
        Reader { receiver: self.sender.subscribe() }
    }
}

impl Reader {
    /// The latest snapshot; version 0 before the first.
    pub fn latest(&self) -> Arc<Catalog> {
        self.receiver.borrow().clone()
    }

    /// Waits for a snapshot newer than the one this reader last got from here, and takes the
    /// latest. `None` when the writer is gone.
    pub async fn changed(&mut self) -> Option<Arc<Catalog>> {
        self.receiver.changed().await.ok()?;
        Some(self.receiver.borrow_and_update().clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use waymark_model::PathId;

    use super::*;

    fn entry(id: &AppId, label: u8) -> AppEntry {
        AppEntry {
            labels: BTreeMap::from([("l".to_owned(), label.to_string())]),
            ..AppEntry::new(id.clone(), "marathon")
        }
    }

    proptest! {
        /// Replaying only `changes_since` over any two snapshots gives the newer one.
        #[test]
        fn changes_carry_a_reader_forward(
            steps in prop::collection::vec(
                prop::collection::vec((0u8..40, prop::option::of(0u8..3)), 0..8), 1..20),
            skip in 1usize..4,
        ) {
            let (mut writer, reader) = Writer::new(41);
            let mut seen = reader.latest();
            let mut copy: BTreeMap<AppId, Arc<AppEntry>> = BTreeMap::new();
            for (n, step) in steps.iter().enumerate() {
                let version = writer.publish(step.iter().map(|(app, label)| {
                    let id = PathId::parse(&format!("/g/a{app}")).unwrap();
                    let entry = label.map(|l| entry(&id, l));
                    (id, entry)
                }));
                prop_assert_eq!(version, 42 + n as u64);
                if n % skip == 0 {
                    let now = reader.latest();
                    for change in now.changes_since(&seen) {
                        prop_assert_eq!(copy.get(change.app), change.before);
                        match change.after {
                            Some(entry) => copy.insert(change.app.clone(), entry.clone()),
                            None => copy.remove(change.app),
                        };
                    }
                    prop_assert!(now.apps.iter().eq(copy.iter()));
                    seen = now;
                }
            }
        }
    }

    #[test]
    fn an_equal_entry_is_no_change() {
        let (mut writer, reader) = Writer::new(0);
        let id = PathId::parse("/a").unwrap();
        writer.publish([(id.clone(), Some(entry(&id, 1)))]);
        let before = reader.latest();
        writer.publish([(id.clone(), Some(entry(&id, 1)))]);
        let after = reader.latest();
        assert!(Arc::ptr_eq(&before.apps[&id], &after.apps[&id]));
        assert_eq!(after.changes_since(&before).count(), 0);
    }

    #[test]
    fn a_cluster_is_published_beside_the_apps() {
        let (mut writer, reader) = Writer::new(0);
        let id = PathId::parse("/a").unwrap();
        writer.publish([(id.clone(), Some(entry(&id, 1)))]);
        assert_eq!(writer.publish_cluster(|_| false), None);
        assert_eq!(reader.latest().version, 1);
        let masters = Some(Arc::default());
        let version = writer.publish_cluster(|cluster| {
            cluster.masters = masters.clone();
            true
        });
        assert_eq!(version, Some(2));
        assert_eq!(reader.latest().cluster.masters, masters);
        assert!(reader.latest().apps.contains_key(&id));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_slow_reader_gets_the_latest() {
        let (mut writer, mut reader) = Writer::new(0);
        assert_eq!(reader.latest().version, 0);
        writer.publish([]);
        writer.publish([]);
        assert_eq!(reader.changed().await.map(|c| c.version), Some(2));
        drop(writer);
        assert!(reader.changed().await.is_none());
    }
}
