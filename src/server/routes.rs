//! The routes of `/v1`, one function each: who asks, what they ask, whom that is passed on to. Which they are, and what
//! each takes at most, says `table`.

use super::{
    Server, access,
    answer::{Answer, Body, Refusal, bytes_of, cbor, cbor_of, frames, gathered, json, json_of, unpacked},
    feed, gate, handback, link, openapi,
    table::LIST_BYTES_MAX,
};
use crate::actors::{
    namespace::Devices,
    node::{blocking, log_problem},
    rights::Asker,
    session::{
        AskMissing, FetchChunks, FetchContent, FetchHistory, FetchRecords, FetchSignatures, StoreChunks,
        SubmitBatches,
    },
    user::RoomFor,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT_ENCODING, HeaderValue},
    web,
};
use annals_engine::{
    directory::Directory,
    protocol::{
        BatchOutcome, Batches, CHUNKS_BYTES_MAX, CHUNKS_COUNT_MAX, Challenge, ChunksWanted, Code, DeviceInfo,
        FeedQuery, Member, MissingQuestion, NewNamespace, Outcomes, OwnAccount, Problem, RecordsQuery,
        SIGNATURES_COUNT_MAX, SignaturesWanted, TicketRequest, ZSTD,
    },
};
use annals_events::{DeviceId, Dot, EntryId, NamespaceId, Record, Role, Seq, UserId};
use std::sync::{Arc, atomic::Ordering};

type Shared = web::Data<Server>;

/// What no route is for.
pub(super) async fn nothing() -> Answer {
    Err(Code::NotFound.into())
}

#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "It runs.", body = String)))]
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

/// Whether it takes requests: the log answers, the disk takes what is written, it is not about to stop.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "It takes requests.", body = String), (status = 503, description = "busy, log-unavailable")))]
pub(super) async fn ready(server: Shared) -> Answer {
    if server.draining.load(Ordering::Relaxed) {
        return Err(Problem::new(Code::Busy, "the server stops").into());
    }
    let directory = server.node.directory.read(Directory::id);
    server.node.log.read(directory, Seq(0), 1).await.map_err(|error| log_problem(&error))?;
    let probe = server.probe.clone();
    blocking(move || {
        let written = std::fs::write(&probe, b"ready?\n").and_then(|()| std::fs::remove_file(&probe));
        written.map_err(|error| Problem {
            hint: "make room there, or see whether it can be written: what is there is handed out meanwhile"
                .into(),
            ..Problem::new(Code::LogUnavailable, format!("the server's disk takes nothing: {error}"))
        })
    })
    .await?;
    Ok(HttpResponse::Ok().body("ready\n"))
}

/// What is counted, for Prometheus. For this machine, and for whoever shows the admin's token.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "docs/metrics.md", body = String), (status = 401, description = "admin-token")))]
pub(super) async fn metrics(server: Shared, request: HttpRequest) -> Answer {
    // Whoever comes by way of a proxy is not of this machine.
    if !gate::address_of(&server, &request).is_some_and(|address| address.is_loopback()) {
        server.admin.check(&request)?;
    }
    let page = server.node.meters.render(server.node.at_work());
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(page))
}

/// This interface.
pub(super) async fn described() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(openapi::openapi_json())
}

/// Whom one talks to.
#[utoipa::path(get, path = "/v1/server", responses((status = 200, description = "ServerInfo", content_type = "application/json")))]
pub(super) async fn server_info(server: Shared) -> Answer {
    json(&server.info())
}

/// Something fresh for a device to sign.
#[utoipa::path(post, path = "/v1/challenges", responses((status = 200, description = "Challenge", content_type = "application/json")))]
pub(super) async fn challenge(server: Shared) -> Answer {
    let challenge = server.challenges.give(server.node.now_ms());
    json(&Challenge { challenge, server: server.info() })
}

/// Adds an account. Needs the admin's token.
#[utoipa::path(post, path = "/v1/accounts", responses((status = 200, description = "Account", content_type = "application/json"), (status = 401, description = "admin-token"), (status = 409, description = "account-exists")))]
pub(super) async fn add_account(server: Shared, request: HttpRequest, body: Body) -> Answer {
    server.admin.check(&request)?;
    json(&link::add_account(&server, json_of(body)?).await?)
}

