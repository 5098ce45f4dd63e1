//! HTTP to a server: one method a route of `/v1`.
//!
//! Calls are plain and wait for their answer; whoever must not block calls from a thread. Bytes in both
//! directions are counted. A server that asks to be left alone for a moment is asked again after it, for a few seconds at
//! most. Left out: trying again otherwise (the engine decides when), whom to trust (`tls`).

mod feed;
mod stream;
#[cfg(test)]
mod tests;

pub use feed::{Feed, HangUp};

use super::{
    brake::{self, Brake, Pace, Wait},
    tls::{self, Judge, Pin, Shown},
};
use crate::random::random;
use annals_engine::{
    flow,
    protocol::{
        self, Account, AccountChange, BatchOutcome, Batches, Challenge, ChunksStored, ChunksWanted, Code,
        DeviceInfo, FEED_CONNECT_MS, Fingerprint, HandBack, HandedBack, LinkRequest, Linked, Member,
        MissingAnswer, MissingQuestion, NamespaceInfo, NewAccount, NewNamespace, Outcomes, OwnAccount,
        Problem, Records, RecordsQuery, ServerInfo, Signatures, SignaturesWanted, Ticket, TicketRequest,
        encoded,
        frame::{self, Framed},
    },
    transport::{Arrived, Transport, TransportError, Underway, opened},
};
use annals_events::{DeviceId, NamespaceId, Record, hex};
use reqwest::{
    Method, StatusCode,
    blocking::{Body, Client, RequestBuilder, Response},
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE},
    redirect::Policy,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A connection pool to one server, with one credential.
#[derive(Clone, Debug)]
pub struct Http {
    base: String,
    token: Option<String>,
    client: Client,
    tls: Arc<rustls::ClientConfig>,
    judge: Arc<Judge>,
    is_pinned: bool,
    /// What requests belong to, in 32 hex digits: a round, say.
    trace: String,
    traffic: Arc<Traffic>,
    brake: Brake,
    /// Whether the server said that batches may be compressed.
    takes_zstd: Arc<AtomicBool>,
}

/// Bytes of bodies that went over the wire.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Takes note of bytes that went.
    pub(crate) fn count(&self, sent: u64, received: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.received.fetch_add(received, Ordering::Relaxed);
    }
}

/// Takes note of so many bytes.
type Count = Box<dyn Fn(u64) + Send>;

/// Bytes that are counted as they go: of a slow way it can be told how far they are.
struct Counted<R> {
    inner: R,
    by: Count,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        (self.by)(got as u64);
        Ok(got)
    }
}

type Answer<T> = Result<T, TransportError>;

impl Http {
    /// Whoever cannot be connected to within this time is not there.
    const CONNECT: Duration = Duration::from_millis(FEED_CONNECT_MS);
    /// Longest wait for an answer, what has to travel for it not counted.
    pub(super) const ANSWER: Duration = Duration::from_secs(120);
    /// A server that asks to be left alone no longer than this, all told, is asked again at once after.
    const WAIT: Duration = Duration::from_secs(3);

    pub(super) fn at_slowest(&self, bytes: usize) -> Duration {
        let rate = self.brake.sending.as_ref().map_or(u64::MAX, |pace| pace.rate() / 2);
        Duration::from_secs(bytes as u64 / rate.clamp(1, protocol::SLOWEST))
    }

    /// A way to the server at `base` (`http://HOST:PORT`, `https://HOST:PORT`), with a token if there is one yet. Its
    /// certificate is one that this system trusts.
    ///
    /// # Errors
    /// [`TransportError::Malformed`] where `base` is no address.
    pub fn new(base: &str, token: Option<String>) -> Answer<Self> {
        Self::pinned(base, None, token)
    }

