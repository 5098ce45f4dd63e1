//! What `/v1` is, for programs that read such things.

use super::{files, routes, schemas};
use annals_engine::protocol::{CBOR, FRAMES, PROBLEM};
use serde_json::{Map, Value, json};
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
        routes::ready,
        routes::metrics,
        routes::server_info,
        routes::challenge,
        routes::add_account,
        routes::change_account,
        routes::own_account,
        routes::user,
        routes::link_device,
        routes::ticket,
        routes::namespaces,
        routes::add_namespace,
        routes::records,
        routes::live,
        routes::changes,
        routes::batches,
        routes::hand_back,
        routes::missing,
        routes::put_chunks,
        routes::get_chunks,
        routes::signatures,
        routes::members,
        routes::devices,
        routes::ask_devices,
        routes::retire,
        routes::versions,
        routes::content,
        files::get_file,
        files::put_file,
        files::delete_file,
    )
)]
struct Description;

/// What a request holds, by its route; chunks are framed, and what is not here holds nothing.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("/v1/accounts", JSON, "NewAccount"),
    ("/v1/accounts/{name}", JSON, "AccountChange"),
    ("/v1/link", JSON, "LinkRequest"),
    ("/v1/tickets", JSON, "TicketRequest"),
    ("/v1/namespaces", JSON, "NewNamespace"),
    ("/v1/namespaces/{namespace}/batches", CBOR, "Batches"),
    ("/v1/namespaces/{namespace}/handback", CBOR, "HandBack"),
    ("/v1/namespaces/{namespace}/chunks/missing", CBOR, "MissingQuestion"),
    ("/v1/namespaces/{namespace}/chunks", FRAMES, "frames"),
    ("/v1/namespaces/{namespace}/chunks/get", CBOR, "ChunksWanted"),
    ("/v1/namespaces/{namespace}/chunks/signatures", CBOR, "SignaturesWanted"),
    ("/v1/namespaces/{namespace}/files/{path}", BYTES, "file"),
];

const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";

/// The OpenAPI document, as `/v1/openapi.json` gives it.
#[must_use]
pub fn openapi_json() -> String {
    document().to_string()
}

/// The routes as they describe themselves, and what travels on them.
fn document() -> Value {
    let mut document = serde_json::to_value(Description::openapi()).expect("a description is plain data");
    for (path, operations) in document["paths"].as_object_mut().expect("there are routes") {
        for (method, operation) in operations.as_object_mut().expect("a route has methods") {
            let request = REQUESTS
                .iter()
                .find(|(known, ..)| known == path && ["post", "put"].contains(&method.as_str()));
            if let Some((_, media, name)) = request {
                operation["requestBody"] =
                    json!({ "required": true, "content": { *media: { "schema": schema(name) } } });
            }
            describe_answers(operation["responses"].as_object_mut().expect("a route answers"));
        }
    }
    document["components"]["schemas"] = Value::Object(schemas::all());
    document
}

/// Successes say in one word what they hold, refusals hold a problem document.
fn describe_answers(answers: &mut Map<String, Value>) {
    for (status, answer) in answers {
        if status.as_str() >= "400" {
            answer["content"] = json!({ PROBLEM: { "schema": schemas::of("Problem") } });
            continue;
        }
        let name = answer["description"].as_str().unwrap_or_default().to_owned();
        for (media, content) in answer["content"].as_object_mut().into_iter().flatten() {
            if media != "text/plain" {
                content["schema"] = schema(&name);
            }
        }
    }
}

