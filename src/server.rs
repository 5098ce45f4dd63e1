//! The HTTP server: `/v1` over the actors, on a data directory of its own.
//!
//! [`serve`] starts it in a thread of its own and answers once it listens, so that `annals serve` and
//! `annals up` use the same function. What must always hold: whoever gets an answer showed a secret that
//! is good for it; no request body is larger than its route takes; passwords are hashed two at a time and
//! never where others wait; beyond loopback TLS is spoken unless one insists.

mod access;
mod answer;
pub mod data;
mod error;
mod feed;
mod files;
mod gate;
mod guard;
mod handback;
mod link;
mod openapi;
mod routes;
mod running;
mod schemas;
mod table;
pub mod tls;

pub use error::{CHUNKS_HINT, ServeError};
pub use gate::Limits;
pub use openapi::openapi_json;

use crate::{
    actors::{Node, listeners::Listeners},
    clock::SystemClock,
    random::random,
};
use access::{Admin, Challenges, Logins};
use annals_engine::{
    clock::Clock,
    protocol::{FEED_BEAT_MS, Fingerprint, ServerInfo},
};
use data::Anchor;
use gate::Counters;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};
use tls::Tls;

/// What users that are added may store unless said otherwise: 15 GB.
pub const QUOTA_DEFAULT: u64 = 15_000_000_000;
/// How to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory; made if there is none.
    pub data: PathBuf,
    /// Where to listen; port 0 picks one.
    pub listen: SocketAddr,
    /// TLS, also on loopback.
    pub tls: Option<Tls>,
    /// Whether to listen beyond loopback without TLS, if none is asked for.
    pub insecure: bool,
    /// What users that are added may store unless said otherwise; none for no limit.
    pub quota_default: Option<u64>,
    /// How much of everything one may have.
    pub limits: Limits,
    /// How often those who listen have to show that they are there.
    pub feed_beat: Duration,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Config {
    /// A server on `data` that listens on loopback, on a port that it picks.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            insecure: false,
            quota_default: Some(QUOTA_DEFAULT),
            limits: Limits::default(),
            feed_beat: Duration::from_millis(FEED_BEAT_MS),
            trusted_proxies: Vec::new(),
        }
    }

    /// What is spoken: nobody reads along beyond loopback, unless one insists.
    fn spoken(&self) -> Option<Tls> {
        let plain = self.insecure || self.listen.ip().is_loopback();
        self.tls.clone().or((!plain).then_some(Tls::OwnCertificate))
    }
}

/// A server that runs, until it is stopped or dropped.
pub struct Serving {
    address: SocketAddr,
    is_tls: bool,
    fingerprint: Option<Fingerprint>,
    admin_token: String,
    info: ServerInfo,
    node: Arc<Node>,
    stopper: Stopper,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
    end: Mutex<Option<mpsc::Receiver<()>>>,
}

/// Stops a server from anywhere, as from a signal handler.
#[derive(Clone)]
pub struct Stopper {
    handle: actix_web::dev::ServerHandle,
    listeners: Listeners,
    draining: Arc<AtomicBool>,
}

impl Stopper {
    /// Takes no new requests, lets those at work finish, and lets go of those who listen. Answers at once.
    pub fn stop(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.listeners.stop();
        // The message is sent by the call; the future only waits for the end.
        drop(self.handle.stop(true));
    }
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as clients type it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.address)
    }

    /// The certificate that it made itself and is known by, if it speaks TLS with that one.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// What the admin shows.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// What it tells about itself.
    #[must_use]
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// What its shells share, for whoever looks after it from this process.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Its chunks, likewise.
    #[must_use]
    pub fn chunks(&self) -> Arc<dyn annals_engine::chunk_store::ChunkStore> {
        Arc::clone(&self.node.chunks)
    }

    /// How many actors are at work: namespaces, users, files, sessions.
    #[must_use]
    pub fn at_work(&self) -> [usize; 4] {
        self.node.at_work()
    }

    /// How many listen on the live feed.
    #[must_use]
    pub fn listening(&self) -> usize {
        self.node.listeners.count()
    }

    /// Something that can stop it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Calls `then` once it has ended, by itself or because it was stopped. Once: later calls do nothing.
    pub fn at_end(&self, then: impl FnOnce() + Send + 'static) {
        if let Some(end) = self.end.lock().unwrap_or_else(PoisonError::into_inner).take() {
            std::thread::spawn(move || {
                // Nothing is ever sent: it is the other half that goes.
                let _: Result<(), _> = end.recv();
                then();
            });
        }
    }

    /// Waits until it has been stopped.
    ///
    /// # Errors
    /// Why it stopped by itself.
    pub fn wait(mut self) -> Result<(), ServeError> {
        self.join()
    }

    /// Stops it: requests at work are finished, everything acknowledged is on disk, the data directory is free.
    ///
    /// # Errors
    /// Why it had stopped by itself.
    pub fn stop(mut self) -> Result<(), ServeError> {
        self.stopper().stop();
        self.join()
    }

    fn join(&mut self) -> Result<(), ServeError> {
        let place = self.address.to_string();
        let failed = |_| ServeError::Failed { place, what: "it panicked".into() };
        self.thread.take().map_or(Ok(()), |thread| thread.join().map_err(failed)?)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stopper().stop();
        drop(self.join());
    }
}

