//! What every request passes before its route: how many there may be, and how long each may take.
//!
//! What must always hold: no route is without a limit and a time: both are applied here, to whatever is asked for, and
//! a route that takes longer by its nature is named in [`Pace::of`]. Who shows a device's token is counted as that
//! device, who shows a name as that account at their address, everybody else by their address. Passwords that do not fit
//! are counted apart (`access`). Whom a proxy names is believed of those alone that are trusted. Left out: sizes of bodies,
//! which stand at the routes; how long files may take, which is asked piece by piece (`files`).

use super::{
    Server, access,
    answer::{Beside, Named, REQUEST_ID, Refusal},
};
use crate::{clock::Stopwatch, random::random};
use actix_web::{
    HttpRequest, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    web,
};
use annals_engine::protocol::{CHUNKS_BYTES_MAX, Code, Problem, SLOWEST, WAIT_SECONDS_MAX, decoded};
use annals_events::{DeviceId, UserId, hex};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// How much of everything one may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection may take for a request's head, and for the handshake of TLS.
    pub head: Duration,
    /// How long a request may take, what has to travel for it not counted.
    pub request: Duration,
    /// How long nothing may come of a file that is sent.
    pub silence: Duration,
    /// Connections at once; more wait.
    pub connections: usize,
    /// Requests a second of a device or an account, in the long run; ten times as many at once.
    pub requests_per_second: NonZeroU32,
    /// Requests a second of an address that shows neither, likewise.
    pub strangers_per_second: NonZeroU32,
    /// Passwords that may be tried a minute, for an account from an address.
    pub passwords_per_minute: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).expect("it is above zero");
        Self {
            head: Duration::from_secs(10),
            request: Duration::from_secs(120),
            silence: Duration::from_secs(60),
            connections: 2048,
            requests_per_second: number(200),
            strangers_per_second: number(20),
            passwords_per_minute: number(5),
        }
    }
}

/// After so many questions it is looked whose buckets are full again and can be forgotten.
const QUESTIONS: u32 = 4096;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Device(DeviceId),
    Account(UserId, IpAddr),
    Address(IpAddr),
}

type Buckets<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock, NoOpMiddleware>;

/// Counts what everybody asks for.
pub(super) struct Counters {
    known: Buckets<Who>,
    strangers: Buckets<Who>,
    passwords: Buckets<(IpAddr, String)>,
    questions: AtomicU32,
}

impl Counters {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_second = |count: NonZeroU32| {
            Quota::per_second(count).allow_burst(count.saturating_mul(NonZeroU32::MIN.saturating_add(9)))
        };
        Self {
            known: RateLimiter::keyed(per_second(limits.requests_per_second)),
            strangers: RateLimiter::keyed(per_second(limits.strangers_per_second)),
            passwords: RateLimiter::keyed(Quota::per_minute(limits.passwords_per_minute)),
            questions: AtomicU32::new(0),
        }
    }

    fn request(&self, who: &Who) -> Result<(), Problem> {
        if self.questions.fetch_add(1, Ordering::Relaxed) % QUESTIONS == QUESTIONS - 1 {
            self.known.retain_recent();
            self.strangers.retain_recent();
            self.passwords.retain_recent();
        }
        let buckets = if matches!(who, Who::Address(_)) { &self.strangers } else { &self.known };
        asked(buckets, who)
    }

    /// Whether one more password may be tried for this account.
    pub(super) fn password(&self, from: Option<IpAddr>, name: &str) -> Result<(), Problem> {
        asked(&self.passwords, &(from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), name.to_owned()))
    }
}

fn asked<K: std::hash::Hash + Eq + Clone>(buckets: &Buckets<K>, who: &K) -> Result<(), Problem> {
    buckets.check_key(who).map_err(|not_until| {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX - 1) + 1;
        Problem { retry_after: Some(seconds), ..Problem::plain(Code::TooMany) }
    })
}

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Until it is answered.
    Answered,
    /// The same, and it may wait for something to happen.
    Waiting,
    /// As long as something moves: the route sees to that.
    Moving,
}

impl Pace {
    fn of(request: &ServiceRequest) -> Self {
        let pattern = request.match_pattern().unwrap_or_default();
        match pattern.rsplit_once("/{namespace}/").map(|(_, route)| route) {
            Some("changes") => Self::Waiting,
            Some("files/{path:.*}") => Self::Moving,
            _ => Self::Answered,
        }
    }

    fn within(self, limits: &Limits, request: &ServiceRequest) -> Option<Duration> {
        let length = request
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let most = CHUNKS_BYTES_MAX as u64;
        let travels = Duration::from_secs(
            length.unwrap_or(if has_body(request) { most } else { 0 }).min(most) / SLOWEST,
        );
        match self {
            Self::Answered => Some(limits.request + travels),
            Self::Waiting => Some(limits.request + Duration::from_secs(WAIT_SECONDS_MAX)),
            Self::Moving => None,
        }
    }
}

fn has_body(request: &ServiceRequest) -> bool {
    request.headers().contains_key("transfer-encoding")
}

/// What a request is called, in answers and in what the server logs.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

impl RequestId {
    /// As whoever asks calls it, if that is a plain word; else something new.
    fn of(request: &ServiceRequest) -> Self {
        let named = request.headers().get(REQUEST_ID).and_then(|name| name.to_str().ok());
        let is_plain = |name: &&str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let new = || hex(&random::<8>());
        Self(named.filter(is_plain).map_or_else(new, str::to_owned))
    }
}