    /// As [`new`](Self::new), to a server that is known by its certificate.
    ///
    /// # Errors
    /// [`TransportError::Malformed`] where `base` is no address.
    pub fn pinned(base: &str, pin: Option<Pin>, token: Option<String>) -> Answer<Self> {
        let base = base.trim_end_matches('/').to_owned();
        let malformed = |what: String| TransportError::Malformed { server: base.clone(), what };
        let is_https = base.starts_with("https://");
        if !is_https && !base.starts_with("http://") {
            return Err(malformed("an address looks like http://127.0.0.1:8417".into()));
        }
        let is_pinned = pin.is_some();
        let (config, judge) = tls::client_config(pin, is_https);
        let client = Client::builder()
            .connect_timeout(Self::CONNECT)
            .timeout(Self::ANSWER)
            .no_proxy()
            // A redirect could lead from TLS to no TLS, or to somebody else; no route answers with one.
            .redirect(Policy::none())
            .tls_backend_preconfigured(config.clone())
            .build()
            .map_err(|error| malformed(error.to_string()))?;
        let (tls, traffic, trace) = (Arc::new(config), Arc::default(), hex(&random::<16>()));
        let brake = Brake::default();
        let takes_zstd = Arc::new(AtomicBool::new(false));
        Ok(Self { base, token, client, tls, judge, is_pinned, trace, traffic, brake, takes_zstd })
    }

    /// From now on requests belong to something new.
    pub fn begin_trace(&mut self) {
        self.trace = hex(&random::<16>());
    }

    /// What requests belong to, as the server logs it.
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// Whether the server is known by its certificate alone.
    pub fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// The certificate that the server showed, where it is spoken to by TLS and has answered.
    pub fn certificate(&self) -> Option<Fingerprint> {
        match self.judge.last() {
            Some(Shown::Good(certificate)) => Some(certificate),
            _ => None,
        }
    }

    /// The server's address.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// From now on at most so many bytes a second go in each direction.
    pub fn limit_rate(&mut self, rate: Option<u64>) {
        self.brake.set_rate(rate);
    }

    /// Whenever this file is there, nothing is asked.
    pub fn pause_by(&mut self, file: PathBuf) {
        self.brake.paused_by = Some(file);
    }

    /// Whenever there is something to wait for, it is waited so; what would go on after it does not where that says so.
    pub fn wait_by(&mut self, wait: Option<Wait>) {
        self.brake.waits_by = wait;
    }

    /// What went over the wire so far.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// `GET /v1/server`.
    pub fn server(&self) -> Answer<ServerInfo> {
        self.get("server")
    }

    /// `GET /readyz`: whether the server takes requests.
    ///
    /// # Errors
    /// [`TransportError::Refused`] with what stands in the way.
    pub fn ready(&self) -> Answer<()> {
        // Beside `/v1`, and no part of it.
        self.send(Method::GET, "../readyz", |request| request).map(drop)
    }

    /// `GET /v1/server`, and what time it is there, to the second, in milliseconds since 1970.
    pub fn server_and_time(&self) -> Answer<(ServerInfo, Option<u64>)> {
        let response = self.send(Method::GET, "server", |request| request)?;
        let date = response.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
        let zoned = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        let time = zoned.and_then(|zoned| u64::try_from(zoned.timestamp().as_millisecond()).ok());
        Ok((self.json_of(response)?, time))
    }

    /// `POST /v1/link`.
    pub fn link(&self, request: &LinkRequest) -> Answer<Linked> {
        self.post("link", request)
    }

    /// `POST /v1/accounts`; the token is the admin's.
    pub fn add_account(&self, account: &NewAccount) -> Answer<Account> {
        self.post("accounts", account)
    }

    /// `PUT /v1/accounts/{name}`; the token is the admin's.
    pub fn change_account(&self, name: &str, change: &AccountChange) -> Answer<OwnAccount> {
        let route = format!("accounts/{}", encoded(name));
        self.json_of(self.send(Method::PUT, &route, |request| request.json(change))?)
    }

    /// `GET /v1/account`.
    pub fn account(&self) -> Answer<OwnAccount> {
        self.get("account")
    }

    /// `GET /v1/users/{name}`.
    pub fn user(&self, name: &str) -> Answer<Account> {
        self.get(&format!("users/{}", encoded(name)))
    }

    /// `POST /v1/tickets`.
    pub fn ticket(&self, request: &TicketRequest) -> Answer<Ticket> {
        self.post("tickets", request)
    }

