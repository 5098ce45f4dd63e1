//! A server from its data directory to its end: what is opened in which order, what runs, what is closed.
//!
//! What must always hold: whoever is told that it listens can ask it at once; a full disk keeps it from taking more, not
//! from starting; nothing is written into the place of a data directory that is not there any more; a server that was
//! told to end has closed what it opened when it is gone.

use super::{
    Config, ServeError, Server, Started, Stopper,
    access::{Admin, Challenges, Logins},
    data::{self, Data},
    gate::{self, Counters},
    guard, table,
    tls::{self, Spoken},
};
use crate::{
    actors::{
        Node, checkpoints::Checkpoints, directory::LiveDirectory, keys::Keys, marks::Marks, sent::SentLists,
        upkeep,
    },
    chunk_store::Packs,
    random::random,
};
use actix::{Arbiter, ArbiterHandle};
use actix_web::{App, HttpServer, middleware::from_fn, web};
use annals_engine::{
    clock::Clock,
    directory::Directory,
    protocol::{FORMAT, Fingerprint, ServerInfo},
};
use annals_events::log::{
    EventLog,
    embedded::{EmbeddedLog, Options},
};
use std::{
    net::TcpListener,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

/// HTTP workers, and as many arbiters for actors.
const WORKERS: usize = 2;
/// How long a connection is kept on which nothing is asked.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long requests at work may take after the server was told to stop, in seconds.
const STOP_SECONDS: u64 = 10;
/// How often a server that nobody asks anything looks whether its data is still there.
const LOOK: Duration = Duration::from_secs(10);

/// Runs a server to its end; tells once it listens.
pub(super) fn run(
    config: Config,
    clock: Arc<dyn Clock + Send + Sync>,
    tell: &mpsc::Sender<Started>,
) -> Result<(), ServeError> {
    data::check_free(&config.data)?;
    let listener = listen(&config)?;
    let data = Data::open(&config.data)?;
    data.check_log()?;
    let spoken = config.spoken().map(|tls| tls::speak(&tls, &data)).transpose()?;
    let (log, chunks) = (open_log(&data)?, open_chunks(&data)?);
    let (held, let_go) = mpsc::channel();
    let ended = actix_web::rt::System::new().block_on(async {
        let arbiters: Vec<Arbiter> = (0..WORKERS).map(|_| Arbiter::new()).collect();
        let handles: Vec<_> = arbiters.iter().map(Arbiter::handle).collect();
        let node = node_on(&data, log, chunks, clock, config.quota_default, &handles).await?;
        let fingerprint = spoken.as_ref().and_then(|spoken| spoken.fingerprint);
        let server = web::Data::new(shared(&config, &data, node, fingerprint, held)?);
        let ended = serve(&config, &data, listener, spoken, server, tell).await;
        for arbiter in arbiters {
            arbiter.stop();
            drop(arbiter.join());
        }
        ended
    });
    // Those who answer requests are threads that nobody waits for: with the last of them the log and the chunks are closed.
    if let Err(mpsc::RecvTimeoutError::Timeout) = let_go.recv_timeout(Duration::from_secs(STOP_SECONDS)) {
        tracing::warn!("a request goes on: the log is not closed in order");
    }
    // Now another may have it.
    drop(data);
    ended
}

fn open_log(data: &Data) -> Result<Arc<dyn EventLog>, ServeError> {
    let place = data.log();
    let (log, opened) = EmbeddedLog::open(&place, &Options::new(data.id.0), &mut |_, _| {})
        .map_err(|error| ServeError::of_log(&place, error))?;
    if log.id() != data.id.0 {
        let what = "it names another log than the one that is kept here".into();
        return Err(ServeError::Damaged { place: place.with_file_name(data::FORMAT_FILE), what });
    }
    if let Some(torn) = opened.torn {
        tracing::warn!(?torn, "an unacknowledged write was cut off and set aside");
    }
    if let Some(why) = opened.witness {
        tracing::warn!(%why, "what `end` said about how far the log had got was not believed");
    }
    if let Some(why) = opened.unindexed {
        tracing::warn!(%why, "the log's index is in memory until the next start: its disk takes nothing");
    }
    Ok(Arc::new(log))
}

fn open_chunks(data: &Data) -> Result<Packs, ServeError> {
    let place = data.packs();
    let chunks = Packs::open_even_if_full(&place, data.server_id())
        .map_err(|error| ServeError::of_chunks(&place, &error))?;
    if chunks.is_in_memory() {
        tracing::warn!("the index of chunks is in memory until the next start: its disk takes nothing");
    }
    Ok(chunks)
}

/// What the actors share, with the directory rebuilt.
async fn node_on(
    data: &Data,
    log: Arc<dyn EventLog>,
    chunks: Packs,
    clock: Arc<dyn Clock + Send + Sync>,
    quota_default: Option<u64>,
    arbiters: &[ArbiterHandle],
) -> Result<Arc<Node>, ServeError> {
    let (keys, marks) = (Arc::new(data.keys()), Marks::new(data.garbage()));
    let failed = |damaged| {
        move |problem: annals_engine::protocol::Problem| {
            let place = data.place().to_owned();
            ServeError::Store { place, what: problem.detail, damaged }
        }
    };
    if data.is_copy {
        tracing::warn!("this data is a copy, or was put back from one: devices hand back what it lacks");
        let place = data.garbage();
        marks.forget().map_err(|why| ServeError::Folder { place, why })?;
        keys.renew(keys.public(), random()).map_err(failed(false))?;
    }
    guard::plant(data.place())?;
    let empty = Directory::new(data.id);
    let directory = LiveDirectory::open(Arc::clone(&log), Arc::clone(&keys), empty, clock.now_ms());
    let directory = directory.await.map_err(failed(true))?;
    Ok(Node::new(
        log,
        Arc::new(chunks),
        keys,
        clock,
        directory,
        data.evidence(),
        marks,
        Checkpoints::new(data.checkpoints()),
        SentLists::new(data.sent()),
        quota_default,
        arbiters,
    ))
}

/// What the routes share.
fn shared(
    config: &Config,
    data: &Data,
    node: Arc<Node>,
    fingerprint: Option<Fingerprint>,
    held: mpsc::Sender<()>,
) -> Result<Server, ServeError> {
    Ok(Server {
        began: info_of(data, &node.keys, &node.directory),
        node,
        fingerprint,
        admin: Admin::new(&data.admin_token),
        challenges: Challenges::default(),
        counters: Counters::new(&config.limits),
        limits: config.limits.clone(),
        logins: Logins::default(),
        draining: Arc::default(),
        anchor: data.anchor()?,
        stopper: OnceLock::new(),
        probe: config.data.join("ready.probe"),
        feed_beat: config.feed_beat,
        trusted_proxies: config.trusted_proxies.clone(),
        passwords: tokio::sync::Semaphore::new(2),
        _held: held,
    })
}

/// Answers requests until it is stopped, and writes down what the next start begins with.
async fn serve(
    config: &Config,
    data: &Data,
    listener: TcpListener,
    spoken: Option<Spoken>,
    server: web::Data<Server>,
    tell: &mpsc::Sender<Started>,
) -> Result<(), ServeError> {
    let failed = |why| ServeError::Listen { address: config.listen, why };
    let address = listener.local_addr().map_err(failed)?;
    let http = http_of(config, listener, spoken, server.clone()).map_err(failed)?;
    let stopper = Stopper {
        handle: http.handle(),
        listeners: server.node.listeners.clone(),
        draining: Arc::clone(&server.draining),
    };
    drop(server.stopper.set(stopper.clone()));
    let started = Started {
        address,
        fingerprint: server.fingerprint,
        admin_token: data.admin_token.clone(),
        info: server.began.clone(),
        node: Arc::clone(&server.node),
        stopper,
    };
    // Nobody hears it if whoever started this is gone; then it stops at once.
    if tell.send(started).is_err() {
        return Ok(());
    }
    let upkeep = actix_web::rt::spawn(upkeep::keep_up(Arc::clone(&server.node)));
    let looking = actix_web::rt::spawn(look_after(server.clone()));
    let ended =
        http.await.map_err(|why| ServeError::Failed { place: address.to_string(), what: why.to_string() });
    upkeep.abort();
    looking.abort();
    let is_there = server.anchor.holds();
    if is_there {
        keep_checkpoints(&server.node).await;
    }
    server.node.close();
    ended?;
    if is_there { Ok(()) } else { Err(ServeError::Moved { place: config.data.clone() }) }
}

/// Nothing is lost by one that takes too long: the next start has more to read.
async fn keep_checkpoints(node: &Arc<Node>) {
    let kept = tokio::time::timeout(Duration::from_secs(STOP_SECONDS), node.keep_checkpoints());
    if kept.await.is_err() {
        tracing::warn!("not every namespace's checkpoint was written");
    }
}

/// Ends the server once its data is not there any more, also where nobody asks it anything.
async fn look_after(server: web::Data<Server>) {
    while server.is_in_place() {
        tokio::time::sleep(LOOK).await;
    }
}

fn http_of(
    config: &Config,
    listener: TcpListener,
    spoken: Option<Spoken>,
    server: web::Data<Server>,
) -> std::io::Result<actix_web::dev::Server> {
    let app =
        move || App::new().app_data(server.clone()).wrap(from_fn(gate::pass)).configure(table::configure);
    let http = HttpServer::new(app)
        .workers(WORKERS)
        .max_connections(config.limits.connections.div_ceil(WORKERS))
        .client_request_timeout(config.limits.head)
        .tls_handshake_timeout(config.limits.head)
        .keep_alive(KEEP_ALIVE)
        .worker_max_blocking_threads(8)
        .shutdown_timeout(STOP_SECONDS)
        .disable_signals();
    let http = match spoken {
        Some(spoken) => http.listen_rustls_0_23(listener, spoken.config),
        None => http.listen(listener),
    };
    Ok(http?.run())
}

fn listen(config: &Config) -> Result<TcpListener, ServeError> {
    let address = config.listen;
    let listener = TcpListener::bind(address).map_err(|why| match why.kind() {
        std::io::ErrorKind::AddrInUse => ServeError::AddressInUse { address },
        _ => ServeError::Listen { address, why },
    })?;
    let_go_of_who_takes_nothing(&listener, config.limits.silence)
        .map_err(|why| ServeError::Listen { address, why })?;
    Ok(listener)
}

/// Connections of `listener` end once the other side took nothing for so long: whoever reads so slowly, or not at all,
/// would keep what is sent to it, and a connection, for ever.
fn let_go_of_who_takes_nothing(listener: &std::net::TcpListener, after: Duration) -> std::io::Result<()> {
    let ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    // Those that are accepted have it from the one that listens.
    Ok(rustix::net::sockopt::set_tcp_user_timeout(listener, ms)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::serve;
    use std::fs;

    #[test]
    fn a_copy_goes_on_under_another_key_once_what_was_garbage_is_forgotten_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("data");
        serve(Config::new(&place)).unwrap().stop().unwrap();
        let key = || fs::read_to_string(place.join("server.key")).unwrap();
        let before = key();
        fs::remove_file(place.join("guard")).unwrap();
        fs::create_dir(place.join("garbage")).unwrap();
        assert!(matches!(serve(Config::new(&place)), Err(ServeError::Folder { .. })));
        assert_eq!(key(), before);
        fs::remove_dir(place.join("garbage")).unwrap();
        serve(Config::new(&place)).unwrap().stop().unwrap();
        assert_ne!(key(), before);
    }
}