/// Changes an account's password or quota. Needs the admin's token.
#[utoipa::path(put, path = "/v1/accounts/{name}", params(("name" = String, Path)), responses((status = 200, description = "OwnAccount", content_type = "application/json"), (status = 401, description = "admin-token"), (status = 404, description = "unknown-user")))]
pub(super) async fn change_account(
    server: Shared,
    request: HttpRequest,
    name: web::Path<String>,
    body: Body,
) -> Answer {
    server.admin.check(&request)?;
    json(&link::change_account(&server, &name, json_of(body)?).await?)
}

/// One's own account: its quota, and what it uses.
#[utoipa::path(get, path = "/v1/account", responses((status = 200, description = "OwnAccount", content_type = "application/json")))]
pub(super) async fn own_account(server: Shared, request: HttpRequest) -> Answer {
    let caller = access::caller(&server, &request).await?.user;
    let room = server.node.ask_user(caller, RoomFor(None)).await??;
    let account = link::account(&server, caller);
    json(&OwnAccount { user: account.user, name: account.name, quota: room.quota, used: room.used })
}

/// The account of that name, for whoever wants to share with it.
#[utoipa::path(get, path = "/v1/users/{name}", params(("name" = String, Path)), responses((status = 200, description = "Account", content_type = "application/json"), (status = 404, description = "unknown-user")))]
pub(super) async fn user(server: Shared, request: HttpRequest, name: web::Path<String>) -> Answer {
    access::caller(&server, &request).await?;
    let known = server.node.directory.read(|directory| directory.account_named(&name).map(|(user, _)| user));
    let user = known
        .ok_or_else(|| Problem::new(Code::UnknownUser, format!("there is no account {:?}", name.as_str())))?;
    json(&link::account(&server, user))
}

/// Links a device: by name and password, or by a ticket.
#[utoipa::path(post, path = "/v1/link", responses((status = 200, description = "Linked", content_type = "application/json"), (status = 401, description = "wrong-password"), (status = 403, description = "ticket-unknown, ticket-expired, ticket-used, ticket-ended, challenge, proof")))]
pub(super) async fn link_device(server: Shared, request: HttpRequest, body: Body) -> Answer {
    let from = gate::address_of(&server, &request);
    json(&link::link(&server, from, json_of(body)?).await?)
}

/// A ticket for one's next device; with the admin's token, for an account's first.
#[utoipa::path(post, path = "/v1/tickets", responses((status = 200, description = "Ticket", content_type = "application/json")))]
pub(super) async fn ticket(server: Shared, request: HttpRequest, body: Body) -> Answer {
    let wanted: TicketRequest = json_of(body)?;
    let asker = match &wanted.user {
        Some(name) => {
            server.admin.check(&request)?;
            let known =
                server.node.directory.read(|directory| directory.account_named(name).map(|(user, _)| user));
            Asker::person(known.ok_or(Code::UnknownUser)?)
        }
        None => {
            let (device, user) = access::device(&server, &request)?;
            Asker { user, device: Some(device) }
        }
    };
    let namespace = match (wanted.namespace, &wanted.label) {
        (Some(namespace), _) => namespace,
        (None, Some(label)) if wanted.user.is_some() => {
            link::namespace_called(&server, asker.user, label).await?
        }
        (None, _) => link::home_of(&server, asker.user).await?,
    };
    json(&link::issue_ticket(&server, asker, namespace).await?)
}

/// The namespaces that one may read. A device's token, or name and password.
#[utoipa::path(get, path = "/v1/namespaces", responses((status = 200, description = "[NamespaceInfo]", content_type = "application/json")))]
pub(super) async fn namespaces(server: Shared, request: HttpRequest) -> Answer {
    let caller = access::caller(&server, &request).await?.user;
    let mounts = link::mounts(&server, caller).await?;
    json(&link::namespaces(&server, &mounts))
}

