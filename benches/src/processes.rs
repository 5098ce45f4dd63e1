//! The program itself as real processes in a folder of their own, for measurements from outside.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const PASSWORD: &str = "correct horse battery staple";

/// A folder in which the program runs.
pub(crate) struct Bench {
    annals: PathBuf,
    pub(crate) place: PathBuf,
}

/// A process that ends with the measurement.
pub(crate) struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Daemon {
    /// What of it is in memory now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// The most that was.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    fn status(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let found = status.lines().find_map(|said| said.strip_prefix(line)).unwrap();
        found.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Time on a core of all its threads.
    pub(crate) fn core_seconds(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap().map(Result::unwrap);
        let used = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
        used.map(|used| used.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9).sum()
    }
}

impl Bench {
    /// The program at `annals`, in `place`.
    pub(crate) fn new(annals: &Path, place: &Path) -> Self {
        Self { annals: annals.to_owned(), place: place.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.annals);
        command.args(arguments).current_dir(&self.place).env("ANNALS_PASSWORD", PASSWORD);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs it to its end, which has to be a good one.
    pub(crate) fn run(&self, arguments: &[&str]) {
        assert!(self.command(arguments).stdout(Stdio::null()).status().unwrap().success(), "{arguments:?}");
    }

    /// Starts a process, and waits until it says a line that begins so: what follows.
    pub(crate) fn start(&self, arguments: &[&str], beginning: &str) -> (Daemon, String) {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let line =
            said.lines().map(Result::unwrap).find_map(|line| line.strip_prefix(beginning).map(str::to_owned));
        (Daemon(child), line.unwrap())
    }
}
