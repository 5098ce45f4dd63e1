//! Answers: JSON, CBOR, frames, and problem documents for everything else.

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    error::PayloadError,
    http::{
        StatusCode,
        header::{
            CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
            WWW_AUTHENTICATE,
        },
    },
    web,
};
use annals_engine::protocol::{self, CBOR, Code, FRAMES, PROBLEM, Problem, ZSTD};
use futures_util::StreamExt as _;
use serde::{Serialize, de::DeserializeOwned};

/// The header that names a request, in both directions.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// What a route answers with.
pub(super) type Answer = Result<HttpResponse, Refusal>;

/// A problem on its way out, and what an answer of its status says beside it.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Problem, pub(super) Beside);

/// A header that belongs to a problem.
pub(super) type Beside = Option<Box<(HeaderName, HeaderValue)>>;

impl<T: Into<Problem>> From<T> for Refusal {
    fn from(problem: T) -> Self {
        Self(problem.into(), None)
    }
}

impl Refusal {
    /// With a header.
    pub(super) fn beside(problem: Problem, name: HeaderName, value: &str) -> Self {
        Self(problem, HeaderValue::from_str(value).ok().map(|value| Box::new((name, value))))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        status_of(&self.0)
    }

    fn error_response(&self) -> HttpResponse {
        document(&self.0, &self.1, None)
    }
}

/// The same, and which request it answers.
#[derive(Debug)]
pub(super) struct Named(pub(super) Problem, pub(super) Beside, pub(super) String);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Named {
    fn status_code(&self) -> StatusCode {
        status_of(&self.0)
    }

    fn error_response(&self) -> HttpResponse {
        document(&self.0, &self.1, Some(&self.2))
    }
}

/// What is sent of a problem.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

fn status_of(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn document(problem: &Problem, beside: &Beside, request_id: Option<&str>) -> HttpResponse {
    let mut response = HttpResponse::build(status_of(problem));
    if problem.status == 401 {
        // Only where that would do is a person asked for what they know.
        if matches!(problem.code, Code::LoginMissing | Code::WrongPassword) {
            response.append_header((WWW_AUTHENTICATE, "Basic realm=\"annals\", charset=\"UTF-8\""));
        }
        response.append_header((WWW_AUTHENTICATE, "Bearer"));
    }
    if let Some(seconds) = problem.retry_after {
        response.insert_header((RETRY_AFTER, seconds));
    }
    if let Some(request) = request_id {
        response.insert_header((REQUEST_ID, request));
    }
    if let Some(header) = beside {
        response.insert_header((**header).clone());
    }
    let body = serde_json::to_vec(&Document { problem, request_id }).unwrap_or_default();
    response.insert_header((CONTENT_TYPE, PROBLEM)).body(body)
}

/// 200 with JSON.
pub(super) fn json(message: &impl Serialize) -> Answer {
    Ok(HttpResponse::Ok().json(message))
}

/// 200 with CBOR.
pub(super) fn cbor(message: &impl Serialize) -> Answer {
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, CBOR)).body(protocol::to_cbor(message)))
}

/// 200 with framed chunks.
pub(super) fn frames(body: Vec<u8>) -> Answer {
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, FRAMES)).body(body))
}

/// A request's body, unless it is larger than its route takes.
pub(super) type Body = Result<web::Bytes, actix_web::Error>;

/// A large body of at most so many bytes. Room for it is taken once, if it says how much it needs: a body that grows is
/// copied, and takes the memory of several.
pub(super) async fn gathered(
    request: &HttpRequest,
    mut body: web::Payload,
    bytes_max: usize,
) -> Result<Vec<u8>, actix_web::Error> {
    let said = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if said.is_some_and(|said: usize| said > bytes_max) {
        return Err(PayloadError::Overflow.into());
    }
    let mut bytes = Vec::with_capacity(said.unwrap_or_default());
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if bytes.len() + piece.len() > bytes_max {
            return Err(PayloadError::Overflow.into());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The body's bytes.
pub(super) fn bytes_of<T>(body: Result<T, actix_web::Error>) -> Result<T, Refusal> {
    body.map_err(|error| {
        let large = error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE;
        let code = if large { Code::TooLarge } else { Code::BadRequest };
        Problem::new(code, error.to_string()).into()
    })
}

/// The body as it was before it was compressed, where it was; of at most so many bytes.
pub(super) fn unpacked(request: &HttpRequest, body: Body, bytes_max: usize) -> Body {
    if request.headers().get(CONTENT_ENCODING).is_none_or(|encoding| encoding != ZSTD) {
        return body;
    }
    let plain = zstd::bulk::decompress(&body?, bytes_max);
    plain.map(web::Bytes::from).map_err(actix_web::error::ErrorBadRequest)
}

/// The body as JSON.
pub(super) fn json_of<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = bytes_of(body)?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::new(Code::BadRequest, error.to_string()).into())
}

/// The body as CBOR.
pub(super) fn cbor_of<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = bytes_of(body)?;
    protocol::from_cbor(&bytes).map_err(|error| Problem::new(Code::BadRequest, error).into())
}
