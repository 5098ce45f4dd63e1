//! Cutting and naming on one core, in memory, beside the bare loop over the same crates.
//!
//! `annals bench content [--entries MiB]`: every row is the best of nine rounds in which each way
//! has its turn: what else the machine does can only make one slower. Time is that of the thread, not of the
//! clock. The ratio is of those; the bar is 90 % for a file fed in blocks as the driver reads them.

#![allow(clippy::unwrap_used, reason = "a benchmark fails where it says unwrap")]

use annals_engine::content::{Chunker, Sealer};
use annals_events::{ChunkId, Cut};
use fastcdc::v2020::FastCDC;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;

/// One way to cut and name a whole file. Answers with how many chunks it has.
type Way = (String, Box<dyn Fn(&[u8]) -> usize>);

/// Cuts this many mebibytes (256 unless said otherwise), each way.
///
/// # Panics
/// Where two ways cut differently.
pub fn run(mib: Option<usize>) {
    let mib = mib.unwrap_or(256).max(1);
    let file = noise(mib << 20);
    println!("{mib} MiB of noise, one core, best of {ROUNDS}");
    for (name, cut) in [("small", Cut::SMALL), ("medium", Cut::MEDIUM), ("large", Cut::LARGE)] {
        compare(name, cut, &file);
    }
    seal(&file[..file.len().min(64 << 20)]);
}

fn compare(name: &str, cut: Cut, file: &[u8]) {
    let block = (4 * cut.max as usize).min(8 << 20);
    let ways: [Way; 4] = [
        ("bare fastcdc + sha2".to_owned(), Box::new(move |file| bare(cut, file))),
        (format!("fed {} MiB at a time", block >> 20), Box::new(move |file| fed(cut, file, block))),
        ("fed 64 KiB at a time".to_owned(), Box::new(move |file| fed(cut, file, 64 << 10))),
        ("cut where it lies".to_owned(), Box::new(move |file| whole(cut, file))),
    ];
    let mut times = vec![Vec::new(); ways.len()];
    let mut chunks = Vec::new();
    for _ in 0..ROUNDS {
        for ((_, way), times) in ways.iter().zip(&mut times) {
            let (count, time) = timed(|| way(file));
            chunks.push(count);
            times.push(time);
        }
    }
    assert!(chunks.iter().all(|count| *count == chunks[0]), "they cut differently");
    let Cut { min, avg, max } = cut;
    println!("\n{name}: {} / {} / {} KiB, {} chunks", min >> 10, avg >> 10, max >> 10, chunks[0]);
    let best = times.iter().map(|times| *times.iter().min().expect("there are rounds"));
    let best: Vec<Duration> = best.collect();
    for ((name, _), time) in ways.iter().zip(&best) {
        let ratio = 100.0 * best[0].as_secs_f64() / time.as_secs_f64();
        println!("  {name:<24} {:>7.2} GiB/s  {ratio:>6.1} %", rate(file.len(), *time));
    }
}

fn bare(cut: Cut, file: &[u8]) -> usize {
    let chunks = FastCDC::new(file, cut.min as usize, cut.avg as usize, cut.max as usize);
    let ids = chunks.map(|chunk| Sha256::digest(&file[chunk.offset..chunk.offset + chunk.length]));
    ids.map(std::hint::black_box).count()
}

fn fed(cut: Cut, file: &[u8], block: usize) -> usize {
    let mut chunker = Chunker::new(cut).unwrap();
    let mut count = 0;
    let mut name = |chunk: &[u8]| {
        std::hint::black_box(ChunkId::of(chunk));
        count += 1;
    };
    file.chunks(block).for_each(|bytes| chunker.feed(bytes, &mut name));
    chunker.finish(&mut name);
    count
}

fn whole(cut: Cut, file: &[u8]) -> usize {
    Chunker::new(cut).unwrap().cut_whole(file).map(ChunkId::of).map(std::hint::black_box).count()
}

/// What sealing costs where it gains nothing, and where it gains much.
fn seal(noise: &[u8]) {
    let text: Vec<u8> = noise.iter().map(|byte| b"etaoin shrdlucmf"[usize::from(byte % 16)]).collect();
    println!("\nsealing (zstd level 3), {} MiB", noise.len() >> 20);
    for (name, file) in [("noise", noise), ("16 letters at random", &text)] {
        let mut sealer = Sealer::new();
        let chunker = Chunker::new(Cut::SMALL).unwrap();
        let chunks: Vec<(ChunkId, &[u8])> = chunker.cut_whole(file).map(|c| (ChunkId::of(c), c)).collect();
        let (bytes, time) =
            timed(|| chunks.iter().map(|(id, chunk)| sealer.seal(*id, *chunk).bytes.len()).sum::<usize>());
        let kept = 100.0 * bytes as f64 / file.len() as f64;
        println!("  {name:<24} {:>7.2} GiB/s  {kept:>6.1} % kept", rate(file.len(), time));
    }
}

/// Time that this thread was at work, so that what else the machine does counts for little; on systems that do
/// not tell, time that went by.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = (busy(), now());
    let answer = work();
    let spent = match (begin.0, busy()) {
        (Some(begin), Some(end)) => end - begin,
        _ => begin.1.elapsed(),
    };
    (answer, spent)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is there to measure time")]
fn now() -> Instant {
    Instant::now()
}

fn busy() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 30) / time.as_secs_f64()
}

fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bytes.extend((z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}
