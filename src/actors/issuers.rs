//! Who made which ticket, so that it can end with the device that made it.

use annals_events::{DeviceId, Hash};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Who asked for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issuer {
    /// Whoever runs the server.
    Admin,
    /// A device: what it made ends with it.
    Device(DeviceId),
}

/// Who asked for which ticket, while it is good. Lost with the process: then nobody knows.
#[derive(Default)]
pub(crate) struct Issuers(Mutex<BTreeMap<Hash, (Issuer, u64)>>);

impl Issuers {
    pub(crate) fn note(&self, ticket: Hash, issuer: Issuer, expires: u64, now: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, expires)| *expires > now);
        known.insert(ticket, (issuer, expires));
    }

    /// Whether that device made it, or may have.
    pub(super) fn may_be_of(&self, ticket: &Hash, device: DeviceId) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(ticket).is_none_or(|(issuer, _)| *issuer == Issuer::Device(device))
    }
}
