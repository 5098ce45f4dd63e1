//! What the suites share: a real server in a folder that vanishes, and devices that talk to it in its own words.

#![allow(unreachable_pub, dead_code, reason = "every suite takes what it needs")]

use annals::server::{Config, Serving, serve, serve_by};
use annals_engine::{
    content::SealedChunk,
    protocol::{
        Account, BatchOutcome, Batches, Challenge, ChunksWanted, Code, Credential, LinkRequest, Linked,
        MissingAnswer, MissingQuestion, NamespaceInfo, NewAccount, Outcomes, Problem, Quota, Records,
        Refused, Ticket, TicketRequest, frame, from_cbor, link_message, to_cbor,
    },
};
use annals_events::{
    Batch, Body, ChunkRef, Content, Cut, DeviceId, Dot, DotSet, Draft, EntryId, EntryKind, Fact, Hash,
    HlcClock, Name, NamespaceId, PublicKey, Record, VersionVector, hex,
};
use ed25519_dalek::{Signer, SigningKey};
use reqwest::{Client, Method, RequestBuilder};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};
use tempfile::TempDir;

/// What the tests' clock says; nobody's business is older or later.
pub const NOW_MS: u64 = 1_700_000_000_000;
/// Everybody's password.
pub const PASSWORD: &str = "correct horse";

/// A server that runs on a folder of its own.
pub struct TestServer {
    pub data: TempDir,
    pub serving: Option<Serving>,
    pub web: Web,
}

/// A clock that shows what it was set to.
#[derive(Clone, Default)]
pub struct StillClock(Arc<AtomicU64>);

impl StillClock {
    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl annals_engine::clock::Clock for StillClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// HTTP, one request at a time.
pub struct Web {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

/// An answer that is a success, or the problem that it is.
pub type Answer<T> = Result<T, Problem>;

/// Why it was refused.
#[track_caller]
pub fn code<T: std::fmt::Debug>(answer: Answer<T>) -> Code {
    answer.expect_err("it should have been refused").code
}

impl Web {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (tls, _) = annals::transport::tls::client_config(None, false);
        Self { runtime, client: Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap() }
    }

    pub fn bytes(&self, build: impl FnOnce(&Client) -> RequestBuilder) -> Answer<Vec<u8>> {
        self.runtime.block_on(async {
            let response = build(&self.client).send().await.unwrap();
            let good = response.status().is_success();
            let status = response.status();
            let bytes = response.bytes().await.unwrap().to_vec();
            if good {
                return Ok(bytes);
            }
            let problem: Problem = serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| panic!("{status} is no problem document ({error}): {bytes:?}"));
            assert_eq!(problem.status, status.as_u16());
            assert!(!problem.hint.is_empty());
            Err(problem)
        })
    }

    /// An answer as it came, whatever it is.
    pub fn answer(
        &self,
        build: impl FnOnce(&Client) -> RequestBuilder,
    ) -> (reqwest::StatusCode, reqwest::header::HeaderMap, Vec<u8>) {
        self.runtime.block_on(async {
            let response = build(&self.client).send().await.unwrap();
            let (status, headers) = (response.status(), response.headers().clone());
            (status, headers, response.bytes().await.unwrap().to_vec())
        })
    }

    pub fn json<T: DeserializeOwned>(&self, build: impl FnOnce(&Client) -> RequestBuilder) -> Answer<T> {
        self.bytes(build).map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }
}

