//! Files in memory that behave as files do, cut by one worker and by several.

use super::*;
use annals_engine::content::Codec;
use annals_events::Manifest;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::ThreadId,
};

/// A file, and what happens to it while it is read.
#[derive(Clone, Debug)]
struct Sample {
    bytes: Arc<Vec<u8>>,
    /// What `node` says, from the first call to the last.
    nodes: [Node; 2],
    kind_of_error: Option<io::ErrorKind>,
}

struct SampleReading {
    sample: Sample,
    at: usize,
    asked: AtomicUsize,
    read: Arc<AtomicU64>,
}

impl io::Read for SampleReading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(kind) = self.sample.kind_of_error {
            return Err(kind.into());
        }
        // A little at a time, as pipes and networks do.
        let got = (self.sample.bytes.len() - self.at).min(buffer.len()).min(100_000);
        buffer[..got].copy_from_slice(&self.sample.bytes[self.at..self.at + got]);
        self.at += got;
        self.read.fetch_add(got as u64, Ordering::SeqCst);
        Ok(got)
    }
}

impl Reading for SampleReading {
    fn node(&self) -> Result<Node, DiskError> {
        Ok(self.sample.nodes[self.asked.fetch_add(1, Ordering::SeqCst).min(1)].clone())
    }
}

fn node(size: usize) -> Node {
    Node {
        kind: EntryKind::File,
        size: size as u64,
        mtime_ns: 5,
        ctime_ns: 6,
        dev: 1,
        ino: 2,
        born_ns: None,
        executable: false,
        target: None,
    }
}

fn sample(bytes: Vec<u8>) -> Sample {
    let node = node(bytes.len());
    Sample { bytes: Arc::new(bytes), nodes: [node.clone(), node], kind_of_error: None }
}

fn unread(sample: &Sample, replaced: Option<Cut>, read: &Arc<AtomicU64>) -> UnreadFile<SampleReading> {
    let (sample, read) = (sample.clone(), read.clone());
    let open = move || Ok(SampleReading { sample, at: 0, asked: AtomicUsize::new(0), read });
    UnreadFile { open: Box::new(open), replaced, first: None }
}

fn to_cut(sample: &Sample, replaced: Option<Cut>, read: &Arc<AtomicU64>) -> FileToCut<SampleReading> {
    FileToCut::Unread(unread(sample, replaced, read))
}

