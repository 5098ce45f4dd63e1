//! A server that was put back to an older copy: whom it believes, and under which key it goes on.
//!
//! What must always hold: what is taken back was signed by a server of this stream, and stands in the log with its dots
//! as they were; before anything else a server that knows that it lost something takes another key, so that it signs
//! nothing under a dot that it used.

use super::{Issued, Namespace};
use annals_events::{Batch, DeviceId, PublicKey, Record, epoch};
use ed25519_dalek::SigningKey;

impl Namespace {
    /// Whether a server of this stream signed the receipt of `record`: one that is known, or that `record` introduces.
    /// `own` are keys that this server has or had: by them also the first record of a stream that was lost is known.
    #[must_use]
    pub fn believes(&self, record: &Record, own: &[PublicKey]) -> bool {
        let server = record.admission().admitted_by;
        let of_own = || own.iter().find(|key| DeviceId::of_key(key) == server).copied();
        let known = |server| self.server_key(server);
        let key = known(server).or_else(|| {
            let begins = self.projections.head().seq.0 == 0;
            let introduced = epoch::introduced(record.batch(), begins, known)?;
            if begins { of_own() } else { Some(introduced) }
        });
        key.is_some_and(|key| record.verify_receipt(&key).is_ok())
    }

    /// Goes on as the server that holds `key`; what has to be submitted before anything else, signed with the key that
    /// the stream's last server had. None if nothing has to be.
    pub fn take_key(&mut self, key: SigningKey, former: &[SigningKey], now_ms: u64) -> Option<Batch> {
        self.server = DeviceId::of_key(&public(&key));
        self.key = key;
        let begun = self.projections.head().seq.0 > 0;
        if !begun || self.server_key(self.server).is_some() {
            return None;
        }
        let of = |key: &SigningKey| DeviceId::of_key(&public(key));
        let former = former.iter().rev().find(|key| self.server_key(of(key)).is_some())?;
        let server = public(&self.key);
        let fact = epoch::open(former, self.projections.namespace(), server);
        Some(self.issue(now_ms, vec![Issued { fact, body: None }]))
    }

    /// Whether the log lacks `record` although this server signed it with the key that it has: then it lost something
    /// since it took that key.
    #[must_use]
    pub fn has_lost(&self, record: &Record) -> bool {
        record.admission().admitted_by == self.server
            && !self.projections.devices().contains(record.batch().dot(0))
    }
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}
