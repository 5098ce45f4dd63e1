//! The contract and the laws of the segmented log, on a disk that forgets and with an index that does.

#![allow(clippy::unwrap_used, reason = "a test may stop there")]

use super::*;
use crate::{
    log::contract::{self, Author, Subject, block_on},
    segment::{ForgetfulDisk, SegmentKind, WITNESS_NAME, file_name},
};
use proptest::prelude::*;

const LOG: [u8; 16] = [3; 16];

fn config(roll_bytes: u64) -> SegmentConfig {
    SegmentConfig { roll_bytes, ..SegmentConfig::new(SegmentKind::Log, LOG) }
}

fn open(disk: &ForgetfulDisk, index: &Arc<MemoryIndex>) -> Result<(SegmentLog, Opened), LogError> {
    let disk = Arc::new(disk.clone());
    SegmentLog::open(disk.clone(), disk, config(4000), index.clone(), &mut |_, _| {})
}

fn dice(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

/// The whole contract; restarts are crashes that lose all that may be lost, the index too or not.
struct OnForgetfulDisk {
    disk: ForgetfulDisk,
    index: Arc<MemoryIndex>,
    log: Arc<SegmentLog>,
    keeps_index: bool,
}

impl OnForgetfulDisk {
    fn new(keeps_index: bool) -> Self {
        let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
        let log = Arc::new(open(&disk, &index).unwrap().0);
        Self { disk, index, log, keeps_index }
    }
}

impl Subject for OnForgetfulDisk {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    fn restart(&mut self) {
        self.disk.crash(|_| 0);
        if !self.keeps_index {
            self.index = Arc::default();
        }
        self.log = Arc::new(open(&self.disk, &self.index).unwrap().0);
    }
}

#[test]
fn the_segmented_log_keeps_the_contract() {
    for keeps_index in [true, false] {
        contract::check_all(&mut || Box::new(OnForgetfulDisk::new(keeps_index)));
    }
}

/// Everything a log answers about the namespaces 1 to 3.
fn answers(log: &SegmentLog) -> Vec<String> {
    let mut answers = vec![
        format!("{:?}", block_on(log.read_all(Position(0), usize::MAX))),
        format!("{:?}", block_on(log.namespaces())),
    ];
    for n in 1..=3 {
        let namespace = NamespaceId([n; 16]);
        answers.push(format!("{:?}", block_on(log.head(namespace))));
        answers.push(format!("{:?}", block_on(log.read(namespace, Seq(0), usize::MAX))));
        let device = Author::new(n, n, Head::default()).device();
        answers.push(format!("{:?}", block_on(log.read_device(namespace, device, Seq(0), 99))));
        for counter in 1..=8 {
            let dot = Dot::new(device, counter);
            answers.push(format!("{:?}", block_on(log.find(namespace, dot))));
            answers.push(format!("{:?}", block_on(log.read_entry(namespace, EntryId(dot), Seq(0), 99))));
        }
    }
    answers
}

/// Appends `sizes` as one group over three namespaces.
fn append(log: &SegmentLog, authors: &mut [Author], sizes: &[usize]) -> Vec<Result<Position, LogError>> {
    let group: Vec<_> = sizes
        .iter()
        .map(|size| {
            let author = &mut authors[size % 3];
            (author.head().seq, author.record(1 + size % 3, *size))
        })
        .collect();
    log.commit(&group)
}

fn authors() -> Vec<Author> {
    (1..=3).map(|n| Author::new(n, n, Head::default())).collect()
}

fn groups() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0..900_usize, 1..4), 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_is_there_after_a_crash_and_no_group_is_there_by_halves(
        groups in groups(), steps in 0..30_u64, indexed in 0..10_usize, keeps_index in any::<bool>(), seed in any::<u64>(),
    ) {
        let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
        let (log, _) = open(&disk, &index).unwrap();
        disk.cut_power_after(steps);
        let (mut authors, mut acknowledged, mut attempted) = (authors(), 0, 0);
        for (i, group) in groups.iter().enumerate() {
            if i < indexed { while log.index_some().unwrap() {} }
            attempted = group.len();
            let before = acknowledged;
            for answer in append(&log, &mut authors, group) {
                match answer {
                    Ok(_) => acknowledged += 1,
                    Err(error) => prop_assert!(matches!(error, LogError::Unknown { .. } | LogError::Unavailable { .. }), "{error}"),
                }
            }
            if acknowledged == before { break; }
        }
        let before = block_on(log.read_all(Position(0), usize::MAX)).unwrap_or_default();
        drop(log);
        disk.crash(dice(seed));
        let index = if keeps_index { index } else { Arc::default() };
        let (log, _) = open(&disk, &index).unwrap();
        let found = block_on(log.read_all(Position(0), usize::MAX)).unwrap();
        prop_assert!(found.len() == acknowledged || found.len() == acknowledged + attempted);
        prop_assert!(before.is_empty() || found[..acknowledged] == before[..]);
        prop_assert_eq!(log.verify().filter(|checked| checked.is_ok()).count(), found.len());
        prop_assert_eq!(log.verify_index(), Ok(found.len() as u64));
    }

    #[test]
    fn a_witness_is_never_ahead_of_what_is_durable_and_nothing_that_it_vouches_for_goes_unnoticed(
        groups in groups(), witnessed in any::<[bool; 10]>(), steps in 0..60_u64, seeds in any::<[u64; 2]>(), again in 0..12_u64, cut in any::<prop::sample::Index>(),
    ) {
        let disk = ForgetfulDisk::new();
        let (log, _) = open(&disk, &Arc::default()).unwrap();
        disk.cut_power_after(steps);
        let (mut authors, mut acknowledged, mut marks) = (authors(), 0, vec![Mark::default()]);
        for (group, witnessed) in groups.iter().zip(witnessed) {
            let stored = append(&log, &mut authors, group).iter().filter(|answer| answer.is_ok()).count();
            if stored == 0 { break; }
            acknowledged += stored;
            marks.push(log.end());
            if witnessed { drop(log.write_witness()); }
        }
        drop(log);
        disk.crash(dice(seeds[0]));
        // No index helps. The power goes again while it opens, and then it opens for good.
        disk.cut_power_after(again);
        let outcome = open(&disk, &Arc::default()).map(|_| ());
        prop_assert!(!matches!(outcome, Err(LogError::Damaged { .. })), "{outcome:?}");
        disk.crash(dice(seeds[1]));
        let (log, opened) = open(&disk, &Arc::default()).unwrap();
        prop_assert_eq!(opened.witness, None);
        prop_assert!(log.verify().filter(|checked| checked.is_ok()).count() >= acknowledged);
        let said = Witness::read(&disk, LOG).unwrap().mark().unwrap_or_default();
        prop_assert_eq!(said, log.end(), "what was opened is written down");
        // Cut at the end of any group, as no crash does.
        let marks: Vec<Mark> = marks.into_iter().filter(|mark| *mark < said).collect();
        if marks.is_empty() { return Ok(()); }
        let at = marks[cut.index(marks.len())];
        cut_at(&disk, at.place);
        let outcome = open(&disk, &Arc::default()).map(|_| ());
        let looked = look(Arc::new(disk.clone()), &disk, config(4000), None).map(|_| ());
        prop_assert_eq!(&outcome, &looked);
        prop_assert!(matches!(outcome, Err(LogError::Damaged { .. })), "{outcome:?}");
        prop_assert_eq!(Witness::read(&disk, LOG).unwrap().mark(), Some(said), "it goes on saying so");
    }

    #[test]
    fn an_index_that_is_gone_behind_or_wrong_is_made_anew_with_the_same_answers(
        groups in groups(), indexed in 0..10_usize, wrong in 0..6_usize, at in any::<prop::sample::Index>(),
    ) {
        let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
        let (log, _) = open(&disk, &index).unwrap();
        let mut authors = authors();
        let mut behind = Arc::new(MemoryIndex::new());
        for (i, group) in groups.iter().enumerate() {
            prop_assert!(append(&log, &mut authors, group).iter().all(Result::is_ok));
            if i < indexed { while log.index_some().unwrap() {} }
        }
        let expected = answers(&log);
        while log.index_some().unwrap() {}
        prop_assert_eq!(&answers(&log), &expected, "whether from the tail or from the index");
        drop(log);
        match wrong {
            0 => behind = index,
            1 => {} // gone
            2 => behind.write(&[index::Complete { log: [9; 16], mark: Mark::default(), records: 0 }.write()]).unwrap(),
            3 => behind.write(&[Write { tree: Tree::Mark, key: b"complete/1".to_vec(), value: vec![1; 68] }]).unwrap(),
            // It lost pairs of one tree and still says that it is complete.
            4 => copy(&index, &behind, Some((Tree::Namespace, at))),
            _ => copy(&index, &behind, Some((Tree::Dot, at))),
        }
        disk.crash(|_| 0);
        let (log, opened) = open(&disk, &behind).unwrap();
        prop_assert_eq!(opened.rebuilt.is_some(), wrong != 0);
        prop_assert_eq!(answers(&log), expected);
        prop_assert!(log.verify_index().is_ok());
    }

    #[test]
    fn a_flipped_byte_is_found_with_its_position_and_never_answered_with(
        groups in groups(), at in any::<prop::sample::Index>(), mask in 1..=255_u8, segment in any::<prop::sample::Index>(),
    ) {
        let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
        let (log, _) = open(&disk, &index).unwrap();
        let mut authors = authors();
        for group in &groups {
            prop_assert!(append(&log, &mut authors, group).iter().all(Result::is_ok));
        }
        while log.index_some().unwrap() {}
        drop(log);
        disk.crash(|_| 0);
        let number = 1 + segment.index(index_end(&index).place.number() as usize) as u32;
        let offset = at.index(disk.contents(&file_name(number)).unwrap().len()) as u64;
        disk.flip(&file_name(number), offset, mask);
        // With the index and without it, on opening or when everything is gone over.
        for index in [index, Arc::default()] {
            let outcome = open(&disk, &index).and_then(|(log, _)| log.verify().collect::<Result<Vec<_>, _>>());
            let Err(LogError::Damaged { position, .. }) = outcome else {
                return Err(TestCaseError::fail(format!("byte {offset} of {number}: {outcome:?}")));
            };
            prop_assert_eq!(Place(position.0).number(), number);
            prop_assert!(Place(position.0).offset() <= offset);
        }
    }
}

