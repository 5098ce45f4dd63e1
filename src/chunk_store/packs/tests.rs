//! Laws of packs on a disk that forgets, with an index that is kept, lost, old or damaged.

mod chain;
mod compaction;

use super::*;
use annals_engine::chunk_store::contract::{self, samples};
use annals_events::segment::ForgetfulDisk;
use proptest::prelude::*;
use std::fs;

const OWNER: DeviceId = DeviceId([3; 16]);

/// A disk that forgets, and a folder for the index beside it.
struct Ground {
    disk: ForgetfulDisk,
    folder: tempfile::TempDir,
    roll: u64,
}

impl Ground {
    fn new(roll: u64) -> Self {
        Self { disk: ForgetfulDisk::new(), folder: tempfile::tempdir().unwrap(), roll }
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    fn open(&self) -> Result<Packs, ChunkStoreError> {
        let config = SegmentConfig {
            roll_bytes: self.roll,
            gaps: true,
            ..SegmentConfig::new(SegmentKind::Chunks, OWNER.0)
        };
        Packs::open_on(Arc::new(self.disk.clone()), config, &self.index())
    }

    fn packs(&self) -> Vec<String> {
        let names = SegmentDisk::list(&self.disk).unwrap();
        names.into_iter().filter(|name| name.ends_with(".segment")).collect()
    }
}

/// Choices of a crash, from a seed.
fn dice(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn stats_of<'a>(chunks: impl IntoIterator<Item = &'a SealedChunk>) -> ChunkStats {
    let mut stats = ChunkStats::default();
    chunks.into_iter().for_each(|chunk| stats.add(chunk));
    stats
}

fn damages(packs: &Packs) -> (ChunkStats, Vec<ChunkDamage>) {
    let mut found = Vec::new();
    let whole = packs.verify(&mut |damage| found.push(damage)).unwrap();
    (whole, found)
}

/// Every one of `chunks` is there as it was put, and nothing is damaged.
fn assert_holds(packs: &Packs, chunks: &[SealedChunk]) {
    for chunk in chunks {
        assert_eq!(packs.get(&chunk.id).unwrap().as_ref(), Some(chunk));
    }
    let (whole, found) = damages(packs);
    assert_eq!(found, []);
    assert_eq!(whole, packs.stats().unwrap());
}

#[test]
fn packs_keep_the_contract() {
    let mut places = Vec::new();
    contract::check(&mut || {
        places.push(Ground::new(2000));
        Box::new(places.last().unwrap().open().unwrap())
    });
    let mut folders = Vec::new();
    contract::check(&mut || {
        folders.push(tempfile::tempdir().unwrap());
        Box::new(Packs::open(folders.last().unwrap().path(), OWNER).unwrap())
    });
}

/// What becomes of the index in a crash.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    AsItWasAtFirst,
    Damaged,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_acknowledged_is_there_after_a_crash_at_any_step(
        sizes in prop::collection::vec(1_usize..12, 1..8),
        steps in 0_u64..24,
        roll in 300_u64..4000,
        seeds in any::<[u64; 2]>(),
        fate in prop_oneof![Just(Fate::Kept), Just(Fate::Lost), Just(Fate::AsItWasAtFirst), Just(Fate::Damaged)],
    ) {
        let place = Ground::new(roll);
        let all = samples(sizes.iter().sum());
        let (mut rest, mut acknowledged, mut pending) = (&all[..], 0, 0);
        let early = place.folder.path().join("early");
        let packs = place.open().unwrap();
        place.disk.cut_power_after(steps);
        for (number, size) in sizes.iter().enumerate() {
            let (batch, after) = rest.split_at(*size);
            match packs.put_all(batch) {
                Ok(()) => acknowledged += size,
                Err(_) => { pending = *size; break; }
            }
            rest = after;
            if number == 0 && matches!(fate, Fate::AsItWasAtFirst) {
                packs.index.read().unwrap().as_ref().unwrap().flush();
                copy_folder(&place.index(), &early);
            }
        }
        drop(packs);
        match fate {
            Fate::Kept => {}
            Fate::AsItWasAtFirst if !early.exists() => {}
            Fate::Lost => fs::remove_dir_all(place.index()).unwrap(),
            Fate::AsItWasAtFirst => copy_folder(&early, &place.index()),
            Fate::Damaged => fs::write(place.index().join("conf"), b"no configuration").unwrap(),
        }
        place.disk.crash(dice(seeds[0]));
        let packs = place.open().unwrap();
        let found = packs.ids(None, 1000).unwrap();
        prop_assert!(found.len() == acknowledged || found.len() == acknowledged + pending, "a part of a group");
        assert_holds(&packs, &all[..found.len()]);
        prop_assert_eq!(packs.stats().unwrap(), stats_of(&all[..found.len()]));
        // And it goes on, with everything that was not acknowledged put again.
        packs.put_all(&all).unwrap();
        drop(packs);
        place.disk.crash(dice(seeds[1]));
        let packs = place.open().unwrap();
        assert_holds(&packs, &all);
        prop_assert_eq!(packs.stats().unwrap(), stats_of(&all));
    }

