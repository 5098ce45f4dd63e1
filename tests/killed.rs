//! `kill -9` of the server and of both clients at any moment, while two people work: everything converges, what was
//! theirs alone is as they left it on both devices, and the log is whole.
//!
//! A seed says what the people do and who is killed in turn, but not how far everybody is by then: a run comes again
//! only roughly, and to see once more what it found may take several.
//!
//! A person runs it for longer: `ANNALS_TEST_ROUNDS=50 ANNALS_TEST_WORK=400 ANNALS_TEST_SEED=7 cargo test --test suite
//! killed -- --nocapture`; with `ANNALS_TEST_LOG=annals=debug` the folders stay, and beside them what the daemons say.

use crate::place::{Place, until};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// Numbers by a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let at = self.below(of.len().max(1) as u64);
        of.get(usize::try_from(at).unwrap()).cloned()
    }

    fn noise(&mut self, bytes: u64) -> Vec<u8> {
        (0..bytes).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

/// A daemon that is killed now and then.
struct Daemon(Child);

impl Daemon {
    fn keep(place: &Place, folder: &str) -> Self {
        let mut command = place.command(&["sync", folder]);
        if let Ok(level) = std::env::var("ANNALS_TEST_LOG") {
            let said =
                fs::File::options().create(true).append(true).open(place.path(&format!("{folder}.log")));
            command.env("ANNALS_LOG", level).stderr(said.unwrap());
        }
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Folders at and below `top`, and the files in them.
fn below(top: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut folders, mut files, mut todo) = (vec![top.to_owned()], Vec::new(), vec![top.to_owned()]);
    while let Some(folder) = todo.pop() {
        // Somebody else may move it away meanwhile.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
                todo.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    folders.sort();
    files.sort();
    (folders, files)
}

/// A person at `folder` does `count` things, most of them where nobody else does.
fn work(place: &Place, folder: &str, count: u64, number: &mut u64, dice: &mut Dice) {
    for _ in 0..count {
        *number += 1;
        let own = dice.below(100) < 85;
        let top = place.path(folder).join(if own { format!("own {folder}") } else { "shared".into() });
        fs::create_dir_all(&top).unwrap();
        let (folders, files) = below(&top);
        let (Some(at), file) = (dice.pick(&folders), dice.pick(&files)) else { continue };
        let size = [5, 200, 4000][usize::try_from(dice.below(3)).unwrap()];
        let text = [format!("{folder} {number} ").into_bytes(), dice.noise(size)].concat();
        // What the daemon moved away from under us is no mistake.
        drop(match (dice.below(100), file) {
            (0..45, _) | (_, None) => fs::write(at.join(format!("f{number}")), text),
            (45..60, Some(file)) => fs::write(file, text),
            (60..66, Some(file)) => {
                let beside = file.with_file_name(format!(".new{number}"));
                fs::write(&beside, text).and_then(|()| fs::rename(beside, file))
            }
            (66..75, Some(file)) => fs::rename(file, at.join(format!("r{number}"))),
            (75..82, Some(_)) => match dice.pick(&folders) {
                Some(from) if from != top && !at.starts_with(&from) => {
                    fs::rename(from, at.join(format!("d{number}")))
                }
                _ => Ok(()),
            },
            (82..88, Some(_)) => fs::create_dir_all(at.join(format!("d{number}/e/f")))
                .and_then(|()| fs::write(at.join(format!("d{number}/e/f/deep")), text)),
            (88..96, Some(file)) => fs::remove_file(file),
            (_, Some(file)) => {
                fs::File::options().append(true).open(file).and_then(|mut file| file.write_all(b"and more"))
            }
        });
    }
}

#[test]
fn whatever_is_killed_whenever_everything_converges_and_nothing_is_lost() {
    let (rounds, count) = (asked("ANNALS_TEST_ROUNDS", 6), asked("ANNALS_TEST_WORK", 60));
    let seed = asked("ANNALS_TEST_SEED", 1);
    let (mut dice, mut number) = (Dice(seed), 0);
    let mut place = Place::with_server();
    // What is left of it can be looked at.
    place.dir.disable_cleanup(std::env::var_os("ANNALS_TEST_LOG").is_some());
    let folders = ["one", "two"];
    folders.iter().for_each(|folder| place.link("ada", folder));
    let mut daemons = folders.map(|folder| Daemon::keep(&place, folder));
    let mut kills = [0_u64; 3];
    for round in 1..=rounds {
        for folder in folders {
            let most = 1 + dice.below(2 * count);
            work(&place, folder, most, &mut number, &mut dice);
        }
        std::thread::park_timeout(Duration::from_millis(dice.below(400)));
        // Each in turn, whoever is first: none is left out.
        let victim = usize::try_from((seed + round) % 3).unwrap();
        kills[victim] += 1;
        if victim == 2 {
            place.kill_server();
            work(&place, "one", dice.below(20), &mut number, &mut dice);
            place.serve();
        } else {
            drop(daemons[victim].0.kill());
            drop(daemons[victim].0.wait());
            work(&place, folders[victim], dice.below(20), &mut number, &mut dice);
            daemons[victim] = Daemon::keep(&place, folders[victim]);
        }
        if round % 10 == 0 || round == rounds {
            converged(&place, &format!("seed {seed}, round {round}, {number} things done, killed {kills:?}"));
        }
    }
    for folder in folders {
        place.annals(&["verify", folder]).ok();
    }
    drop(daemons);
    place.stop_server();
    place.annals(&["verify", "--data", "server"]).ok();
}

/// Both folders become the same, what was in each person's own being what they left there.
fn converged(place: &Place, when: &str) {
    let own = |shown_in: &str, of: &str| -> Vec<String> {
        let mut lines = place.tree(shown_in);
        lines.retain(|line| line.starts_with(&format!("own {of}")));
        lines
    };
    let left = ["one", "two"].map(|folder| (folder, own(folder, folder)));
    until(&format!("both are in sync ({when})"), || {
        let idle = |folder: &str| {
            let status = place.annals(&["status", folder, "--json"]);
            let status: serde_json::Value = serde_json::from_str(&status.out).unwrap_or_default();
            status["state"] == "idle" && status["pending_events"] == 0
        };
        place.tree("one") == place.tree("two") && idle("one") && idle("two")
    });
    for (of, left) in left {
        for shown_in in ["one", "two"] {
            let now = own(shown_in, of);
            let only = |these: &[String], those: &[String]| -> Vec<String> {
                let only = these.iter().filter(|line| !those.contains(line));
                only.take(5).map(|line| line.chars().take(200).collect()).collect()
            };
            assert!(
                now == left,
                "what {of} left differs in {shown_in} ({when}):\nleft {:#?}\nfound {:#?}",
                only(&left, &now),
                only(&now, &left)
            );
        }
    }
    println!("{when}: {} entries are the same", place.tree("one").len());
}
