//! What a device's rows hold is what it is again, wherever a crash came.

use super::*;
use annals_engine::{
    disk::Node,
    observed::{SyncedChange, SyncedNode},
};
use annals_events::{
    Dot, EntryId, EntryKind, NamespaceId,
    log::{Head, author::Author},
    segment::{ForgetfulDisk, Witness},
};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

const DEVICE: DeviceId = DeviceId([9; 16]);

fn open(records: &ForgetfulDisk, state: &ForgetfulDisk) -> Result<Store, StoreError> {
    let outbox = Outbox::new(std::env::temp_dir().join("annals-no-such-outbox"), DEVICE);
    Store::open_on(Path::new("nowhere"), Arc::new(records.clone()), Arc::new(state.clone()), outbox, DEVICE)
}

/// The `nth` thing that a device writes down: some changes that can be told apart.
fn changes(nth: u64, count: u64) -> Vec<StateChange> {
    (0..count).map(|i| StateChange::JournalCleared { next: nth * 1000 + i }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_a_device_wrote_down_is_there_after_a_power_cut_at_any_step_and_nothing_by_halves(
        sizes in prop::collection::vec((1..40_u64, prop::bool::weighted(0.3)), 1..8),
        steps in 0..140_u64,
        mut dice: u64,
    ) {
        let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
        let mut store = open(&records, &state).unwrap();
        let mut author = Author::new(1, 1, Head::default());
        let (mut written, mut kept) = (Vec::new(), 0);
        state.cut_power_after(steps);
        records.cut_power_after(steps);
        for (nth, (count, compact)) in sizes.iter().enumerate() {
            let (next, record) = (changes(nth as u64, *count), author.record(2, 100));
            if store.keep(vec![record]).is_err() {
                break;
            }
            kept += 1;
            let before = written.len();
            written.extend(next.clone());
            if store.persist(&next).is_err() {
                written.truncate(before);
                break;
            }
            if count % 3 == 0 && (store.state.vouch().is_err() || store.records.vouch().is_err()) {
                break;
            }
            // As it is, in place of how it came to be.
            if *compact && store.compact(written.clone()).is_err() {
                break;
            }
        }
        let mut choose = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) % below
        };
        state.crash(&mut choose);
        records.crash(&mut choose);
        let mut after = open(&records, &state).unwrap();
        let found = after.changes().unwrap();
        prop_assert_eq!(&found[..written.len()], &written[..]);
        // What was on its way when the power went is there as a whole, or not at all.
        let more = sizes.iter().scan(0, |sum, (count, _)| { *sum += count; Some(*sum) }).collect::<Vec<u64>>();
        prop_assert!(found.is_empty() || more.contains(&(found.len() as u64)));
        let seqs: Vec<Seq> = after.records().map(|logged| logged.unwrap().record.seq()).collect();
        prop_assert!(seqs.len() == kept || seqs.len() == kept + 1);
        prop_assert!(seqs.iter().enumerate().all(|(nth, seq)| seq.0 == 2 * nth as u64 + 1));
        // And it goes on from there, also with another whole state behind one that was cut off.
        after.compact(found.clone()).unwrap();
        after.persist(&changes(99, 1)).unwrap();
        let again = open(&records, &state).unwrap().changes().unwrap();
        prop_assert_eq!(again.len(), found.len() + 1);
        prop_assert_eq!(&again[..found.len()], &found[..]);
    }
}

/// A step of a device, for the law below.
fn step() -> impl Strategy<Value = Option<StateChange>> {
    let path = || prop::sample::select(vec!["a", "a/b", "a/b/c", "d", "d/e"]).prop_map(str::to_owned);
    let node = (any::<bool>(), 1..9_u64).prop_map(|(is_folder, number)| {
        let kind = if is_folder { EntryKind::Folder } else { EntryKind::File };
        let dot = Dot::new(DEVICE, number);
        let disk = Node {
            kind,
            size: 1,
            mtime_ns: 2,
            ctime_ns: 3,
            dev: 4,
            ino: number,
            born_ns: None,
            executable: false,
            target: None,
        };
        Box::new(SyncedNode {
            entries: vec![EntryId(dot)],
            kind,
            head: None,
            heads: Vec::new(),
            content: None,
            mtime: None,
            executable: false,
            copy: false,
            disk,
            settled: true,
            proven: true,
            aside: false,
        })
    });
    prop_oneof![
        6 => (path(), node).prop_map(|(path, node)| Some(StateChange::Synced(SyncedChange::Put(path, node)))),
        1 => path().prop_map(|path| Some(StateChange::Synced(SyncedChange::Remove(path)))),
        1 => (path(), path()).prop_map(|(from, to)| Some(StateChange::Synced(SyncedChange::Move { from, to }))),
        1 => (1..99_u64).prop_map(|next| Some(StateChange::JournalCleared { next })),
        1 => Just(None),
    ]
}

