//! Replay of a namespace's records into all projections: events a second on one core, and bytes a file.
//!
//! `annals bench replay [--entries FILES]`
//!
//! Two workloads at FILES (a million) files with names of 20 bytes and 4 chunks each. `sync`: one device creates
//! them depth first in full batches. `mixed`: four devices in windows of 100 events none of which has seen the
//! others' of its window; 30 % are moves, deletes and edits in conflict. Counted is everything from a record's
//! bytes on: decoding it, the chain, the fold; not the signatures. Memory is what a process's resident set
//! grows by when it folds the sync workload, read from a file record by record.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark reads the clock"
)]

use annals_events::{
    Batch, BatchHeader, Body, ChunkId, ChunkRef, Content, ContentId, Cut, DeviceId, Dot, DotSet, EntryId,
    EntryKind, Event, Fact, Hash, Hlc, Name, NamespaceId, PublicKey, Record, Seq, VersionVector,
    record::Chain,
};
use annals_projections::{Projections, Scope};
use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
    time::Instant,
};

const NAMESPACE: NamespaceId = NamespaceId([7; 16]);

/// Measures speed and memory at this many files (a million unless said otherwise), each in a process of its own: this
/// program again, with `bench measure ROLE PATH`.
///
/// # Panics
/// Where a measurement fails.
pub fn run(files: Option<usize>) {
    let files = files.unwrap_or(1_000_000) as u64;
    let folder = tempfile::tempdir().unwrap();
    let sync = folder.path().join("replay-sync");
    let mixed = folder.path().join("replay-mixed");
    Log::create(&sync).first_sync(files);
    Log::create(&mixed).mixed(files);
    for (role, path) in [
        ("speed sync, one by one", &sync),
        ("speed sync, groups of 64", &sync),
        ("speed mixed, one by one", &mixed),
        ("speed mixed, groups of 64", &mixed),
        ("memory server", &sync),
        ("memory device", &sync),
    ] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let status = child.args(["bench", "measure", role]).arg(path).status();
        assert!(status.unwrap().success());
    }
}

