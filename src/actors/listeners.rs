//! Who waits on the feed: so many at most, each can be told to go, and nothing is left of those who went.

use annals_engine::protocol::{Code, FeedEnd, Problem};
use annals_events::{DeviceId, NamespaceId, UserId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, oneshot};

/// How often one device may listen at once. One that comes back before it was noticed that it had gone takes the place
/// of its oldest.
const PER_DEVICE_MAX: usize = 4;
/// How often all devices of one account may.
const PER_USER_MAX: usize = 256;

/// Everybody who listens. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By device, the oldest first.
    listening: BTreeMap<(DeviceId, u64), Listener>,
    /// Who is to be asked how far they are once they come.
    questions: BTreeSet<(NamespaceId, DeviceId)>,
    next: u64,
    stopping: bool,
}

struct Listener {
    user: UserId,
    namespace: NamespaceId,
    tell: oneshot::Sender<FeedEnd>,
    ask: Arc<Notify>,
}

/// A place among those who listen, until it is dropped.
pub(crate) struct Seat {
    listeners: Listeners,
    id: (DeviceId, u64),
    /// Gets the word to go.
    pub(crate) told: oneshot::Receiver<FeedEnd>,
    /// Is notified when somebody wants to know how far the device is.
    pub(crate) asked: Arc<Notify>,
    /// Whether somebody wanted to know that before it came.
    pub(crate) was_asked: bool,
}

impl Listeners {
    /// A place for `device`, which acts for `user`, and wants to know of `namespace`.
    pub(crate) fn sit(
        &self,
        device: DeviceId,
        user: UserId,
        namespace: NamespaceId,
    ) -> Result<Seat, Problem> {
        let mut state = self.state();
        if state.stopping {
            return Err(Problem::new(Code::Busy, "the server stops"));
        }
        let own: Vec<_> =
            state.listening.range((device, 0)..=(device, u64::MAX)).map(|(id, _)| *id).collect();
        if own.len() >= PER_DEVICE_MAX {
            state.end(own[0], FeedEnd::Replaced);
        }
        if state.listening.values().filter(|listener| listener.user == user).count() >= PER_USER_MAX {
            let detail = format!("{PER_USER_MAX} of the account's devices listen already");
            return Err(Problem::new(Code::Busy, detail));
        }
        let (tell, told) = oneshot::channel();
        let id = (device, state.next);
        state.next += 1;
        let asked = Arc::new(Notify::new());
        state.listening.insert(id, Listener { user, namespace, tell, ask: Arc::clone(&asked) });
        let was_asked = state.questions.remove(&(namespace, device));
        Ok(Seat { listeners: self.clone(), id, told, asked, was_asked })
    }

    /// Asks everybody who listens to `namespace` how far they are: which devices those are.
    pub(crate) fn ask(&self, namespace: NamespaceId) -> BTreeSet<DeviceId> {
        let state = self.state();
        let there = state.listening.iter().filter(|(_, listener)| listener.namespace == namespace);
        there.map(|((device, _), listener)| (listener.ask.notify_one(), *device).1).collect()
    }

    /// Those of `devices` that do not listen are asked when they come to: as long as the server runs.
    pub(crate) fn ask_later(&self, namespace: NamespaceId, devices: impl Iterator<Item = DeviceId>) {
        let mut state = self.state();
        let is_there = |device: &DeviceId| {
            let own = state.listening.range((*device, 0)..=(*device, u64::MAX));
            own.into_iter().any(|(_, listener)| listener.namespace == namespace)
        };
        let absent: Vec<DeviceId> = devices.filter(|device| !is_there(device)).collect();
        state.questions.extend(absent.into_iter().map(|device| (namespace, device)));
    }

    /// Has `device` go wherever it listens.
    pub(crate) fn end(&self, device: DeviceId, end: FeedEnd) {
        let mut state = self.state();
        let own: Vec<_> =
            state.listening.range((device, 0)..=(device, u64::MAX)).map(|(id, _)| *id).collect();
        own.into_iter().for_each(|id| state.end(id, end));
    }

    /// Has everybody go, and lets nobody in any more.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        let all: Vec<_> = state.listening.keys().copied().collect();
        all.into_iter().for_each(|id| state.end(id, FeedEnd::Stopping));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.state().listening.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self, id: (DeviceId, u64), end: FeedEnd) {
        // Whoever went already is not told.
        self.listening.remove(&id).map(|listener| listener.tell.send(end));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.listeners.state().listening.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: NamespaceId = NamespaceId([7; 16]);

    fn device(n: u32) -> DeviceId {
        DeviceId([n.to_be_bytes(); 4].concat().try_into().unwrap())
    }

    #[test]
    fn a_device_that_listens_too_often_loses_its_oldest_place_and_no_other_device_does() {
        let listeners = Listeners::default();
        let other = listeners.sit(device(2), UserId([1; 16]), HOME).unwrap();
        let mut seats: Vec<Seat> =
            (0..=PER_DEVICE_MAX).map(|_| listeners.sit(device(1), UserId([1; 16]), HOME).unwrap()).collect();
        assert_eq!(listeners.count(), PER_DEVICE_MAX + 1);
        assert_eq!(seats[0].told.try_recv(), Ok(FeedEnd::Replaced));
        assert!(seats[1].told.try_recv().is_err());
        listeners.end(device(1), FeedEnd::Refused(Code::TokenRevoked));
        assert_eq!(seats[1].told.try_recv(), Ok(FeedEnd::Refused(Code::TokenRevoked)));
        assert_eq!(listeners.count(), 1);
        assert_eq!(listeners.ask(HOME), BTreeSet::from([device(2)]));
        assert_eq!(listeners.ask(NamespaceId([8; 16])), BTreeSet::new());
        drop(other);
        drop(seats);
        assert_eq!(listeners.count(), 0);
    }

    #[test]
    fn who_is_away_when_it_is_asked_is_asked_once_when_it_comes() {
        let listeners = Listeners::default();
        let sit = |n, namespace| listeners.sit(device(n), UserId([1; 16]), namespace).unwrap();
        let here = sit(1, HOME);
        listeners.ask_later(HOME, [device(1), device(2)].into_iter());
        assert!(!sit(2, NamespaceId([8; 16])).was_asked);
        assert!(!sit(1, HOME).was_asked && !here.was_asked);
        assert!(sit(2, HOME).was_asked && !sit(2, HOME).was_asked);
    }

    #[test]
    fn an_account_has_so_many_places_and_nobody_gets_one_from_a_server_that_stops() {
        let listeners = Listeners::default();
        let user = UserId([1; 16]);
        let sit = |n| listeners.sit(device(n), user, HOME);
        let mut seats: Vec<Seat> = (0..PER_USER_MAX as u32).map(|n| sit(n).unwrap()).collect();
        assert_eq!(sit(9999).err().map(|problem| problem.code), Some(Code::Busy));
        listeners.sit(device(9999), UserId([2; 16]), HOME).unwrap();
        seats.pop();
        seats.push(sit(9999).unwrap());
        listeners.stop();
        assert!(seats.iter_mut().all(|seat| seat.told.try_recv() == Ok(FeedEnd::Stopping)));
        assert_eq!(sit(1).err().map(|problem| problem.code), Some(Code::Busy));
    }
}
