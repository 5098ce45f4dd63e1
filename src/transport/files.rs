//! Files as such over HTTP: one file up or down, by name and password, as a stream.

use super::Http;
use annals_engine::{
    protocol::{FileInfo, FilePut},
    transport::TransportError,
};
use reqwest::{
    Method,
    blocking::{Body, RequestBuilder, Response},
    header::IF_MATCH,
};
use std::{
    io::{self, Read, Write},
    time::Duration,
};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// Longest wait for a file that nobody knows the size of.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a file did not come whole.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The server, or the way to it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// It could not be written.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
}

/// A file that is about to come.
pub struct Arriving {
    server: String,
    answer: Response,
}

impl Arriving {
    /// Its bytes, written to `sink`: how many.
    ///
    /// # Errors
    /// [`GetError`]; then `sink` may hold its beginning.
    pub fn write_to(mut self, sink: &mut dyn Write) -> Result<u64, GetError> {
        let (mut bytes, mut buffer) = (0, vec![0; 64 << 10]);
        loop {
            let read = self.answer.read(&mut buffer).map_err(|error| TransportError::Unreachable {
                server: self.server.clone(),
                what: format!("the answer was cut off: {error}"),
            })?;
            if read == 0 {
                return Ok(bytes);
            }
            sink.write_all(&buffer[..read]).map_err(GetError::Output)?;
            bytes += read as u64;
        }
    }
}

/// What is at a path.
pub enum Found {
    /// A file.
    File(Arriving),
    /// A folder, and what is in it.
    Folder(Vec<FileInfo>),
}

impl Http {
    /// `GET` of what is at a path.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn get_file(&self, route: &str, login: &Login) -> Result<Found, TransportError> {
        let answer = self.send(Method::GET, route, |request| shown(request, login).timeout(DAY))?;
        // Files are never anything else than bytes.
        let media_type = answer.headers().get(reqwest::header::CONTENT_TYPE);
        if media_type.is_some_and(|media_type| media_type.as_bytes().starts_with(b"application/json")) {
            return self.json_of(answer).map(Found::Folder);
        }
        Ok(Found::File(Arriving { server: self.base().to_owned(), answer }))
    }

    /// `PUT` of a file of so many bytes, or of nobody knows how many; only in place of the version that is named, if
    /// one is.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn put_file(
        &self,
        route: &str,
        login: &Login,
        file: impl Read + Send + 'static,
        bytes: Option<u64>,
        replaces: Option<&str>,
    ) -> Result<FilePut, TransportError> {
        let body = match bytes {
            Some(bytes) => Body::sized(file.take(bytes), bytes),
            None => Body::new(file),
        };
        let wait = bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map_or(DAY, |bytes| Self::ANSWER + self.at_slowest(bytes));
        let answer: Response = self.send(Method::PUT, route, |request| {
            let request = shown(request, login).timeout(wait).body(body);
            match replaces {
                Some(version) => request.header(IF_MATCH, format!("\"{version}\"")),
                None => request,
            }
        })?;
        self.json_of(answer)
    }
}

fn shown(request: RequestBuilder, login: &Login) -> RequestBuilder {
    request.basic_auth(&login.user, Some(&login.password))
}
