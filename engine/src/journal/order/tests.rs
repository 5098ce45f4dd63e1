//! The law of the queue's order, over random queues of deeds that a person could have done.

use super::*;
use crate::{
    author::{Deed, Said},
    journal::Identity,
};
use annals_events::{Body, ChunkId, ChunkRef, Content, Cut, EntryKind, Name, NamespaceId, PublicKey, Seen};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

const WINDOW: u64 = 1 << 20;

/// One thing that a person does, to one of the entries that there are.
#[derive(Clone, Copy, Debug)]
enum Act {
    Create,
    Mkdir,
    Upload,
    Rename,
    Tag,
    Delete,
}

fn act() -> impl Strategy<Value = (Act, u8, u8, u64)> {
    let act = prop_oneof![
        4 => Just(Act::Create), 1 => Just(Act::Mkdir), 4 => Just(Act::Upload), 1 => Just(Act::Rename),
        2 => Just(Act::Tag), 1 => Just(Act::Delete),
    ];
    let cost = prop_oneof![3 => 0_u64..WINDOW, 2 => WINDOW..64 * WINDOW];
    (act, any::<u8>(), 0_u8..8, cost)
}

fn content(of: u64) -> Content {
    let id = ChunkId::of(&of.to_be_bytes());
    Content::new(Cut::SMALL, vec![ChunkRef { id, bytes: 1 + of as u32 }]).0
}

/// A queue in which each deed is a batch, and what each has to send.
fn queue(acts: &[(Act, u8, u8, u64)]) -> (Journal, HlcClock, Vec<u64>) {
    let identity = Identity { namespace: NamespaceId([7; 16]), key: SigningKey::from_bytes(&[1; 32]) };
    let (mut journal, mut clock) = (Journal::new(identity), HlcClock::default());
    let device = journal.identity().device();
    let (mut files, mut folders): (Vec<(EntryId, Dot)>, Vec<EntryId>) = (Vec::new(), vec![EntryId::ROOT]);
    let (mut costs, mut seen) = (Vec::new(), Seen::default());
    let other = annals_events::DeviceId::of_key(&PublicKey([9; 32]));
    for (step, (act, entry, name, cost)) in acts.iter().enumerate() {
        let dot = Dot::new(device, journal.next());
        let parent = folders[*entry as usize % folders.len()];
        let named = Body { name: Some(Name::new(format!("n{name}")).unwrap()), ..Body::default() };
        let file = (!files.is_empty()).then(|| *entry as usize % files.len());
        let (fact, body, cost) = match (act, file) {
            (Act::Upload, Some(file)) => {
                let (entry, head) = files[file];
                files[file].1 = dot;
                let body = Body { content: Some(content(step as u64)), ..Body::default() };
                (Fact::VersionUploaded { entry, parents: [head].into_iter().collect() }, Some(body), *cost)
            }
            (Act::Rename, Some(file)) => (Fact::EntryMoved { entry: files[file].0, parent }, Some(named), 0),
            (Act::Tag, Some(file)) => {
                let body = Body { note: Some(step.to_string()), ..Body::default() };
                (Fact::AttributesChanged { entry: files[file].0 }, Some(body), 0)
            }
            (Act::Delete, Some(file)) => {
                let (entry, head) = files.remove(file);
                let entries = [entry.0].into_iter().collect();
                (Fact::EntryDeleted { entries, hides: [head].into_iter().collect() }, None, 0)
            }
            (Act::Mkdir, _) => {
                folders.push(EntryId(dot));
                (Fact::EntryCreated { parent, entry_kind: EntryKind::Folder }, Some(named), 0)
            }
            _ => {
                files.push((EntryId(dot), dot));
                let body = Body { content: Some(content(step as u64)), ..named };
                (Fact::EntryCreated { parent, entry_kind: EntryKind::File }, Some(body), *cost)
            }
        };
        // Others' events come meanwhile, and are shown later.
        seen.vector.raise(Dot::new(other, step as u64 + 1));
        seen.unseen = [Dot::new(other, step as u64 + 1)].into_iter().collect();
        let deed = Deed(vec![Said { fact, body }]);
        assert_eq!(journal.sign(vec![deed], &seen, &mut clock, 1_000 + step as u64).len(), 1);
        costs.push(cost);
    }
    (journal, clock, costs)
}

fn facts(journal: &Journal) -> Vec<(Dot, Fact)> {
    let batches =
        journal.pending().map(|pending| (pending.batch.dot(0), pending.batch.events()[0].fact.clone()));
    batches.collect()
}

