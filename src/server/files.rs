//! Files as such, by path: `GET`, `HEAD`, `PUT` and `DELETE` under `/v1/namespaces/{ns}/files/`.
//!
//! A device's token, or name and password. An `ETag` is the version that is shown. What must always hold: a file is
//! never in memory as a whole, in neither direction; what is sent is stored before its event is said, and the event is
//! said at once or not at all; what comes out is never shown as a page of this server. Left out: what a path means and
//! which events follow (`engine::filing`), several ranges in one answer.

use super::{
    Server, access,
    answer::{Answer, Refusal, json},
    link,
};
use crate::actors::{
    file::ContentAt,
    filing::{Condition, Filed, Look, Put, PutFile, RemoveFile},
    node::{Node, Summary, blocking, chunk_problem},
    session::{keep, room_for},
    user::{Named, RoomFor},
};
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{
        Method, StatusCode,
        header::{self, HeaderName},
    },
    web::{self, Bytes},
};
use annals_engine::{
    content::{Chunker, SealedChunk, Sealer},
    protocol::{Code, FilePut, Problem, encoded},
};
use annals_events::{ChunkId, ChunkRef, Content, Cut, Dot, Manifest, NamespaceId, Role, UserId};
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
};

/// Sealed bytes that are stored at once.
const GROUP_BYTES: usize = 4 << 20;

/// What a route of this file is asked for.
type Asked = web::Path<(NamespaceId, String)>;

/// Who asks, where, and what is known of that place.
struct Place {
    namespace: NamespaceId,
    path: Arc<str>,
    user: UserId,
    summary: Summary,
}

impl Place {
    async fn of(server: &Server, request: &HttpRequest, asked: Asked, needed: Role) -> Result<Self, Refusal> {
        let caller = access::caller(server, request).await?;
        let (namespace, path) = asked.into_inner();
        let (_, summary) = server.node.allowed(caller, namespace, needed).await?;
        Ok(Self { namespace, path: path.into(), user: caller.user, summary })
    }
}

/// The file's bytes, or what is in the folder.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/files/{path}", params(("namespace" = String, Path), ("path" = String, Path)), responses((status = 200, description = "FileOrFolder", content_type = "application/octet-stream"), (status = 206, description = "FileOrFolder", content_type = "application/octet-stream"), (status = 404, description = "not-found"), (status = 412, description = "precondition"), (status = 416, description = "range")))]
pub(super) async fn get_file(server: web::Data<Server>, request: HttpRequest, asked: Asked) -> Answer {
    let place = Place::of(&server, &request, asked, Role::Viewer).await?;
    let condition = condition_of(&request);
    let (entry, version) =
        match server.node.ask_namespace(place.namespace, Look(Arc::clone(&place.path))).await?? {
            Filed::Folder(lines) => return json(&lines),
            Filed::File { entry, version, .. } => (entry, version),
        };
    if condition.is.is_some() && !(Condition { is_not: None, ..condition.clone() }).holds(Some(version)) {
        return Err(Code::Precondition.into());
    }
    if !(Condition { is: None, ..condition }).holds(Some(version)) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, etag(version))).finish());
    }
    let content = server.node.ask_file(place.namespace, entry, ContentAt(version)).await??;
    let whole = 0..content.size;
    let range = match wanted_range(&request, version, content.size) {
        Wanted::All => whole.clone(),
        Wanted::Part(range) => range,
        Wanted::Nowhere => {
            let problem = Problem::new(Code::Range, format!("the file has {} bytes", content.size));
            let size = format!("bytes */{}", content.size);
            return Err(Refusal::beside(problem, header::CONTENT_RANGE, &size));
        }
    };
    let mut answer =
        HttpResponse::build(if range == whole { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT });
    if range != whole {
        let value = format!("bytes {}-{}/{}", range.start, range.end - 1, content.size);
        answer.insert_header((header::CONTENT_RANGE, value));
    }
    head(&mut answer, &place.path, version);
    let bytes = range.end - range.start;
    if request.method() == Method::HEAD {
        return Ok(answer.body(SizedStream::new(bytes, stream::empty::<Result<Bytes, Problem>>())));
    }
    let spans = spans(chunks_of(&server.node, &content).await?, range);
    Ok(answer.body(SizedStream::new(bytes, read(Arc::clone(&server.node), spans))))
}