fn index_end(index: &MemoryIndex) -> Mark {
    index::Complete::of(index).unwrap().unwrap().mark
}

/// Copies an index, less one pair.
fn copy(from: &MemoryIndex, to: &MemoryIndex, less: Option<(Tree, prop::sample::Index)>) {
    for tree in Tree::ALL {
        let mut pairs = from.range(tree, &[], &[255; 64], usize::MAX).unwrap();
        if let Some((lost, at)) = less
            && lost == tree
        {
            pairs.remove(at.index(pairs.len()));
        }
        let writes: Vec<Write> = pairs.into_iter().map(|(key, value)| Write { tree, key, value }).collect();
        to.write(&writes).unwrap();
    }
}

/// Cuts the log's files there, and those behind away.
fn cut_at(disk: &ForgetfulDisk, place: Place) {
    for name in disk.list().unwrap() {
        let Some(number) = name.strip_suffix(".segment").and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        if number > place.number() {
            disk.remove(&name).unwrap();
        } else if number == place.number() {
            disk.shorten(&name, place.offset() as usize);
        }
    }
    disk.sync_names().unwrap();
}

#[test]
fn a_log_that_was_cut_at_the_end_of_a_group_is_damaged_with_the_index_and_without_it() {
    let fill = || {
        let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
        let (log, _) = open(&disk, &index).unwrap();
        let (mut authors, mut marks) = (authors(), vec![log.end()]);
        // The third group ends the first segment, so that one row of the table removes a whole file.
        for size in [1, 2, 3900, 3, 4] {
            append(&log, &mut authors, &[size]);
            marks.push(log.end());
        }
        while log.index_some().unwrap() {}
        (disk, index, log, marks)
    };
    // Witnessed after so many groups, cut to so many: found where, if anywhere.
    let table = [
        (0, 0, false),
        (0, 4, false),
        (2, 5, false),
        (2, 2, false),
        (2, 1, true),
        (5, 5, false),
        (5, 4, true),
        (5, 3, true),
        (5, 2, true),
        (5, 0, true),
    ];
    for (witnessed, left, found) in table {
        for keeps_index in [false, true] {
            let (disk, index, log, marks) = fill();
            drop(log);
            if witnessed > 0 {
                Witness::write(&disk, LOG, marks[witnessed]).unwrap();
            }
            cut_at(&disk, marks[left].place);
            let index = if keeps_index { index } else { Arc::default() };
            let outcome = open(&disk, &index).map(|(log, _)| log.end());
            let row = format!("witnessed {witnessed}, left {left}, index {keeps_index}: {outcome:?}");
            let known_to_index = keeps_index && left < 5;
            if !(found || known_to_index) {
                assert_eq!(outcome, Ok(marks[left]), "{row}");
                continue;
            }
            let Err(LogError::Damaged { position, .. }) = outcome else { panic!("{row}") };
            // With nothing left there is no end; the position is that of what is missing.
            let expected = if left == 0 { position.0 } else { marks[left].place.0 };
            assert_eq!(position.0, expected, "{row}");
            assert!(position.0 > 0, "{row}");
        }
    }
}