#[test]
fn what_follows_from_a_checkpoint_is_what_follows_from_everything_wherever_the_power_went() {
    // It holds of itself where no checkpoint is ever used.
    let resumed = std::cell::Cell::new(0);
    proptest!(ProptestConfig { cases: 300, ..ProptestConfig::default() }, |(
        acts in prop::collection::vec((step(), prop::bool::weighted(0.15)), 1..60),
        steps in 0..120_u64,
        spoiled in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        mut dice: u64,
    )| {
        let identity = Identity { namespace: NamespaceId([1; 16]), key: SigningKey::from_bytes(&[2; 32]) };
        let folder = tempfile::tempdir().unwrap();
        let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
        let open = || open(&records, &state).map(|mut store| {
            store.checkpoint = Checkpoint::new(folder.path());
            store
        });
        let mut store = open().unwrap();
        let mut written = Vec::new();
        state.cut_power_after(steps);
        for (change, compact) in acts {
            let done = match change {
                Some(change) => {
                    written.push(change);
                    store.persist(&written[written.len() - 1..])
                }
                None => {
                    let changes = written.clone();
                    let replica = Replica::reopen(identity.clone(), NameRules::default(), changes, []);
                    store.checkpoint.make_due();
                    store.keep_checkpoint_if_due(&mut replica.unwrap());
                    Ok(())
                }
            };
            if done.is_err() || compact && store.compact(written.clone()).is_err() {
                break;
            }
        }
        let mut choose = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) % below
        };
        state.crash(&mut choose);
        records.crash(&mut choose);
        let place = folder.path().join("checkpoint");
        if let (Some(at), Ok(mut bytes)) = (spoiled, fs::read(&place)) {
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            fs::write(&place, bytes).unwrap();
        }
        resumed.set(resumed.get() + u32::from(open().unwrap().resumed(&identity).is_some()));
        let from_checkpoint = open().unwrap().replica(identity.clone()).unwrap();
        let mut store = open().unwrap();
        store.checkpoint = Checkpoint::none();
        let from_all = store.replica(identity).unwrap();
        prop_assert_eq!(from_checkpoint.synced(), from_all.synced());
        prop_assert_eq!(from_checkpoint.next(), from_all.next());
    });
    assert!(resumed.get() > 20, "a checkpoint was used in {} of 300 cases", resumed.get());
}

#[test]
fn records_that_are_put_in_the_place_of_others_are_there_as_a_whole_wherever_it_was_cut_off() {
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[(RECORDS, "old")], "old"),
        (&[(RECORDS, "old"), (RECORDS_PART, "half")], "old"),
        (&[(RECORDS, "old"), (RECORDS_NEW, "new"), (RECORDS_OLD, "before that")], "new"),
        (&[(RECORDS_OLD, "old"), (RECORDS_NEW, "new")], "new"),
        (&[(RECORDS_OLD, "old"), (RECORDS, "new")], "new"),
    ];
    for (there, wanted) in cases {
        let folder = tempfile::tempdir().unwrap();
        for (row, text) in there {
            fs::create_dir(folder.path().join(row)).unwrap();
            fs::write(folder.path().join(row).join("segment"), text).unwrap();
        }
        finish_replacing(folder.path()).unwrap();
        let left = fs::read_to_string(folder.path().join(RECORDS).join("segment")).unwrap();
        assert_eq!((left.as_str(), fs::read_dir(folder.path()).unwrap().count()), (wanted, 1), "{there:?}");
    }
}

#[test]
fn a_state_that_was_written_anew_takes_the_place_of_what_was_before() {
    let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
    let mut store = open(&records, &state).unwrap();
    for nth in 0..50 {
        store.persist(&changes(nth, 1000)).unwrap();
    }
    let before = store.grown;
    store.compact(changes(50, 2)).unwrap();
    assert!(store.whole < before / 100 && store.grown == 0);
    assert_eq!(store.state.numbers().unwrap(), [2]);
    store.persist(&changes(51, 1)).unwrap();
    let mut after = open(&records, &state).unwrap();
    assert_eq!(after.changes().unwrap(), [changes(50, 2), changes(51, 1)].concat());
    // As the one that wrote it counted.
    assert_eq!(after.grown, store.grown);
    assert!(after.whole > 0 && after.grown > 0);
}

