//! The HTTP server: `/v1` over the actors, on a data directory of its own.
//!
//! [`serve`] starts it in a thread of its own and answers once it listens, so that `annals serve` and
//! `annals up` use the same function. What must always hold: whoever gets an answer showed a secret that
//! is good for it; no request body is larger than its route takes; passwords are hashed two at a time and
//! never where others wait; beyond loopback TLS is spoken unless one insists.

mod access;
mod answer;
pub mod data;
mod feed;
mod files;
mod gate;
mod guard;
mod handback;
mod link;
mod openapi;
mod routes;
mod schemas;
pub mod tls;

pub use gate::Limits;
pub use openapi::openapi_json;

use crate::{
    actors::{
        Node, checkpoints::Checkpoints, collecting, directory::LiveDirectory, keys::Keys,
        listeners::Listeners, node::random, sent::SentLists, upkeep,
    },
    clock::SystemClock,
};
use access::{Admin, Challenges, Logins};
use actix_web::{App, HttpServer, middleware::from_fn, web};
use annals_engine::{
    chunk_store::ChunkStoreError,
    clock::Clock,
    directory::Directory,
    protocol::{FEED_BEAT_MS, FORMAT, Fingerprint, Problem, ServerInfo},
};
use annals_events::log::{
    EventLog, LogError,
    embedded::{EmbeddedLog, OpenError, Options},
};
use data::Data;
use gate::Counters;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};
use tls::Tls;

/// What users that are added may store unless said otherwise: 15 GB.
pub const QUOTA_DEFAULT: u64 = 15_000_000_000;
/// HTTP workers, and as many arbiters for actors.
const WORKERS: usize = 2;
/// How long a connection is kept on which nothing is asked.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long requests at work may take after the server was told to stop, in seconds.
const STOP_SECONDS: u64 = 10;

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

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A certificate or its key is none, or one does not belong to the other.
    #[error("{place} cannot be used for TLS: {what}")]
    Certificate {
        /// Which file.
        place: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Somebody listens there.
    #[error("{address} is in use")]
    AddressInUse {
        /// Where it should listen.
        address: SocketAddr,
    },
    /// It cannot listen there.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// Where it should listen.
        address: SocketAddr,
        /// What stands in the way.
        why: std::io::Error,
    },
    /// Another server has the data directory.
    #[error("`annals up` or `annals serve` already runs on {place}")]
    Locked {
        /// The data directory.
        place: PathBuf,
    },
    /// A directory with something else in it, or of another release.
    #[error("{place} is not a data directory of this release: {found}")]
    Format {
        /// The data directory.
        place: PathBuf,
        /// What it says.
        found: String,
    },
    /// A small file in it is not what was written.
    #[error("{place} is damaged: {what}")]
    Damaged {
        /// Which.
        place: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The data directory can't be used.
    #[error("{place}: {why}")]
    Folder {
        /// Which file or folder.
        place: PathBuf,
        /// What stands in the way.
        why: std::io::Error,
    },
    /// The log or the chunks can't be used.
    #[error("{what}")]
    Store {
        /// Why.
        what: String,
        /// Whether stored bytes are not what was written.
        damaged: bool,
    },
    /// It stopped for a reason of its own.
    #[error("the server failed: {what}")]
    Failed {
        /// Why.
        what: String,
    },
}

impl ServeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => {
                "certificate and key are two PEM files that belong together; without --tls-cert and --tls-key the server makes its own"
            }
            Self::AddressInUse { .. } => "choose another port with --listen, or 0 to have one picked",
            Self::Listen { .. } => "choose another address with --listen",
            Self::Locked { .. } => "stop the other one first; every verb can ask it meanwhile",
            Self::Format { .. } => {
                "update annals if a newer release wrote it, or choose an empty directory with --data"
            }
            Self::Folder { .. } => "check that the directory exists, is yours and can be written",
            Self::Damaged { .. } => "put it back from a backup; nothing was changed",
            Self::Store { damaged: true, .. } => "run `annals verify --data DATA`; nothing was changed",
            Self::Store { .. } => "check that the disk has room and the directory can be written",
            Self::Failed { .. } => "its log says more (ANNALS_LOG=debug)",
        }
    }
}

