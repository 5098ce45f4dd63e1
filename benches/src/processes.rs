//! The program itself as real processes in a folder of their own, for measurements from outside.

use std::{
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
