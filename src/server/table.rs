//! Every route: its path, who answers which method, and the most that it takes. The one list of them: what is served, what
//! `Allow` says, and what `/v1/openapi.json` is held to.

use super::{
    answer::{Answer, Refusal},
    files, routes,
};
use actix_web::{
    HttpRequest, Route,
    guard::fn_guard,
    http::{Method, header},
    web::{self, PayloadConfig, ServiceConfig},
};
use annals_engine::protocol::{
    BATCHES_BYTES_MAX, CHUNKS_BYTES_MAX, CHUNKS_COUNT_MAX, Code, JSON_BYTES_MAX, Problem,
};

/// Beyond what a batch list holds: CBOR around each.
const CBOR_ROOM: usize = 64 * 1024;
/// The most that a list of batches has.
pub(super) const LIST_BYTES_MAX: usize = BATCHES_BYTES_MAX + CBOR_ROOM;
/// 48 bytes a chunk and some room.
const QUESTION_BYTES_MAX: usize = CHUNKS_COUNT_MAX * 96;

/// Whoever may read something may ask what it would be told.
const READ: &[Method] = &[Method::GET, Method::HEAD];
/// What waits, or goes on.
const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const PUT: &[Method] = &[Method::PUT];
const DELETE: &[Method] = &[Method::DELETE];

/// A path, and what is done there.
struct Row {
    path: String,
    /// The most that a body may have; files have no such bound.
    bytes_max: usize,
    by: Vec<(&'static [Method], Route)>,
}

fn row<const N: usize>(path: &str, bytes_max: usize, by: [(&'static [Method], Route); N]) -> Row {
    Row { path: path.to_owned(), bytes_max, by: by.into() }
}

/// The routes.
fn rows() -> Vec<Row> {
    let json = JSON_BYTES_MAX;
    let mut rows = vec![
        row("/healthz", json, [(READ, web::to(routes::health))]),
        row("/readyz", json, [(READ, web::to(routes::ready))]),
        row("/metrics", json, [(READ, web::to(routes::metrics))]),
        row("/v1/openapi.json", json, [(READ, web::to(routes::described))]),
        row("/v1/server", json, [(READ, web::to(routes::server_info))]),
        row("/v1/challenges", json, [(POST, web::to(routes::challenge))]),
        row("/v1/accounts", json, [(POST, web::to(routes::add_account))]),
        row("/v1/accounts/{name}", json, [(PUT, web::to(routes::change_account))]),
        row("/v1/account", json, [(READ, web::to(routes::own_account))]),
        row("/v1/users/{name}", json, [(READ, web::to(routes::user))]),
        row("/v1/link", json, [(POST, web::to(routes::link_device))]),
        row("/v1/tickets", json, [(POST, web::to(routes::ticket))]),
        row(
            "/v1/namespaces",
            json,
            [(READ, web::to(routes::namespaces)), (POST, web::to(routes::add_namespace))],
        ),
    ];
    let of_namespace = [
        row("/records", json, [(READ, web::to(routes::records))]),
        row("/live", json, [(GET, web::to(routes::live))]),
        row("/changes", json, [(GET, web::to(routes::changes))]),
        row("/batches", LIST_BYTES_MAX, [(POST, web::to(routes::batches))]),
        row("/handback", LIST_BYTES_MAX, [(POST, web::to(routes::hand_back))]),
        row("/chunks", CHUNKS_BYTES_MAX, [(POST, web::to(routes::put_chunks))]),
        row("/chunks/missing", QUESTION_BYTES_MAX, [(POST, web::to(routes::missing))]),
        row("/chunks/get", QUESTION_BYTES_MAX, [(POST, web::to(routes::get_chunks))]),
        row("/chunks/signatures", QUESTION_BYTES_MAX, [(POST, web::to(routes::signatures))]),
        row(
            FILES,
            json,
            [
                (READ, web::to(files::get_file)),
                (PUT, web::to(files::put_file)),
                (DELETE, web::to(files::delete_file)),
            ],
        ),
        row("/members", json, [(READ, web::to(routes::members))]),
        row("/devices", json, [(READ, web::to(routes::devices))]),
        row("/devices/ask", json, [(POST, web::to(routes::ask_devices))]),
        row("/devices/{device}/retire", json, [(POST, web::to(routes::retire))]),
        row("/entries/{entry}/versions", json, [(READ, web::to(routes::versions))]),
        row("/entries/{entry}/versions/{version}/content", json, [(READ, web::to(routes::content))]),
    ];
    rows.extend(
        of_namespace.map(|row| Row { path: format!("/v1/namespaces/{{namespace}}{}", row.path), ..row }),
    );
    rows
}

/// Files by their path, which may be as long as it likes; their bodies come piece by piece.
const FILES: &str = "/files/{path:.*}";

/// Serves every route.
pub(super) fn configure(config: &mut ServiceConfig) {
    for Row { path, bytes_max, by } in rows() {
        let methods = by.iter().flat_map(|(methods, _)| *methods);
        let allowed = methods.map(Method::as_str).collect::<Vec<_>>().join(", ");
        let mut resource = web::resource(path).app_data(PayloadConfig::new(bytes_max));
        for (methods, route) in by {
            resource = resource
                .route(route.guard(fn_guard(move |context| methods.contains(&context.head().method))));
        }
        config.service(resource.default_service(web::to(move || not_so(allowed.clone()))));
    }
    let path = |_: actix_web::error::PathError, request: &HttpRequest| {
        let detail = format!(
            "{} has something else where an id belongs: ids are hex digits, a namespace's as `annals namespaces` lists it",
            request.path()
        );
        Refusal::from(Problem::new(Code::NotFound, detail)).into()
    };
    let query = |error: actix_web::error::QueryPayloadError, _: &HttpRequest| {
        Refusal::from(Problem::new(Code::BadRequest, error.to_string())).into()
    };
    config
        .app_data(web::PathConfig::default().error_handler(path))
        .app_data(web::QueryConfig::default().error_handler(query))
        .default_service(web::to(routes::nothing));
}

async fn not_so(allowed: String) -> Answer {
    Err(Refusal::beside(Problem::plain(Code::Method), header::ALLOW, &allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_served_is_what_is_described() {
        let document: serde_json::Value = serde_json::from_str(&super::super::openapi_json()).unwrap();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, by)| {
                by.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
            })
            .collect();
        let served: BTreeSet<(String, String)> = rows()
            .iter()
            .flat_map(|row| {
                let path = row.path.replace("{path:.*}", "{path}");
                let methods = row.by.iter().flat_map(|(methods, _)| *methods);
                // What GET answers without its body needs no description of its own.
                methods
                    .filter(|method| **method != Method::HEAD)
                    .map(move |method| (path.clone(), method.as_str().to_lowercase()))
            })
            // It describes everything but itself.
            .filter(|(path, _)| path != "/v1/openapi.json")
            .collect();
        assert_eq!(served, described);
    }
}
