//! The live feed: a device is told as soon as a namespace has got further, on a WebSocket or by an answer that waits.
//!
//! What must always hold: a device that listens may read the namespace, and is asked for its right again at
//! each head and for its token at each beat; nothing is queued for it but the newest head, which is asked for when the last one was
//! taken; whoever does not take what it is sent, or shows no sign of life, is let go of. Left out: records, which are
//! pulled.

use super::{Server, access, answer::Refusal};
use crate::actors::{listeners::Seat, node::log_problem, session::FetchHead};
use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{CloseCode, CloseReason, Message, MessageStream, Session};
use annals_engine::protocol::{
    Code, FEED_BEATS_MISSED_MAX, FEED_MESSAGE_BYTES_MAX, FeedEnd, FeedHead, FeedQuery, Problem,
    WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX,
};
use annals_events::{DeviceId, Hash, NamespaceId, UserId, log::Head};
use std::time::Duration;

/// How long a message may take to be taken by the socket.
const SEND: Duration = Duration::from_secs(10);

/// Somebody who listens.
struct Listening {
    server: web::Data<Server>,
    token: Hash,
    device: DeviceId,
    user: UserId,
    namespace: NamespaceId,
    cursor: FeedQuery,
    seat: Seat,
}

/// Whether what a device waited for has come.
enum Heard {
    Head(Head),
    /// Somebody wants to know how far the device is.
    Asked(Head),
    Ended(FeedEnd),
}

impl Listening {
    /// A place for whoever asks; and how far the namespace is now.
    async fn begin(
        server: web::Data<Server>,
        request: &HttpRequest,
        namespace: NamespaceId,
        cursor: FeedQuery,
    ) -> Result<(Self, Head), Refusal> {
        let token = access::token_of(request)?;
        let (device, user) = access::device_by(&server, token)?;
        let seat = server.node.listeners.sit(device, user, namespace)?;
        let listening = Self { server, token, device, user, namespace, cursor, seat };
        let head = listening.head().await?;
        Ok((listening, head))
    }

    /// How far the namespace is, if the device may still know.
    async fn head(&self) -> Result<Head, Problem> {
        access::device_by(&self.server, self.token).map_err(|refusal| refusal.0)?;
        let asked = FetchHead { namespace: self.namespace, log: self.cursor.log };
        self.server.node.ask_session(self.device, self.user, asked).await?
    }

    /// Waits until the namespace is elsewhere than the cursor, or this has to go.
    async fn hear(&mut self) -> Heard {
        let (node, namespace, after) = (&self.server.node, self.namespace, self.cursor.after);
        tokio::select! {
            end = &mut self.seat.told => return Heard::Ended(end.unwrap_or(FeedEnd::Stopping)),
            woken = node.log.wait_past(namespace, after) => if let Err(error) = woken {
                return Heard::Ended(FeedEnd::Refused(log_problem(&error).code));
            },
            () = self.seat.asked.notified() => return self.heard(Heard::Asked).await,
        }
        self.heard(Heard::Head).await
    }

    async fn heard(&self, what: impl FnOnce(Head) -> Heard) -> Heard {
        self.head().await.map_or_else(|problem| Heard::Ended(FeedEnd::Refused(problem.code)), what)
    }

    fn take(&mut self, head: &Head) -> FeedHead {
        let changed = self.cursor.is_behind(head);
        self.cursor = self.cursor.having(head);
        FeedHead { log: self.server.began.log, head: (*head).into(), changed, acknowledge: false }
    }

    fn take_question(&mut self, head: &Head) -> FeedHead {
        FeedHead { acknowledge: true, ..self.take(head) }
    }
}

