//! Answers: JSON, CBOR, frames, and problem documents for everything else.

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header::CONTENT_TYPE},
    web,
};
use annals_engine::protocol::{self, CBOR, Code, FRAMES, PROBLEM, Problem};
use serde::{Serialize, de::DeserializeOwned};

/// What a route answers with.
pub(super) type Answer = Result<HttpResponse, Refusal>;

/// A problem on its way out.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Problem);

impl<T: Into<Problem>> From<T> for Refusal {
    fn from(problem: T) -> Self {
        Self(problem.into())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if self.0.status == 401 {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        response.insert_header((CONTENT_TYPE, PROBLEM)).body(serde_json::to_vec(&self.0).unwrap_or_default())
    }
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

/// The body's bytes.
pub(super) fn bytes_of(body: Body) -> Result<web::Bytes, Refusal> {
    body.map_err(|error| {
        let large = error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE;
        let code = if large { Code::TooLarge } else { Code::BadRequest };
        Refusal(Problem::new(code, error.to_string()))
    })
}

/// The body as JSON.
pub(super) fn json_of<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = bytes_of(body)?;
    serde_json::from_slice(&bytes).map_err(|error| Refusal(Problem::new(Code::BadRequest, error.to_string())))
}

/// The body as CBOR.
pub(super) fn cbor_of<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = bytes_of(body)?;
    protocol::from_cbor(&bytes).map_err(|error| Refusal(Problem::new(Code::BadRequest, error)))
}