/// Something of a synced tree.
fn tree(path: u64) -> StateChange {
    StateChange::Synced(SyncedChange::Remove(format!("{path}")))
}

#[test]
fn a_synced_tree_is_never_written_down_before_the_batches_that_say_what_became_of_it() {
    // More than a group takes, the tree first.
    let all: Vec<StateChange> = (0..200).map(tree).chain(changes(1, 200)).collect();
    assert!(all.iter().map(StateChange::weight).sum::<usize>() > 2 * GROUP_BYTES);
    for steps in 0.. {
        let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
        let mut store = open(&records, &state).unwrap();
        state.cut_power_after(steps);
        let done = store.persist(&all).is_ok();
        state.crash(|below| below - 1);
        let found = open(&records, &state).unwrap().changes().unwrap();
        let of_tree = found.iter().filter(|change| matches!(change, StateChange::Synced(_))).count();
        assert!(of_tree == 0 || found.len() - of_tree == 200, "step {steps}: {of_tree} of {}", found.len());
        if done {
            assert_eq!(found.len(), all.len());
            return assert!(steps >= 4, "batches and tree, each with its sync");
        }
    }
}

#[test]
fn a_state_whose_first_segments_are_gone_is_damaged_unless_it_was_written_anew_behind_them() {
    let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
    let mut store = open(&records, &state).unwrap();
    for nth in 0..3 {
        store.persist(&changes(nth, 5)).unwrap();
        store.state.roll();
    }
    drop(store);
    for gone in ["00000001.segment", "00000002.segment"] {
        let copy = state.copy();
        SegmentDisk::remove(&copy, gone).unwrap();
        let found = open(&records, &copy).and_then(|mut store| store.changes());
        assert!(matches!(found, Err(StoreError::Damaged { .. })), "{gone}: {found:?}");
    }
    let mut store = open(&records, &state).unwrap();
    store.compact(changes(7, 3)).unwrap();
    assert!(store.state.numbers().unwrap()[0] > 1);
    assert_eq!(open(&records, &state).unwrap().changes().unwrap(), changes(7, 3));
}

#[test]
fn a_row_that_was_cut_anywhere_before_what_its_witness_says_is_damaged() {
    let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
    let mut store = open(&records, &state).unwrap();
    let (mut author, mut vouched) = (Author::new(1, 1, Head::default()), (0, 0));
    let ends = |store: &Store| (store.state.end().place.offset(), store.records.end().place.offset());
    for nth in 0..6 {
        store.persist(&changes(nth, 3)).unwrap();
        store.keep(vec![author.record(2, 100)]).unwrap();
        if nth == 3 {
            store.state.vouch().unwrap();
            store.records.vouch().unwrap();
            vouched = ends(&store);
        }
    }
    let end = ends(&store);
    let name = "00000001.segment";
    for (of_state, vouched, end) in [(true, vouched.0, end.0), (false, vouched.1, end.1)] {
        let with = |spoil: &dyn Fn(&ForgetfulDisk)| {
            let (records, state) = (records.copy(), state.copy());
            spoil(if of_state { &state } else { &records });
            open(&records, &state).map(drop)
        };
        for length in 0..=end {
            let found = with(&|row| row.shorten(name, usize::try_from(length).unwrap()));
            let damaged = matches!(found, Err(StoreError::Damaged { .. }));
            assert_eq!(damaged, length < vouched, "{length} of {end}, vouched for {vouched}: {found:?}");
            assert_eq!(damaged, found.is_err(), "nothing else is wrong with it");
        }
        // All of it gone, the witness left behind.
        let found = with(&|row| SegmentDisk::remove(row, name).unwrap());
        assert!(matches!(found, Err(StoreError::Damaged { .. })), "{found:?}");
    }
}

#[test]
fn a_row_is_vouched_for_whenever_it_is_opened_and_after_some_groups() {
    let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
    let mut store = open(&records, &state).unwrap();
    let said = || Witness::read(&state, DEVICE.0).unwrap().mark();
    for nth in 0..31 {
        store.persist(&changes(nth, 1)).unwrap();
        store.state.vouch_if_due().unwrap();
    }
    assert_eq!(said(), None);
    store.persist(&changes(31, 1)).unwrap();
    store.state.vouch_if_due().unwrap();
    assert_eq!(said(), Some(store.state.end()));
    store.persist(&changes(32, 1)).unwrap();
    let end = store.state.end();
    assert_ne!(said(), Some(end));
    drop(store);
    open(&records, &state).unwrap();
    assert_eq!(said(), Some(end));
    // One that was put into the place of another by hand is not believed, and nothing is refused for it.
    state.flip("end", 20, 1);
    open(&records, &state).unwrap();
    assert_eq!(said(), Some(end), "it was written anew");
}

