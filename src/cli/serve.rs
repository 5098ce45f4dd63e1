//! `annals serve`: namespaces for devices, until told to end.

use super::{
    arguments::Serve,
    failure::{Exit, Failure},
    invite::from_elsewhere,
    place,
    talk::Talk,
    verify,
};
use crate::client::{
    binding::linked_at_or_above,
    control::{self, ControlSocket},
};
use crate::server::{
    Config, ServeError, Serving,
    data::{keep_address, last_address},
    serve,
    tls::{CertificateFiles, Tls, fingerprint_in},
};
use annals_engine::protocol::Fingerprint;
use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

pub(super) fn run(asked: &Serve, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let data = place::absolute(&data_folder(asked.data.as_deref())?, directory);
    let security = Security {
        tls: tls_of(asked, directory),
        insecure: asked.insecure,
        trusted_proxies: asked.trusted_proxy.clone(),
    };
    let given = match &security.tls {
        Some(Tls::Given(files)) => fingerprint_in(files),
        _ => None,
    };
    let ending = Ending::heard();
    let serving = start(&data, asked.listen.as_deref(), security, talk)?;
    remember(&data, asked.listen.as_deref(), &serving)?;
    let stopper = serving.stopper();
    ending.then(move || stopper.stop());
    // Whoever reads that it listens can ask it.
    let socket = answer_others(&serving, data)?;
    if talk.output.json {
        let fingerprint = serving.fingerprint().or(given);
        talk.json(&serde_json::json!({ "url": serving.url(), "fingerprint": fingerprint }))?;
        talk.flush()?;
    } else {
        say_where(&serving, given, talk)?;
    }
    let ended = serving.wait();
    socket.close();
    ended?;
    Ok(Exit::Done)
}

/// Who may read along.
pub(super) struct Security {
    pub(super) tls: Option<Tls>,
    pub(super) insecure: bool,
    /// Who is believed when it says for whom it asks.
    pub(super) trusted_proxies: Vec<IpAddr>,
}

fn tls_of(asked: &Serve, directory: &Path) -> Option<Tls> {
    let given = asked.tls_cert.as_deref().zip(asked.tls_key.as_deref()).map(|(certificate, key)| {
        let [certificate, key] = [certificate, key].map(|path| place::absolute(path, directory));
        Tls::Given(CertificateFiles { certificate, key })
    });
    given.or_else(|| asked.tls.then_some(Tls::OwnCertificate))
}

/// Where it listens, and what it is known by there, or shows: a certificate that was `given` is another one once it is
/// renewed.
pub(super) fn say_where(
    serving: &Serving,
    given: Option<Fingerprint>,
    talk: &mut Talk<'_>,
) -> Result<(), Failure> {
    talk.line(format_args!("listening on {}", serving.url()))?;
    if let Some(fingerprint) = serving.fingerprint().or(given) {
        talk.line(format_args!("certificate {fingerprint}"))?;
    }
    talk.flush()
}

/// A server on this data, listening there; where nothing is said, where its devices know it from before.
pub(super) fn start(
    data: &Path,
    listen: Option<&str>,
    Security { tls, insecure, trusted_proxies }: Security,
    talk: &mut Talk<'_>,
) -> Result<Serving, Failure> {
    check_apart(data)?;
    let before = last_address(data);
    let listen = match (listen, before) {
        (Some(named), _) => address(named)?,
        (None, Some(before)) => before,
        (None, None) => address(super::DEFAULT_LISTEN)?,
    };
    let config = Config { listen, tls, insecure, trusted_proxies, ..Config::new(data) };
    let serving = match serve(config) {
        Err(ServeError::AddressInUse { address }) if Some(address) == before => {
            return Err(Failure::failed(format!(
                "{address} is in use, and that is where the devices of this server look for it"
            ))
            .hint("end what listens there; or serve elsewhere with --listen HOST:PORT, and tell each of them: annals link URL FOLDER"));
        }
        started => started?,
    };
    if insecure && !serving.address().ip().is_loopback() {
        talk.remark(format_args!(
            "warning: {} speaks no TLS, as --insecure asks for: whoever is on the way can read and change everything, passwords included",
            serving.url()
        ))?;
    }
    if let Some(before) = before.filter(|before| *before != serving.address()) {
        talk.remark(format_args!(
            "this server was at {before} before: devices that were linked to it there do not find it here (`--listen {before}` is there again; or on each of them: annals link {} FOLDER)",
            from_elsewhere(&serving.url())
        ))?;
    }
    Ok(serving)
}