    /// `GET /v1/namespaces`.
    pub fn namespaces(&self) -> Answer<Vec<NamespaceInfo>> {
        self.get("namespaces")
    }

    /// `GET /v1/namespaces`, by name and password.
    pub fn namespaces_of(&self, user: &str, password: &str) -> Answer<Vec<NamespaceInfo>> {
        self.json_of(
            self.send(Method::GET, "namespaces", |request| request.basic_auth(user, Some(password)))?,
        )
    }

    /// `POST /v1/namespaces`.
    pub fn add_namespace(&self, namespace: &NewNamespace) -> Answer<NamespaceInfo> {
        self.post("namespaces", namespace)
    }

    /// `GET /v1/namespaces/{ns}/members`.
    pub fn members(&self, namespace: NamespaceId) -> Answer<Vec<Member>> {
        self.get(&format!("namespaces/{namespace}/members"))
    }

    /// `GET /v1/namespaces/{ns}/devices`.
    pub fn devices(&self, namespace: NamespaceId) -> Answer<Vec<DeviceInfo>> {
        self.get(&format!("namespaces/{namespace}/devices"))
    }

    /// `POST /v1/namespaces/{ns}/devices/ask`.
    pub fn ask_devices(&self, namespace: NamespaceId) -> Answer<Vec<DeviceInfo>> {
        self.post(&format!("namespaces/{namespace}/devices/ask"), &())
    }

    /// `POST /v1/namespaces/{ns}/devices/{id}/retire`.
    pub fn retire(&self, namespace: NamespaceId, device: DeviceId) -> Answer<()> {
        self.send(Method::POST, &format!("namespaces/{namespace}/devices/{device}/retire"), |r| r).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, route: &str) -> Answer<T> {
        self.json_of(self.send(Method::GET, route, |request| request)?)
    }

    fn post<T: DeserializeOwned>(&self, route: &str, body: &impl Serialize) -> Answer<T> {
        self.json_of(self.send(Method::POST, route, |request| request.json(body))?)
    }

    pub(super) fn json_of<T: DeserializeOwned>(&self, response: Response) -> Answer<T> {
        let bytes = self.bytes_of(response)?;
        serde_json::from_slice(&bytes).map_err(|error| self.malformed(error))
    }

    fn cbor<T: DeserializeOwned>(
        &self,
        namespace: NamespaceId,
        route: &str,
        message: &impl Serialize,
    ) -> Answer<T> {
        let bytes = self.bytes_of(self.post_bytes(
            namespace,
            route,
            protocol::CBOR,
            protocol::to_cbor(message),
            0,
            |request| request,
        )?)?;
        protocol::from_cbor(&bytes).map_err(|error| self.malformed(error))
    }

    fn send_frames(&self, namespace: NamespaceId, body: Vec<u8>) -> Answer<ChunksStored> {
        self.json_of(self.post_bytes(namespace, "chunks", protocol::FRAMES, body, 0, |request| request)?)
    }