/// Never a page: neither shown by a browser nor guessed at.
fn head(answer: &mut HttpResponseBuilder, path: &str, version: Dot) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let encoded = encoded(name);
    answer
        .content_type("application/octet-stream")
        .insert_header((header::ETAG, etag(version)))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{encoded}")));
}

/// Puts a file there: a version of the one that is shown, or a new one in folders that are made at need.
#[utoipa::path(put, path = "/v1/namespaces/{namespace}/files/{path}", params(("namespace" = String, Path), ("path" = String, Path)), responses((status = 200, description = "FilePut", content_type = "application/json"), (status = 201, description = "FilePut", content_type = "application/json"), (status = 409, description = "not-a-file"), (status = 412, description = "precondition"), (status = 413, description = "quota")))]
pub(super) async fn put_file(
    server: web::Data<Server>,
    request: HttpRequest,
    asked: Asked,
    body: web::Payload,
) -> Answer {
    let place = Place::of(&server, &request, asked, Role::Editor).await?;
    check_whole(&request)?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // From here on it is known what all of the owner's namespaces hold.
    let owner =
        server.node.directory.read(|directory| directory.namespace(place.namespace).map(|state| state.owner));
    server.node.ask_user(owner.ok_or(Code::UnknownNamespace)?, RoomFor(Some(place.namespace))).await??;
    room_for(&server.node, place.namespace, &place.summary, length.unwrap_or(0)).await?;
    let (condition, cut) = (condition_of(&request), cut_for(&server, &place, &request, length).await?);
    let stored = store(&server, &place, body, cut).await?;
    let (bytes, named) = (stored.content.size, stored.named());
    let chunks = Arc::new(stored.chunks.iter().map(|chunk| chunk.id).collect());
    let wish = PutFile {
        user: place.user,
        user_name: link::account(&server, place.user).name,
        path: place.path,
        condition,
        content: stored.content,
        chunks,
    };
    // What is stored now is stored when it is judged.
    let _upload = server.node.uploads.read().await;
    let Put { version, created } = server.node.ask_namespace(place.namespace, wish).await??;
    server.node.ask_user(place.user, Named(Arc::new(named))).await?;
    let mut answer = if created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(answer.insert_header((header::ETAG, etag(version))).json(FilePut { version, bytes }))
}

/// A part of a file would become all of it, and what is encoded would be kept as if it were the file.
fn check_whole(request: &HttpRequest) -> Result<(), Refusal> {
    if request.headers().contains_key(header::CONTENT_RANGE) {
        let problem = Problem::new(Code::BadRequest, "a part of a file cannot be put");
        return Err(Problem { hint: "put the file as a whole".into(), ..problem }.into());
    }
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Code::Encoding.into());
    }
    Ok(())
}

/// Removes the file or the folder that is there.
#[utoipa::path(delete, path = "/v1/namespaces/{namespace}/files/{path}", params(("namespace" = String, Path), ("path" = String, Path)), responses((status = 204, description = "It is removed."), (status = 404, description = "not-found"), (status = 409, description = "in-conflict"), (status = 412, description = "precondition")))]
pub(super) async fn delete_file(server: web::Data<Server>, request: HttpRequest, asked: Asked) -> Answer {
    let place = Place::of(&server, &request, asked, Role::Editor).await?;
    let wish = RemoveFile {
        user: place.user,
        user_name: link::account(&server, place.user).name,
        path: place.path,
        condition: condition_of(&request),
    };
    server.node.ask_namespace(place.namespace, wish).await??;
    Ok(HttpResponse::NoContent().finish())
}

// --- versions and ranges -------------------------------------------------------------------------------------------

fn etag(version: Dot) -> String {
    format!("\"{version}\"")
}

fn condition_of(request: &HttpRequest) -> Condition {
    let text = |name: HeaderName| {
        let mut lines = request.headers().get_all(name).peekable();
        lines.peek()?;
        // What is no text is no version: a condition that cannot be read is not one that holds.
        Some(lines.map(|line| line.to_str().unwrap_or("?")).collect::<Vec<_>>().join(","))
    };
    let is_not = text(header::IF_NONE_MATCH).map(|text| versions_in(&text.replace("W/", "")));
    Condition { is: text(header::IF_MATCH).map(|text| versions_in(&text)), is_not }
}