impl TestServer {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::new(data.path().join("data"));
        change(&mut config);
        let serving = Some(serve(config).unwrap());
        Self { data, serving, web: Web::new() }
    }

    /// A server by a clock that stands still until it is set.
    pub fn by(clock: &StillClock) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = Config::new(data.path().join("data"));
        let serving = Some(serve_by(config, Arc::new(clock.clone())).unwrap());
        Self { data, serving, web: Web::new() }
    }

    /// The same folder, served anew.
    pub fn restart(&mut self) {
        self.restart_with(|_| {});
    }

    pub fn restart_with(&mut self, change: impl FnOnce(&mut Config)) {
        self.serving.take().unwrap().stop().unwrap();
        let mut config = Config::new(self.data.path().join("data"));
        change(&mut config);
        self.serving = Some(serve(config).unwrap());
    }

    /// The same, by a clock that stands still.
    pub fn restart_by(&mut self, clock: &StillClock) {
        self.serving.take().unwrap().stop().unwrap();
        let config = Config::new(self.data.path().join("data"));
        self.serving = Some(serve_by(config, Arc::new(clock.clone())).unwrap());
    }

    pub fn serving(&self) -> &Serving {
        self.serving.as_ref().unwrap()
    }

    pub fn url(&self, route: &str) -> String {
        format!("{}/v1/{route}", self.serving().url())
    }

    pub fn admin<T: DeserializeOwned>(&self, route: &str, body: &impl Serialize) -> Answer<T> {
        let token = self.serving().admin_token();
        self.web.json(|client| client.post(self.url(route)).bearer_auth(token).json(body))
    }

    pub fn add_user(&self, name: &str) -> Account {
        self.add_user_with(name, Quota::Default)
    }

    pub fn add_user_with(&self, name: &str, quota: Quota) -> Account {
        let new = NewAccount { name: name.into(), password: Some(PASSWORD.into()), quota };
        self.admin("accounts", &new).unwrap()
    }

    pub fn post<T: DeserializeOwned>(&self, route: &str, body: &impl Serialize) -> Answer<T> {
        self.web.json(|client| client.post(self.url(route)).json(body))
    }

    /// A request to link a new device, properly proven.
    pub fn link_request(&self, credential: Credential) -> (SigningKey, LinkRequest) {
        static KEYS: AtomicU8 = AtomicU8::new(1);
        let key = SigningKey::from_bytes(&[KEYS.fetch_add(1, Ordering::Relaxed); 32]);
        let challenge: Challenge = self.post("challenges", &()).unwrap();
        let device = PublicKey(key.verifying_key().to_bytes());
        let proof = key.sign(&link_message(&challenge.challenge, &challenge.server.log, &device));
        let proof = hex(&proof.to_bytes());
        let request = LinkRequest {
            credential,
            device,
            challenge: challenge.challenge,
            proof,
            label: "laptop".into(),
            namespace: None,
            create: false,
            continues: None,
        };
        (key, request)
    }

    pub fn link(&self, credential: Credential) -> Answer<Device> {
        self.link_to(credential, None)
    }

    pub fn link_to(&self, credential: Credential, namespace: Option<&str>) -> Answer<Device> {
        let (key, mut request) = self.link_request(credential);
        request.namespace = namespace.map(Into::into);
        Ok(Device::new(key, self.post("link", &request)?))
    }

    pub fn link_as(&self, name: &str) -> Device {
        self.link(password(name)).unwrap()
    }
}

pub fn password(name: &str) -> Credential {
    Credential::Password { user: name.into(), password: PASSWORD.into() }
}

/// A device as the protocol sees it: it signs, sends and asks.
pub struct Device {
    pub key: SigningKey,
    pub linked: Linked,
    pub namespace: NamespaceId,
    pub seen: VersionVector,
    pub seen_before: VersionVector,
    pub last: u64,
    pub prev: Option<Hash>,
    pub clock: HlcClock,
}

impl Device {
    fn new(key: SigningKey, linked: Linked) -> Self {
        Self {
            namespace: linked.namespace.id,
            key,
            linked,
            seen: VersionVector::new(),
            seen_before: VersionVector::new(),
            last: 0,
            prev: None,
            clock: HlcClock::default(),
        }
    }

    pub fn id(&self) -> DeviceId {
        self.linked.device
    }

    /// The next batch; not counted before it is [`sent`](Self::submit).
    pub fn sign(&self, facts: Vec<(Fact, Option<Body>)>) -> Batch {
        let mut clock = self.clock;
        let drafts = facts
            .into_iter()
            .map(|(fact, body)| Draft { hlc: clock.tick(NOW_MS), at: NOW_MS, fact, body })
            .collect();
        let (first, seen) = (self.last + 1, &self.seen);
        let unseen = DotSet::new();
        Batch::sign(&self.key, self.namespace, first, self.prev, &self.seen_before, seen, unseen, drafts)
            .unwrap()
    }

    /// Sends a batch; counts on from it if it is admitted.
    pub fn submit(&mut self, server: &TestServer, batch: &Batch) -> Answer<BatchOutcome> {
        let outcome = self.submit_bytes(server, batch.bytes().to_vec())?;
        if let BatchOutcome::Admitted { record } = &outcome {
            assert_eq!(Record::decode(record.to_vec()).unwrap().batch(), batch);
            (self.last, self.prev) = (batch.last(), Some(batch.hash()));
            self.seen_before = self.seen.clone();
            batch.events().iter().for_each(|event| self.clock.observe(event.hlc));
        }
        Ok(outcome)
    }

    pub fn submit_bytes(&self, server: &TestServer, batch: Vec<u8>) -> Answer<BatchOutcome> {
        let batches = Batches { batches: vec![batch.into()], brief: false };
        let mut outcomes: Outcomes = self.cbor(server, "batches", &batches)?;
        assert_eq!(outcomes.outcomes.len(), 1);
        Ok(outcomes.outcomes.remove(0))
    }

    pub fn refused(&self, server: &TestServer, batch: Vec<u8>) -> Refused {
        match self.submit_bytes(server, batch).unwrap() {
            BatchOutcome::Refused(refused) => refused,
            admitted => panic!("it was not refused: {admitted:?}"),
        }
    }