/// What the routes share.
struct Server {
    node: Arc<Node>,
    /// As it was when the server began; [`Server::info`] knows the key of now.
    began: ServerInfo,
    /// What its certificate is known by, where that is not by somebody who vouches for it.
    fingerprint: Option<Fingerprint>,
    admin: Admin,
    challenges: Challenges,
    limits: Limits,
    counters: Counters,
    logins: Logins,
    /// Whether it is about to stop.
    draining: Arc<AtomicBool>,
    /// By what it is noticed that its data is no more where it was.
    anchor: Anchor,
    /// What stops it, once it runs.
    stopper: OnceLock<Stopper>,
    /// A file that is written to see whether that goes.
    probe: PathBuf,
    feed_beat: Duration,
    trusted_proxies: Vec<IpAddr>,
    /// Two passwords at a time.
    passwords: tokio::sync::Semaphore,
    /// Goes with this, after all else of it: whoever has the other half knows then that nobody answers requests any more.
    _held: mpsc::Sender<()>,
}

struct Started {
    address: SocketAddr,
    fingerprint: Option<Fingerprint>,
    admin_token: String,
    info: ServerInfo,
    node: Arc<Node>,
    stopper: Stopper,
}

/// Starts a server and answers once it listens.
///
/// # Errors
/// [`ServeError`]; then nothing runs.
pub fn serve(config: Config) -> Result<Serving, ServeError> {
    serve_by(config, Arc::new(SystemClock))
}

/// As [`serve`], by another clock than the machine's.
///
/// # Errors
/// [`ServeError`]; then nothing runs.
pub fn serve_by(config: Config, clock: Arc<dyn Clock + Send + Sync>) -> Result<Serving, ServeError> {
    let (is_tls, place) = (config.spoken().is_some(), config.listen.to_string());
    let (tell, hear) = mpsc::channel();
    let thread = std::thread::Builder::new().name("annals-server".into());
    let (ending, end) = mpsc::channel::<()>();
    let work = move || {
        let _until_the_end = ending;
        running::run(config, clock, &tell)
    };
    let failed = |what: String| ServeError::Failed { place: place.clone(), what };
    let thread = thread.spawn(work).map_err(|why| failed(why.to_string()))?;
    match hear.recv() {
        Ok(Started { address, fingerprint, admin_token, info, node, stopper }) => {
            let (thread, end) = (Some(thread), Mutex::new(Some(end)));
            Ok(Serving { end, address, is_tls, fingerprint, admin_token, info, node, stopper, thread })
        }
        // It ended before it listened, and says why.
        Err(_) => match thread.join() {
            Ok(Err(error)) => Err(error),
            _ => Err(failed("it ended before it listened".into())),
        },
    }
}

impl Server {
    /// Whether its data is still where it was. If not, this is the end: what would be acknowledged from now on nobody could
    /// find again.
    fn is_in_place(&self) -> bool {
        let holds = self.anchor.holds();
        if !holds && let Some(stopper) = self.stopper.get() {
            stopper.stop();
        }
        holds
    }

    /// Whom one talks to.
    fn info(&self) -> ServerInfo {
        ServerInfo { server: self.node.keys.public(), ..self.began.clone() }
    }
}

/// A new secret: 32 random bytes in hex.
fn new_secret() -> String {
    annals_events::Hash(random()).to_hex()
}
