//! What small edits of large files cost on the wire: a server and two devices on loopback, real processes, every byte of
//! their connections counted, headers and all.

use crate::processes::Bench;
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// The largest file unless said otherwise, in mebibytes.
const LARGEST_MIB: usize = 1024;

/// Measures edits of incompressible files, the largest of `mib` mebibytes, by the program at `annals`.
pub fn run(annals: &Path, mib: Option<usize>) {
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new(annals, place.path());
    let (_server, url) =
        bench.start(&["serve", "--data", "server", "--listen", "127.0.0.1:0"], "listening on ");
    bench.run(&["user", "add", "ada", "--server", &url, "--data", "server", "--quota", "1TB"]);
    let wire = Wire::to(url.strip_prefix("http://").unwrap());
    for folder in ["one", "two"] {
        fs::create_dir(place.path().join(folder)).unwrap();
        bench.run(&["link", &wire.url, folder, "--user", "ada", "--device", folder]);
        bench.run(&["sync", folder, "--once"]);
    }
    println!("{:<12} {:<24} {:>12} {:>12} {:>9}", "file", "edit", "to server", "to device", "saved");
    for bytes in [100_000, 1_000_000, 10_000_000, mib.unwrap_or(LARGEST_MIB) << 20] {
        measure(&bench, &wire, bytes);
    }
}

/// What an edit is called, and what it does.
type Edit = (&'static str, fn(&mut Vec<u8>));

fn measure(bench: &Bench, wire: &Wire, bytes: usize) {
    let mut file = noise(bytes);
    brought(bench, wire, &file);
    let edits: [Edit; 4] = [
        ("a byte at the head", |file| file.insert(0, b'!')),
        ("100 bytes in the middle", |file| {
            let middle = file.len() / 2;
            file[middle..middle + 100].fill(7);
        }),
        ("1,000 bytes cut out", |file| drop(file.drain(file.len() / 3..file.len() / 3 + 1000))),
        ("500 bytes at the end", |file| file.extend(noise(500))),
    ];
    for (what, edit) in edits {
        edit(&mut file);
        let (sent, received) = brought(bench, wire, &file);
        let saved = 100.0 - 100.0 * sent.max(received) as f64 / file.len() as f64;
        println!("{bytes:<12} {what:<24} {sent:>12} {received:>12} {saved:>7.2} %");
    }
}

/// Brings a file from one device to the other: all bytes on the wire of the first, and of the second.
fn brought(bench: &Bench, wire: &Wire, file: &[u8]) -> (u64, u64) {
    fs::write(bench.place.join("one/file"), file).unwrap();
    wire.bytes();
    bench.run(&["sync", "one", "--once"]);
    let sent = wire.bytes();
    bench.run(&["sync", "two", "--once"]);
    let received = wire.bytes();
    assert!(fs::read(bench.place.join("two/file")).unwrap() == file, "it did not arrive");
    (sent, received)
}

/// Bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

/// Passes everything on to a server, and counts it.
struct Wire {
    url: String,
    bytes: Arc<AtomicU64>,
}

impl Wire {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (bytes, server) = (Arc::new(AtomicU64::new(0)), server.to_owned());
        let counted = Arc::clone(&bytes);
        thread::spawn(move || {
            for device in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let ends = (device.try_clone().unwrap(), server.try_clone().unwrap());
                for (from, to) in [ends, (server, device)] {
                    let counted = Arc::clone(&counted);
                    thread::spawn(move || pass_on(from, to, &counted));
                }
            }
        });
        Self { url, bytes }
    }

    /// How many since this was asked last.
    fn bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, counted: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        counted.fetch_add(got as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