/// Noise with compressible stretches, different for each seed.
fn generated(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if state >> 52 == 0 {
            bytes.resize(bytes.len() + 30_000, b'~');
        }
        bytes.extend((state >> 20).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Keeps what it wants, which is all but `known`.
#[derive(Default)]
struct Collector {
    known: Vec<ChunkId>,
    taken: Mutex<BTreeMap<ChunkId, SealedChunk>>,
    fails_after: Option<usize>,
}

impl ChunkSink for Collector {
    type Error = &'static str;

    fn wanted(&self, id: &ChunkId) -> Result<bool, Self::Error> {
        Ok(!self.known.contains(id) && !self.taken.lock().unwrap().contains_key(id))
    }

    fn take(&self, chunk: SealedChunk) -> Result<(), Self::Error> {
        let mut taken = self.taken.lock().unwrap();
        if self.fails_after.is_some_and(|most| taken.len() >= most) {
            return Err("no network");
        }
        taken.insert(chunk.id, chunk);
        Ok(())
    }
}

impl Collector {
    fn open(&self, id: &ChunkId) -> Vec<u8> {
        self.taken.lock().unwrap()[id].clone().open().unwrap()
    }

    fn bytes_of(&self, content: &Content) -> Vec<u8> {
        let chunks = match &content.manifest {
            Some(root) => Manifest::decode(&self.open(&root.id), content).unwrap().chunks,
            None => content.chunks.clone(),
        };
        chunks.iter().flat_map(|chunk| self.open(&chunk.id)).collect()
    }
}

type Results = BTreeMap<usize, Result<CutFile, CutError>>;

fn cut(
    workers: usize,
    files: &[(Sample, Option<Cut>)],
    sink: &Collector,
) -> (Result<(), &'static str>, Results) {
    let mut results = BTreeMap::new();
    let files = files.iter().map(|(sample, replaced)| to_cut(sample, *replaced, &Arc::default()));
    let files: Vec<_> = files.collect();
    let end =
        cut_files_on(NonZero::new(workers).unwrap(), &Benches::default(), files, sink, |place, result| {
            assert!(results.insert(place, result).is_none(), "file {place} came twice");
        });
    (end, results)
}

fn cut_one(sample: Sample, replaced: Option<Cut>) -> Result<CutFile, CutError> {
    let (end, mut results) = cut(2, &[(sample, replaced)], &Collector::default());
    end.unwrap();
    results.remove(&0).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_number_of_workers_finds_the_same_contents_and_every_byte(
        files in prop::collection::vec((
            any::<u64>(),
            prop_oneof![0..9_usize, 4000..70_000_usize, 900_000..1_200_000_usize, 3_000_000..9_000_000_usize],
            prop_oneof![Just(None), Just(Some(Cut::SMALL)), Just(Some(Cut::MEDIUM)), Just(Some(Cut::LARGE))],
        ), 0..12),
        workers in 1_usize..6,
    ) {
        let files: Vec<_> = files.into_iter().map(|(seed, size, cut)| (sample(generated(seed, size)), cut)).collect();
        let sink = Collector::default();
        let (end, results) = cut(workers, &files, &sink);
        prop_assert_eq!((end, results.len()), (Ok(()), files.len()));
        for ((sample, replaced), result) in files.iter().zip(results.values()) {
            let file = result.as_ref().unwrap();
            prop_assert!(sink.bytes_of(&file.content) == *sample.bytes, "other bytes");
            let sizes = replaced.unwrap_or(Cut::for_size(sample.bytes.len() as u64));
            let chunks = Chunker::new(sizes).unwrap();
            let chunks = chunks.cut_whole(&sample.bytes).map(|c| ChunkRef { bytes: c.len() as u32, id: ChunkId::of(c) });
            prop_assert_eq!(&file.content, &Content::new(sizes, chunks.collect()).0);
        }
    }
}

#[test]
fn thousands_of_small_files_are_each_cut_once() {
    let files: Vec<_> = (0..5000).map(|seed| (sample(generated(seed, 50 + seed as usize)), None)).collect();
    let sink = Collector::default();
    let (end, results) = cut(4, &files, &sink);
    end.unwrap();
    assert_eq!(results.len(), files.len());
    for ((sample, _), result) in files.iter().zip(results.values()) {
        assert_eq!(sink.bytes_of(&result.as_ref().unwrap().content), *sample.bytes);
    }
}

/// Wants nothing, and keeps what there is room for.
struct Keeper {
    room: Mutex<usize>,
    kept: Mutex<BTreeMap<usize, Vec<u8>>>,
}

impl ChunkSink for Keeper {
    type Error = &'static str;
    fn wanted(&self, _: &ChunkId) -> Result<bool, Self::Error> {
        Ok(false)
    }
    fn take(&self, _: SealedChunk) -> Result<(), Self::Error> {
        Err("nothing was wanted")
    }
    fn keeps(&self, _: usize, bytes: usize) -> bool {
        let mut room = self.room.lock().unwrap();
        let left = room.checked_sub(bytes);
        *room = left.unwrap_or(*room);
        left.is_some()
    }
    fn keep(&self, place: usize, plain: Vec<u8>) {
        assert!(self.kept.lock().unwrap().insert(place, plain).is_none());
    }
}

#[test]
fn what_is_sealed_of_kept_bytes_is_what_would_be_sealed_of_the_file() {
    let sizes = [0, 1, 5000, 300_000, 1 << 20, (1 << 20) + 1, 70_000, 90_000];
    let samples: Vec<Sample> = (0..).zip(sizes).map(|(seed, size)| sample(generated(seed, size))).collect();
    let read = Arc::default();
    let keeper = Keeper { room: Mutex::new(1_500_000), kept: Mutex::default() };
    let mut named = BTreeMap::new();
    let benches = Benches::default();
    cut_files(&benches, samples.iter().map(|sample| to_cut(sample, None, &read)), &keeper, |place, found| {
        named.insert(place, found.unwrap());
    })
    .unwrap();
    let mut kept = keeper.kept.into_inner().unwrap();
    assert!((6..8).contains(&kept.len()) && !kept.contains_key(&5), "{:?}", kept.keys());
    let read_once = read.load(Ordering::SeqCst);
    let others = samples.iter().enumerate().filter(|(place, _)| !kept.contains_key(place));
    let bytes_of_others = others.map(|(_, sample)| sample.bytes.len() as u64).sum::<u64>();
    let again = samples.iter().enumerate().map(|(place, sample)| match kept.remove(&place) {
        Some(plain) => FileToCut::Kept(KeptFile { file: named[&place].clone(), plain }),
        None => to_cut(sample, None, &read),
    });
    let sink = Collector::default();
    let mut sealed = BTreeMap::new();
    cut_files(&benches, again.collect::<Vec<_>>(), &sink, |place, found| {
        drop(sealed.insert(place, found.unwrap()))
    })
    .unwrap();
    assert_eq!(sealed, named);
    for (place, sample) in samples.iter().enumerate() {
        assert_eq!(sink.bytes_of(&sealed[&place].content), *sample.bytes, "{place}");
    }
    assert_eq!(read.load(Ordering::SeqCst) - read_once, bytes_of_others);
}

#[test]
fn a_chunk_that_nobody_wants_is_not_taken() {
    let files: Vec<_> = [10, 200_000, 5 << 20].map(|size| (sample(generated(9, size)), None)).into();
    let first = Collector::default();
    let (_, all) = cut(3, &files, &first);
    let known: Vec<ChunkId> = first.taken.lock().unwrap().keys().copied().collect();
    let second = Collector { known: known[1..].to_vec(), ..Collector::default() };
    let (_, again) = cut(3, &files, &second);
    assert_eq!(second.taken.lock().unwrap().keys().collect::<Vec<_>>(), [&known[0]]);
    let contents = |results: Results| -> Vec<Content> {
        results.into_values().map(|file| file.unwrap().content).collect()
    };
    assert_eq!(contents(all), contents(again));
}

#[test]
fn the_manifest_of_a_large_file_is_taken_like_any_chunk() {
    let sink = Collector::default();
    let (_, results) = cut(2, &[(sample(generated(4, 8 << 20)), None)], &sink);
    let content = &results[&0].as_ref().unwrap().content;
    let root = content.manifest.unwrap();
    assert_eq!(sink.taken.lock().unwrap()[&root.id].codec, Codec::Raw);
    assert!(
        Manifest::decode(&sink.open(&root.id), content).unwrap().chunks.len() > Content::CHUNKS_INLINE_MAX
    );
}

#[test]
fn a_log_that_is_written_to_while_it_is_read_is_what_was_read_of_it_and_the_same_when_it_is_read_again() {
    for size in [0, 1000, 1 << 20, 3 << 20] {
        let mut log = sample(generated(1, size + 500));
        log.nodes = [node(size), Node { mtime_ns: 9, ctime_ns: 9, ..node(size + 300) }];
        let first = cut_one(log.clone(), None).unwrap();
        assert!(first.grew && first.node.size == size as u64, "{size}");
        assert_eq!(
            first.content,
            cut_one(sample(generated(1, size + 500)[..size].to_vec()), None).unwrap().content
        );
        log.nodes = [node(size + 300), node(size + 500)];
        let read = Arc::default();
        let again = FileToCut::Unread(UnreadFile { first: Some(size as u64), ..unread(&log, None, &read) });
        let sink = Collector::default();
        cut_files(&Benches::default(), [again], &sink, |_, again| {
            assert_eq!(again.unwrap().content, first.content)
        })
        .unwrap();
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    for size in [0, 1000, 1 << 20, 3 << 20] {
        let good = sample(generated(1, size));
        let with = |change: &dyn Fn(&mut Sample)| {
            let mut sample = good.clone();
            change(&mut sample);
            sample
        };
        let bad = [
            with(&|s| s.nodes[1].mtime_ns += 1),                         // written to
            with(&|s| s.nodes[1].ctime_ns += 1),                         // written to by who can set times
            with(&|s| s.nodes[1].size += size as u64 + GROWN_BYTES + 1), // is being copied here
            with(&|s| s.nodes[1].ino += 1),                              // replaced
            with(&|s| Arc::make_mut(&mut s.bytes).push(0)),              // grows under the reader
            with(&|s| s.nodes = [node(size + 1), node(size + 1)]),       // shrinks under the reader
        ];
        for (row, sample) in bad.into_iter().enumerate() {
            let result = cut_one(sample, None);
            assert!(matches!(result, Err(CutError::ChangedWhileRead)), "row {row}, {size}: {result:?}");
        }
        cut_one(good, None).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_reported_and_the_others_go_on() {
    let broken = |size| Sample { kind_of_error: Some(io::ErrorKind::Other), ..sample(vec![0; size]) };
    let folder = Node { kind: EntryKind::Folder, ..node(0) };
    let folder = Sample { nodes: [folder.clone(), folder], ..sample(vec![]) };
    let good = sample(b"good".to_vec());
    let files = [broken(5), good.clone(), broken(4 << 20), folder, good].map(|sample| (sample, None));
    let (end, results) = cut(2, &files, &Collector::default());
    end.unwrap();
    let kinds: Vec<&str> = results
        .values()
        .map(|result| match result {
            Ok(_) => "cut",
            Err(CutError::Read(_)) => "unreadable",
            Err(CutError::NotAFile) => "not a file",
            Err(other) => panic!("{other}"),
        })
        .collect();
    assert_eq!(kinds, ["unreadable", "cut", "unreadable", "not a file", "cut"]);
}

#[test]
fn a_file_that_cannot_be_opened_is_reported() {
    let open = || Err::<SampleReading, _>(DiskError::Missing { path: "gone".to_owned() });
    let mut seen = 0;
    let files = vec![FileToCut::Unread(UnreadFile { open: Box::new(open), replaced: None, first: None })];
    cut_files(&Benches::default(), files, &Collector::default(), |_, result| {
        assert!(matches!(result, Err(CutError::Disk(DiskError::Missing { .. }))));
        seen += 1;
    })
    .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn the_first_error_of_the_sink_ends_everything() {
    for workers in [1, 2, 5] {
        for sizes in [vec![6 << 20; 3], vec![1000; 500]] {
            let files: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(i, size)| (sample(generated(i as u64, *size)), None))
                .collect();
            let sink = Collector { fails_after: Some(3), ..Collector::default() };
            let (end, results) = cut(workers, &files, &sink);
            assert_eq!(end, Err("no network"));
            assert!(results.len() < files.len());
        }
    }
}

/// Panics instead of taking anything.
struct Broken;

impl ChunkSink for Broken {
    type Error = ();
    fn wanted(&self, _: &ChunkId) -> Result<bool, ()> {
        Ok(true)
    }
    fn take(&self, _: SealedChunk) -> Result<(), ()> {
        panic!("a mistake in the sink");
    }
}

#[test]
fn a_panic_ends_everything_and_nobody_waits_forever() {
    for size in [1000, 6 << 20] {
        let files: Vec<_> =
            (0..4).map(|seed| to_cut(&sample(generated(seed, size)), None, &Arc::default())).collect();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cut_files_on(NonZero::new(3).unwrap(), &Benches::default(), files, &Broken, |_, _| ())
        }));
        assert!(outcome.is_err());
    }
}

/// Compares what was read with what was named already. Nobody else gets on until the reader itself lends a hand,
/// which it does when too much waits, or has read everything.
struct Gauge {
    read: Arc<AtomicU64>,
    reader: Arc<Mutex<Option<ThreadId>>>,
    reader_helps: (Mutex<bool>, Condvar),
    named: AtomicU64,
    sizes: BTreeMap<ChunkId, u64>,
    most: AtomicU64,
}

impl ChunkSink for Gauge {
    type Error = ();
    fn wanted(&self, id: &ChunkId) -> Result<bool, ()> {
        let (helps, changed) = &self.reader_helps;
        let mut helps = helps.lock().unwrap();
        if *self.reader.lock().unwrap() == Some(std::thread::current().id()) {
            *helps = true;
            changed.notify_all();
        }
        drop(changed.wait_while(helps, |helps| !*helps).unwrap());
        let size = self.sizes.get(id).copied().unwrap_or_default();
        let between = self.read.load(Ordering::SeqCst) - self.named.fetch_add(size, Ordering::SeqCst);
        self.most.fetch_max(between, Ordering::SeqCst);
        Ok(false)
    }
    fn take(&self, _: SealedChunk) -> Result<(), ()> {
        Ok(())
    }
}

#[test]
fn no_more_than_a_part_of_a_large_file_is_in_memory() {
    let file = sample(generated(5, 160 << 20));
    for (cut, most) in [(Cut::SMALL, 32 << 20), (Cut::LARGE, 48 << 20)] {
        let chunker = Chunker::new(cut).unwrap();
        let sizes =
            chunker.cut_whole(&file.bytes).map(|chunk| (ChunkId::of(chunk), chunk.len() as u64)).collect();
        let read = Arc::default();
        let reader = Arc::new(Mutex::new(None));
        let UnreadFile { open, replaced, first } = unread(&file, Some(cut), &read);
        let seen = reader.clone();
        let open = Box::new(move || {
            *seen.lock().unwrap() = Some(std::thread::current().id());
            open()
        });
        let files = vec![FileToCut::Unread(UnreadFile { open, replaced, first })];
        let gauge = Gauge {
            read,
            reader,
            reader_helps: Default::default(),
            named: AtomicU64::new(0),
            sizes,
            most: AtomicU64::new(0),
        };
        cut_files_on(NonZero::new(3).unwrap(), &Benches::default(), files, &gauge, |_, result| {
            drop(result.unwrap())
        })
        .unwrap();
        let actual = gauge.most.into_inner();
        assert!((1 << 20..most).contains(&actual), "{actual} bytes");
    }
}