#[test]
fn a_witness_that_cannot_be_believed_is_told_of_and_written_anew() {
    let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
    let (log, _) = open(&disk, &index).unwrap();
    append(&log, &mut authors(), &[1]);
    log.write_witness().unwrap();
    let end = log.end();
    drop(log);
    disk.flip(WITNESS_NAME, 40, 1);
    let (log, opened) = open(&disk, &index).unwrap();
    assert_eq!(opened.witness.as_deref(), Some("it does not match its checksum"));
    assert_eq!(Witness::read(&disk, LOG), Ok(Witness::At(end)));
    drop(log);
    Witness::write(&disk, LOG, Mark { chain: crate::Hash([1; 32]), ..end }).unwrap();
    let outcome = open(&disk, &Arc::default()).map(|_| ());
    assert!(matches!(outcome, Err(LogError::Damaged { .. })), "another history stands there: {outcome:?}");
}

#[test]
fn looking_at_a_log_changes_nothing_and_tells_of_what_a_crash_cut_off() {
    let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
    let (log, _) = open(&disk, &index).unwrap();
    append(&log, &mut authors(), &[1, 2]);
    let end = log.end();
    drop(log);
    let file = disk.open(&file_name(1)).unwrap();
    file.append(&[0; 700]).unwrap();
    let before: Vec<_> = disk.list().unwrap().into_iter().map(|name| disk.contents(&name)).collect();
    let steps = disk.steps();
    let looked = look(Arc::new(disk.clone()), &disk, config(4000), Some(&*index)).unwrap();
    assert_eq!(looked.end, end);
    assert_eq!(looked.unfinished, Some(crate::segment::Unfinished { place: end.place, bytes: 700 }));
    assert_eq!(looked.verify().filter(|checked| checked.is_ok()).count(), 2);
    assert_eq!(looked.verify_index(&*index), Ok(()), "one that is behind says nothing false");
    assert_eq!(disk.steps(), steps);
    let after: Vec<_> = disk.list().unwrap().into_iter().map(|name| disk.contents(&name)).collect();
    assert_eq!(after, before);
}