    /// Signs and sends; the first event's dot.
    pub fn issue(&mut self, server: &TestServer, facts: Vec<(Fact, Option<Body>)>) -> Dot {
        let batch = self.sign(facts);
        let outcome = self.submit(server, &batch).unwrap();
        assert!(matches!(outcome, BatchOutcome::Admitted { .. }), "{outcome:?}");
        batch.dot(0)
    }

    /// Everything after `after`, of which the device has seen all from then on.
    pub fn pull(&mut self, server: &TestServer) -> Vec<Record> {
        let records: Records = self.get_cbor(server, "records?after=0").unwrap();
        let records: Vec<Record> =
            records.records.into_iter().map(|bytes| Record::decode(bytes.into_vec()).unwrap()).collect();
        for (_, dot, event) in records.iter().flat_map(Record::events) {
            if dot.device != self.id() {
                self.seen.raise(dot);
            }
            self.clock.observe(event.hlc);
        }
        records
    }

    pub fn send_chunks(&self, server: &TestServer, chunks: &[SealedChunk]) -> Answer<serde_json::Value> {
        let chunks: Vec<frame::Framed> = chunks.iter().cloned().map(frame::Framed::from).collect();
        let body = frame::encode_all(&chunks);
        server.web.json(|client| self.request(client, server, Method::POST, "chunks").body(body))
    }

    pub fn get_chunks(&self, server: &TestServer, chunks: &[ChunkRef]) -> Answer<Vec<SealedChunk>> {
        let wanted = ChunksWanted::whole(chunks.iter().map(|chunk| chunk.id).collect());
        let body = to_cbor(&wanted);
        let bytes =
            server.web.bytes(|client| self.request(client, server, Method::POST, "chunks/get").body(body))?;
        let whole = |framed| match framed {
            frame::Framed::Whole(chunk) => chunk,
            frame::Framed::Delta(_) => panic!("a difference to nothing"),
        };
        Ok(frame::decode_all(bytes).unwrap().into_iter().map(whole).collect())
    }

    pub fn missing(&self, server: &TestServer, chunks: &[ChunkRef], adds: u64) -> Answer<Vec<u32>> {
        let question = MissingQuestion { chunks: chunks.to_vec(), manifests: Vec::new(), adds };
        Ok(self.cbor::<MissingAnswer>(server, "chunks/missing", &question)?.chunks)
    }

    pub fn ticket(&self, server: &TestServer) -> Answer<Ticket> {
        let token = &self.linked.token;
        server.web.json(|client| {
            client.post(server.url("tickets")).bearer_auth(token).json(&TicketRequest::default())
        })
    }

    pub fn namespaces(&self, server: &TestServer) -> Answer<Vec<NamespaceInfo>> {
        server.web.json(|client| client.get(server.url("namespaces")).bearer_auth(&self.linked.token))
    }

    pub fn cbor<T: DeserializeOwned>(
        &self,
        server: &TestServer,
        route: &str,
        message: &impl Serialize,
    ) -> Answer<T> {
        let body = to_cbor(message);
        let bytes =
            server.web.bytes(|client| self.request(client, server, Method::POST, route).body(body))?;
        Ok(from_cbor(&bytes).unwrap())
    }

    pub fn get_cbor<T: DeserializeOwned>(&self, server: &TestServer, route: &str) -> Answer<T> {
        let bytes = server.web.bytes(|client| self.request(client, server, Method::GET, route))?;
        Ok(from_cbor(&bytes).unwrap())
    }

    pub fn get_json<T: DeserializeOwned>(&self, server: &TestServer, route: &str) -> Answer<T> {
        server.web.json(|client| self.request(client, server, Method::GET, route))
    }

    /// A request about its namespace, with its token.
    pub fn request(
        &self,
        client: &Client,
        server: &TestServer,
        method: Method,
        route: &str,
    ) -> RequestBuilder {
        let url = server.url(&format!("namespaces/{}/{route}", self.namespace));
        client.request(method, url).bearer_auth(&self.linked.token)
    }
}

/// A new file with one chunk of `plain`, at the top.
pub fn file(name: &str, plain: &[u8]) -> (Fact, Option<Body>, SealedChunk) {
    let chunk = SealedChunk::seal(plain.to_vec());
    let (content, _) = Content::new(Cut::SMALL, vec![chunk.to_ref()]);
    let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
    let body = Body { name: Some(Name::new(name).unwrap()), content: Some(content), ..Body::default() };
    (fact, Some(body), chunk)
}

/// A new folder at the top.
pub fn folder(name: &str) -> (Fact, Option<Body>) {
    let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::Folder };
    (fact, Some(Body { name: Some(Name::new(name).unwrap()), ..Body::default() }))
}
