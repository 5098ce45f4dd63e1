//! The live feed as a device hears it: a WebSocket, or an answer that waits where that is not possible.
//!
//! What must always hold: who listens notices within a minute that nobody talks any more. Left out: connecting again,
//! and what is done about what was heard.

use super::{Answer, Http, stream::Stream};
use annals_engine::{
    protocol::{FEED_MESSAGE_BYTES_MAX, FEED_SILENCE_MS, FeedHead, FeedQuery, Problem, WAIT_SECONDS_DEFAULT},
    transport::TransportError,
};
use annals_events::NamespaceId;
use reqwest::Method;
use std::{
    io,
    net::{Shutdown, TcpStream},
    time::Duration,
};
use tungstenite::{
    HandshakeError, Message, WebSocket,
    client::IntoClientRequest,
    handshake::client::Request,
    http::{HeaderValue, header::AUTHORIZATION},
    protocol::WebSocketConfig,
};

/// How long an answer that was to come after a wait may be late.
const LATE: Duration = Duration::from_secs(20);

/// A device that listens.
pub struct Feed {
    server: String,
    socket: WebSocket<Stream>,
    /// Whether it was silent for so long that a sign of life was asked for.
    is_asked: bool,
}

/// Ends a [`Feed`] from another thread.
pub struct HangUp(TcpStream);

impl HangUp {
    /// Whoever reads from it gets an error at once.
    pub fn now(&self) {
        drop(self.0.shutdown(Shutdown::Both));
    }
}

impl Http {
    /// `GET /v1/namespaces/{ns}/live`.
    ///
    /// # Errors
    /// [`TransportError::Refused`] where the server says no; [`TransportError::Malformed`] where no WebSocket is to be
    /// had on this way.
    pub fn live(&self, namespace: NamespaceId, query: &FeedQuery) -> Answer<Feed> {
        let request = self.upgrade(namespace, query)?;
        let stream = self.stream_to(request.uri())?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(FEED_MESSAGE_BYTES_MAX))
            .max_frame_size(Some(FEED_MESSAGE_BYTES_MAX));
        let socket = match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => socket,
            Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let problem =
                    response.body().as_deref().and_then(|body| serde_json::from_slice::<Problem>(body).ok());
                let status = response.status();
                return Err(
                    problem.map_or_else(|| self.malformed(format!("HTTP status {status}")), Into::into)
                );
            }
            // Somebody took the connection, and let go of it when a WebSocket was asked for.
            Err(HandshakeError::Failure(tungstenite::Error::Io(error))) if is_hung_up(&error) => {
                return Err(self.malformed(error));
            }
            Err(HandshakeError::Failure(tungstenite::Error::Io(error))) => return Err(self.unreached(&error)),
            Err(HandshakeError::Failure(error)) => return Err(self.malformed(error)),
            Err(HandshakeError::Interrupted(_)) => {
                return Err(self.unreached(&io::ErrorKind::TimedOut.into()));
            }
        };
        let silence = Duration::from_millis(FEED_SILENCE_MS);
        socket.get_ref().tcp().set_read_timeout(Some(silence)).map_err(|error| self.unreached(&error))?;
        Ok(Feed { server: self.base.clone(), socket, is_asked: false })
    }

    /// `GET /v1/namespaces/{ns}/changes`.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn changes(&self, namespace: NamespaceId, query: &FeedQuery) -> Answer<FeedHead> {
        let wait = Duration::from_secs(query.wait.unwrap_or(WAIT_SECONDS_DEFAULT));
        let route = format!("namespaces/{namespace}/changes");
        self.json_of(self.send(Method::GET, &route, |request| request.timeout(wait + LATE).query(query))?)
    }

    /// The request for a WebSocket.
    fn upgrade(&self, namespace: NamespaceId, query: &FeedQuery) -> Answer<Request> {
        let base = self.base.replacen("http", "ws", 1);
        let mut url = format!("{base}/v1/namespaces/{namespace}/live?after={}", query.after);
        query.chain.iter().for_each(|chain| url.push_str(&format!("&chain={chain}")));
        query.log.iter().for_each(|log| url.push_str(&format!("&log={log}")));
        let mut request = url.into_client_request().map_err(|error| self.malformed(error))?;
        if let Some(token) = &self.token {
            let shown =
                HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| self.malformed(error))?;
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        Ok(request)
    }
}

impl Feed {
    /// What ends it from another thread.
    ///
    /// # Errors
    /// When the system has no handle left.
    pub fn hang_up(&self) -> io::Result<HangUp> {
        self.socket.get_ref().tcp().try_clone().map(HangUp)
    }

    /// Waits for the next head.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] once nobody talks any more, with the reason if one was given.
    pub fn hear(&mut self) -> Answer<FeedHead> {
        loop {
            let read = self.socket.read();
            if read.is_ok() {
                self.is_asked = false;
            }
            match read {
                Ok(Message::Text(text)) => {
                    return serde_json::from_str(&text).map_err(|error| TransportError::Malformed {
                        server: self.server.clone(),
                        what: error.to_string(),
                    });
                }
                // Pings are answered by the next read.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_)) => {}
                Ok(Message::Close(frame)) => {
                    return Err(self.ended(frame.map_or_else(String::new, |frame| frame.reason.to_string())));
                }
                Err(tungstenite::Error::Io(error)) if is_silence(&error) && !self.is_asked => {
                    self.is_asked = true;
                    self.socket.send(Message::Ping(Default::default())).map_err(|error| self.ended(error))?;
                }
                Err(tungstenite::Error::Io(error)) if is_silence(&error) => {
                    return Err(self.ended("it gives no sign of life"));
                }
                Err(error) => return Err(self.ended(error)),
            }
        }
    }

    fn ended(&self, what: impl ToString) -> TransportError {
        TransportError::Unreachable { server: self.server.clone(), what: what.to_string() }
    }
}

fn is_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
