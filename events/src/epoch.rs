//! How a server that lost state goes on: under a new key, in a new epoch, vouched for by the key that it had.
//!
//! A batch that begins with [`Fact::EpochOpened`] is signed, and admitted, with the key that it introduces: none of
//! the lost dots can be made again (I7), and whoever knew the old key knows whom to believe. What must always hold:
//! a server's key is known from the event that a namespace begins with, or from one that a known server vouched
//! for; an epoch is raised by nothing else.

use crate::{
    batch::Batch,
    event::Fact,
    id::{DeviceId, NamespaceId, PublicKey},
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde_bytes::ByteBuf;

const VOUCH: &[u8] = b"annals epoch\0";

/// The fact by which the server that held `former` goes on as the one that holds `server`.
#[must_use]
pub fn open(former: &SigningKey, namespace: NamespaceId, server: PublicKey) -> Fact {
    let before = DeviceId::of_key(&PublicKey(former.verifying_key().to_bytes()));
    let vouched = former.sign(&message(namespace, &server)).to_bytes();
    Fact::EpochOpened { server, before, vouched: ByteBuf::from(vouched) }
}

fn message(namespace: NamespaceId, server: &PublicKey) -> Vec<u8> {
    [VOUCH, &namespace.0, &server.0].concat()
}

/// The server whose key `batch` introduces, if it does so rightly: the first of all batches (`begins`) by itself,
/// another one by the word of a server that is `known`.
#[must_use]
pub fn introduced(
    batch: &Batch,
    begins: bool,
    known: impl FnOnce(DeviceId) -> Option<PublicKey>,
) -> Option<PublicKey> {
    let header = batch.header();
    let server = match &batch.events().first()?.fact {
        Fact::NamespaceCreated { server, .. } if begins => *server,
        Fact::EpochOpened { server, before, vouched } => {
            let signature = Signature::from_slice(vouched).ok()?;
            let former = VerifyingKey::from_bytes(&known(*before)?.0).ok()?;
            former.verify_strict(&message(header.namespace, server), &signature).ok()?;
            *server
        }
        _ => return None,
    };
    (DeviceId::of_key(&server) == header.device).then_some(server)
}

/// The epoch of what `admitted_by` admits with `batch`, where the one before it is of epoch `before`. A batch that
/// another server opened an epoch with, and that was handed back, opens none.
#[must_use]
pub fn after(before: u64, batch: &Batch, admitted_by: DeviceId) -> u64 {
    let opens = matches!(batch.events().first().map(|event| &event.fact), Some(Fact::EpochOpened { .. }));
    before + u64::from(opens && batch.header().device == admitted_by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DotSet, Draft, Hlc, VersionVector};

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn public(key: &SigningKey) -> PublicKey {
        PublicKey(key.verifying_key().to_bytes())
    }

    fn batch(signer: &SigningKey, namespace: u8, fact: Fact) -> Batch {
        let none = VersionVector::new();
        let draft = Draft { hlc: Hlc::at_ms(1), at: 0, fact, body: None };
        Batch::sign(signer, NamespaceId([namespace; 16]), 1, None, &none, &none, DotSet::new(), vec![draft])
            .unwrap()
    }

    #[test]
    fn a_key_is_believed_that_a_known_server_vouched_for_here_and_no_other() {
        let (old, new) = (key(1), key(2));
        let fact = open(&old, NamespaceId([7; 16]), public(&new));
        let known = |device| (device == DeviceId::of_key(&public(&old))).then(|| public(&old));
        let opened = batch(&new, 7, fact.clone());
        assert_eq!(introduced(&opened, false, known), Some(public(&new)));
        assert_eq!(introduced(&opened, false, |_| None), None, "nobody knows who vouched");
        assert_eq!(introduced(&batch(&new, 8, fact.clone()), false, known), None, "of another namespace");
        assert_eq!(introduced(&batch(&key(3), 7, fact.clone()), false, known), None, "said by another");
        let Fact::EpochOpened { before, vouched, .. } = fact else { unreachable!() };
        let stolen = Fact::EpochOpened { server: public(&key(3)), before, vouched };
        assert_eq!(introduced(&batch(&key(3), 7, stolen), false, known), None, "of another key");
        let by = DeviceId::of_key(&public(&new));
        assert_eq!((after(4, &opened, by), after(4, &opened, DeviceId([9; 16]))), (5, 4));
    }

    #[test]
    fn a_namespace_begins_once() {
        let fact = Fact::NamespaceCreated { owner: Default::default(), server: public(&key(1)) };
        let begins = batch(&key(1), 7, fact);
        assert_eq!(introduced(&begins, true, |_| None), Some(public(&key(1))));
        assert_eq!(introduced(&begins, false, |_| None), None);
    }
}
