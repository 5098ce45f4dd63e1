//! Records without rules: for the contract, for measurements, and wherever a log is to be filled.

use super::Head;
use crate::{
    batch::{Batch, Draft},
    causality::{DotSet, VersionVector},
    event::{Body, EntryKind, Fact},
    hlc::Hlc,
    id::{DeviceId, EntryId, NamespaceId, PublicKey, Seq},
    path::Name,
    record::Record,
};
use ed25519_dalek::SigningKey;
use std::sync::Arc;

/// A device that writes batches and a server that admits them, without any of the rules: for logs, whose business
/// rules are not.
pub struct Author {
    key: SigningKey,
    server: SigningKey,
    namespace: NamespaceId,
    counter: u64,
    head: Head,
}

impl Author {
    /// Device `device` in namespace `namespace`, both by number, that goes on from `head`.
    #[must_use]
    pub fn new(device: u8, namespace: u8, head: Head) -> Self {
        Self {
            key: SigningKey::from_bytes(&[device; 32]),
            server: SigningKey::from_bytes(&[255; 32]),
            namespace: NamespaceId([namespace; 16]),
            counter: 0,
            head,
        }
    }

    /// Where it writes.
    #[must_use]
    pub fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// Its id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&PublicKey(self.key.verifying_key().to_bytes()))
    }

    /// A record of folders, `bytes` of body each, that goes on from the last one.
    pub fn record(&mut self, events: usize, bytes: usize) -> Arc<Record> {
        let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::Folder };
        self.record_of(vec![(fact, bytes); events])
    }

    /// A record of these facts, each with a body of so many bytes.
    pub fn record_of(&mut self, facts: Vec<(Fact, usize)>) -> Arc<Record> {
        let record = self.record_at(self.head, self.counter + 1, facts);
        self.counter = record.batch().last();
        self.head = super::head_after(&record);
        record
    }

    /// A record that takes any place and any counters; the author does not take note of it.
    #[must_use]
    pub fn record_at(&self, head: Head, first: u64, facts: Vec<(Fact, usize)>) -> Arc<Record> {
        let drafts = facts.into_iter().enumerate().map(|(i, (fact, bytes))| {
            let body = Body {
                name: Some(Name::new(format!("{i:05}")).expect("digits are a name")),
                note: Some("x".repeat(bytes)),
                ..Body::default()
            };
            Draft { hlc: Hlc(first + i as u64), at: 1, fact, body: Some(body) }
        });
        let none = VersionVector::new();
        let batch = Batch::sign(
            &self.key,
            self.namespace,
            first,
            None,
            &none,
            &none,
            DotSet::new(),
            drafts.collect(),
        )
        .expect("a batch within its limits");
        Arc::new(Record::admit(batch, &self.server, head.epoch, Seq(head.seq.0 + 1), head.chain, 1))
    }

    /// Where its last record ends.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }
}
