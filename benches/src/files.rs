//! Many small files: from a folder to a server, and from there to a second device, real processes on loopback and on the
//! disk of the temporary folder.

use crate::processes::Bench;
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Files unless said otherwise.
const FILES: usize = 100_000;
/// Bytes of each.
const FILE_BYTES: usize = 4096;
/// Files in a folder.
const FOLDER_FILES: usize = 100;

/// Measures with `files` files and the program at `annals`.
pub fn run(annals: &Path, files: Option<usize>) {
    let files = files.unwrap_or(FILES);
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new(annals, place.path());
    write_files(&place.path().join("one"), files);
    let (_server, url) =
        bench.start(&["serve", "--data", "server", "--listen", "127.0.0.1:0"], "listening on ");
    bench.run(&["user", "add", "ada", "--server", &url, "--data", "server"]);
    println!("{files} files of {FILE_BYTES} bytes:");
    for (device, what) in [("one", "to the server"), ("two", "to a second device")] {
        bench.run(&["link", &url, device, "--user", "ada", "--device", device]);
        let taken = taken_by(|| bench.run(&["sync", device, "--once"])).as_secs_f64();
        println!("  {what}: {taken:.2} s, {:.0} files/s", files as f64 / taken);
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn taken_by(work: impl FnOnce()) -> Duration {
    let since = Instant::now();
    work();
    since.elapsed()
}

/// Text of which no two files share a line.
fn write_files(folder: &Path, files: usize) {
    for n in 0..files {
        let folder = folder.join((n / FOLDER_FILES).to_string());
        if n % FOLDER_FILES == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        let mut text = String::with_capacity(FILE_BYTES + 64);
        let mut line = n as u64;
        while text.len() < FILE_BYTES {
            line = line.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            writeln!(text, "file {n}: {:x}", line >> 16).unwrap();
        }
        text.truncate(FILE_BYTES);
        fs::write(folder.join(n.to_string()), text).unwrap();
    }
}