#[test]
fn segments_that_end_before_what_the_index_knows_are_damaged() {
    let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
    let (log, _) = open(&disk, &index).unwrap();
    let mut authors = authors();
    append(&log, &mut authors, &[1]);
    let end = log.end();
    append(&log, &mut authors, &[1]);
    while log.index_some().unwrap() {}
    drop(log);
    disk.shorten(&file_name(1), end.place.offset() as usize);
    let outcome = open(&disk, &index).map(|_| ());
    assert!(
        matches!(&outcome, Err(LogError::Damaged { position, .. }) if position.0 == end.place.0),
        "{outcome:?}"
    );
}

#[test]
fn a_full_disk_is_reported_to_everyone_in_the_group_and_survived() {
    let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
    let (log, _) = open(&disk, &index).unwrap();
    let mut authors = authors();
    assert!(append(&log, &mut authors, &[1, 2, 3]).iter().all(Result::is_ok));
    let heads: Vec<Head> = authors.iter().map(Author::head).collect();
    disk.limit_room(Some(500));
    let answers = append(&log, &mut authors, &[400, 500, 600]);
    assert!(answers.iter().all(|answer| matches!(answer, Err(LogError::Full { .. }))), "{answers:?}");
    assert_eq!(block_on(log.head(NamespaceId([1; 16]))), Ok(heads[0]), "nothing was stored");
    disk.limit_room(None);
    let mut author = Author::new(1, 1, heads[0]);
    let record =
        author.record_at(heads[0], 50, vec![(crate::Fact::AttributesChanged { entry: EntryId::ROOT }, 9)]);
    assert!(log.commit(&[(heads[0].seq, record)])[0].is_ok());
    assert_eq!(author.record(1, 1).seq(), Seq(heads[0].seq.0 + 1));
    disk.crash(|_| 0);
    let (log, _) = open(&disk, &index).unwrap();
    assert_eq!(log.verify().filter(|checked| checked.is_ok()).count(), 4);
}

