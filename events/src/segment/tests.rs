//! Laws of segments on a disk that forgets.

use super::*;
use proptest::prelude::*;

const OWNER: [u8; 16] = [7; 16];

fn config(roll_bytes: u64) -> SegmentConfig {
    SegmentConfig { roll_bytes, ..SegmentConfig::new(SegmentKind::Log, OWNER) }
}

fn open(
    disk: &ForgetfulDisk,
    roll: u64,
    known: Option<Mark>,
) -> Result<(Segments, Option<Torn>), SegmentError> {
    Segments::open(Arc::new(disk.clone()), config(roll), known.as_slice())
}

fn all(segments: &Segments) -> Result<Vec<Vec<u8>>, SegmentError> {
    segments.reader().frames(segments.end()).map(|frame| frame.map(|frame| frame.bytes)).collect()
}

fn append(segments: &mut Segments, group: &[Vec<u8>]) -> Result<Vec<Place>, SegmentError> {
    segments.append(&group.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Choices of a crash, from a seed.
fn dice(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

/// Frames of all sizes around the sector, some of them nothing but zeros.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let sizes = prop_oneof![1..40_usize, 400..700_usize, 1000..3000_usize];
    (sizes, any::<u8>(), 0..4_u8).prop_map(|(size, byte, zeros)| {
        (0..size).map(|i| if zeros == 0 { 0 } else { byte.wrapping_add(i as u8) }).collect()
    })
}

fn groups() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    prop::collection::vec(prop::collection::vec(frame(), 1..5), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_a_crash_at_any_step_and_nothing_else_appears_by_halves(
        groups in groups(), steps in 0..40_u64, roll in 300..6000_u64, seeds in any::<[u64; 3]>(), again in 0..6_u64,
    ) {
        let disk = ForgetfulDisk::new();
        disk.cut_power_after(steps);
        let mut acknowledged: Vec<Vec<u8>> = Vec::new();
        let mut pending: Vec<Vec<u8>> = Vec::new();
        let (mut segments, _) = open(&disk, roll, None).unwrap();
        let mut known = Mark::default();
        for group in &groups {
            match append(&mut segments, group) {
                Ok(_) => { acknowledged.extend(group.iter().cloned()); known = segments.end(); }
                Err(_) => { pending.clone_from(group); break; }
            }
        }
        // Down, and down again while it opens; then it opens, without any help and with the last mark known.
        disk.crash(dice(seeds[0]));
        disk.cut_power_after(again);
        let reopened = open(&disk, roll, None);
        prop_assert!(!matches!(reopened, Err(SegmentError::Damaged { .. } | SegmentError::Foreign { .. })), "{:?}", reopened.err());
        drop(reopened);
        disk.crash(dice(seeds[1]));
        let (mut segments, _) = open(&disk, roll, Some(known)).unwrap();
        let found = all(&segments).unwrap();
        prop_assert!(found.starts_with(&acknowledged));
        let rest = &found[acknowledged.len()..];
        prop_assert!(rest.is_empty() || rest == &pending[..], "a part of a group");
        // And it goes on.
        append(&mut segments, &[b"after".to_vec()]).unwrap();
        disk.crash(dice(seeds[2]));
        let (segments, torn) = open(&disk, roll, Some(segments.end())).unwrap();
        prop_assert_eq!(torn, None);
        prop_assert_eq!(all(&segments).unwrap().pop().unwrap(), b"after");
    }

    #[test]
    fn a_flipped_byte_anywhere_is_damage_with_its_place_and_never_a_torn_tail(
        groups in groups(), roll in 300..6000_u64, at in any::<prop::sample::Index>(), mask in 1..=255_u8, last_group in any::<bool>(), torn_after in any::<Option<u64>>(),
    ) {
        let disk = ForgetfulDisk::new();
        let (mut segments, _) = open(&disk, roll, None).unwrap();
        let mut start = segments.end();
        for group in &groups {
            start = segments.end();
            append(&mut segments, group).unwrap();
        }
        let end = segments.end();
        if let Some(seed) = torn_after {
            disk.cut_power_after(0);
            prop_assert!(segments.append(&[&[1; 900]]).is_err());
            disk.crash(dice(seed));
        } else {
            disk.crash(|_| 0);
        }
        let number = if last_group { end.place.number() } else { 1 + at.index(end.place.number() as usize) as u32 };
        let from = if last_group && start.place.number() == number { start.place.offset() } else { 0 };
        let until = if number == end.place.number() { end.place.offset() } else { disk.contents(&file_name(number)).unwrap().len() as u64 };
        let offset = from + at.index((until - from) as usize) as u64;
        prop_assert!(disk.flip(&file_name(number), offset, mask));
        let before = disk.contents(&file_name(number));
        let outcome = open(&disk, roll, None).and_then(|(segments, _)| all(&segments));
        match outcome {
            Err(SegmentError::Damaged { place, .. }) => {
                prop_assert_eq!(place.number(), number);
                prop_assert!(place.offset() <= offset);
            }
            other => prop_assert!(false, "byte {offset} of {number}: {other:?}"),
        }
        prop_assert_eq!(disk.contents(&file_name(number)), before, "a damaged segment is left as it is");
    }

    #[test]
    fn a_full_disk_stores_nothing_and_appending_goes_on_once_there_is_room(
        groups in groups(), room in 0..9000_u64, roll in 300..6000_u64, seed in any::<u64>(),
    ) {
        let disk = ForgetfulDisk::new();
        let (mut segments, _) = open(&disk, roll, None).unwrap();
        append(&mut segments, &[b"first".to_vec()]).unwrap();
        disk.limit_room(Some(room));
        let mut stored = vec![b"first".to_vec()];
        for group in &groups {
            match append(&mut segments, group) {
                Ok(_) => stored.extend(group.iter().cloned()),
                Err(error) => prop_assert!(matches!(error, SegmentError::Full { .. }), "{error}"),
            }
            prop_assert_eq!(&all(&segments).unwrap(), &stored);
        }
        disk.limit_room(None);
        append(&mut segments, &[b"last".to_vec()]).unwrap();
        stored.push(b"last".to_vec());
        disk.crash(dice(seed));
        let (segments, torn) = open(&disk, roll, Some(segments.end())).unwrap();
        prop_assert_eq!(torn, None);
        prop_assert_eq!(all(&segments).unwrap(), stored);
    }

    #[test]
    fn what_a_crash_cut_off_keeps_nobody_from_reading_on_a_full_disk_and_is_moved_aside_once_there_is_room(
        groups in groups(), steps in 0..40_u64, roll in 300..6000_u64, seeds in any::<[u64; 3]>(), room in prop_oneof![Just(0), 0..3000_u64], again in any::<bool>(),
    ) {
        let disk = ForgetfulDisk::new();
        disk.cut_power_after(steps);
        let (mut acknowledged, mut known) = (Vec::new(), Mark::default());
        let (mut segments, _) = open(&disk, roll, None).unwrap();
        for group in &groups {
            if append(&mut segments, group).is_err() {
                break;
            }
            acknowledged.extend(group.iter().cloned());
            known = segments.end();
        }
        disk.crash(dice(seeds[0]));
        disk.limit_room(Some(room));
        let (mut segments, _) = open(&disk, roll, Some(known)).unwrap();
        let mut stored = all(&segments).unwrap();
        prop_assert!(stored.starts_with(&acknowledged));
        match append(&mut segments, &[b"perhaps".to_vec()]) {
            Ok(_) => stored.push(b"perhaps".to_vec()),
            Err(error) => prop_assert!(matches!(error, SegmentError::Full { .. }), "{error}"),
        }
        prop_assert_eq!(&all(&segments).unwrap(), &stored);
        // The power may go once more before there is room.
        if again {
            disk.crash(dice(seeds[1]));
            segments = open(&disk, roll, Some(segments.end())).unwrap().0;
        }
        disk.limit_room(None);
        append(&mut segments, &[b"after".to_vec()]).unwrap();
        stored.push(b"after".to_vec());
        disk.crash(dice(seeds[2]));
        let (segments, torn) = open(&disk, roll, Some(segments.end())).unwrap();
        prop_assert_eq!(torn, None);
        prop_assert_eq!(all(&segments).unwrap(), stored);
    }

    #[test]
    fn what_a_failed_write_left_on_the_disk_is_never_taken_for_damage(
        failed in frame(), next in frame(), room in 0..3000_u64, steps in 0..3_u64, seed in any::<u64>(),
    ) {
        let disk = ForgetfulDisk::new();
        let (mut segments, _) = open(&disk, 1 << 20, None).unwrap();
        segments.append(&[b"first"]).unwrap();
        disk.write_back(true);
        disk.limit_room(Some(room));
        let stored = segments.append(&[&failed]).is_ok();
        disk.write_back(false);
        disk.limit_room(None);
        disk.cut_power_after(steps);
        let acknowledged = 1 + usize::from(stored) + usize::from(segments.append(&[&next]).is_ok());
        disk.crash(dice(seed));
        let (segments, _) = open(&disk, 1 << 20, None).unwrap();
        prop_assert!(all(&segments).unwrap().len() >= acknowledged);
    }

    #[test]
    fn reading_from_any_frame_or_mark_continues_where_it_was(groups in groups(), roll in 300..6000_u64) {
        let disk = ForgetfulDisk::new();
        let (mut segments, _) = open(&disk, roll, None).unwrap();
        let (mut places, mut marks) = (Vec::new(), Vec::new());
        for group in &groups {
            places.extend(append(&mut segments, group).unwrap());
            marks.push((places.len(), segments.end()));
        }
        let flat: Vec<Vec<u8>> = groups.concat();
        let (reader, end) = (segments.reader(), segments.end());
        for (i, place) in places.iter().enumerate() {
            prop_assert_eq!(&reader.read(*place).unwrap(), &flat[i]);
            let rest: Vec<Frame> = reader.frames_after(*place, end).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(rest.iter().map(|f| f.place).collect::<Vec<_>>(), &places[i + 1..]);
            prop_assert_eq!(rest.into_iter().map(|f| f.bytes).collect::<Vec<_>>(), &flat[i + 1..]);
        }
        for (count, mark) in marks {
            let rest: Vec<Vec<u8>> = reader.frames_past(mark, end).unwrap().map(|f| f.unwrap().bytes).collect();
            prop_assert_eq!(rest, &flat[count..]);
        }
    }
}

#[test]
fn a_torn_tail_is_moved_aside_byte_by_byte() {
    let disk = ForgetfulDisk::new();
    let (mut segments, _) = open(&disk, 1 << 20, None).unwrap();
    segments.append(&[b"kept"]).unwrap();
    let end = segments.end();
    disk.cut_power_after(0);
    assert!(segments.append(&[&[9; 2000]]).is_err());
    // The length is kept and so is every sector but the second.
    let mut choices = [0, 2, 0, 1, 0].into_iter();
    disk.crash(|_| choices.next().unwrap_or(1));
    let left = disk.contents(&file_name(1)).unwrap()[end.place.offset() as usize..].to_vec();
    assert!(left.len() > 2000 && left.contains(&9));
    // Not before there is room for it.
    disk.limit_room(Some(100));
    let (mut segments, torn) = open(&disk, 1 << 20, None).unwrap();
    assert_eq!((torn, all(&segments).unwrap()), (None, vec![b"kept".to_vec()]));
    assert!(matches!(segments.append(&[b"more"]), Err(SegmentError::Full { .. })));
    disk.limit_room(None);
    let (segments, torn) = open(&disk, 1 << 20, None).unwrap();
    let torn = torn.unwrap();
    assert_eq!((torn.place, torn.bytes), (end.place, left.len() as u64));
    assert_eq!(disk.contents(&torn.file).unwrap(), left);
    assert_eq!(segments.end(), end);
    assert_eq!(all(&segments).unwrap(), [b"kept"]);
}

#[test]
fn a_lost_sector_is_damage_if_anything_follows_its_group() {
    let disk = ForgetfulDisk::new();
    let (mut segments, _) = open(&disk, 1 << 20, None).unwrap();
    segments.append(&[&[1; 300]]).unwrap();
    let start = segments.end().place;
    segments.append(&[&[2; 900]]).unwrap();
    segments.append(&[&[3; 900]]).unwrap();
    // The sector with the second group's header, which alone would look like a write that a crash cut off.
    let bytes = disk.contents(&file_name(1)).unwrap();
    let sector = start.offset() as usize..(start.offset() as usize).next_multiple_of(512);
    for at in sector {
        disk.flip(&file_name(1), at as u64, bytes[at]);
    }
    assert!(matches!(open(&disk, 1 << 20, None), Err(SegmentError::Damaged { place, .. }) if place == start));
}

#[test]
fn a_log_that_ends_before_what_is_known_is_damaged() {
    let disk = ForgetfulDisk::new();
    let (mut segments, _) = open(&disk, 1 << 20, None).unwrap();
    segments.append(&[b"one"]).unwrap();
    let one = segments.end();
    segments.append(&[b"two"]).unwrap();
    let two = segments.end();
    disk.shorten(&file_name(1), two.place.offset() as usize - 1);
    assert!(
        matches!(open(&disk, 1 << 20, Some(two)), Err(SegmentError::Damaged { place, .. }) if place == one.place)
    );
    disk.shorten(&file_name(1), one.place.offset() as usize);
    assert!(
        matches!(open(&disk, 1 << 20, Some(two)), Err(SegmentError::Damaged { place, .. }) if place == one.place)
    );
    let other = Mark { chain: Hash([1; 32]), ..one };
    assert!(matches!(open(&disk, 1 << 20, Some(other)), Err(SegmentError::Damaged { .. })));
    assert!(open(&disk, 1 << 20, Some(one)).is_ok());
    disk.remove(&file_name(1)).unwrap();
    assert!(matches!(open(&disk, 1 << 20, Some(one)), Err(SegmentError::Damaged { .. })));
}

#[test]
fn after_a_sync_that_failed_nothing_is_written_any_more() {
    let disk = ForgetfulDisk::new();
    let (mut segments, _) = open(&disk, 1 << 20, None).unwrap();
    segments.append(&[b"one"]).unwrap();
    disk.fail_sync_after(0);
    assert!(matches!(segments.append(&[b"two"]), Err(SegmentError::Stopped { .. })));
    assert!(matches!(segments.append(&[b"three"]), Err(SegmentError::Stopped { .. })));
    assert_eq!(all(&segments).unwrap(), [b"one"]);
    // A sync asked again would have said yes, and this would be gone.
    disk.crash(|_| 0);
    let (segments, _) = open(&disk, 1 << 20, None).unwrap();
    assert_eq!(all(&segments).unwrap(), [b"one"]);
}

#[test]
fn segments_of_others_and_of_later_formats_are_refused_and_missing_ones_noticed() {
    let disk = ForgetfulDisk::new();
    let (mut segments, _) = open(&disk, 200, None).unwrap();
    for n in 0..4_u8 {
        segments.append(&[&[n; 100]]).unwrap();
    }
    assert_eq!(segments.numbers().unwrap(), [1, 2, 3, 4]);
    let other = SegmentConfig::new(SegmentKind::Log, [8; 16]);
    assert!(matches!(Segments::open(Arc::new(disk.clone()), other, &[]), Err(SegmentError::Foreign { .. })));
    let other = SegmentConfig::new(SegmentKind::Chunks, OWNER);
    assert!(matches!(Segments::open(Arc::new(disk.clone()), other, &[]), Err(SegmentError::Foreign { .. })));
    disk.remove(&file_name(2)).unwrap();
    assert!(
        matches!(open(&disk, 200, None), Err(SegmentError::Damaged { place, .. }) if place == Place::new(2, 0))
    );
    let gaps = SegmentConfig { gaps: true, ..config(200) };
    let (segments, _) = Segments::open(Arc::new(disk.clone()), gaps, &[]).unwrap();
    assert_eq!(all(&segments).unwrap(), [[0; 100], [2; 100], [3; 100]]);
}

#[test]
#[should_panic(expected = "the segment that is being written stays")]
fn who_removes_the_segment_that_is_being_written_is_mistaken() {
    let gaps = SegmentConfig { gaps: true, ..config(200) };
    let (mut segments, _) = Segments::open(Arc::new(ForgetfulDisk::new()), gaps, &[]).unwrap();
    segments.append(&[&[1; 100]]).unwrap();
    drop(segments.remove(1));
}

#[test]
fn a_frame_or_group_over_its_limit_is_not_written() {
    let (mut segments, _) = open(&ForgetfulDisk::new(), 1 << 20, None).unwrap();
    let large = vec![1; FRAME_BYTES_MAX + 1];
    for frames in [vec![&large[..]], vec![&large[1..]; 4], vec![], vec![&[][..]]] {
        assert!(matches!(segments.append(&frames), Err(SegmentError::Size { .. })));
    }
    assert!(segments.append(&[&large[1..]]).is_ok());
}

#[test]
fn what_a_killed_process_wrote_and_did_not_sync_is_durable_once_it_was_opened() {
    let whole = ForgetfulDisk::new();
    let (mut segments, _) = open(&whole, 6000, None).unwrap();
    append(&mut segments, &[vec![1; 10]]).unwrap();
    // The same bytes, written and never synced.
    let disk = ForgetfulDisk::new();
    disk.create(&file_name(1)).unwrap().append(&whole.contents(&file_name(1)).unwrap()).unwrap();
    let (opened, _) = open(&disk, 6000, None).unwrap();
    let shown = all(&opened).unwrap();
    assert_eq!(shown, [vec![1; 10]]);
    // The power goes, and with it all that was never synced.
    disk.crash(|_| 0);
    let (after, _) = open(&disk, 6000, None).unwrap();
    assert_eq!(all(&after).unwrap(), shown);
}