/// Lets a request through to its route, if it may, and as long as it may; says on the way out what came of it.
pub(super) async fn pass(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let server = request.app_data::<web::Data<Server>>().cloned().expect("every route has the server");
    let (id, began) = (RequestId::of(&request), Stopwatch::start());
    let route = request.match_pattern().unwrap_or_else(|| "none".into());
    let method = request.method().clone();
    let trace = trace_of(request.headers());
    let within = Pace::of(&request).within(&server.limits, &request);
    let passed = match admitted(&server, &request) {
        Err(problem) => Ok(request.into_response(refusal(problem, None, &id).error_response())),
        Ok(()) => match within {
            None => Ok(next.call(request).await?.map_into_boxed_body()),
            Some(within) => match tokio::time::timeout(within, next.call(request)).await {
                Ok(answer) => Ok(answer?.map_into_boxed_body()),
                // The request is gone; what is said in its place is said outside of here.
                Err(_) => Err(refusal(Problem::plain(Code::TooSlow), None, &id)),
            },
        },
    };
    let passed = passed.map(|answer| named(answer, &id));
    let status = passed.as_ref().map_or_else(ResponseError::status_code, ServiceResponse::status).as_u16();
    let took = began.elapsed();
    server.node.meters.answered(&route, status, took);
    tracing::debug!(request = id.0, trace, %method, route, status, ms = took.as_millis(), "answered");
    passed.map_err(Into::into)
}

/// Whether a request may go to its route at all.
fn admitted(server: &Server, request: &ServiceRequest) -> Result<(), Problem> {
    if !server.is_in_place() {
        return Err(Problem::new(Code::LogUnavailable, "the server's data was moved or removed under it"));
    }
    server.counters.request(&who(server, request))?;
    if !is_utf8(request.uri().path()) {
        return Err(Problem {
            hint: "names are UTF-8 here: percent-encode their UTF-8 bytes (`%C3%A9` for é, not `%E9`)".into(),
            ..Problem::new(Code::BadRequest, "the path is not UTF-8")
        });
    }
    Ok(())
}

/// Whether a path is text once its percent-encoding is undone. (actix puts U+FFFD in place of what is not.)
fn is_utf8(path: &str) -> bool {
    std::str::from_utf8(&decoded(path)).is_ok()
}

/// Every answer says which request it answers; a refusal in its document, too.
fn named(mut answer: ServiceResponse<BoxBody>, id: &RequestId) -> ServiceResponse<BoxBody> {
    let error = answer.response().error().and_then(|error| error.as_error::<Refusal>());
    if let Some((problem, beside)) = error.map(|refused| (refused.0.clone(), refused.1.clone())) {
        answer = answer.into_response(refusal(problem, beside, id).error_response());
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        answer.headers_mut().insert(HeaderName::from_static(REQUEST_ID), value);
    }
    answer
}

fn refusal(problem: Problem, beside: Beside, id: &RequestId) -> Named {
    Named(problem, beside, id.0.clone())
}

/// Whose request it is, before anything is done for it.
fn who(server: &Server, request: &ServiceRequest) -> Who {
    let address = address_of(server, request.request()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    match access::shown_by(server, request.request()) {
        access::Shown::Device(device) => Who::Device(device),
        access::Shown::Account(user) => Who::Account(user, address),
        access::Shown::Nobody => Who::Address(address),
    }
}

/// Where a request comes from: who is connected, or, where that is a proxy that is trusted, whom it names last.
pub(super) fn address_of(server: &Server, request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    Some(named_by(&server.trusted_proxies, peer, request.headers()))
}

/// The last one on the way that is no proxy which is trusted: what stands before it anybody may have written.
fn named_by(trusted: &[IpAddr], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.contains(&address.to_canonical());
    if !is_trusted(&peer) {
        return peer;
    }
    let way: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .filter_map(|named| named.to_str().ok())
        .flat_map(|named| named.split(','))
        .collect();
    let mut last = peer;
    for named in way.iter().rev() {
        let Ok(address) = named.trim().parse::<IpAddr>() else { return last };
        last = address;
        if !is_trusted(&address) {
            break;
        }
    }
    last
}

/// The trace that the request belongs to, by W3C's `traceparent`.
pub(super) fn trace_of(headers: &HeaderMap) -> Option<String> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let trace = parent.split('-').nth(1)?;
    (trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_text_or_it_is_none() {
        for (path, good) in [
            ("/v1/files/a b%20c", true),
            ("/v1/files/caf%C3%A9", true),
            ("/v1/files/caf%E9", false),
            ("/v1/files/%FF", false),
            ("/v1/files/%ED%A0%80", false), // half of a surrogate pair
        ] {
            assert_eq!(is_utf8(path), good, "{path}");
        }
    }

    #[test]
    fn whom_a_proxy_names_is_believed_of_one_that_is_trusted_alone() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (proxy, other, client) = (ip("10.0.0.1"), ip("10.0.0.2"), ip("203.0.113.9"));
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            let name = HeaderName::from_static("x-forwarded-for");
            values.iter().for_each(|value| headers.append(name.clone(), value.parse().unwrap()));
            headers
        };
        let table: [(IpAddr, &[&str], IpAddr); 7] = [
            (proxy, &["203.0.113.9"], client),
            (proxy, &[], proxy),
            (client, &["192.0.2.1"], client), // nobody whom one trusts
            (proxy, &["192.0.2.1, 203.0.113.9"], client), // what the client wrote itself comes first
            (proxy, &["192.0.2.1", "203.0.113.9, 10.0.0.2"], client), // two proxies
            (proxy, &["nonsense"], proxy),
            (ip("::ffff:10.0.0.1"), &["203.0.113.9"], client),
        ];
        for (peer, values, from) in table {
            assert_eq!(named_by(&[proxy, other], peer, &headers(values)), from, "{peer} {values:?}");
        }
    }
}