impl From<OpenError> for ServeError {
    fn from(error: OpenError) -> Self {
        if let OpenError::Format { place, found } = error {
            return Self::Format { place: place.into(), found };
        }
        let damaged = matches!(error, OpenError::Log(LogError::Damaged { .. }) | OpenError::Damaged { .. });
        Self::Store { what: error.to_string(), damaged }
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
    draining: Arc<AtomicBool>,
    handle: actix_web::dev::ServerHandle,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
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
        let (handle, listeners) = (self.handle.clone(), self.node.listeners.clone());
        Stopper { handle, listeners, draining: Arc::clone(&self.draining) }
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
        let failed = |_| ServeError::Failed { what: "it panicked".into() };
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
    /// A file that is written to see whether that goes.
    probe: PathBuf,
    feed_beat: Duration,
    trusted_proxies: Vec<IpAddr>,
    /// Two passwords at a time.
    passwords: tokio::sync::Semaphore,
}

struct Started {
    address: SocketAddr,
    fingerprint: Option<Fingerprint>,
    admin_token: String,
    info: ServerInfo,
    node: Arc<Node>,
    draining: Arc<AtomicBool>,
    handle: actix_web::dev::ServerHandle,
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
    let is_tls = config.spoken().is_some();
    let (tell, hear) = mpsc::channel();
    let thread = std::thread::Builder::new().name("annals-server".into());
    let thread = thread
        .spawn(move || run(config, clock, &tell))
        .map_err(|why| ServeError::Failed { what: why.to_string() })?;
    match hear.recv() {
        Ok(Started { address, fingerprint, admin_token, info, node, draining, handle }) => {
            let thread = Some(thread);
            Ok(Serving { address, is_tls, fingerprint, admin_token, info, node, draining, handle, thread })
        }
        // It ended before it listened, and says why.
        Err(_) => match thread.join() {
            Ok(Err(error)) => Err(error),
            _ => Err(ServeError::Failed { what: "it ended before it listened".into() }),
        },
    }
}

fn run(
    config: Config,
    clock: Arc<dyn Clock + Send + Sync>,
    tell: &mpsc::Sender<Started>,
) -> Result<(), ServeError> {
    data::check_free(&config.data)?;
    let listener = listen(config.listen)?;
    let_go_of_who_takes_nothing(&listener, config.limits.silence)
        .map_err(|why| ServeError::Listen { address: config.listen, why })?;
    let data = Data::open(&config.data)?;
    data.check_log()?;
    let spoken = config.spoken().map(|tls| tls::speak(&tls, &data)).transpose()?;
    let fingerprint = spoken.as_ref().and_then(|spoken| spoken.fingerprint);
    let (log, opened) = EmbeddedLog::open(&data.log(), &Options::new(data.id.0), &mut |_, _| {})?;
    if log.id() != data.id.0 {
        let what = "it names another log than the one that is kept here".into();
        return Err(ServeError::Damaged { place: data.log().with_file_name(data::FORMAT_FILE), what });
    }
    if let Some(torn) = opened.torn {
        tracing::warn!(?torn, "an unacknowledged write was cut off and set aside");
    }
    if let Some(why) = opened.witness {
        tracing::warn!(%why, "what `end` said about how far the log had got was not believed");
    }
    let log: Arc<dyn EventLog> = Arc::new(log);
    let chunks = crate::chunk_store::Packs::open(&data.packs(), data.server_id()).map_err(|error| {
        ServeError::Store { damaged: matches!(error, ChunkStoreError::Damaged(_)), what: error.to_string() }
    })?;
    actix_web::rt::System::new().block_on(async move {
        let arbiters: Vec<actix::Arbiter> = (0..WORKERS).map(|_| actix::Arbiter::new()).collect();
        let handles: Vec<_> = arbiters.iter().map(actix::Arbiter::handle).collect();
        let empty = Directory::new(data.id);
        let keys = Arc::new(data.keys());
        if data.is_copy {
            tracing::warn!("this data is a copy, or was put back from one: devices hand back what it lacks");
            keys.renew(keys.public(), random())
                .map_err(|problem| ServeError::Store { what: problem.detail, damaged: false })?;
            collecting::forget_garbage(&data.garbage());
        }
        guard::plant(data.place())?;
        let directory = LiveDirectory::open(Arc::clone(&log), Arc::clone(&keys), empty, clock.now_ms())
            .await
            .map_err(|problem: Problem| ServeError::Store { what: problem.detail, damaged: true })?;
        let info = info_of(&data, &keys, &directory);
        let node = Node::new(
            log,
            Arc::new(chunks),
            keys,
            clock,
            directory,
            data.evidence(),
            data.garbage(),
            Checkpoints::new(data.checkpoints()),
            SentLists::new(data.sent()),
            config.quota_default,
            &handles,
        );
        let draining = Arc::<AtomicBool>::default();
        let server = web::Data::new(Server {
            node: Arc::clone(&node),
            began: info.clone(),
            fingerprint,
            admin: Admin::new(&data.admin_token),
            challenges: Challenges::default(),
            counters: Counters::new(&config.limits),
            limits: config.limits.clone(),
            logins: Logins::default(),
            draining: Arc::clone(&draining),
            probe: config.data.join("ready.probe"),
            feed_beat: config.feed_beat,
            trusted_proxies: config.trusted_proxies.clone(),
            passwords: tokio::sync::Semaphore::new(2),
        });
        let address =
            listener.local_addr().map_err(|why| ServeError::Listen { address: config.listen, why })?;
        let limits = &config.limits;
        let app = move || {
            App::new().app_data(server.clone()).wrap(from_fn(gate::pass)).configure(routes::configure)
        };
        let http = HttpServer::new(app)
            .workers(WORKERS)
            .max_connections(limits.connections.div_ceil(WORKERS))
            .client_request_timeout(limits.head)
            .tls_handshake_timeout(limits.head)
            .keep_alive(KEEP_ALIVE)
            .worker_max_blocking_threads(8)
            .shutdown_timeout(STOP_SECONDS)
            .disable_signals();
        let http = match spoken {
            Some(spoken) => http.listen_rustls_0_23(listener, spoken.config),
            None => http.listen(listener),
        };
        let http = http.map_err(|why| ServeError::Listen { address, why })?.run();
        let admin_token = data.admin_token.clone();
        let (node_too, handle) = (Arc::clone(&node), http.handle());
        let started = Started { address, fingerprint, admin_token, info, node: node_too, draining, handle };
        // Nobody hears it if whoever started this is gone; then it stops at once.
        if tell.send(started).is_err() {
            return Ok(());
        }
        let upkeep = actix_web::rt::spawn(upkeep::keep_up(Arc::clone(&node)));
        let ended = http.await.map_err(|why| ServeError::Failed { what: why.to_string() });
        upkeep.abort();
        // Nothing is lost by one that takes too long: the next start has more to read.
        let kept = tokio::time::timeout(Duration::from_secs(STOP_SECONDS), node.keep_checkpoints());
        if kept.await.is_err() {
            tracing::warn!("not every namespace's checkpoint was written");
        }
        node.close();
        for arbiter in arbiters {
            arbiter.stop();
            drop(arbiter.join());
        }
        drop(data);
        ended
    })
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, ServeError> {
    std::net::TcpListener::bind(address).map_err(|why| match why.kind() {
        std::io::ErrorKind::AddrInUse => ServeError::AddressInUse { address },
        _ => ServeError::Listen { address, why },
    })
}

/// Connections of `listener` end once the other side took nothing for so long: whoever reads so slowly, or not at all,
/// would keep what is sent to it, and a connection, for ever.
fn let_go_of_who_takes_nothing(listener: &std::net::TcpListener, after: Duration) -> std::io::Result<()> {
    let ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    // Those that are accepted have it from the one that listens.
    Ok(rustix::net::sockopt::set_tcp_user_timeout(listener, ms)?)
}

impl Server {
    /// Whom one talks to.
    fn info(&self) -> ServerInfo {
        ServerInfo { server: self.node.keys.public(), ..self.began.clone() }
    }
}

fn info_of(data: &Data, keys: &Keys, directory: &LiveDirectory) -> ServerInfo {
    let server = keys.public();
    ServerInfo {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        log: data.id,
        server,
        directory: directory.read(Directory::key).unwrap_or(server),
    }
}

/// A new secret: 32 random bytes in hex.
fn new_secret() -> String {
    annals_events::Hash(random()).to_hex()
}
