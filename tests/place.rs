//! The words of the stories: a server, accounts, folders, and the program as a person types it.

use annals::clock::Stopwatch;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

pub const PASSWORD: &str = "correct horse battery staple";

/// A folder that goes with the test, and in it a server that runs until then.
pub struct Place {
    pub dir: TempDir,
    server: Option<Child>,
    pub url: String,
    /// Whose right to read and write is that of everybody, also where the tests run as root.
    nobody: bool,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    /// An empty folder, nobody serving.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), server: None, url: String::new(), nobody: false }
    }

    /// With a server, and the accounts `ada` and `bob`.
    pub fn with_server() -> Self {
        Self::new().served()
    }

    /// As [`with_server`](Self::with_server), for a person whom permissions stop.
    pub fn of_a_person() -> Self {
        let mut place = Self::new();
        place.nobody = rustix::process::geteuid().is_root();
        place.hand_over("");
        place.served()
    }

    /// Gives what is at `path` to the person whom permissions stop.
    pub fn hand_over(&self, path: &str) {
        if self.nobody {
            let given = Command::new("chown").args(["-hR", "65534:65534"]).arg(self.path(path)).status();
            assert!(given.unwrap().success());
        }
    }

    pub fn chmod(&self, path: &str, mode: u32) {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(self.path(path), permissions).unwrap();
    }

    /// With a server, and the accounts `ada` and `bob`.
    pub fn served(self) -> Self {
        let mut place = self;
        place.serve();
        for user in ["ada", "bob"] {
            place.annals(&["user", "add", user, "--server", &place.url, "--data", "server"]).ok();
        }
        place
    }

    /// Starts the server, on the same port as before if there was one.
    pub fn serve(&mut self) {
        let listen = self.url.strip_prefix("http://").unwrap_or("127.0.0.1:0").to_owned();
        let mut child = self
            .command(&["serve", "--data", "server", "--listen", &listen])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ");
        self.url = url.unwrap_or_else(|| panic!("the server said {line:?}")).to_owned();
        self.server = Some(child);
    }

    /// Kills the server, as a power cut would.
    pub fn kill_server(&mut self) {
        if let Some(mut child) = self.server.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks the server to end, and waits until it has.
    pub fn stop_server(&mut self) {
        if let Some(mut child) = self.server.take() {
            let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
            assert!(asked.success() && child.wait().unwrap().success());
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        command.args(arguments).current_dir(self.dir.path());
        command.env("ANNALS_PASSWORD", PASSWORD).env("HOME", self.dir.path());
        command.env_remove("XDG_DATA_HOME").env_remove("XDG_STATE_HOME");
        command.stdin(Stdio::null());
        if self.nobody {
            std::os::unix::process::CommandExt::uid(&mut command, 65534);
            std::os::unix::process::CommandExt::gid(&mut command, 65534);
        }
        command
    }

    /// Types a command.
    pub fn annals(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }

    /// Types a line into a shell, just as it stands there.
    pub fn types(&self, line: &str) -> Said {
        let annals = Path::new(env!("CARGO_BIN_EXE_annals"));
        let path = std::env::join_paths(
            std::iter::once(annals.parent().unwrap().to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.dir.path()).env("PATH", path.unwrap());
        shell.env("ANNALS_PASSWORD", PASSWORD).env("HOME", self.dir.path());
        shell.env_remove("XDG_DATA_HOME").env_remove("XDG_STATE_HOME");
        if let Ok(token) = fs::read_to_string(self.path("server/admin.token")) {
            shell.env("ANNALS_ADMIN_TOKEN", token.trim());
        }
        said(shell.stdin(Stdio::null()))
    }

    /// Starts a command that goes on.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::of(&mut self.command(arguments))
    }

    /// Sends the server a signal.
    pub fn signal_server(&self, signal: &str) {
        let id = self.server.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// Links `folder` as a device of that name, and syncs it once.
    pub fn link(&self, user: &str, folder: &str) {
        self.link_to(user, folder, None);
    }

    pub fn link_to(&self, user: &str, folder: &str, namespace: Option<&str>) {
        let mut arguments = vec!["link", &self.url, folder, "--user", user, "--device", folder];
        if let Some(namespace) = namespace {
            arguments.extend(["--namespace", namespace]);
        }
        self.annals(&arguments).ok();
        self.sync(folder).ok();
    }

    pub fn sync(&self, folder: &str) -> Said {
        self.annals(&["sync", folder, "--once"])
    }

    /// Syncs all of them until each has what the others made.
    pub fn sync_all(&self, folders: &[&str]) {
        for _ in 0..2 {
            for folder in folders {
                self.sync(folder).ok();
            }
        }
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// How `folder` stands, whatever that is.
    pub fn status(&self, folder: &str) -> serde_json::Value {
        let said = self.annals(&["status", folder, "--json"]);
        let status: serde_json::Value =
            serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}: {}", said.code, said.err));
        let code = match status["state"].as_str() {
            Some("attention") => 3,
            Some("offline") => 4,
            _ => 0,
        };
        assert_eq!(said.code, code, "{status}");
        status
    }

    /// The tags of a JSON document that a command prints.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.annals(arguments).ok().out).unwrap()
    }

    /// Everything in a folder but `.annals`: path, kind, content or target, executable bit, time of files in
    /// seconds.
    pub fn tree(&self, folder: &str) -> Vec<String> {
        let root = self.path(folder);
        let mut lines = Vec::new();
        list(&root, &root, &mut lines);
        lines.sort();
        lines
    }
}

/// A command that goes on until it is told to end.
pub struct Running {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Starts it.
    pub fn of(command: &mut Command) -> Self {
        Self::of_with(command, Stdio::inherit())
    }

    /// Starts it, what it remarks goes there.
    pub fn of_with(command: &mut Command, remarks: Stdio) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(remarks).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Waits for a line of its output that begins so.
    pub fn says(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        while !line.starts_with(beginning) {
            line.clear();
            assert_ne!(self.out.read_line(&mut line).unwrap(), 0, "it ended without saying {beginning:?}");
        }
        line.trim_end().to_owned()
    }

    /// How many bytes it has read so far, from wherever.
    pub fn read_bytes(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// Waits until it ends by itself: its exit code.
    pub fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Tells it to end, and waits: its exit code.
    pub fn ends(mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill_server();
    }
}

impl Said {
    /// It went well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// It ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\nstdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// It failed with this code, a line that says why, and a hint.
    #[track_caller]
    pub fn fails(self, code: i32, why: &str) -> Self {
        let said = self.exits(code);
        assert!(said.err.contains("error: ") && said.err.contains(why), "no {why:?} in {}", said.err);
        assert!(said.err.contains("hint: "), "no hint in {}", said.err);
        said
    }
}

pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn list(root: &Path, folder: &Path, lines: &mut Vec<String>) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    // A daemon may be at it: what went meanwhile is not there.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if name == ".annals" {
            continue;
        }
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap_or_default();
            lines.push(format!("{name} -> {}", target.display()));
        } else if meta.is_dir() {
            lines.push(format!("{name}/"));
            list(root, &path, lines);
        } else {
            let executable = meta.permissions().mode() & 0o100 != 0;
            let Ok(content) = fs::read(&path) else { continue };
            let content = String::from_utf8_lossy(&content).into_owned();
            lines.push(format!("{name} x={executable} t={} {content:?}", meta.mtime()));
        }
    }
}

/// The commands between backticks that a hint has, as they stand there.
pub fn commands_in(hint: &str) -> Vec<String> {
    hint.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Waits until something is so, two minutes at most.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = Stopwatch::start();
    while !is_so() {
        assert!(waiting.elapsed() < Duration::from_secs(120), "it never came about that {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
