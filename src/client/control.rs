//! The control socket: while a daemon holds a folder or a server's data, every other verb asks it.
//!
//! One request a connection: the verb's arguments and working directory as a line of JSON; the daemon runs
//! the verb on what it holds and answers with what it printed and the exit code. Who may ask is decided by
//! the file system: the socket lies in a folder that only its owner enters.

use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::fd::OwnedFd,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

/// A verb on its way to the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// As typed, without the program's name.
    pub arguments: Vec<String>,
    /// Where it was typed.
    pub directory: PathBuf,
}

/// What the daemon says.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// For stdout, byte for byte.
    #[serde(with = "serde_bytes")]
    pub output: Vec<u8>,
    /// For stderr.
    pub remarks: String,
    /// The exit code.
    pub exit: u8,
}

pub use super::layout::SOCKET;
/// Longest request that is read, in bytes.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// How many may ask at once.
const ASKING_MAX: usize = 32;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that answers until it is closed; its file goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    closed: AtomicBool,
}

impl ControlSocket {
    /// Opens the socket. The caller holds the lock of the folder, so a file left there by a daemon that was
    /// killed is stale.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Unix sockets have short names (108 bytes): bind by way of the folder's handle.
        let handle = std::fs::File::open(folder)?;
        Ok(Self { listener: UnixListener::bind(by_handle(&handle))?, path, closed: AtomicBool::new(false) })
    }

    /// Nobody is answered any more, and the file goes.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Whoever waits for the next request wakes up, also where its folder is gone.
        let own = self.listener.try_clone().map(|own| UnixStream::from(OwnedFd::from(own)));
        if let Err(error) = own.and_then(|own| own.shutdown(Shutdown::Both)) {
            tracing::debug!(%error, "control socket");
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "control socket");
        }
    }

    /// Answers requests with `run` until it is closed: each for itself, so that one that has to wait keeps nobody
    /// else waiting.
    pub fn serve(&self, run: impl Fn(Request) -> Answer + Sync) {
        let asking = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for stream in self.listener.incoming() {
                if self.closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                if asking.load(Ordering::SeqCst) >= ASKING_MAX {
                    continue; // Hung up on.
                }
                asking.fetch_add(1, Ordering::SeqCst);
                let (run, asking) = (&run, &asking);
                scope.spawn(move || {
                    answer(stream, run);
                    asking.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
}

/// Reads one request and answers it.
fn answer(mut stream: UnixStream, run: &(impl Fn(Request) -> Answer + Sync)) {
    // Who connects and asks nothing is let go of.
    if stream.set_read_timeout(Some(PATIENCE)).is_err() {
        return;
    }
    let mut line = String::new();
    let read = BufReader::new((&stream).take(REQUEST_BYTES_MAX)).read_line(&mut line);
    let Some(request) = read.ok().and_then(|_| serde_json::from_str(&line).ok()) else { return };
    let answer = serde_json::to_vec(&run(request)).expect("an answer is plain data");
    if let Err(error) = stream.write_all(&answer) {
        tracing::debug!(%error, "who asked has gone");
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::SeqCst) {
            self.close();
        }
    }
}

/// Asks the daemon that holds `folder`; `None` where nobody answers.
#[must_use]
pub fn ask(folder: &Path, request: &Request) -> Option<Answer> {
    let mut stream = connect(folder)?;
    let mut line = serde_json::to_vec(request).expect("a request is plain data");
    line.push(b'\n');
    stream.write_all(&line).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    serde_json::from_slice(&answer).ok()
}

/// Whether a daemon that holds `folder` is there to be asked.
#[must_use]
pub fn is_answered(folder: &Path) -> bool {
    connect(folder).is_some()
}

fn connect(folder: &Path) -> Option<UnixStream> {
    let handle = std::fs::File::open(folder).ok()?;
    UnixStream::connect(by_handle(&handle)).ok()
}

fn by_handle(folder: &std::fs::File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}
