//! Laws of packs from which chunks are removed, and of the packs that are taken away for it.

use super::*;

#[derive(Clone, Copy, Debug)]
enum Act {
    Put(usize),
    /// So many of the ones that were put first and are still there.
    Remove(usize),
    Compact,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (1_usize..10).prop_map(Act::Put),
        3 => (1_usize..12).prop_map(Act::Remove),
        2 => Just(Act::Compact),
    ];
    prop::collection::vec(act, 1..14)
}

/// Everything that is stored is what it was, and what the store says of itself is so.
fn assert_honest(packs: &Packs, all: &[SealedChunk]) {
    let ids: Vec<ChunkId> = all.iter().map(|chunk| chunk.id).collect();
    let missing: BTreeSet<ChunkId> = packs.missing(&ids).unwrap().into_iter().collect();
    let there: Vec<&SealedChunk> = all.iter().filter(|chunk| !missing.contains(&chunk.id)).collect();
    for chunk in all {
        let found = packs.get(&chunk.id).unwrap();
        assert_eq!(found.is_none(), missing.contains(&chunk.id));
        assert!(found.is_none_or(|found| found == *chunk));
    }
    let (whole, found) = damages(packs);
    assert_eq!(found, []);
    assert_eq!((whole, packs.stats().unwrap()), (stats_of(there.iter().copied()), whole));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_that_is_needed_is_lost_whatever_is_removed_and_wherever_power_is_lost(
        acts in acts(),
        steps in 0_u64..60,
        roll in 300_u64..3000,
        seeds in any::<[u64; 2]>(),
        fate in prop_oneof![Just(Fate::Kept), Just(Fate::Lost), Just(Fate::AsItWasAtFirst), Just(Fate::Damaged)],
    ) {
        let place = Ground::new(roll);
        let all = samples(acts.len() * 10);
        let (mut next, mut first, mut needed) = (0, 0, 0..0);
        let early = place.folder.path().join("early");
        let packs = place.open().unwrap();
        place.disk.cut_power_after(steps);
        for act in &acts {
            let done = match *act {
                Act::Put(count) => {
                    let put = packs.put_all(&all[next..next + count]);
                    next += count;
                    needed.end = if put.is_ok() { next } else { needed.end };
                    put
                }
                // From here on nobody needs them, whatever the store answers.
                Act::Remove(count) => {
                    first = (first + count).min(next);
                    needed.start = first;
                    let ids: Vec<ChunkId> = all[..first].iter().map(|chunk| chunk.id).collect();
                    packs.remove(&ids).map(drop)
                }
                Act::Compact => packs.compact().map(drop),
            };
            if done.is_err() {
                break;
            }
            assert_honest(&packs, &all);
            if matches!(fate, Fate::AsItWasAtFirst) && !early.exists() {
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
        assert_honest(&packs, &all);
        for chunk in all.get(needed).unwrap_or_default() {
            let found = packs.get(&chunk.id).unwrap();
            prop_assert_eq!(found.as_ref(), Some(chunk));
        }
        // And it goes on.
        packs.put_all(&all).unwrap();
        packs.compact().unwrap();
        drop(packs);
        place.disk.crash(dice(seeds[1]));
        assert_holds(&place.open().unwrap(), &all);
    }
}

#[test]
fn the_room_of_what_was_removed_is_given_back() {
    let place = Ground::new(4000);
    let all = samples(300);
    let packs = place.open().unwrap();
    all.chunks(20).for_each(|part| packs.put_all(part).unwrap());
    let ids: Vec<ChunkId> = all.iter().map(|chunk| chunk.id).collect();
    let before = packs.compact().unwrap();
    assert_eq!(before.bytes_before, before.bytes_after, "nothing is dead");
    packs.remove(&ids[..250]).unwrap();
    let after = packs.compact().unwrap();
    assert!(after.bytes_after * 3 < after.bytes_before, "{after:?}");
    assert!(after.packs_after < after.packs_before, "{after:?}");
    assert_holds(&packs, &all[250..]);
    // The last pack, too, and then there is nothing but an empty one.
    packs.remove(&ids).unwrap();
    let after = packs.compact().unwrap();
    assert_eq!((after.packs_after, after.bytes_after), (1, 128));
    assert_eq!(packs.compact().unwrap().packs_after, 1);
    drop(packs);
    let packs = place.open().unwrap();
    packs.put_all(&all).unwrap();
    assert_holds(&packs, &all);
}

#[test]
fn chunks_are_read_and_put_while_packs_are_taken_away() {
    let place = Ground::new(3000);
    let all = samples(400);
    let packs = place.open().unwrap();
    packs.put_all(&all[..300]).unwrap();
    let (gone, kept) = (&all[..200], &all[200..300]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for part in gone.chunks(20) {
                packs.remove(&part.iter().map(|chunk| chunk.id).collect::<Vec<_>>()).unwrap();
                packs.compact().unwrap();
            }
        });
        scope.spawn(|| all[300..].chunks(5).for_each(|part| packs.put_all(part).unwrap()));
        for chunk in kept.iter().cycle().take(2000) {
            assert_eq!(packs.get(&chunk.id).unwrap().as_ref(), Some(chunk));
        }
    });
    assert_holds(&packs, &all[200..]);
}