/// Makes a namespace.
#[utoipa::path(post, path = "/v1/namespaces", responses((status = 200, description = "NamespaceInfo", content_type = "application/json"), (status = 409, description = "namespace-exists")))]
pub(super) async fn add_namespace(server: Shared, request: HttpRequest, body: Body) -> Answer {
    let caller = access::caller(&server, &request).await?.user;
    let new: NewNamespace = json_of(body)?;
    let id = link::open_namespace(&server, caller, &new.label).await?;
    let mounts = link::mounts(&server, caller).await?;
    let info = link::namespaces(&server, &mounts).into_iter().find(|info| info.id == id);
    json(&info.ok_or(Code::UnknownNamespace)?)
}

/// Records after a cursor, in CBOR.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/records", params(("namespace" = String, Path), ("after" = Option<u64>, Query), ("chain" = Option<String>, Query), ("epoch" = Option<u64>, Query), ("log" = Option<String>, Query), ("limit" = Option<u64>, Query)), responses((status = 200, description = "Records", content_type = "application/cbor"), (status = 404, description = "unknown-namespace"), (status = 409, description = "other-log, chain-mismatch")))]
pub(super) async fn records(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
    query: web::Query<RecordsQuery>,
) -> Answer {
    let (device, user) = access::device(&server, &request)?;
    let wanted = FetchRecords { namespace: *namespace, query: *query };
    // A round begins with this question, and learns here how batches may come.
    let mut answer = cbor(&server.node.ask_session(device, user, wanted).await??)?;
    answer.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(ZSTD));
    Ok(answer)
}

/// A WebSocket that says how far the namespace is, from the cursor on: each message is a `FeedHead`. A device that is
/// retired or may not read any more, and everybody when the server stops, is told so by the reason of its close frame.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/live", params(("namespace" = String, Path), ("after" = Option<u64>, Query), ("chain" = Option<String>, Query), ("log" = Option<String>, Query)), responses((status = 101, description = "FeedHead", content_type = "application/json"), (status = 400, description = "bad-request"), (status = 404, description = "unknown-namespace"), (status = 409, description = "other-log"), (status = 503, description = "busy")))]
pub(super) async fn live(
    server: Shared,
    request: HttpRequest,
    body: web::Payload,
    namespace: web::Path<NamespaceId>,
    query: web::Query<FeedQuery>,
) -> Answer {
    feed::upgrade(server, &request, body, *namespace, *query).await
}

/// How far the namespace is, as soon as that is something else than the cursor; or when the wait, in seconds, is over.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/changes", params(("namespace" = String, Path), ("after" = Option<u64>, Query), ("chain" = Option<String>, Query), ("log" = Option<String>, Query), ("wait" = Option<u64>, Query)), responses((status = 200, description = "FeedHead", content_type = "application/json"), (status = 404, description = "unknown-namespace"), (status = 409, description = "other-log"), (status = 503, description = "busy")))]
pub(super) async fn changes(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
    query: web::Query<FeedQuery>,
) -> Answer {
    json(&feed::poll(server, &request, *namespace, *query).await?)
}

/// Batches of the device that asks, in its order; in CBOR.
#[utoipa::path(post, path = "/v1/namespaces/{namespace}/batches", params(("namespace" = String, Path)), responses((status = 200, description = "Outcomes", content_type = "application/cbor"), (status = 413, description = "too-large")))]
pub(super) async fn batches(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
    body: Body,
) -> Answer {
    let (device, user) = access::device(&server, &request)?;
    let Batches { batches, brief } = cbor_of(unpacked(&request, body, LIST_BYTES_MAX))?;
    let submitted = SubmitBatches {
        namespace: *namespace,
        batches: Arc::new(batches),
        trace: gate::trace_of(request.headers()),
    };
    let mut outcomes = server.node.ask_session(device, user, submitted).await??;
    for outcome in outcomes.iter_mut().filter(|_| brief) {
        if let BatchOutcome::Admitted { record } = outcome
            && let Ok(short) = Record::without_batch(record)
        {
            *record = short.into();
        }
    }
    cbor(&Outcomes { outcomes })
}

