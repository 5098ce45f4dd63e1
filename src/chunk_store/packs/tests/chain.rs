//! Laws of chunks that are stored as the difference to others: whatever is put, removed, taken away and lost in any order,
//! what is kept can be read and has its hash.

use super::*;
use annals_engine::{chunk_store::CHAIN_MAX, chunk_store::contract::versions};

#[derive(Clone, Copy, Debug)]
enum Act {
    /// So many versions of one file, or of the other.
    Put(bool, usize),
    /// So many of the oldest versions of a file.
    Forget(bool, usize),
    /// The oldest that was forgotten, whole.
    PutWhole(bool),
    Compact,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (any::<bool>(), 1_usize..6).prop_map(|(file, count)| Act::Put(file, count)),
        3 => (any::<bool>(), 1_usize..8).prop_map(|(file, count)| Act::Forget(file, count)),
        1 => any::<bool>().prop_map(Act::PutWhole),
        2 => Just(Act::Compact),
    ];
    prop::collection::vec(act, 1..16)
}

/// A file of many versions: those from `first` to `next` are needed.
struct File {
    versions: Vec<Incoming>,
    first: usize,
    next: usize,
}

impl File {
    fn needed(&self) -> &[Incoming] {
        &self.versions[self.first..self.next]
    }
}

/// One after the other: what came in one upload is never the difference to something else in there.
fn take_each(packs: &Packs, versions: &[Incoming]) -> Result<(), ChunkStoreError> {
    versions.iter().try_for_each(|version| packs.take(std::slice::from_ref(version)).map(drop))
}

/// What the store says that it has can be read and has its name; it says of itself what it holds.
fn assert_honest(packs: &Packs, files: &[File]) {
    for version in files.iter().flat_map(|file| &file.versions) {
        let id = version.whole.id;
        let found = packs.get(&id).unwrap();
        assert_eq!(found.is_some(), packs.contains(&id).unwrap());
        assert!(found.is_none_or(|found| found == version.whole));
    }
    let (whole, found) = damages(packs);
    assert_eq!(found, []);
    assert_eq!(whole, packs.stats().unwrap());
}