fn schema(name: &str) -> Value {
    match name {
        "frames" => json!({
            "description": "chunks one after the other: id (32 bytes), codec (1: see docs/format.md), plain length, length of what follows (4 each, big-endian), bytes",
            "type": "string",
            "format": "binary",
        }),
        "file" => json!({ "description": "the file's bytes", "type": "string", "format": "binary" }),
        "FileOrFolder" => json!({
            "description": "the file's bytes; of a folder, in JSON, what is in it",
            "oneOf": [schema("file"), schemas::of("[FileInfo]")],
        }),
        name => schemas::of(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_engine::{
        content::{Signature, Sums},
        protocol::*,
    };
    use annals_events::{
        ChunkId, ChunkRef, Content, ContentId, Cut, DeviceId, Dot, EntryKind, Hash, NamespaceId, PublicKey,
        Role, Seq, UserId,
    };
    use serde::{Serialize, de::DeserializeOwned};
    use std::collections::BTreeSet;

    /// Whether `value` is what a schema says; where it is not.
    fn differs(value: &Value, schema: &Value, of: &Map<String, Value>) -> Option<String> {
        if let Some(name) = schema["$ref"].as_str() {
            return differs(value, &of[name.rsplit('/').next().unwrap()], of);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            if let Some(difference) = differs(value, part, of) {
                return Some(difference);
            }
        }
        for any in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[any].as_array()
                && choices.iter().all(|choice| differs(value, choice, of).is_some())
            {
                return Some(format!("{value} is none of {schema}"));
            }
        }
        if let Some(values) = schema["enum"].as_array() {
            return (!values.contains(value)).then(|| format!("{value} is none of {values:?}"));
        }
        let fits = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string() || schema["format"] == "binary" && value.is_array(),
            Some("integer") => value.is_u64(),
            Some("boolean") => value.is_boolean(),
            Some("null") => value.is_null(),
            _ => true,
        };
        if !fits {
            return Some(format!("{value} is no {schema}"));
        }
        if let (Some(digits), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
            let count: usize = digits.split(['{', '}']).nth(1).unwrap().parse().unwrap();
            if text.len() != count {
                return Some(format!("{text} does not match {digits}"));
            }
        }
        let items = schema["prefixItems"].as_array().cloned().unwrap_or_default();
        for (i, item) in value.as_array().into_iter().flatten().enumerate() {
            let schema = items.get(i).unwrap_or(&schema["items"]);
            if let Some(difference) = differs(item, schema, of) {
                return Some(difference);
            }
        }
        differs_in_fields(value, schema, of)
    }

    fn differs_in_fields(value: &Value, schema: &Value, of: &Map<String, Value>) -> Option<String> {
        let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else {
            return None;
        };
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let missing = required.iter().find(|name| !fields.contains_key(name.as_str().unwrap()));
        if let Some(name) = missing {
            return Some(format!("{name} is missing in {value}"));
        }
        fields.iter().find_map(|(name, value)| match properties.get(name) {
            Some(schema) => differs(value, schema, of),
            None => Some(format!("{name} is not described")),
        })
    }

    fn samples() -> Vec<(&'static str, Value)> {
        let (hash, id, key) = (Hash([1; 32]), NamespaceId([2; 16]), PublicKey([3; 32]));
        let (user, device, dot) = (UserId([4; 16]), DeviceId([5; 16]), Dot::new(DeviceId([5; 16]), 6));
        let chunk = ChunkRef { bytes: 9, id: ChunkId([7; 32]) };
        let server = ServerInfo { format: 1, version: "1".into(), log: id, server: key, directory: key };
        let account = Account { user, name: "ada".into() };
        let namespace = NamespaceInfo {
            id,
            label: "home".into(),
            owner: account.clone(),
            role: Role::Owner,
            seq: Seq(1),
        };
        let login = Credential::Password { user: "ada".into(), password: "secret".into() };
        let link = |credential, namespace: Option<&str>, continues| LinkRequest {
            credential,
            device: key,
            challenge: hash,
            proof: "0".repeat(128),
            label: "laptop".into(),
            namespace: namespace.map(Into::into),
            create: true,
            continues,
        };
        let info = DeviceInfo {
            device,
            label: "laptop".into(),
            user,
            acknowledged: Seq(1),
            fetched: Some(Seq(2)),
            continues: Some(device),
            last_counter: 2,
            last_seen: Some(3),
            retired: false,
        };
        let refused = Refused {
            code: Code::Quota,
            message: "m".into(),
            hint: "h".into(),
            dots: vec![dot],
            chunks: vec![chunk.id],
        };
        let version = VersionInfo {
            version: dot,
            parents: vec![dot],
            at: 1,
            device,
            bytes: Some(2),
            content: Some(ContentId([8; 32])),
            head: true,
        };
        let signature = Signature::of(Sums::Long, vec![chunk.id], b"some bytes");
        let record = || serde_bytes::ByteBuf::from(vec![1]);
        let outcomes = vec![
            BatchOutcome::Admitted { record: record() },
            BatchOutcome::AlreadyAdmitted { record: record() },
            BatchOutcome::Refused(refused.clone()),
        ];
        let (inline, _) = Content::new(Cut::SMALL, vec![chunk; 2]);
        let (large, _) = Content::new(Cut::SMALL, vec![chunk; 100]);
        let proof = KeyProof { device: key, challenge: hash, signature: record() };
        let account_of = |quota| NewAccount { name: "ada".into(), password: None, quota };
        vec![
            ("ServerInfo", of(&server)),
            ("Challenge", of(&Challenge { challenge: hash, server: server.clone() })),
            ("NewAccount", of(&account_of(Quota::Default))),
            ("NewAccount", of(&account_of(Quota::Unlimited))),
            ("NewAccount", of(&account_of(Quota::Bytes(5)))),
            ("AccountChange", of(&AccountChange { password: None, quota: Some(Quota::Unlimited) })),
            ("Account", of(&account)),
            ("OwnAccount", of(&OwnAccount { user, name: "ada".into(), quota: None, used: 1 })),
            ("LinkRequest", of(&link(login, Some("home"), Some(device)))),
            ("LinkRequest", of(&link(Credential::Ticket("CODE".into()), None, None))),
            ("TicketRequest", of(&TicketRequest::default())),
            ("Ticket", of(&Ticket { code: "CODE".into(), expires: 1, namespace: id })),
            ("NamespaceInfo", of(&namespace)),
            ("NewNamespace", of(&NewNamespace { label: "home".into() })),
            ("Member", of(&Member { user, name: "ada".into(), role: Role::Viewer })),
            ("DeviceInfo", of(&info)),
            (
                "Records",
                of(&Records {
                    log: id,
                    head: HeadInfo::default(),
                    records: vec![record()],
                    wanted: vec![ContentId([8; 32])],
                }),
            ),
            (
                "FeedHead",
                of(&FeedHead { log: id, head: HeadInfo::default(), changed: true, acknowledge: true }),
            ),
            ("Batches", of(&Batches { batches: vec![record()], brief: true })),
            ("Outcomes", of(&Outcomes { outcomes })),
            ("KeyProof", of(&proof)),
            ("HandBack", of(&HandBack { records: vec![record()], proof: Some(proof) })),
            ("HandedBack", of(&HandedBack { refused: Some(refused.clone()), ..HandedBack::default() })),
            ("HandedBack", of(&HandedBack::default())),
            ("Refused", of(&refused)),
            (
                "MissingQuestion",
                of(&MissingQuestion {
                    chunks: vec![chunk],
                    manifests: vec![(ContentId([8; 32]), chunk)],
                    adds: 1,
                }),
            ),
            ("MissingAnswer", of(&MissingAnswer { chunks: vec![0], manifests: vec![1] })),
            ("ChunksStored", of(&ChunksStored { new: 1, new_bytes: 2, again: vec![chunk.id] })),
            (
                "ChunksWanted",
                of(&ChunksWanted {
                    chunks: vec![chunk.id],
                    bases: vec![(0, vec![chunk.id])],
                    content: Some(ContentId([8; 32])),
                }),
            ),
            ("SignaturesWanted", of(&SignaturesWanted { bases: vec![vec![chunk.id]], short: true })),
            ("Signature", of(&signature)),
            (
                "Signatures",
                of(&Signatures { signatures: vec![signature.clone()], short: vec![(0, 1, record())] }),
            ),
            ("VersionInfo", of(&version)),
            (
                "FileInfo",
                of(&FileInfo {
                    name: "a.txt".into(),
                    kind: EntryKind::File,
                    version: Some(dot),
                    bytes: Some(1),
                    mtime: Some(2),
                }),
            ),
            ("FilePut", of(&FilePut { version: dot, bytes: 1 })),
            ("Content", of(&inline)),
            ("Content", of(&large)),
            ("Problem", of(&Problem::plain(Code::Quota))),
            ("Linked", of(&Linked { token: "0".repeat(64), device, account, namespace, server })),
        ]
    }

    /// As it is written: it is read back as what it was, in JSON and in CBOR.
    fn of<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) -> Value {
        let value = serde_json::to_value(message).unwrap();
        assert_eq!(&serde_json::from_value::<T>(value.clone()).unwrap(), message);
        assert_eq!(from_cbor::<T>(&to_cbor(message)).as_ref(), Ok(message));
        value
    }

    #[test]
    fn every_type_is_described_as_it_is_written() {
        let described = schemas::all();
        for (name, sample) in samples() {
            assert_eq!(differs(&sample, &described[name], &described), None, "{name}: {sample}");
            // A field that is described and never written is noticed where it is required, and so is this one.
            let without = json!({ "what": "is this" });
            assert!(differs(&without, &described[name], &described).is_some(), "{name}");
        }
        let sampled: BTreeSet<&str> = samples().iter().map(|(name, _)| *name).collect();
        let inside = ["Admission", "BatchOutcome", "ChunkRef", "Credential", "HeadInfo", "Quota"];
        for name in described.keys() {
            assert!(
                sampled.contains(name.as_str()) || inside.contains(&name.as_str()),
                "{name} has no sample"
            );
        }
    }

    #[test]
    fn every_route_says_what_it_takes_and_gives_and_every_name_is_described() {
        let document = document();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let takes_nothing = ["get", "delete"].contains(&method.as_str())
                    || path == "/v1/challenges"
                    || ["/retire", "/ask"].iter().any(|end| path.ends_with(end));
                assert_eq!(operation.get("requestBody").is_none(), takes_nothing, "{method} {path}");
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    for content in answer["content"].as_object().into_iter().flatten() {
                        assert!(content.1.get("schema").is_some(), "{method} {path} {status}");
                    }
                    assert!(answer.get("content").is_some() || status == "204", "{method} {path} {status}");
                }
            }
        }
        let text = document.to_string();
        for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}