#[test]
fn nothing_is_written_to_a_state_that_somebody_else_wrote_to_or_took_away() {
    let last = |state: &Path| state.join("state").join("00000001.segment");
    type Deed<'a> = &'a dyn Fn(&Path);
    let deeds: [(&str, Deed<'_>); 4] = [
        ("written to", &|state| {
            let bytes = fs::read(last(state)).unwrap();
            fs::write(last(state), [&bytes[..], b"more"].concat()).unwrap();
        }),
        ("cut", &|state| fs::File::options().write(true).open(last(state)).unwrap().set_len(200).unwrap()),
        ("a row more", &|state| fs::write(state.join("records").join("00000009.segment"), b"").unwrap()),
        ("gone", &|state| fs::remove_dir_all(state).unwrap()),
    ];
    for (what, deed) in deeds {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".annals");
        fs::create_dir(&state).unwrap();
        let mut store = Store::open(&state, DEVICE).unwrap();
        store.persist(&changes(1, 30)).unwrap();
        store.keep(vec![Author::new(1, 1, Head::default()).record(2, 100)]).unwrap();
        store.persist(&changes(2, 30)).unwrap();
        deed(&state);
        let replaced = |result: Result<(), StoreError>| matches!(result, Err(StoreError::Replaced { .. }));
        assert!(replaced(store.persist(&changes(3, 1))), "{what}");
        assert!(replaced(store.keep(Vec::new()).map(drop)), "{what}");
        assert!(replaced(store.replace_records(Seq(0), &[])), "{what}");
        assert!(!state.join("records.new").exists(), "{what}");
    }
}

#[test]
fn records_that_cannot_be_read_are_not_replaced_by_what_there_is_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), DEVICE).unwrap();
    let mut author = Author::new(1, 1, Head::default());
    let records: Vec<_> = (0..3).map(|_| author.record(2, 100)).collect();
    records.iter().for_each(|record| drop(store.keep(vec![record.clone()]).unwrap()));
    let row = folder.path().join(RECORDS).join("00000001.segment");
    let whole = fs::read(&row).unwrap();
    let second = whole.windows(64).position(|bytes| bytes == &records[1].bytes()[..64]).unwrap();
    let damaged = [&whole[..second], &[whole[second] ^ 1], &whole[second + 1..]].concat();
    fs::write(&row, &damaged).unwrap();
    let replaced = store.replace_records(records[1].last_seq(), &records[2..]);
    assert!(matches!(replaced, Err(StoreError::Damaged { .. })), "{replaced:?}");
    let said = replaced.unwrap_err().to_string();
    assert!(said.contains(&row.parent().unwrap().display().to_string()), "it says where: {said}");
    assert_eq!(fs::read(&row).unwrap(), damaged);
    assert!(!folder.path().join(RECORDS_NEW).exists());
}

#[test]
fn of_a_state_that_was_written_anew_twice_only_the_one_that_was_ended_counts() {
    let all = changes(1, 60);
    let (mut cut_off, each) = (0, || (0..24).flat_map(|first| (0..24).map(move |second| (first, second))));
    for (steps, more) in each() {
        let (records, state) = (ForgetfulDisk::new(), ForgetfulDisk::new());
        let mut store = open(&records, &state).unwrap();
        store.persist(&all).unwrap();
        state.cut_power_after(steps);
        let done = store.compact(all.clone()).is_ok();
        state.crash(|_| 0);
        let mut again = open(&records, &state).unwrap();
        assert_eq!(again.changes().unwrap(), all, "power lost at step {steps}");
        cut_off += u32::from(!done && again.state.numbers().unwrap().len() > 1);
        // Nor does half of it count where the power goes again behind the next one.
        state.cut_power_after(more);
        drop(again.compact(all.clone()));
        state.crash(|_| 0);
        let found = open(&records, &state).unwrap().changes().unwrap();
        assert_eq!(found, all, "power lost at step {steps}, and then at step {more}");
    }
    assert!(cut_off > 3);
}
