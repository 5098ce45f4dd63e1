//! What `/v1` is, for programs that read such things.

use super::routes;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Annals",
        description = "Files in sync as a log of signed events. Bodies are the types of \
            `annals_engine::protocol`; CBOR is canonical DAG-CBOR; errors are RFC 9457 problem documents with a \
            stable `code`. `Authorization: Bearer TOKEN` with a device's token, from /v1/link."
    ),
    paths(
        routes::health,
        routes::server_info,
        routes::challenge,
        routes::add_account,
        routes::own_account,
        routes::user,
        routes::link_device,
        routes::ticket,
        routes::namespaces,
        routes::add_namespace,
        routes::records,
        routes::batches,
        routes::missing,
        routes::put_chunks,
        routes::get_chunks,
        routes::members,
        routes::devices,
        routes::retire,
        routes::versions,
        routes::content,
    )
)]
struct Description;

/// The OpenAPI document, as `/v1/openapi.json` gives it.
#[must_use]
pub fn openapi_json() -> String {
    Description::openapi().to_json().expect("a description is plain data")
}