    #[test]
    fn a_flipped_byte_is_found_with_its_place_and_no_other_bytes_are_ever_handed_out(
        sizes in prop::collection::vec(1_usize..8, 1..6),
        roll in 300_u64..4000,
        at in any::<prop::sample::Index>(),
        mask in 1_u8..=255,
    ) {
        let place = Ground::new(roll);
        let all = samples(sizes.iter().sum());
        let packs = place.open().unwrap();
        let mut rest = &all[..];
        for size in sizes {
            packs.put_all(&rest[..size]).unwrap();
            rest = &rest[size..];
        }
        let lengths = place.packs().into_iter().map(|name| {
            let length = place.disk.contents(&name).unwrap().len();
            (name, length)
        });
        let bytes: Vec<(String, u64)> =
            lengths.flat_map(|(name, length)| (0..length as u64).map(move |at| (name.clone(), at))).collect();
        let (name, offset) = at.get(&bytes);
        prop_assert!(place.disk.flip(name, *offset, mask));
        let mut lost = 0;
        for chunk in &all {
            match packs.get(&chunk.id) {
                Ok(found) => prop_assert_eq!(found.as_ref(), Some(chunk)),
                Err(ChunkStoreError::Damaged(damage)) => {
                    lost += 1;
                    prop_assert_eq!(damage.id, Some(chunk.id));
                    prop_assert!(damage.place.contains(name.as_str()), "{damage} for {name}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        prop_assert!(lost <= 1);
        let (whole, found) = damages(&packs);
        prop_assert!(found.iter().any(|damage| damage.place.contains(name.as_str())), "{found:?} for {name} {offset}");
        prop_assert_eq!(found.iter().filter(|damage| damage.id.is_some()).count(), lost);
        prop_assert_eq!(whole.chunks as usize + lost, all.len());
        // Opened again it either says where, or it has not looked there yet.
        drop(packs);
        match place.open() {
            Ok(packs) => prop_assert!(!damages(&packs).1.is_empty()),
            Err(ChunkStoreError::Damaged(damage)) => prop_assert!(damage.place.contains(name.as_str()), "{damage}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn an_index_that_is_lost_old_or_damaged_is_made_again_from_the_packs() {
    let place = Ground::new(3000);
    let all = samples(200);
    let early = place.folder.path().join("early");
    let packs = place.open().unwrap();
    packs.put_all(&all[..50]).unwrap();
    drop(packs);
    copy_folder(&place.index(), &early);
    for batch in all[50..].chunks(7) {
        place.open().unwrap().put_all(batch).unwrap();
    }
    let ids = place.open().unwrap().ids(None, 1000).unwrap();
    let spoil: [&dyn Fn(&Path); 5] = [
        &|index| fs::remove_dir_all(index).unwrap(),
        &|index| copy_folder(&early, index),
        &|index| fs::write(index.join("conf"), b"nonsense").unwrap(),
        &|index| fs::write(index.join("db"), vec![0xA5; 100_000]).unwrap(),
        &|_| (),
    ];
    for (row, spoil) in spoil.into_iter().enumerate() {
        spoil(&place.index());
        let packs = place.open().unwrap();
        assert_eq!(packs.ids(None, 1000).unwrap(), ids, "row {row}");
        assert_holds(&packs, &all);
        assert_eq!(packs.stats().unwrap(), stats_of(&all), "row {row}");
    }
}

#[test]
fn an_index_that_fails_at_work_is_opened_again() {
    let place = Ground::new(1 << 20);
    let packs = place.open().unwrap();
    let all = samples(30);
    packs.put_all(&all[..10]).unwrap();
    *packs.index.write().unwrap() = None;
    packs.put_all(&all[..20]).unwrap();
    *packs.index.write().unwrap() = None;
    assert_eq!(packs.get(&all[19].id).unwrap().as_ref(), Some(&all[19]));
    packs.put_all(&all).unwrap();
    assert_holds(&packs, &all);
    assert_eq!(packs.stats().unwrap(), stats_of(&all));
}

#[test]
fn thousands_of_small_chunks_are_one_sync() {
    let place = Ground::new(PACK_BYTES);
    let packs = place.open().unwrap();
    packs.put_all(&samples(1)).unwrap();
    let before = place.disk.steps();
    packs.put_all(&samples(5000)).unwrap();
    assert_eq!(place.disk.steps() - before, 2, "one append and one sync");
}

#[test]
fn the_same_chunks_put_by_many_threads_are_stored_once() {
    let place = Ground::new(100_000);
    let packs = place.open().unwrap();
    let all = samples(400);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (packs, all) = (&packs, &all);
            scope.spawn(move || {
                for batch in all.rchunks(7 + thread) {
                    packs.put_all(batch).unwrap();
                    assert_eq!(packs.get(&batch[0].id).unwrap().as_ref(), Some(&batch[0]));
                }
            });
        }
    });
    assert_holds(&packs, &all);
    assert_eq!(packs.stats().unwrap(), stats_of(&all));
    let frames = packs.reader.frames(*packs.end()).count();
    assert_eq!(frames, all.len());
}

#[test]
fn a_full_disk_is_reported_and_survived() {
    let place = Ground::new(5000);
    let packs = place.open().unwrap();
    let all = samples(60);
    packs.put_all(&all[..20]).unwrap();
    for room in [0, 1, 200, 1500] {
        place.disk.limit_room(Some(room));
        let refused = packs.put_all(&all);
        assert!(matches!(refused, Err(ChunkStoreError::Full { .. })), "{refused:?}");
        assert_holds(&packs, &all[..20]);
        assert_eq!(packs.stats().unwrap(), stats_of(&all[..20]));
    }
    place.disk.limit_room(None);
    packs.put_all(&all).unwrap();
    assert_holds(&packs, &all);
    drop(packs);
    place.disk.crash(|_| 0);
    assert_holds(&place.open().unwrap(), &all);
}

#[test]
fn after_a_sync_that_failed_nothing_is_put_until_the_store_is_opened_again() {
    let place = Ground::new(5000);
    let packs = place.open().unwrap();
    let all = samples(60);
    packs.put_all(&all[..20]).unwrap();
    place.disk.fail_sync_after(0);
    for _ in 0..2 {
        assert!(matches!(packs.put_all(&all[20..30]), Err(ChunkStoreError::Unavailable { .. })));
        assert_eq!(packs.missing(&[all[20].id]).unwrap(), [all[20].id]);
        assert_holds(&packs, &all[..20]);
    }
    drop(packs);
    place.disk.crash(|_| 0);
    let packs = place.open().unwrap();
    packs.put_all(&all).unwrap();
    assert_holds(&packs, &all);
}

#[test]
fn packs_that_were_shortened_behind_what_the_index_knows_are_refused() {
    let place = Ground::new(1 << 20);
    let packs = place.open().unwrap();
    let all = samples(20);
    packs.put_all(&all[..10]).unwrap();
    let length = place.disk.contents(&place.packs()[0]).unwrap().len();
    packs.put_all(&all).unwrap();
    drop(packs);
    for length in [length + 100, length] {
        place.disk.shorten(&place.packs()[0], length);
        assert!(matches!(place.open(), Err(ChunkStoreError::Damaged(_))));
        assert_eq!(place.disk.contents(&place.packs()[0]).unwrap().len(), length, "left as it was");
    }
}

#[test]
fn a_chunk_under_a_wrong_name_is_found_by_verify() {
    let place = Ground::new(1 << 20);
    let packs = place.open().unwrap();
    let all = samples(5);
    let wrong = SealedChunk { id: ChunkId([9; 32]), ..all[0].clone() };
    packs.put_all(&[&all[1..], std::slice::from_ref(&wrong)].concat()).unwrap();
    let (whole, found) = damages(&packs);
    assert_eq!(whole, stats_of(&all[1..]));
    assert_eq!(found.iter().map(|damage| damage.id).collect::<Vec<_>>(), [Some(wrong.id)]);
}

#[test]
fn a_store_has_one_process_and_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let first = Packs::open(folder.path(), OWNER).unwrap();
    first.put_all(&samples(3)).unwrap();
    let second = Packs::open(folder.path(), OWNER).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second}");
    drop(first);
    assert!(Packs::open(folder.path(), DeviceId([4; 16])).is_err());
    assert_holds(&Packs::open(folder.path(), OWNER).unwrap(), &samples(3));
}

#[test]
fn what_a_killed_process_had_written_is_durable_before_anybody_is_told_that_it_is_stored() {
    let all = samples(20);
    let (whole, killed) = (Ground::new(1 << 20), Ground::new(1 << 20));
    let packs = whole.open().unwrap();
    packs.put_all(&all[..10]).unwrap();
    killed.open().unwrap().put_all(&all[..10]).unwrap();
    packs.put_all(&all).unwrap();
    // Killed between write and sync: the same bytes, seen by who comes next, durable for nobody.
    let name = killed.packs()[0].clone();
    let written = whole.disk.contents(&name).unwrap();
    let file = SegmentDisk::open(&killed.disk, &name).unwrap();
    file.append(&written[file.len().unwrap() as usize..]).unwrap();
    let packs = killed.open().unwrap();
    packs.put_all(&all).unwrap();
    drop(packs);
    killed.disk.crash(|_| 0);
    assert_holds(&killed.open().unwrap(), &all);
}