/// Records that this server admitted and lost; in CBOR. With a device's token, or with a proof of its key.
#[utoipa::path(post, path = "/v1/namespaces/{namespace}/handback", params(("namespace" = String, Path)), responses((status = 200, description = "HandedBack", content_type = "application/cbor"), (status = 403, description = "challenge, proof"), (status = 409, description = "other-log"), (status = 413, description = "too-large")))]
pub(super) async fn hand_back(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
    body: Body,
) -> Answer {
    cbor(&handback::take(&server, &request, *namespace, cbor_of(body)?).await?)
}

/// Which chunks have to be sent, and whether there is room; in CBOR.
#[utoipa::path(post, path = "/v1/namespaces/{namespace}/chunks/missing", params(("namespace" = String, Path)), responses((status = 200, description = "MissingAnswer", content_type = "application/cbor"), (status = 413, description = "quota")))]
pub(super) async fn missing(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
    body: Body,
) -> Answer {
    let (device, user) = access::device(&server, &request)?;
    let question: MissingQuestion = cbor_of(body)?;
    at_most(question.chunks.len() + question.manifests.len())?;
    let wanted = AskMissing { namespace: *namespace, question: Arc::new(question) };
    cbor(&server.node.ask_session(device, user, wanted).await??)
}

/// Chunks, framed.
#[utoipa::path(post, path = "/v1/namespaces/{namespace}/chunks", params(("namespace" = String, Path)), responses((status = 200, description = "ChunksStored", content_type = "application/json"), (status = 413, description = "too-large, quota"), (status = 422, description = "chunk-mismatch")))]
pub(super) async fn put_chunks(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
    body: web::Payload,
) -> Answer {
    let (device, user) = access::device(&server, &request)?;
    let body = gathered(&request, body, CHUNKS_BYTES_MAX).await;
    let sent = StoreChunks { namespace: *namespace, body: bytes_of(body)? };
    json(&server.node.ask_session(device, user, sent).await??)
}

/// Chunks by name, framed; a prefix of what was asked for.
#[utoipa::path(post, path = "/v1/namespaces/{namespace}/chunks/get", params(("namespace" = String, Path)), responses((status = 200, description = "frames", content_type = "application/vnd.annals.chunks"), (status = 404, description = "chunk-unknown")))]
pub(super) async fn get_chunks(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
    body: Body,
) -> Answer {
    let (device, user) = access::device(&server, &request)?;
    let wanted: ChunksWanted = cbor_of(body)?;
    at_most(wanted.chunks.len() + wanted.bases.iter().map(|(_, bases)| bases.len()).sum::<usize>())?;
    let wanted = FetchChunks { namespace: *namespace, wanted: Arc::new(wanted) };
    frames(server.node.ask_session(device, user, wanted).await??)
}

/// Sums of chunks that others replace, to tell the difference to them; in CBOR.
#[utoipa::path(post, path = "/v1/namespaces/{namespace}/chunks/signatures", params(("namespace" = String, Path)), responses((status = 200, description = "Signatures", content_type = "application/cbor"), (status = 413, description = "too-large")))]
pub(super) async fn signatures(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
    body: Body,
) -> Answer {
    let (device, user) = access::device(&server, &request)?;
    let wanted: SignaturesWanted = cbor_of(body)?;
    if wanted.bases.len() > SIGNATURES_COUNT_MAX {
        let detail = format!(
            "{} signatures were asked for, {SIGNATURES_COUNT_MAX} fit one request",
            wanted.bases.len()
        );
        return Err(Problem::new(Code::TooLarge, detail).into());
    }
    let wanted = FetchSignatures { namespace: *namespace, wanted: Arc::new(wanted) };
    cbor(&server.node.ask_session(device, user, wanted).await??)
}

fn at_most(count: usize) -> Result<(), Refusal> {
    if count <= CHUNKS_COUNT_MAX {
        return Ok(());
    }
    Err(Problem::new(
        Code::TooLarge,
        format!("{count} chunks were asked for, {CHUNKS_COUNT_MAX} fit one request"),
    )
    .into())
}

/// Who may do what here.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/members", params(("namespace" = String, Path)), responses((status = 200, description = "[Member]", content_type = "application/json")))]
pub(super) async fn members(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
) -> Answer {
    let caller = access::caller(&server, &request).await?;
    let (_, summary) = server.node.allowed(caller, *namespace, Role::Viewer).await?;
    let members = summary.members.iter().map(|(user, (role, name))| {
        let known = link::account(&server, *user).name;
        Member { user: *user, name: if known.is_empty() { name.clone() } else { known }, role: *role }
    });
    json(&members.collect::<Vec<_>>())
}