/// What lies in a linked folder is synced to every device, and the data has secrets.
fn check_apart(data: &Path) -> Result<(), Failure> {
    linked_at_or_above(&place::real(data)).map_or(Ok(()), |linked| {
        Err(Failure::usage(format!(
            "the server's data ({}) lies in the linked folder {}, and would be synced with it",
            data.display(),
            linked.display()
        ))
        .hint("put the data elsewhere with --data DIR"))
    })
}

/// Writes down where the server listens, for its next start: but not a port that was picked this once in place of
/// the one by which its devices know it.
pub(super) fn remember(data: &Path, listen: Option<&str>, serving: &Serving) -> Result<(), Failure> {
    let picked = listen.map(address).transpose()?.is_some_and(|address| address.port() == 0);
    if picked && last_address(data).is_some() {
        return Ok(());
    }
    Ok(keep_address(data, serving.address())?)
}

/// Answers verbs about the data while this process has it.
pub(super) fn answer_others(serving: &Serving, folder: PathBuf) -> Result<Arc<ControlSocket>, Failure> {
    let socket = ControlSocket::open(&folder)
        .map_err(|error| Failure::failed(format!("no control socket in {}: {error}", folder.display())))?;
    let socket = Arc::new(socket);
    let ear = Arc::clone(&socket);
    // Not held beyond a request: the log is closed, and its index brought up to it, when the server stops.
    let node = Arc::downgrade(serving.node());
    std::thread::spawn(move || {
        ear.serve(|request| match node.upgrade() {
            Some(node) => verify::answer(&request, &folder, &node),
            None => control::Answer {
                exit: Exit::Failed as u8,
                remarks: "error: the server stops\n".into(),
                ..Default::default()
            },
        });
    });
    Ok(socket)
}

fn address(text: &str) -> Result<SocketAddr, Failure> {
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| {
        Failure::usage(format!("`{text}` is no address to listen on"))
            .hint("write HOST:PORT, for example 127.0.0.1:8417; port 0 picks one")
    })
}

/// The folder that was named, or `annals/` in the user's data folder.
pub(super) fn data_folder(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let from =
        |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("XDG_DATA_HOME").or_else(|| from("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("annals")).ok_or_else(|| {
        Failure::usage("nobody knows where your data folder is").hint("name one with --data DIR")
    })
}

/// That the process is asked to end: while a server starts, too, which has to close what it opened.
pub(super) struct Ending(mpsc::Receiver<()>);

impl Ending {
    /// Heard from the moment that this returns.
    pub(super) fn heard() -> Self {
        let (asks, asked) = mpsc::channel();
        on_signal(move || {
            // Nobody hears it who could not start.
            let _: Result<(), _> = asks.send(());
        });
        Self(asked)
    }

    /// Calls `then` once it is asked, or at once if it was.
    pub(super) fn then(self, then: impl FnOnce() + Send + 'static) {
        std::thread::spawn(move || {
            if self.0.recv().is_ok() {
                then();
            }
        });
    }
}

/// Calls `then` once the process is asked to end (SIGINT, SIGTERM); a second signal ends it at once.
///
/// From the moment that this returns.
pub(super) fn on_signal(then: impl FnOnce() + Send + 'static) {
    let (heard, hears) = mpsc::channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            drop(heard);
            let either = |interrupt: &mut tokio::signal::unix::Signal,
                          terminate: &mut tokio::signal::unix::Signal,
                          context: &mut std::task::Context<'_>| {
                interrupt.poll_recv(context).is_ready() || terminate.poll_recv(context).is_ready()
            };
            let mut told = |context: &mut std::task::Context<'_>| match either(
                &mut interrupt,
                &mut terminate,
                context,
            ) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            };
            std::future::poll_fn(&mut told).await;
            then();
            std::future::poll_fn(&mut told).await;
            std::process::exit(130);
        });
    });
    // It ends when the other half is dropped: nothing is ever sent.
    let _: Result<(), _> = hears.recv();
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let exit = match error {
            ServeError::Certificate { .. } => Exit::Usage,
            ServeError::Damaged { .. }
            | ServeError::Store { damaged: true, .. }
            | ServeError::Chunks { .. } => Exit::Verification,
            ServeError::Store { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string()).hint(error.hint())
    }
}