#[test]
fn after_a_failed_sync_the_answer_is_unknown_and_then_nothing_is_taken() {
    let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
    let (log, _) = open(&disk, &index).unwrap();
    let mut authors = authors();
    assert!(append(&log, &mut authors, &[1])[0].is_ok());
    let waiting = log.wait_past(NamespaceId([2; 16]), authors[1].head().seq);
    disk.fail_sync_after(0);
    assert!(matches!(append(&log, &mut authors, &[1])[0], Err(LogError::Unknown { .. })));
    assert!(matches!(append(&log, &mut authors, &[2])[0], Err(LogError::Unavailable { .. })));
    assert!(matches!(block_on(waiting), Err(LogError::Unavailable { .. })), "whoever waits is told");
    assert_eq!(block_on(log.read_all(Position(0), usize::MAX)).unwrap().len(), 1);
}

#[test]
fn in_one_group_each_append_is_judged_after_those_before_it() {
    let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
    let (log, _) = open(&disk, &index).unwrap();
    let (mut one, mut two) = (Author::new(1, 1, Head::default()), Author::new(2, 1, Head::default()));
    let (first, rival) = (one.record(2, 5), two.record(2, 5));
    let second = one.record(1, 5);
    let group = [(Seq(0), first.clone()), (Seq(0), rival), (Seq(2), second), (Seq(3), first)];
    let answers = log.commit(&group);
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(LogError::Conflict { actual: Seq(2), .. })));
    assert!(matches!(answers[3], Err(LogError::Duplicate { seq: Seq(1), .. })));
}

#[test]
fn a_record_that_is_in_the_tail_and_in_the_index_is_read_once() {
    let (disk, index) = (ForgetfulDisk::new(), Arc::new(MemoryIndex::new()));
    let (log, _) = open(&disk, &index).unwrap();
    let mut author = Author::new(1, 1, Head::default());
    for _ in 0..3 {
        let expected = author.head().seq;
        assert!(log.commit(&[(expected, author.record(1, 5))])[0].is_ok());
    }
    let all = block_on(log.read_all(Position(0), usize::MAX)).unwrap();
    // Where the indexer stands between writing to the index and shortening the tail.
    let mut writes = Vec::new();
    all.iter().for_each(|logged| index::add_record(logged.position, &logged.record, &mut writes));
    index.write(&writes).unwrap();
    assert_eq!(block_on(log.read(NamespaceId([1; 16]), Seq(0), usize::MAX)).unwrap(), all);
    assert_eq!(block_on(log.read_device(NamespaceId([1; 16]), author.device(), Seq(0), 99)).unwrap(), all);
}
