//! Open questions: the same question of several clients goes out once.
//!
//! The table is bounded. A place in it is given back when its search ends, however it ends; who
//! waits for a search that ended without a word is told so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::request::Key;

/// The open questions, each with a value to come.
#[derive(Debug)]
pub(super) struct Flights<T> {
    table: Mutex<HashMap<Key, watch::Receiver<Option<T>>>>,
    limit: usize,
}

/// What a client gets that asks.
#[derive(Debug)]
pub(super) enum Seat<T> {
    /// It is the first: somebody has to search, and land.
    First(Flight<T>, Wait<T>),
    /// Somebody does.
    Joined(Wait<T>),
    /// Too many questions are open.
    Full,
}

/// A search. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Flight<T> {
    flights: Arc<Flights<T>>,
    key: Key,
    sender: watch::Sender<Option<T>>,
}

/// Waits for a search.
#[derive(Debug)]
pub(super) struct Wait<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Flights<T> {
    pub(super) fn new(limit: usize) -> Arc<Flights<T>> {
        Arc::new(Flights { table: Mutex::default(), limit })
    }

    /// Takes a seat.
    pub(super) fn board(self: &Arc<Flights<T>>, key: &Key) -> Seat<T> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = table.get(key) {
            return Seat::Joined(Wait(receiver.clone()));
        }
        if table.len() >= self.limit {
            return Seat::Full;
        }
        let (sender, receiver) = watch::channel(None);
        table.insert(key.clone(), receiver.clone());
        Seat::First(Flight { flights: self.clone(), key: key.clone(), sender }, Wait(receiver))
    }

    /// Open questions now.
    pub(super) fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl<T> Flight<T> {
    /// Ends the search with a value for all who wait.
    pub(super) fn land(self, value: T) {
        self.sender.send_replace(Some(value));
    }
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        self.flights.table.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<T: Clone> Wait<T> {
    /// The value; `None` when the search ended without one.
    pub(super) async fn landed(&mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|value| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        [n].as_slice().into()
    }

    #[tokio::test]
    async fn one_search_for_all() {
        let flights = Flights::<u32>::new(2);
        let Seat::First(flight, mut first) = flights.board(&key(1)) else { panic!("first") };
        let Seat::Joined(mut second) = flights.board(&key(1)) else { panic!("joined") };
        let Seat::First(other, mut alone) = flights.board(&key(2)) else { panic!("other") };
        assert!(matches!(flights.board(&key(3)), Seat::Full));
        assert!(matches!(flights.board(&key(2)), Seat::Joined(_)), "the full table is joined");
        assert_eq!(flights.len(), 2);
        flight.land(7);
        assert_eq!((first.landed().await, second.landed().await), (Some(7), Some(7)));
        assert!(matches!(flights.board(&key(3)), Seat::First(..)));
        drop(other);
        assert_eq!(alone.landed().await, None);
        assert_eq!(flights.len(), 0);
    }
}