/// The versions that a condition names; none where it is about any. A proxy that compresses weakens tags (`W/`): to know
/// that nothing changed they are as good, to replace something they are not.
fn versions_in(text: &str) -> Vec<String> {
    let versions = text.split(',').map(|tag| tag.trim().trim_matches('"').to_owned());
    if text.trim() == "*" { Vec::new() } else { versions.collect() }
}

/// Which bytes were asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nowhere,
}

/// One range is answered; where there are several, or the file is another one by now, all of it is.
fn wanted_range(request: &HttpRequest, version: Dot, size: u64) -> Wanted {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_same = text(header::IF_RANGE).is_none_or(|known| known == etag(version));
    match text(header::RANGE) {
        // Of a head there are no parts.
        Some(range) if is_same && request.method() == Method::GET => range_in(range, size),
        _ => Wanted::All,
    }
}

fn range_in(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(count)) if first.trim().is_empty() => size.saturating_sub(count)..size,
        _ => return Wanted::All,
    };
    if range.is_empty() { Wanted::Nowhere } else { Wanted::Part(range) }
}

// --- out -----------------------------------------------------------------------------------------------------------

/// A part of a chunk.
struct Span {
    chunk: ChunkId,
    part: Range<usize>,
}

async fn chunks_of(node: &Node, content: &Content) -> Result<Vec<ChunkRef>, Problem> {
    let Some(root) = content.manifest else { return Ok(content.chunks.clone()) };
    let (store, content) = (Arc::clone(&node.chunks), content.clone());
    blocking(move || {
        let sealed = store.get(&root.id).map_err(|error| chunk_problem(&error))?;
        let bytes = sealed.and_then(|sealed| sealed.open().ok());
        let manifest = bytes.and_then(|bytes| Manifest::decode(&bytes, &content).ok());
        Ok(manifest.ok_or_else(|| Problem::new(Code::LogDamaged, "a manifest is lost or damaged"))?.chunks)
    })
    .await
}

fn spans(chunks: Vec<ChunkRef>, range: Range<u64>) -> VecDeque<Span> {
    let mut at = 0;
    let spans = chunks.into_iter().filter_map(|chunk| {
        let bytes = u64::from(chunk.bytes);
        let (from, to) = (range.start.max(at), range.end.min(at + bytes));
        let begin = at;
        at += bytes;
        let within = |place: u64| usize::try_from(place - begin).expect("a chunk fits into memory");
        (from < to).then(|| Span { chunk: chunk.id, part: within(from)..within(to) })
    });
    spans.collect()
}

/// The bytes of each span, one chunk in memory at a time.
fn read(node: Arc<Node>, spans: VecDeque<Span>) -> impl futures_util::Stream<Item = Result<Bytes, Problem>> {
    stream::try_unfold((node, spans), |(node, mut spans)| async move {
        let Some(Span { chunk, part }) = spans.pop_front() else { return Ok(None) };
        let store = Arc::clone(&node.chunks);
        let bytes = blocking(move || {
            let sealed = store.get(&chunk).map_err(|error| chunk_problem(&error))?;
            let plain = sealed.and_then(|sealed| sealed.open().ok());
            plain.ok_or_else(|| Problem::new(Code::LogDamaged, format!("chunk {chunk} is lost or damaged")))
        });
        let bytes = Bytes::from(bytes.await?).slice(part);
        node.meters.sent(bytes.len());
        Ok(Some((bytes, (node, spans))))
    })
}

// --- in ------------------------------------------------------------------------------------------------------------

/// What is stored of a body.
struct Stored {
    content: Content,
    chunks: Vec<ChunkRef>,
}

impl Stored {
    /// The chunks that the event will name, its manifest with them.
    fn named(&self) -> BTreeSet<ChunkId> {
        self.chunks.iter().copied().chain(self.content.roots()).map(|chunk| chunk.id).collect()
    }
}