/// One measurement in a process of its own.
///
/// # Panics
/// Where the records do not fold.
pub fn measure(role: &str, path: &Path) {
    let mut records = Records(BufReader::new(File::open(path).unwrap()));
    if let Some(scope) = role.strip_prefix("memory ") {
        let scope = if scope == "server" { Scope::Server } else { Scope::Device };
        let mut folds = Projections::new(NAMESPACE, scope);
        let before = resident_bytes();
        for (position, bytes) in records.enumerate() {
            let record = Record::decode(bytes).unwrap();
            folds.apply(record.batch(), Some(record.admission()), position as u64).unwrap();
        }
        let (grown, files) = (resident_bytes() - before, folds.entries().count() as u64);
        println!("{role}: {} B a file, {} MB for {files}", grown / files, grown >> 20);
        return;
    }
    let mut all: Vec<Vec<u8>> = records.by_ref().collect();
    let group = if role.ends_with("one by one") { 1 } else { 64 };
    let mut folds = Projections::new(NAMESPACE, Scope::Server);
    let (mut chain, mut events, mut position) = (Chain::default(), 0, 0);
    let (mut decoding, start, started) = (0.0, Instant::now(), cpu_seconds());
    for bytes in all.chunks_mut(group) {
        let decode_start = cpu_seconds();
        let records: Vec<Record> =
            bytes.iter_mut().map(|bytes| Record::decode(std::mem::take(bytes)).unwrap()).collect();
        for record in &records {
            record.check_chain(chain).unwrap();
            chain = record.admission().chain;
            events += record.batch().events().len();
        }
        decoding += cpu_seconds() - decode_start;
        let batches = records.iter().map(|record| {
            position += 1;
            (record.batch(), Some(record.admission()), position)
        });
        folds.apply_all(batches).unwrap();
    }
    let (seconds, elapsed) = (cpu_seconds() - started, start.elapsed().as_secs_f64());
    println!(
        "{role}: {:.0} events/s ({events} events in {seconds:.2} s of one core, {decoding:.2} of them decoding; {elapsed:.2} s by the wall)",
        events as f64 / seconds
    );
    let start = Instant::now();
    let checkpoint = folds.checkpoint();
    let written = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let again = Projections::from_checkpoint(&checkpoint).unwrap();
    println!(
        "  checkpoint: {} MB, written in {written:.2} s, read in {:.2} s",
        checkpoint.len() >> 20,
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let digests = again.digests();
    println!("  digests: {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(digests, folds.digests());
}

/// Time on a core, so that what else the machine does is left out.
fn cpu_seconds() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Records from a file, each behind its length.
struct Records(BufReader<File>);

impl Iterator for Records {
    type Item = Vec<u8>;
    fn next(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut bytes).unwrap();
        Some(bytes)
    }
}

/// A device that writes.
struct Author {
    id: DeviceId,
    last: u64,
    prev: Option<Hash>,
    seen: VersionVector,
}

/// A workload on its way into a file.
struct Log {
    out: BufWriter<File>,
    server: ed25519_dalek::SigningKey,
    chain: Chain,
    seq: u64,
    hlc: u64,
    random: u64,
}

impl Log {
    fn create(path: &Path) -> Self {
        let server = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let out = BufWriter::new(File::create(path).unwrap());
        Self { out, server, chain: Chain::default(), seq: 0, hlc: 1 << 40, random: 1 }
    }

    /// SplitMix64 (Steele et al. 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    fn id(&mut self) -> [u8; 32] {
        let mut id = [0; 32];
        id.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&self.draw().to_le_bytes()));
        id
    }

    fn author(&self, n: u8) -> Author {
        let key = PublicKey([n; 32]);
        Author { id: DeviceId::of_key(&key), last: 0, prev: None, seen: VersionVector::new() }
    }

    fn content(&mut self) -> Content {
        let chunks = (0..4).map(|_| ChunkRef { bytes: 65_536, id: ChunkId(self.id()) }).collect();
        Content { id: ContentId(self.id()), size: 4 * 65_536, cut: Cut::SMALL, chunks, manifest: None }
    }

    fn name(&mut self) -> Name {
        Name::new(format!("{:016x}.dat", self.draw())).unwrap()
    }

    fn body(&mut self, name: bool, content: bool) -> Body {
        Body {
            salt: self.id()[..16].try_into().unwrap(),
            name: name.then(|| self.name()),
            content: content.then(|| self.content()),
            mtime: content.then_some(1_700_000_000_000_000_000),
            executable: content.then_some(false),
            ..Body::default()
        }
    }

    /// Writes one batch as the next record.
    fn append(&mut self, author: &mut Author, seen: &VersionVector, acts: Vec<(Fact, Option<Body>)>) {
        let bodies: Vec<Option<Vec<u8>>> =
            acts.iter().map(|(_, body)| body.as_ref().map(Body::encode)).collect();
        let events = acts.into_iter().zip(&bodies).map(|((fact, _), body)| {
            self.hlc += 1;
            let body_hash = body.as_deref().map(Body::hash_of);
            Event { hlc: Hlc(self.hlc), at: self.hlc >> 16, fact, body_hash }
        });
        let header = BatchHeader {
            namespace: NAMESPACE,
            device: author.id,
            first: author.last + 1,
            prev: author.prev,
            seen: seen.difference_to(&author.seen),
            unseen: DotSet::new(),
            events: events.collect(),
        };
        author.last += header.events.len() as u64;
        author.seen = seen.clone();
        let batch = Batch::assemble(&header, &[0; 64], &bodies).unwrap();
        author.prev = Some(batch.hash());
        let events = batch.events().len() as u64;
        let record = Record::admit(batch, &self.server, 0, Seq(self.seq + 1), self.chain, self.hlc >> 16);
        self.seq += events;
        self.chain = record.admission().chain;
        self.out.write_all(&u32::try_from(record.bytes().len()).unwrap().to_le_bytes()).unwrap();
        self.out.write_all(record.bytes()).unwrap();
    }

    /// A hundred files a folder, ten folders deep at most.
    fn first_sync(mut self, files: u64) {
        let mut author = self.author(1);
        let (mut acts, mut path, mut made) = (Vec::new(), vec![EntryId::ROOT], 0);
        while made < files {
            let dot = Dot::new(author.id, author.last + 1 + acts.len() as u64);
            if made % 100 == 0 && acts.last().is_none_or(|(fact, _)| !is_folder(fact)) {
                path.truncate(1 + (made / 100 % 10) as usize);
                let fact =
                    Fact::EntryCreated { parent: *path.last().unwrap(), entry_kind: EntryKind::Folder };
                acts.push((fact, Some(self.body(true, false))));
                path.push(EntryId(dot));
            } else {
                let fact = Fact::EntryCreated { parent: *path.last().unwrap(), entry_kind: EntryKind::File };
                acts.push((fact, Some(self.body(true, true))));
                made += 1;
            }
            if acts.len() == 256 {
                self.append(&mut author, &VersionVector::new(), std::mem::take(&mut acts));
            }
        }
        if !acts.is_empty() {
            self.append(&mut author, &VersionVector::new(), acts);
        }
    }

    /// Everybody acts on what all had at the window's start, so that acts in one window are concurrent.
    fn mixed(mut self, files: u64) {
        let mut authors: Vec<Author> = (1..=4).map(|n| self.author(n)).collect();
        let mut common = VersionVector::new();
        let (mut folders, mut known, mut made) = (vec![EntryId::ROOT], Vec::<Known>::new(), 0);
        while made < files {
            let (mut news, mut changes, mut new_folders) = (Vec::new(), Vec::new(), Vec::new());
            // Edits in one window fall on the same few files.
            let edited = self.below(known.len().max(1));
            for author in &mut authors {
                let mut acts = Vec::new();
                for step in 1..=100 {
                    let dot = Dot::new(author.id, author.last + step);
                    let folder = folders[self.below(folders.len())];
                    let at = self.below(known.len().max(1));
                    let act = if known.len() < 400 { 99 } else { self.below(100) };
                    acts.push(match act {
                        0 if folders.len() > 1 => {
                            let entry = folders[1 + self.below(folders.len() - 1)];
                            (Fact::EntryMoved { entry, parent: folder }, Some(self.body(true, false)))
                        }
                        0..10 => {
                            changes.push((at, Known { place: dot, ..known[at] }));
                            (
                                Fact::EntryMoved { entry: known[at].entry, parent: folder },
                                Some(self.body(true, false)),
                            )
                        }
                        10..20 => {
                            let Known { entry, place, version } = known[at];
                            let hides = DotSet::from_iter([place, version]);
                            (Fact::EntryDeleted { entries: DotSet::from_iter([entry.0]), hides }, None)
                        }
                        20..30 => {
                            let at = (edited + self.below(50)) % known.len();
                            let Known { entry, version, .. } = known[at];
                            changes.push((at, Known { version: dot, ..known[at] }));
                            let parents = DotSet::from_iter([version]);
                            (Fact::VersionUploaded { entry, parents }, Some(self.body(false, true)))
                        }
                        30 => {
                            new_folders.push(EntryId(dot));
                            let fact = Fact::EntryCreated { parent: folder, entry_kind: EntryKind::Folder };
                            (fact, Some(self.body(true, false)))
                        }
                        _ => {
                            let fact = Fact::EntryCreated { parent: folder, entry_kind: EntryKind::File };
                            news.push(Known { entry: EntryId(dot), place: dot, version: dot });
                            made += 1;
                            (fact, Some(self.body(true, true)))
                        }
                    });
                }
                self.append(author, &common, acts);
            }
            authors.iter().for_each(|author| common.raise(Dot::new(author.id, author.last)));
            changes.into_iter().for_each(|(at, change)| known[at] = change);
            known.extend(news);
            folders.extend(new_folders);
        }
    }
}

/// A file as everybody has it.
#[derive(Clone, Copy)]
struct Known {
    entry: EntryId,
    place: Dot,
    version: Dot,
}

fn is_folder(fact: &Fact) -> bool {
    matches!(fact, Fact::EntryCreated { entry_kind: EntryKind::Folder, .. })
}
