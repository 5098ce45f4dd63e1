//! A wire between devices and a server: everything that goes over it is counted, and it can be cut and slow.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Listens on loopback and passes everything on.
pub struct Wire {
    pub url: String,
    state: Arc<State>,
}

struct State {
    to_server: AtomicU64,
    to_device: AtomicU64,
    closed: AtomicBool,
    /// After so many more bytes in either direction every connection is cut, and so on.
    cuts: Mutex<Box<dyn Iterator<Item = u64> + Send>>,
    left: AtomicU64,
    /// What says how slow it is: nothing for a wire that never is.
    whims: Mutex<Option<u64>>,
    open: Mutex<Vec<TcpStream>>,
}

/// So many bytes of a connection go over at one pace.
const STRETCH: usize = 1 << 20;

impl Wire {
    /// A wire to the server at `url`.
    pub fn to(url: &str) -> Self {
        Self::cut_after(url, std::iter::empty())
    }

    /// The same, cut whenever so many bytes went over it: each time after the next number.
    pub fn cut_after(url: &str, cuts: impl Iterator<Item = u64> + Send + 'static) -> Self {
        Self::new(url, cuts, None)
    }

    /// The same, and what goes over it is held up now and then, as `seed` has it.
    pub fn rough(url: &str, cuts: impl Iterator<Item = u64> + Send + 'static, seed: u64) -> Self {
        Self::new(url, cuts, Some(seed))
    }

    fn new(url: &str, cuts: impl Iterator<Item = u64> + Send + 'static, whims: Option<u64>) -> Self {
        let server = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut cuts: Box<dyn Iterator<Item = u64> + Send> = Box::new(cuts);
        let left = AtomicU64::new(cuts.next().unwrap_or(u64::MAX));
        let state = Arc::new(State {
            to_server: AtomicU64::new(0),
            to_device: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            cuts: Mutex::new(cuts),
            left,
            whims: Mutex::new(whims),
            open: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for device in listener.incoming().map_while(Result::ok) {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let ends = [device.try_clone().unwrap(), server.try_clone().unwrap()];
                shared.open.lock().unwrap().extend(ends);
                let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
                let (from, to) = (device.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || there.pass_on(from, to, &there.to_server));
                thread::spawn(move || back.pass_on(server, device, &back.to_device));
            }
        });
        Self { url, state }
    }

    /// Bytes that went to devices since somebody took the [counts](Self::bytes).
    pub fn to_device(&self) -> u64 {
        self.state.to_device.load(Ordering::SeqCst)
    }

    /// Bytes that went to the server, and to devices, since this was asked last.
    pub fn bytes(&self) -> (u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::SeqCst);
        (take(&self.state.to_server), take(&self.state.to_device))
    }
}

impl State {
    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
        let mut buffer = vec![0; 16 << 10];
        let (mut stretch, mut pause) = (0, self.whim());
        while let Ok(got) = from.read(&mut buffer) {
            stretch += got;
            if stretch >= STRETCH {
                (stretch, pause) = (0, self.whim());
            }
            if let Some(pause) = pause {
                thread::park_timeout(pause);
            }
            if got == 0 || self.is_cut(got as u64) || to.write_all(&buffer[..got]).is_err() {
                break;
            }
            count.fetch_add(got as u64, Ordering::SeqCst);
        }
        drop(from.shutdown(Shutdown::Both));
        drop(to.shutdown(Shutdown::Both));
    }

    /// For how long each piece of the next stretch is held up: mostly not at all, else so that about 16 or 4 MB go over
    /// in a second.
    fn whim(&self) -> Option<Duration> {
        let mut whims = self.whims.lock().unwrap();
        let state = whims.as_mut()?;
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match *state >> 61 {
            0 => Some(Duration::from_millis(4)),
            1 | 2 => Some(Duration::from_millis(1)),
            _ => None,
        }
    }

    /// Whether the wire is cut before these bytes: all connections end.
    fn is_cut(&self, bytes: u64) -> bool {
        let mut cuts = self.cuts.lock().unwrap();
        let left = self.left.load(Ordering::SeqCst);
        let cut = left < bytes;
        let next = if cut { cuts.next().unwrap_or(u64::MAX) } else { left - bytes };
        self.left.store(next, Ordering::SeqCst);
        if cut {
            for end in self.open.lock().unwrap().drain(..) {
                drop(end.shutdown(Shutdown::Both));
            }
        }
        cut
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
    }
}
