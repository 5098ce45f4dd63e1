//! The contract and the laws of the segmented log, on a disk that forgets and with an index that does.

#![allow(clippy::unwrap_used, reason = "a test may stop there")]

use super::*;
use crate::{
    log::contract::{self, Author, Subject, block_on},
    segment::{ForgetfulDisk, SegmentKind, file_name},
};
use proptest::prelude::*;

const LOG: [u8; 16] = [3; 16];

fn config(roll_bytes: u64) -> SegmentConfig {
    SegmentConfig { roll_bytes, ..SegmentConfig::new(SegmentKind::Log, LOG) }
}

fn open(disk: &ForgetfulDisk, index: &Arc<MemoryIndex>) -> Result<(SegmentLog, Opened), LogError> {
    SegmentLog::open(Arc::new(disk.clone()), config(4000), index.clone(), &mut |_, _| {})
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
