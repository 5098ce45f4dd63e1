//! What a server signs with, now and before: after it lost state it goes on under another key.
//!
//! What must always hold: a key is written down durably before anything is signed with it; what it replaced is kept,
//! for it has to vouch for the new one in every namespace that was not at work since.

use annals_engine::protocol::{Code, Problem};
use annals_events::PublicKey;
use ed25519_dalek::SigningKey;
use std::{
    io,
    sync::{RwLock, RwLockReadGuard},
};

/// Writes down a new key, and those before it, oldest first.
pub type KeepKeys = Box<dyn Fn(&SigningKey, &[SigningKey]) -> io::Result<()> + Send + Sync>;

/// A server's keys.
pub struct Keys {
    held: RwLock<Held>,
    keep: KeepKeys,
}

#[derive(Clone)]
struct Held {
    current: SigningKey,
    former: Vec<SigningKey>,
}

impl Keys {
    /// These, the former ones oldest first.
    #[must_use]
    pub fn new(current: SigningKey, former: Vec<SigningKey>, keep: KeepKeys) -> Self {
        Self { held: RwLock::new(Held { current, former }), keep }
    }

    /// What is signed with from now on.
    #[must_use]
    pub fn current(&self) -> SigningKey {
        self.held().current.clone()
    }

    /// The public half of that.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        public(&self.held().current)
    }

    /// What was signed with before, the oldest first.
    #[must_use]
    pub fn former(&self) -> Vec<SigningKey> {
        self.held().former.clone()
    }

    /// The public halves of all that this server ever signed with, as far as it remembers.
    #[must_use]
    pub fn known(&self) -> Vec<PublicKey> {
        let held = self.held();
        held.former.iter().chain([&held.current]).map(public).collect()
    }

    /// Goes on with another key in place of `lost`; nothing where that was done.
    ///
    /// # Errors
    /// Where it cannot be written down: then it goes on with none.
    pub fn renew(&self, lost: PublicKey, secret: [u8; 32]) -> Result<(), Problem> {
        let mut held = self.held.write().expect("nothing panics while it holds the lock");
        if public(&held.current) != lost {
            return Ok(());
        }
        let mut next = Held { current: SigningKey::from_bytes(&secret), former: held.former.clone() };
        next.former.push(held.current.clone());
        (self.keep)(&next.current, &next.former).map_err(|why| {
            tracing::error!(%why, "a new key could not be written down");
            Problem::plain(Code::LogUnavailable)
        })?;
        *held = next;
        Ok(())
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().expect("nothing panics while it holds the lock")
    }
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}
