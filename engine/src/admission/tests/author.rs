//! Who signed it, and does it follow what they signed before?

use super::*;

#[test]
fn only_a_linked_device_that_signed_it_is_heard() {
    let world = World::new();
    world.refuses(&world.device(50).sign(vec![folder("a")]), Code::DeviceUnlinked);
    let good = world.device(1).sign(vec![folder("a")]);
    let bodies = [good.body_bytes(0).map(<[u8]>::to_vec)];
    let unsigned = Batch::assemble(good.header(), &[0; 64], &bodies).unwrap();
    world.refuses(&unsigned, Code::BatchSignature);
    let mut header = good.header().clone();
    header.device = id(&signing_key(2));
    let by_another = world.device(1).key;
    let forged = Batch::assemble(&header, &signature_of(&good, &by_another), &bodies).unwrap();
    world.refuses(&forged, Code::BatchSignature);
    assert_eq!(world.judge(&good), Ok(Verdict::Admit));
}

/// The signature of a batch's author over another header is none.
fn signature_of(batch: &Batch, key: &SigningKey) -> [u8; 64] {
    use ed25519_dalek::Signer;
    key.sign(batch.bytes()).to_bytes()
}

#[test]
fn a_batch_for_another_namespace_is_refused() {
    let world = World::new();
    let device = world.device(1);
    let (none, (fact, body)) = (VersionVector::new(), folder("a"));
    let draft = Draft { hlc: Hlc::at_ms(NOW_MS * 2), at: 0, fact, body };
    let elsewhere = NamespaceId([8; 16]);
    let batch =
        Batch::sign(&device.key, elsewhere, 3, None, &none, &none, DotSet::new(), vec![draft]).unwrap();
    world.refuses(&batch, Code::BatchNamespace);
}

#[test]
fn a_body_that_was_not_signed_is_no_batch_at_all() {
    let world = World::new();
    let good = world.device(1).sign(vec![folder("a")]);
    let bytes = Batch::assemble(good.header(), &[0; 64], &[Some(named("b").encode())]);
    assert!(matches!(bytes, Err(annals_events::BatchError::BodyHash { .. })));
    assert_eq!(Refusal::Batch(bytes.unwrap_err()).code(), Code::BatchBody);
    // Withheld bodies are for readers, not for admission.
    let withheld = Batch::assemble(good.header(), &signature_in(&good), &[None]).unwrap();
    world.refuses(&withheld, Code::BodyMissing);
}

/// The signature as the batch's bytes have it: the byte string of 64 after the signed one.
fn signature_in(batch: &Batch) -> [u8; 64] {
    let marker = [0x58, 0x40];
    let mut at = batch.bytes().windows(2).enumerate().filter(|(_, pair)| *pair == marker).map(|(at, _)| at);
    let found = at.find_map(|at| {
        let signature: [u8; 64] = batch.bytes().get(at + 2..at + 66)?.try_into().ok()?;
        let bodies: Vec<_> =
            (0..batch.events().len()).map(|i| batch.body_bytes(i).map(<[u8]>::to_vec)).collect();
        (Batch::assemble(batch.header(), &signature, &bodies).ok()?.bytes() == batch.bytes())
            .then_some(signature)
    });
    found.unwrap()
}

#[test]
fn a_retired_device_says_nothing_more_and_its_old_batches_stay_admitted() {
    let mut world = World::new();
    let old = world.device(2).sign(vec![folder("old")]);
    world.admit(&old);
    let late = world.device(2).sign(vec![folder("late")]);
    world.says(Fact::DeviceRetired { device: id(&signing_key(2)), last: 1 });
    world.refuses(&late, Code::DeviceRetired);
    let facts = Facts { stored: Some(old.hash()), ..Facts::default() };
    assert_eq!(judge(&old, &world.projections, &facts), Ok(Verdict::Again));
}

#[test]
fn gaps_in_prev_and_used_counters_are_refused_and_counters_may_be_left_out() {
    let mut world = World::new();
    let one = world.device(2).sign(vec![folder("one"), folder("two")]);
    world.admit(&one);
    let mut device = world.device(2);
    for prev in [None, Some(Hash([7; 32]))] {
        device.prev = prev;
        world.refuses(&device.sign(vec![folder("three")]), Code::PrevMismatch);
    }
    device.prev = Some(one.hash());
    for first in [1, 2] {
        device.first = first;
        world.refuses(&device.sign(vec![folder("three")]), Code::CounterUsed);
    }
    device.first = 9;
    let later = device.sign(vec![folder("three")]);
    world.admit(&later);
    // Those left out are void for ever.
    let mut device = world.device(2);
    device.first = 5;
    world.refuses(&device.sign(vec![folder("four")]), Code::CounterUsed);
}

#[test]
fn a_used_dot_is_the_same_batch_or_equivocation() {
    let mut world = World::new();
    let (mut device, mut twin) = (world.device(2), world.device(2));
    let (one, other) = (device.sign(vec![folder("one")]), twin.sign(vec![folder("other")]));
    world.admit(&one);
    assert_eq!(Needs::of(&other, &world.projections).stored_under, Some(other.dot(0)));
    let facts = Facts { stored: Some(one.hash()), ..Facts::default() };
    assert_eq!(judge(&one, &world.projections, &facts), Ok(Verdict::Again));
    let refused = judge(&other, &world.projections, &facts).unwrap_err();
    assert_eq!(refused, Refusal::Equivocation { dot: other.dot(0), stored: one.hash() });
}
