//! From a save to its being visible on the other device: a server and two daemons on loopback, real processes, on the
//! disk of the temporary folder, beside a few files or a whole tree.

use crate::processes::Bench;
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// Saves that are measured unless said otherwise.
const SAVES: usize = 200;
/// Files that are saved in turn, as somebody does who works on a few things.
const FILES: usize = 10;
/// How long whoever saves thinks before the next save.
const THINKS: Duration = Duration::from_millis(50);

/// Measures `saves` saves by the program at `annals`, beside `files` files that nobody touches, or a copy of `tree`.
pub fn run(annals: &Path, saves: Option<usize>, files: usize, tree: Option<&Path>) {
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new(annals, place.path());
    let (_server, url) =
        bench.start(&["serve", "--data", "server", "--listen", "127.0.0.1:0"], "listening on ");
    bench.run(&["user", "add", "ada", "--server", &url, "--data", "server"]);
    let one = place.path().join("one");
    match tree {
        Some(tree) => copy(tree, &one),
        None => write_files(&one, files),
    }
    let daemons = ["one", "two"].map(|folder| {
        bench.run(&["link", &url, folder, "--user", "ada", "--device", folder]);
        bench.start(&["sync", folder], "in sync").0
    });
    let mut taken: Vec<Duration> = (0..saves.unwrap_or(SAVES)).map(|n| bench.save(n)).collect();
    drop(daemons);
    taken.sort();
    let at = |percent: usize| taken[(taken.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let beside = tree.map_or_else(|| format!("{files} files"), |tree| tree.display().to_string());
    println!("{} saves beside {beside}, saved to visible on the other device:", taken.len());
    println!(
        "  p50 {:.1} ms   p90 {:.1} ms   p99 {:.1} ms   longest {:.1} ms",
        at(50),
        at(90),
        at(99),
        at(100)
    );
    let sync = one_fsync(place.path());
    println!("  one fsync of a small file here: {:.2} ms", sync.as_secs_f64() * 1e3);
}

fn write_files(folder: &Path, files: usize) {
    for n in 0..files {
        let folder = folder.join((n / 100).to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(n.to_string()), format!("file {n}")).unwrap();
    }
}

/// The given tree stays as it is: the program keeps its state in the folder.
pub(crate) fn copy(tree: &Path, folder: &Path) {
    assert!(Command::new("cp").arg("-a").args([tree, folder]).status().unwrap().success(), "{tree:?}");
}

impl Bench {
    /// Saves a file on one device; how long until the other shows it.
    #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
    fn save(&self, n: usize) -> Duration {
        std::thread::sleep(THINKS);
        let (name, text) = (format!("{}.txt", n % FILES), format!("this is save {n}\n"));
        let (here, there) = (self.place.join("one").join(&name), self.place.join("two").join(&name));
        let since = Instant::now();
        fs::write(here, &text).unwrap();
        while !fs::read_to_string(&there).is_ok_and(|found| found == text) {
            std::thread::sleep(Duration::from_micros(500));
        }
        since.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn one_fsync(place: &Path) -> Duration {
    let mut taken: Vec<Duration> = (0..50)
        .map(|n| {
            let since = Instant::now();
            let file = place.join(format!("fsync {n}"));
            fs::write(&file, "text").unwrap();
            fs::File::open(&file).unwrap().sync_all().unwrap();
            since.elapsed()
        })
        .collect();
    taken.sort();
    taken[taken.len() / 2]
}