    fn post_bytes(
        &self,
        namespace: NamespaceId,
        route: &str,
        media_type: &str,
        body: Vec<u8>,
        answer_bytes: usize,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer<Response> {
        let route = format!("namespaces/{namespace}/{route}");
        let wait = Self::ANSWER + self.at_slowest(body.len().max(answer_bytes));
        self.send(Method::POST, &route, |request| {
            let request = with(request.timeout(wait).header(CONTENT_TYPE, media_type));
            let bytes = body.len() as u64;
            match &self.brake.sending {
                None => {
                    self.traffic.count(bytes, 0);
                    request.body(body)
                }
                Some(pace) => {
                    let traffic = Arc::clone(&self.traffic);
                    let by = Box::new(move |bytes| traffic.count(bytes, 0));
                    let leaving = Counted { inner: self.brake.slow(pace, io::Cursor::new(body)), by };
                    request.body(Body::sized(leaving, bytes))
                }
            }
        })
    }

    /// Sends a request and answers with its response if that is a success.
    pub(super) fn send(
        &self,
        method: Method,
        route: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer<Response> {
        let mut request = self.client.request(method, format!("{}/v1/{route}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let parent = format!("00-{}-{}-01", self.trace, hex(&random::<8>()));
        let mut request = with(request).header("traceparent", parent);
        let mut left = Self::WAIT;
        loop {
            if self.brake.is_paused() {
                return Err(TransportError::Paused);
            }
            // A body that is a stream cannot be sent twice.
            let again = request.try_clone();
            let response = request.send().map_err(|error| self.unreachable(&error))?;
            if response.status().is_success() {
                return Ok(response);
            }
            let refused = self.problem_of(response);
            match (again, refused.asked_wait_ms().map(Duration::from_millis)) {
                (Some(again), Some(wait)) if !wait.is_zero() && wait <= left => {
                    left -= wait;
                    if self.brake.wait(wait) {
                        return Err(refused);
                    }
                    request = again;
                }
                _ => return Err(refused),
            }
        }
    }

    fn problem_of(&self, response: Response) -> TransportError {
        let status = response.status();
        let document = response.bytes().ok().and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
        match document {
            Some(problem) => problem.into(),
            None if status == StatusCode::SERVICE_UNAVAILABLE => Problem::plain(Code::Busy).into(),
            None => self.malformed(format!("HTTP status {status}")),
        }
    }

    fn bytes_of(&self, response: Response) -> Answer<Vec<u8>> {
        match &self.brake.receiving {
            None => {
                let bytes: Vec<u8> = response.bytes().map_err(|error| self.unreachable(&error))?.into();
                self.traffic.count(0, bytes.len() as u64);
                Ok(bytes)
            }
            Some(pace) => {
                let mut bytes = Vec::new();
                let cut = |error: io::Error| match brake::is_held_up(&error) {
                    true => TransportError::Paused,
                    false => {
                        TransportError::Unreachable { server: self.base.clone(), what: error.to_string() }
                    }
                };
                let traffic = Arc::clone(&self.traffic);
                let by = Box::new(move |bytes| traffic.count(0, bytes));
                Counted { inner: self.brake.slow(pace, response), by }
                    .read_to_end(&mut bytes)
                    .map_err(cut)?;
                Ok(bytes)
            }
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> TransportError {
        if error.is_connect()
            && let Some(untrusted) = self.untrusted()
        {
            return untrusted;
        }
        // The innermost cause is the one that people understand ("connection refused").
        let mut cause: &(dyn std::error::Error + 'static) = error;
        while let Some(inner) = cause.source() {
            if brake::is_held_up(inner) {
                return TransportError::Paused;
            }
            cause = inner;
        }
        let what = cause.to_string();
        self.other_scheme(&what).unwrap_or(TransportError::Unreachable { server: self.base.clone(), what })
    }

    /// That it is TLS which answers where none was asked for, or the other way round; by what HTTP and TLS each make of the
    /// other's first words.
    fn other_scheme(&self, what: &str) -> Option<TransportError> {
        let server = self.base.clone();
        let meant = match server.split_once("://")? {
            ("http", host) if what.contains("invalid HTTP version") => format!("https://{host}"),
            ("https", host) if what.contains("InvalidContentType") => format!("http://{host}"),
            _ => return None,
        };
        Some(TransportError::OtherScheme { server, meant })
    }

    /// That the certificate which was shown last was refused, if it was.
    fn untrusted(&self) -> Option<TransportError> {
        let (found, what) = self.judge.take_refused()?;
        let (server, pinned) = (self.base.clone(), self.is_pinned);
        Some(TransportError::Untrusted { server, found, pinned, what })
    }

    fn malformed(&self, what: impl ToString) -> TransportError {
        TransportError::Malformed { server: self.base.clone(), what: what.to_string() }
    }
}

impl Transport for Http {
    fn window(&self) -> u64 {
        flow::window(self.brake.sending.as_ref().map(Pace::rate))
    }

    fn records(&self, namespace: NamespaceId, query: &RecordsQuery) -> Answer<Records> {
        let route = format!("namespaces/{namespace}/records");
        let response = self.send(Method::GET, &route, |request| {
            request.timeout(Self::ANSWER + self.at_slowest(protocol::CHUNKS_BYTES_MAX)).query(query)
        })?;
        let takes_zstd = response.headers().get(ACCEPT_ENCODING).is_some_and(|takes| takes == protocol::ZSTD);
        self.takes_zstd.store(takes_zstd, Ordering::Relaxed);
        let bytes = self.bytes_of(response)?;
        protocol::from_cbor(&bytes).map_err(|error| self.malformed(error))
    }

    fn submit(&self, namespace: NamespaceId, batches: &Batches) -> Answer<Outcomes> {
        let plain = protocol::to_cbor(batches);
        let packed = match self.takes_zstd.load(Ordering::Relaxed) {
            true => zstd::bulk::compress(&plain, 0).ok().filter(|packed| packed.len() < plain.len()),
            false => None,
        };
        let is_packed = packed.is_some();
        let body = packed.unwrap_or(plain);
        let response = self.post_bytes(namespace, "batches", protocol::CBOR, body, 0, |request| {
            if is_packed { request.header(CONTENT_ENCODING, protocol::ZSTD) } else { request }
        })?;
        let bytes = self.bytes_of(response)?;
        let mut outcomes: Outcomes = protocol::from_cbor(&bytes).map_err(|error| self.malformed(error))?;
        if outcomes.outcomes.is_empty() && !batches.batches.is_empty() {
            return Err(self.malformed("no outcome for a batch"));
        }
        for (outcome, batch) in outcomes.outcomes.iter_mut().zip(&batches.batches) {
            if let BatchOutcome::Admitted { record } = outcome {
                // Its batch may have been left out, and is this one.
                *record = Record::with_batch(record, batch).map_err(|error| self.malformed(error))?.into();
            }
        }
        Ok(outcomes)
    }

    fn hand_back(&self, namespace: NamespaceId, lost: &HandBack) -> Answer<HandedBack> {
        self.cbor(namespace, "handback", lost)
    }

    fn challenge(&self) -> Answer<Challenge> {
        self.post("challenges", &())
    }

    fn missing(&self, namespace: NamespaceId, question: &MissingQuestion) -> Answer<MissingAnswer> {
        self.cbor(namespace, "chunks/missing", question)
    }

    fn send_chunks(&self, namespace: NamespaceId, chunks: &[Framed]) -> Answer<ChunksStored> {
        self.send_frames(namespace, frame::encode_all(chunks))
    }

    fn begin_sending(&self, namespace: NamespaceId, chunks: Vec<Framed>) -> Underway<ChunksStored> {
        let (http, body) = (self.clone(), frame::encode_all(&chunks));
        // They are in the body now.
        drop(chunks);
        beside(move || http.send_frames(namespace, body))
    }

    fn fetch_chunks(&self, namespace: NamespaceId, wanted: &ChunksWanted) -> Answer<Vec<Framed>> {
        let wanted = protocol::to_cbor(wanted);
        let body = self.bytes_of(self.post_bytes(
            namespace,
            "chunks/get",
            protocol::CBOR,
            wanted,
            protocol::CHUNKS_BYTES_MAX,
            |request| request,
        )?)?;
        frame::decode_all(body).map_err(|error| self.malformed(error))
    }

    fn begin_fetching(&self, namespace: NamespaceId, wanted: ChunksWanted) -> Underway<Vec<Arrived>> {
        let http = self.clone();
        beside(move || Ok(opened(http.fetch_chunks(namespace, &wanted)?)))
    }

    fn signatures(&self, namespace: NamespaceId, wanted: &SignaturesWanted) -> Answer<Signatures> {
        self.cbor(namespace, "chunks/signatures", wanted)
    }
}

/// Begins a call on a thread of its own.
fn beside<T: Send + 'static>(call: impl FnOnce() -> Answer<T> + Send + 'static) -> Underway<T> {
    let thread = std::thread::spawn(call);
    Box::new(move || thread.join().expect("a call does not panic"))
}
