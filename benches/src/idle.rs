//! What a device costs that has nothing to do: how soon it is ready after a restart, its memory, its time on a core; a
//! server and a device on loopback, real processes, the folder on the disk of the temporary folder.
//!
//! Files of 0 to 100 bytes, a hundred in a folder, a hundred folders in one. Memory is the process's resident set, all of
//! it; what the kernel holds for it (watches) is not in there.

use crate::processes::{Bench, Daemon};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Files unless said otherwise.
const FILES: usize = 100_000;
/// How long nothing happens while time on a core is counted.
const REST: Duration = Duration::from_secs(20);

/// Measures beside `files` files, or a copy of `tree`, by the program at `annals`.
pub fn run(annals: &Path, files: Option<usize>, tree: Option<&Path>) {
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new(annals, place.path());
    let (server, url) =
        bench.start(&["serve", "--data", "server", "--listen", "127.0.0.1:0"], "listening on ");
    bench.run(&["user", "add", "ada", "--server", &url, "--data", "server", "--quota", "1TB"]);
    let folder = place.path().join("one");
    match tree {
        Some(tree) => crate::latency::copy(tree, &folder),
        None => write_files(&folder, files.unwrap_or(FILES)),
    }
    bench.run(&["link", &url, "one", "--user", "ada", "--device", "one"]);
    let files = count(&folder).max(1);
    println!("{files} files, on {}", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    let (first, taken) = until_ready(&bench);
    settle();
    tell("first sync, as a daemon", files, taken, &first);
    drop(first);
    for what in ["restart", "restart again"] {
        let (daemon, taken) = until_ready(&bench);
        settle();
        tell(what, files, taken, &daemon);
    }
    println!("{:<26} {:>8.2} s", "sync --once, no change", once(&bench).as_secs_f64());
    let (daemon, _) = until_ready(&bench);
    settle();
    let used = daemon.core_seconds();
    wait(REST);
    println!("{:<26} {:>8.3} s of a core in {} s", "at rest", daemon.core_seconds() - used, REST.as_secs());
    println!("{:<26} {:>8.1} MB", "the server beside it", server.resident_bytes() as f64 / 1e6);
}

/// Starts the daemon; how long until it watches the folder and everything is exchanged.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn until_ready(bench: &Bench) -> (Daemon, Duration) {
    let since = Instant::now();
    let (daemon, _) = bench.start(&["sync", "one"], "in sync");
    (daemon, since.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn once(bench: &Bench) -> Duration {
    let since = Instant::now();
    bench.run(&["sync", "one", "--once"]);
    since.elapsed()
}

/// What a daemon does when nothing happens any more, it has done then.
fn settle() {
    wait(Duration::from_secs(6));
}

#[expect(clippy::disallowed_methods, reason = "what is measured is that nothing happens meanwhile")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn tell(what: &str, files: usize, taken: Duration, daemon: &Daemon) {
    let bytes = daemon.resident_bytes();
    println!(
        "{what:<26} {:>8.2} s until ready {:>9.1} MB {:>7.0} B a file {:>9.1} MB at its peak",
        taken.as_secs_f64(),
        bytes as f64 / 1e6,
        bytes as f64 / files as f64,
        daemon.peak_bytes() as f64 / 1e6
    );
}

fn write_files(folder: &Path, files: usize) {
    let text = [b'x'; 100];
    for n in 0..files {
        let folder = folder.join(format!("area-{:03}/folder-{:05}", n / 10_000, n / 100));
        if n % 100 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        let mut held = format!("{n:07} ").into_bytes();
        held.extend(text);
        held.truncate(n % 101);
        fs::write(folder.join(format!("file-{n:07}.txt")), held).unwrap();
    }
}

/// Files below `folder` that are not the device's own.
fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| entry.file_name() != ".annals");
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { count(&entry.path()) } else { 1 }).sum()
}
