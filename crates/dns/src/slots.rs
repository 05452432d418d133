//! The contributors of a zone by their numbers. Copies share their pages; a change copies one page
//! and the list of pages, and two copies are compared by comparing pages.

use std::sync::Arc;

use crate::records::Records;

/// Contributors a page.
const PAGE: usize = 256;

type Page = Arc<[Option<Arc<Records>>]>;

/// The contributors.
#[derive(Clone, Default)]
pub struct Slots {
    pages: Arc<[Page]>,
}

impl Slots {
    /// The records at a place.
    pub fn get(&self, slot: u32) -> Option<&Records> {
        self.shared(slot).map(|records| &**records)
    }

    /// The records at a place, to share them.
    pub fn shared(&self, slot: u32) -> Option<&Arc<Records>> {
        let slot = slot as usize;
        self.pages.get(slot / PAGE)?.get(slot % PAGE)?.as_ref()
    }

    /// Puts records at a place.
    pub fn set(&mut self, slot: u32, records: Option<Arc<Records>>) {
        let slot = slot as usize;
        if slot / PAGE >= self.pages.len() {
            self.grow(slot / PAGE + 1);
        }
        let page = Arc::make_mut(&mut self.pages).get_mut(slot / PAGE);
        if let Some(place) = page.and_then(|page| Arc::make_mut(page).get_mut(slot % PAGE)) {
            *place = records;
        }
    }

    /// At least doubles, so that filling it costs little.
    fn grow(&mut self, pages: usize) {
        let pages = pages.max(self.pages.len() * 2);
        let more = pages - self.pages.len();
        let empty = std::iter::repeat_with(|| std::iter::repeat_n(None, PAGE).collect());
        self.pages = self.pages.iter().cloned().chain(empty.take(more)).collect();
    }

    /// Every contributor with its place.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Records>)> {
        let all = self.pages.iter().flat_map(|page| page.iter());
        (0..).zip(all).filter_map(|(slot, records)| Some((slot, records.as_ref()?)))
    }

    /// The places that differ, with what they had and have. The cost is that of the change, and
    /// the comparison of a pointer for each page.
    pub fn changes<'s>(
        &'s self,
        before: &'s Slots,
    ) -> impl Iterator<Item = (u32, Option<&'s Arc<Records>>, Option<&'s Arc<Records>>)> {
        let pages = self.pages.len().max(before.pages.len());
        let changed =
            (0..pages).filter(move |page| match (before.pages.get(*page), self.pages.get(*page)) {
                (Some(a), Some(b)) => !Arc::ptr_eq(a, b),
                _ => true,
            });
        let slots = changed.flat_map(|page| page * PAGE..(page + 1) * PAGE);
        slots.filter_map(move |slot| {
            let slot = slot as u32;
            let (a, b) = (before.shared(slot), self.shared(slot));
            let same = match (a, b) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (a, b) => a.is_none() && b.is_none(),
            };
            (!same).then_some((slot, a, b))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stay_and_changes_are_found() {
        let records = || Some(Arc::new(Records::default()));
        let mut slots = Slots::default();
        assert!(slots.get(0).is_none());
        slots.set(3, records());
        let before = slots.clone();
        slots.set(1000, records());
        slots.set(3, records());
        slots.set(4, None);
        let changes: Vec<_> =
            slots.changes(&before).map(|(n, a, b)| (n, a.is_some(), b.is_some())).collect();
        assert_eq!(changes, [(3, true, true), (1000, false, true)]);
        assert!(before.get(1000).is_none() && slots.get(1000).is_some());
        assert_eq!(before.changes(&slots).count(), 2);
        assert_eq!(slots.changes(&slots.clone()).count(), 0);
        assert_eq!(slots.iter().map(|(n, _)| n).collect::<Vec<_>>(), [3, 1000]);
    }
}