/// One's devices here; for owners everybody's.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/devices", params(("namespace" = String, Path)), responses((status = 200, description = "[DeviceInfo]", content_type = "application/json")))]
pub(super) async fn devices(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
) -> Answer {
    let (role, mut devices, caller) = devices_of(&server, &request, *namespace).await?;
    devices.retain(|info| info.user == caller || role == Role::Owner);
    for info in &mut devices {
        // Who only pulls is here as well.
        info.last_seen = info.last_seen.max(server.node.heard.last(info.device));
        info.fetched = server.node.heard.given(*namespace, info.device);
    }
    json(&devices)
}

/// Asks the devices that listen to say how far their folders are, at once, and answers with those; the others are asked as
/// soon as they come.
#[utoipa::path(post, path = "/v1/namespaces/{namespace}/devices/ask", params(("namespace" = String, Path)), responses((status = 200, description = "[DeviceInfo]", content_type = "application/json"), (status = 403, description = "forbidden")))]
pub(super) async fn ask_devices(
    server: Shared,
    request: HttpRequest,
    namespace: web::Path<NamespaceId>,
) -> Answer {
    let (role, mut devices, _) = devices_of(&server, &request, *namespace).await?;
    if role != Role::Owner {
        return Err(Code::Forbidden.into());
    }
    let at_work = devices.iter().filter(|info| !info.retired).map(|info| info.device);
    server.node.listeners.ask_later(*namespace, at_work);
    let asked = server.node.listeners.ask(*namespace);
    devices.retain(|info| asked.contains(&info.device) && !info.retired);
    json(&devices)
}

/// Whose role it is, the devices, and who asks.
async fn devices_of(
    server: &Shared,
    request: &HttpRequest,
    namespace: NamespaceId,
) -> Result<(Role, Vec<DeviceInfo>, UserId), Refusal> {
    let caller = access::caller(server, request).await?;
    let (role, _) = server.node.allowed(caller, namespace, Role::Viewer).await?;
    Ok((role, server.node.ask_namespace(namespace, Devices).await??, caller.user))
}

/// Cuts a device off, at once.
#[utoipa::path(post, path = "/v1/namespaces/{namespace}/devices/{device}/retire", params(("namespace" = String, Path), ("device" = String, Path)), responses((status = 204, description = "It is cut off."), (status = 404, description = "unknown-device")))]
pub(super) async fn retire(
    server: Shared,
    request: HttpRequest,
    path: web::Path<(NamespaceId, DeviceId)>,
) -> Answer {
    let caller = access::caller(&server, &request).await?;
    let (namespace, device) = path.into_inner();
    link::retire(&server, caller, namespace, device).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The versions of one file, in the order of the log.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/entries/{entry}/versions", params(("namespace" = String, Path), ("entry" = String, Path)), responses((status = 200, description = "[VersionInfo]", content_type = "application/json")))]
pub(super) async fn versions(
    server: Shared,
    request: HttpRequest,
    path: web::Path<(NamespaceId, Dot)>,
) -> Answer {
    let (device, user) = access::device(&server, &request)?;
    let (namespace, entry) = path.into_inner();
    let wanted = FetchHistory { namespace, entry: EntryId(entry) };
    json(&server.node.ask_session(device, user, wanted).await??)
}

/// What a file holds at a version: its chunks, or its manifest chunk.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/entries/{entry}/versions/{version}/content", params(("namespace" = String, Path), ("entry" = String, Path), ("version" = String, Path)), responses((status = 200, description = "Content", content_type = "application/json")))]
pub(super) async fn content(
    server: Shared,
    request: HttpRequest,
    path: web::Path<(NamespaceId, Dot, Dot)>,
) -> Answer {
    let (device, user) = access::device(&server, &request)?;
    let (namespace, entry, version) = path.into_inner();
    let wanted = FetchContent { namespace, entry: EntryId(entry), version };
    json(&server.node.ask_session(device, user, wanted).await??)
}