fn assert_keeps(packs: &Packs, files: &[File]) {
    for version in files.iter().flat_map(File::needed) {
        assert_eq!(packs.get(&version.whole.id).unwrap().as_ref(), Some(&version.whole));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_needed_can_be_read_whatever_it_is_the_difference_to_and_wherever_power_is_lost(
        acts in acts(),
        steps in 0_u64..80,
        roll in 300_u64..3000,
        seeds in any::<[u64; 2]>(),
        fate in prop_oneof![Just(Fate::Kept), Just(Fate::Lost), Just(Fate::AsItWasAtFirst), Just(Fate::Damaged)],
    ) {
        let place = Ground::new(roll);
        let mut files = [1, 2].map(|seed| File { versions: versions(80, seed), first: 0, next: 0 });
        let early = place.folder.path().join("early");
        let packs = place.open().unwrap();
        place.disk.cut_power_after(steps);
        for act in &acts {
            let done = match *act {
                Act::Put(which, count) => {
                    let file = &mut files[usize::from(which)];
                    let next = (file.next + count).min(file.versions.len());
                    let taken = take_each(&packs, &file.versions[file.next..next]);
                    if taken.is_ok() { file.next = next; }
                    taken
                }
                // From here on nobody needs them, whatever the store answers.
                Act::Forget(which, count) => {
                    let file = &mut files[usize::from(which)];
                    file.first = (file.first + count).min(file.next);
                    let ids: Vec<ChunkId> = file.versions[..file.first].iter().map(|version| version.whole.id).collect();
                    packs.remove(&ids).map(drop)
                }
                Act::PutWhole(which) => {
                    let file = &mut files[usize::from(which)];
                    let oldest = file.first.saturating_sub(1);
                    let whole = &file.versions[oldest].whole;
                    let put = packs.put_all(std::slice::from_ref(whole));
                    if put.is_ok() && file.next > 0 { file.first = oldest; }
                    put
                }
                Act::Compact => packs.compact().map(drop),
            };
            if done.is_err() {
                break;
            }
            assert_honest(&packs, &files);
            if matches!(fate, Fate::AsItWasAtFirst) && !early.exists() {
                packs.index.read().unwrap().as_ref().unwrap().flush();
                copy_folder(&place.index(), &early);
            }
        }
        drop(packs);
        match fate {
            Fate::Kept => {}
            Fate::AsItWasAtFirst if !early.exists() => {}
            Fate::Lost => { let _ = fs::remove_dir_all(place.index()); }
            Fate::AsItWasAtFirst => copy_folder(&early, &place.index()),
            Fate::Damaged => fs::write(place.index().join("conf"), b"no configuration").unwrap(),
        }
        place.disk.crash(dice(seeds[0]));
        let packs = place.open().unwrap();
        assert_honest(&packs, &files);
        assert_keeps(&packs, &files);
        // And it goes on.
        for file in &mut files {
            take_each(&packs, &file.versions[..file.next.max(1)]).unwrap();
            (file.first, file.next) = (0, file.next.max(1));
        }
        packs.compact().unwrap();
        drop(packs);
        place.disk.crash(dice(seeds[1]));
        let packs = place.open().unwrap();
        assert_honest(&packs, &files);
        assert_keeps(&packs, &files);
    }
}

#[test]
fn a_damaged_base_is_said_with_both_names() {
    let place = Ground::new(1 << 20);
    let packs = place.open().unwrap();
    let versions = versions(3, 1);
    take_each(&packs, &versions).unwrap();
    let other = SealedChunk::seal(b"something else".to_vec());
    packs.put_all(std::slice::from_ref(&other)).unwrap();
    let base = &versions[0].whole;
    let name = place.packs()[0].clone();
    let contents = place.disk.contents(&name).unwrap();
    let at = contents.windows(base.bytes.len()).position(|bytes| bytes == base.bytes).unwrap();
    assert!(place.disk.flip(&name, at as u64, 1));
    for version in &versions[1..] {
        let Err(ChunkStoreError::Damaged(damage)) = packs.get(&version.whole.id) else {
            panic!("it was read")
        };
        assert_eq!(damage.id, Some(version.whole.id));
        assert!(damage.what.contains(&base.id.to_string()), "{damage}");
    }
    assert_eq!(packs.get(&other.id).unwrap(), Some(other));
    let (_, found) = damages(&packs);
    let named: BTreeSet<ChunkId> = found.iter().filter_map(|damage| damage.id).collect();
    assert_eq!(named, versions.iter().map(|version| version.whole.id).collect());
}

#[test]
fn versions_take_the_room_of_their_edits_and_a_chain_ends() {
    let place = Ground::new(1 << 20);
    let packs = place.open().unwrap();
    let versions = versions(CHAIN_MAX + 2, 1);
    packs.take(&versions[..1]).unwrap();
    let first = packs.stats().unwrap().stored_bytes;
    for (depth, version) in versions.iter().enumerate() {
        packs.take(std::slice::from_ref(version)).unwrap();
        let bases: Vec<ChunkId> = versions[..depth].iter().rev().map(|before| before.whole.id).collect();
        let chain = packs.bases(&version.whole.id).unwrap();
        assert_eq!(chain, if depth <= CHAIN_MAX { bases } else { vec![] }, "the last one is whole");
    }
    let edits = packs.stats().unwrap().stored_bytes - 2 * first;
    assert!(edits < CHAIN_MAX as u64 * 100, "{edits}");
}

#[test]
fn differences_are_read_while_their_bases_are_moved_and_removed() {
    let place = Ground::new(1500);
    let packs = place.open().unwrap();
    let (kept, gone) = (versions(9, 1), versions(60, 2));
    take_each(&packs, &kept).unwrap();
    take_each(&packs, &gone).unwrap();
    let ids: Vec<ChunkId> = gone.iter().map(|version| version.whole.id).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for count in 1..=ids.len() {
                packs.remove(&ids[..count]).unwrap();
                packs.compact().unwrap();
            }
        });
        for (kept, gone) in kept.iter().cycle().zip(gone.iter().cycle()).take(1500) {
            assert_eq!(packs.get(&kept.whole.id).unwrap().as_ref(), Some(&kept.whole));
            assert!(packs.get(&gone.whole.id).unwrap().is_none_or(|found| found == gone.whole));
        }
    });
    assert_eq!(packs.missing(&ids).unwrap(), ids);
}

#[test]
fn a_difference_whose_base_is_gone_is_nothing_to_an_index_that_is_made_anew() {
    let place = Ground::new(600);
    let packs = place.open().unwrap();
    let versions = versions(2, 1);
    let mut noise = dice(7);
    // A pack of its own for the base; what is the difference to it lies beside something that stays.
    take_each(&packs, &versions).unwrap();
    let kept = SealedChunk::seal((0..2000).map(|_| noise(256) as u8).collect());
    packs.put_all(std::slice::from_ref(&kept)).unwrap();
    assert_eq!(place.packs().len(), 2);
    let ids: Vec<ChunkId> = versions.iter().map(|version| version.whole.id).collect();
    packs.remove(&ids).unwrap();
    packs.compact().unwrap();
    assert_eq!(place.packs(), ["00000002.segment"]);
    drop(packs);
    fs::remove_dir_all(place.index()).unwrap();
    let packs = place.open().unwrap();
    assert_eq!(packs.missing(&ids).unwrap(), ids, "who asks is told to send it");
    take_each(&packs, &versions[1..]).unwrap();
    assert_eq!(packs.get(&ids[1]).unwrap().as_ref(), Some(&versions[1].whole));
    assert_holds(&packs, &[kept]);
}