/// As the version was cut that is replaced, so that what they share is found; else by the size.
async fn cut_for(
    server: &Server,
    place: &Place,
    request: &HttpRequest,
    length: Option<u64>,
) -> Result<Cut, Refusal> {
    let by_size = length.map_or(Cut::MEDIUM, Cut::for_size);
    match server.node.ask_namespace(place.namespace, Look(Arc::clone(&place.path))).await? {
        Ok(Filed::File { entry, version, .. }) => {
            // Nothing is sent for what would be refused anyway; what becomes of it is judged again at the end.
            if !condition_of(request).holds(Some(version)) {
                return Err(Code::Precondition.into());
            }
            let replaced = server.node.ask_file(place.namespace, entry, ContentAt(version)).await?;
            Ok(replaced.map_or(by_size, |content| content.cut))
        }
        Ok(Filed::Folder(_)) => Err(Code::NotAFile.into()),
        Err(problem) if problem.code == Code::NotFound => Ok(by_size),
        Err(problem) => Err(problem.into()),
    }
}

/// Cuts and stores a body as it comes.
async fn store(server: &Server, place: &Place, mut body: web::Payload, cut: Cut) -> Result<Stored, Refusal> {
    let node = &server.node;
    let chunker = Chunker::new(cut).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let mut cutting = Cutting { chunker, sealer: Sealer::new(), chunks: Vec::new() };
    let (mut waiting, mut waiting_bytes) = (Vec::new(), 0);
    let silence = server.limits.silence;
    while let Some(piece) = tokio::time::timeout(silence, body.next()).await.map_err(|_| Code::TooSlow)? {
        let piece = piece.map_err(|error| Problem::new(Code::BadRequest, error.to_string()))?;
        node.meters.received(piece.len());
        waiting_bytes += piece.len();
        waiting.push(piece);
        if waiting_bytes >= GROUP_BYTES {
            cutting = cutting.take(node, place.user, std::mem::take(&mut waiting), false).await?;
            waiting_bytes = 0;
        }
    }
    let Cutting { chunks, .. } = cutting.take(node, place.user, waiting, true).await?;
    let (content, manifest) = Content::new(cut, chunks.clone());
    if let Some(manifest) = manifest {
        keep(node, place.user, vec![SealedChunk::seal(manifest).into()]).await?;
    }
    Ok(Stored { content, chunks })
}

/// A body on its way into the chunk store.
struct Cutting {
    chunker: Chunker,
    sealer: Sealer,
    chunks: Vec<ChunkRef>,
}

impl Cutting {
    /// Cuts `pieces`, and stores the chunks that are complete.
    async fn take(
        self,
        node: &Arc<Node>,
        user: UserId,
        pieces: Vec<Bytes>,
        is_last: bool,
    ) -> Result<Self, Problem> {
        let (cutting, sealed) = blocking(move || {
            let Self { mut chunker, mut sealer, mut chunks } = self;
            let mut sealed = Vec::new();
            let mut each = |plain: &[u8]| {
                let chunk = sealer.seal(ChunkId::of(plain), plain);
                chunks.push(chunk.to_ref());
                sealed.push(chunk);
            };
            pieces.iter().for_each(|piece| chunker.feed(piece, &mut each));
            if is_last {
                chunker.finish(&mut each);
            }
            Ok((Self { chunker, sealer, chunks }, sealed))
        })
        .await?;
        keep(node, user, sealed.into_iter().map(Into::into).collect()).await?;
        Ok(cutting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read_and_what_is_none_means_all() {
        for (text, wanted) in [
            ("bytes=0-3", Wanted::Part(0..4)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=9-99", Wanted::Part(9..10)),
            ("bytes=10-", Wanted::Nowhere),
            ("bytes=-0", Wanted::Nowhere),
            ("bytes=3-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=x", Wanted::All),
        ] {
            assert_eq!(range_in(text, 10), wanted, "{text}");
        }
    }

    #[test]
    fn spans_are_what_a_range_takes_of_each_chunk() {
        let chunks = || {
            [3, 4, 5]
                .map(|bytes| ChunkRef { bytes, id: ChunkId([u8::try_from(bytes).unwrap(); 32]) })
                .to_vec()
        };
        let of = |range| {
            spans(chunks(), range).into_iter().map(|span| (span.chunk.0[0], span.part)).collect::<Vec<_>>()
        };
        assert_eq!(of(0..12), [(3, 0..3), (4, 0..4), (5, 0..5)]);
        assert_eq!(of(2..8), [(3, 2..3), (4, 0..4), (5, 0..1)]);
        assert_eq!(of(4..5), [(4, 1..2)]);
        assert!(of(0..0).is_empty());
    }
}