/// Answers as soon as the namespace is elsewhere than the cursor, or when the wait is over.
pub(super) async fn poll(
    server: web::Data<Server>,
    request: &HttpRequest,
    namespace: NamespaceId,
    query: FeedQuery,
) -> Result<FeedHead, Refusal> {
    let (mut listening, head) = Listening::begin(server, request, namespace, query).await?;
    if listening.seat.was_asked {
        return Ok(listening.take_question(&head));
    }
    let wait = Duration::from_secs(query.wait.unwrap_or(WAIT_SECONDS_DEFAULT).min(WAIT_SECONDS_MAX));
    if query.is_behind(&head) || wait.is_zero() {
        return Ok(listening.take(&head));
    }
    match tokio::time::timeout(wait, listening.hear()).await {
        Ok(Heard::Head(head)) => Ok(listening.take(&head)),
        Ok(Heard::Asked(head)) => Ok(listening.take_question(&head)),
        Ok(Heard::Ended(FeedEnd::Refused(code))) => Err(code.into()),
        Ok(Heard::Ended(end)) => {
            Err(Problem::new(Code::Busy, format!("the wait ended: {}", end.word())).into())
        }
        Err(_) => Ok(listening.take(&head)),
    }
}

/// Upgrades to a WebSocket that is told of every head from the cursor on; heads that come while one is on its way
/// are one.
pub(super) async fn upgrade(
    server: web::Data<Server>,
    request: &HttpRequest,
    body: web::Payload,
    namespace: NamespaceId,
    query: FeedQuery,
) -> Result<HttpResponse, Refusal> {
    let (listening, head) = Listening::begin(server, request, namespace, query).await?;
    let (response, session, stream) = actix_ws::handle(request, body)
        .map_err(|error| Problem::new(Code::BadRequest, format!("no WebSocket was asked for: {error}")))?;
    let stream = stream.max_frame_size(FEED_MESSAGE_BYTES_MAX);
    rt::spawn(feed(listening, head, session, stream));
    Ok(response)
}

/// Serves one socket to its end.
async fn feed(mut listening: Listening, head: Head, mut session: Session, mut stream: MessageStream) {
    let end = match serve(&mut listening, head, &mut session, &mut stream).await {
        Some(end) => end,
        // Nobody there.
        None => return,
    };
    let code = match end {
        FeedEnd::Stopping => CloseCode::Away,
        FeedEnd::Replaced | FeedEnd::Refused(_) => CloseCode::Policy,
        FeedEnd::Broken => CloseCode::Unsupported,
    };
    let reason = CloseReason { code, description: Some(end.word().into()) };
    drop(tokio::time::timeout(SEND, session.close(Some(reason))).await);
}

/// None: the other side has gone.
async fn serve(
    listening: &mut Listening,
    head: Head,
    session: &mut Session,
    stream: &mut MessageStream,
) -> Option<FeedEnd> {
    if listening.seat.was_asked {
        send(session, &listening.take_question(&head)).await?;
    } else if listening.cursor.is_behind(&head) {
        send(session, &listening.take(&head)).await?;
    }
    let beat = listening.server.feed_beat;
    let mut silent = 0;
    let mut next_beat = Box::pin(tokio::time::sleep(beat));
    loop {
        tokio::select! {
            heard = listening.hear() => match heard {
                Heard::Head(head) => send(session, &listening.take(&head)).await?,
                Heard::Asked(head) => send(session, &listening.take_question(&head)).await?,
                Heard::Ended(end) => return Some(end),
            },
            message = stream.recv() => {
                silent = 0;
                match message {
                    Some(Ok(Message::Ping(bytes))) => in_time(session.pong(&bytes)).await?,
                    Some(Ok(Message::Pong(_) | Message::Nop)) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    // Devices have nothing to say here.
                    Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Continuation(_))) => {
                        return Some(FeedEnd::Broken);
                    }
                }
            }
            () = &mut next_beat => {
                if silent >= FEED_BEATS_MISSED_MAX {
                    return None;
                }
                silent += 1;
                // What it may read changes by events alone, and those are heard; a token ends by itself.
                if let Err(refusal) = access::device_by(&listening.server, listening.token) {
                    return Some(FeedEnd::Refused(refusal.0.code));
                }
                in_time(session.ping(b"")).await?;
                next_beat.as_mut().reset(tokio::time::Instant::now() + beat);
            }
        }
    }
}

async fn send(session: &mut Session, head: &FeedHead) -> Option<()> {
    let text = serde_json::to_string(head).expect("a head is plain data");
    in_time(session.text(text)).await
}

async fn in_time(sent: impl Future<Output = Result<(), actix_ws::Closed>>) -> Option<()> {
    tokio::time::timeout(SEND, sent).await.ok()?.ok()
}