proptest! {
    /// What builds on something, is about the same entry or of the same name goes in the order in which it was signed; it
    /// says the same, and of what others did nothing else was seen; stamps rise.
    #[test]
    fn what_belongs_together_keeps_its_order(acts in prop::collection::vec(act(), 1..40)) {
        let (mut journal, mut clock, costs) = queue(&acts);
        let before: Vec<Pending> = journal.pending().cloned().collect();
        let (facts_before, next) = (facts(&journal), journal.next());
        let Some(order) = journal.order(&costs, WINDOW) else { return Ok(()) };
        let doings: Vec<Doings> = before.iter().map(|pending| Doings::of(&pending.batch)).collect();
        let places: BTreeMap<usize, usize> = order.iter().enumerate().map(|(at, from)| (*from, at)).collect();
        prop_assert_eq!(places.len(), before.len());
        for (one, other) in (0..before.len()).flat_map(|one| (one + 1..before.len()).map(move |other| (one, other))) {
            let (earlier, later) = (&doings[one], &doings[other]);
            if places[&one] > places[&other] {
                prop_assert!(later.named.is_disjoint(&earlier.made), "{other} builds on {one}");
                prop_assert!(later.about.is_disjoint(&earlier.about), "{other} is about what {one} is");
                prop_assert!(later.names.is_disjoint(&earlier.names), "{other} has a name of {one}");
                prop_assert!(!(later.shapes && earlier.shapes), "{one} and {other} shape the tree");
            }
        }
        let names = journal.reorder(&order, &mut clock, 2_000);
        let after = facts(&journal);
        prop_assert_eq!(after.len(), before.len());
        prop_assert!(names.values().all(|dot| dot.counter >= next), "no dot is used again");
        let pending: Vec<Pending> = journal.pending().cloned().collect();
        for (at, from) in order.iter().enumerate() {
            let (dot, fact) = &facts_before[*from];
            prop_assert_eq!(names.get(dot).unwrap_or(dot), &after[at].0);
            prop_assert_eq!(&crate::journal::renamed(fact, &names, &DotSet::new()).unwrap(), &after[at].1);
            let (was, is) = (&before[*from].seen, &pending[at].seen);
            for counter in 1..=before.len() as u64 {
                let dot = Dot::new(annals_events::DeviceId::of_key(&PublicKey([9; 32])), counter);
                let saw = |seen: &Seen| seen.vector.covers(dot) && !seen.unseen.contains(dot);
                prop_assert_eq!(saw(was), saw(is), "{} of {}", dot, at);
            }
        }
        let stamps: Vec<_> = pending.iter().map(|pending| pending.batch.events()[0].hlc).collect();
        prop_assert!(stamps.is_sorted_by(|one, next| one < next));
        prop_assert!(pending.windows(2).all(|two| two[1].batch.header().prev == Some(two[0].batch.hash())));
    }

    /// What has little to send, and nothing to do with the rest, does not wait for more than some windows of what may
    /// give way, however much that is; and once it is in order, it stays so.
    #[test]
    fn what_has_little_to_send_does_not_wait_for_much(acts in prop::collection::vec(act(), 1..40)) {
        let (mut journal, mut clock, costs) = queue(&acts);
        let doings: Vec<Doings> = journal.pending().map(|pending| Doings::of(&pending.batch)).collect();
        let order = journal.order(&costs, WINDOW);
        let now = order.clone().unwrap_or_else(|| (0..costs.len()).collect());
        let mut waited = 0;
        for (at, place) in now.iter().enumerate() {
            let others = || now[..at].iter().filter(|other| *other < place);
            let is_free = costs[*place] < WINDOW && others().all(|other| !doings[*place].follows(&doings[*other]));
            let follows_any = || now[..at].iter().any(|other| doings[*place].follows(&doings[*other]));
            prop_assert!(!is_free || follows_any() || waited < 4 * WINDOW, "{place} waits for {waited}");
            if costs[*place] >= WINDOW && !doings[*place].shapes {
                waited += costs[*place];
            }
        }
        if let Some(order) = order {
            journal.reorder(&order, &mut clock, 2_000);
            let costs: Vec<u64> = order.iter().map(|place| costs[*place]).collect();
            prop_assert_eq!(journal.order(&costs, WINDOW), None);
        }
    }
}

#[test]
fn what_has_much_content_is_in_a_batch_of_its_own() {
    let identity = Identity { namespace: NamespaceId([7; 16]), key: SigningKey::from_bytes(&[1; 32]) };
    let (mut journal, mut clock) = (Journal::new(identity), HlcClock::default());
    let deed = |name: &str, bytes: u32| {
        let chunk = ChunkRef { id: ChunkId::of(name.as_bytes()), bytes };
        let content = Content::new(Cut::SMALL, vec![chunk]).0;
        let name = Some(Name::new(name).unwrap());
        let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
        Deed(vec![Said { fact, body: Some(Body { name, content: Some(content), ..Body::default() }) }])
    };
    let deeds = vec![deed("a", 10), deed("b", 10), deed("film", 5 << 20), deed("c", 10), deed("d", 10)];
    let signed = journal.sign(deeds, &Seen::default(), &mut clock, 1_000);
    let events: Vec<usize> = signed.iter().map(|pending| pending.batch.events().len()).collect();
    assert_eq!(events, [2, 1, 2]);
    assert_eq!(journal.order(&[20, 5 << 20, 20], WINDOW), Some(vec![0, 2, 1]));
    assert_eq!(journal.order(&[20, 3 << 20, 20], WINDOW), None, "it is not worth it");
}