#[test]
fn a_row_that_ends_with_a_pack_that_was_taken_away_is_damage() {
    let place = Ground::new(4000);
    let all = samples(20);
    let packs = place.open().unwrap();
    packs.put_all(&all).unwrap();
    let first = place.packs()[0].clone();
    let bytes = place.disk.contents(&first).unwrap();
    packs.remove(&all.iter().map(|chunk| chunk.id).collect::<Vec<_>>()).unwrap();
    packs.compact().unwrap();
    drop(packs);
    for pack in place.packs() {
        SegmentDisk::remove(&place.disk, &pack).unwrap();
    }
    place.disk.create(&first).unwrap().append(&bytes).unwrap();
    fs::remove_dir_all(place.index()).unwrap();
    assert!(matches!(place.open(), Err(ChunkStoreError::Damaged(damage)) if damage.place.contains(&first)));
}

#[test]
fn a_pack_that_is_gone_without_having_been_taken_away_is_damage() {
    let place = Ground::new(1000);
    let all = samples(100);
    let packs = place.open().unwrap();
    all.chunks(10).for_each(|part| packs.put_all(part).unwrap());
    let ids: Vec<ChunkId> = all[..50].iter().map(|chunk| chunk.id).collect();
    packs.remove(&ids).unwrap();
    packs.compact().unwrap();
    drop(packs);
    drop(place.open().unwrap());
    let middle = place.packs()[1].clone();
    SegmentDisk::remove(&place.disk, &middle).unwrap();
    for lost in [false, true] {
        if lost {
            fs::remove_dir_all(place.index()).unwrap();
        }
        assert!(
            matches!(place.open(), Err(ChunkStoreError::Damaged(damage)) if damage.place.contains(&middle))
        );
    }
}

#[test]
fn a_pack_that_holds_something_needed_that_cannot_be_read_stays_for_whoever_wants_to_look_at_it() {
    let place = Ground::new(4000);
    let all = samples(60);
    let packs = place.open().unwrap();
    all.chunks(10).for_each(|part| packs.put_all(part).unwrap());
    let needed = all[0].id;
    let at = packs.with_index(|index| index.get(&needed)).unwrap().unwrap().place;
    let pack = annals_events::segment::file_name(at.number());
    assert!(place.disk.flip(&pack, at.offset() + 60, 1));
    assert!(matches!(packs.get(&needed), Err(ChunkStoreError::Damaged(_))));
    let before = place.disk.contents(&pack);
    packs.remove(&all[1..].iter().map(|chunk| chunk.id).collect::<Vec<_>>()).unwrap();
    packs.compact().unwrap();
    assert_eq!(place.disk.contents(&pack), before);
    assert!(place.packs().contains(&pack) && place.packs().len() == 2, "{:?}", place.packs());
    drop(packs);
    let packs = place.open().unwrap();
    assert!(matches!(packs.get(&needed), Err(ChunkStoreError::Damaged(damage)) if damage.id == Some(needed)));
}
