//! The types of `/v1` in the words of JSON Schema: what each request holds and each answer gives.
//!
//! One table, from which the document is made; the tests hold it to what the types of
//! `annals_engine::protocol` really write. A type that travels as CBOR is described by the same words: ids, keys
//! and hashes are hex in JSON and byte strings there.

use serde_json::{Map, Value, json};

/// A field: its name (`?` behind one that may be missing or null), its type, what it is.
type Field = (&'static str, &'static str, &'static str);

/// Every type: its name, what it is, its fields. A type of a field is one of the words of [`word`], the name of
/// another of these, or `[…]` around either.
const TYPES: &[(&str, &str, &[Field])] = &[
    (
        "ServerInfo",
        "Whom one talks to.",
        &[
            ("format", "uint", "the version of this interface"),
            ("version", "text", "the program's, for display"),
            ("log", "id", "the log that it serves"),
            ("server", "key", "signs receipts"),
            ("directory", "key", "the directory's first key; to be pinned"),
        ],
    ),
    (
        "Challenge",
        "Good for one link within five minutes.",
        &[("challenge", "hash", "random"), ("server", "ServerInfo", "who asks")],
    ),
    (
        "NewAccount",
        "With the admin's token.",
        &[
            ("name", "text", "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit"),
            ("password?", "text", "at least 8 bytes; none for an account that is reached by tickets alone"),
            ("quota?", "Quota", "what it may store"),
        ],
    ),
    ("Account", "An account.", &[("user", "id", "its id"), ("name", "text", "what people call it")]),
    (
        "OwnAccount",
        "One's own account.",
        &[
            ("user", "id", "its id"),
            ("name", "text", "what people call it"),
            ("quota?", "uint", "bytes that it may store; none for no limit"),
            ("used", "uint", "bytes that its namespaces hold"),
        ],
    ),
    (
        "AccountChange",
        "What is absent stays as it is.",
        &[("password?", "text", "another password"), ("quota?", "Quota", "bytes that it may store")],
    ),
    (
        "LinkRequest",
        "Links a device.",
        &[
            ("credential", "Credential", "who asks"),
            ("device", "key", "the device's public key"),
            ("challenge", "hash", "from /v1/challenges"),
            ("proof", "signature", "over \"annals link\\0\", challenge, log, device"),
            ("label", "text", "what people call the device"),
            ("namespace?", "text", "id, label, or OWNER/LABEL; none for the ticket's, or one's home"),
            ("create?", "bool", "whether to make a namespace of that label at need"),
            ("continues?", "id", "the device that lost its state and goes on as this one"),
        ],
    ),
    (
        "Linked",
        "All that a device has to keep.",
        &[
            ("token", "text", "to be shown with every request"),
            ("device", "id", "its id"),
            ("account", "Account", "for whom it acts"),
            ("namespace", "NamespaceInfo", "what it is linked to"),
            ("server", "ServerInfo", "whom it is linked with"),
        ],
    ),
    (
        "TicketRequest",
        "For one's next device; `user` and `label` with the admin's token.",
        &[
            ("namespace?", "id", "which namespace; none for the device's own"),
            ("user?", "text", "the account's name"),
            ("label?", "text", "the account's namespace of that label, made at need"),
        ],
    ),
    (
        "Ticket",
        "Links one device, once.",
        &[
            ("code", "text", "what to type"),
            ("expires", "ms", "until when"),
            ("namespace", "id", "where it leads to"),
        ],
    ),
    (
        "NamespaceInfo",
        "A namespace that one may read.",
        &[
            ("id", "id", "its id"),
            ("label", "text", "what people call it"),
            ("owner", "Account", "whose"),
            ("role", "role", "what the asker may do in it"),
            ("seq", "uint", "its last event"),
        ],
    ),
    ("NewNamespace", "A namespace to be made.", &[("label", "text", "what people call it")]),
    (
        "Member",
        "Who may do what.",
        &[("user", "id", "who"), ("name", "text", "what people call them"), ("role", "role", "what")],
    ),
    (
        "DeviceInfo",
        "A device of a namespace.",
        &[
            ("device", "id", "its id"),
            ("label", "text", "what people call it"),
            ("user", "id", "for whom it acts"),
            ("acknowledged", "uint", "how far its folder is, as it said itself"),
            ("fetched?", "uint", "up to where it was given everything, since the server was started"),
            ("continues?", "id", "the device that it goes on as"),
            ("last_counter", "uint", "its last event"),
            ("last_seen?", "ms", "when it was last heard of"),
            ("retired", "bool", "whether it is cut off"),
        ],
    ),
    (
        "Records",
        "Records in order, as many as fit.",
        &[
            ("log", "id", "which log"),
            ("head", "HeadInfo", "how far the namespace is"),
            ("records", "[bytes]", "each record"),
            (
                "wanted?",
                "[hash]",
                "contents that the server lost and somebody waits for: whoever shows one sends it",
            ),
        ],
    ),
    (
        "HeadInfo",
        "How far a namespace is.",
        &[("seq", "uint", "its last event"), ("chain", "hash", "there"), ("epoch", "uint", "there")],
    ),
    (
        "FeedHead",
        "How far a namespace is: a message of the live feed, and the answer of `changes`.",
        &[
            ("log", "id", "in which log"),
            ("head", "HeadInfo", "how far"),
            ("changed", "bool", "whether the asker does not have that"),
            ("acknowledge?", "bool", "whether the device is asked to say how far its folder is"),
        ],
    ),
    (
        "HandBack",
        "Records that the server lost.",
        &[
            ("records", "[bytes]", "each record, in their order"),
            ("proof?", "KeyProof", "of a device whose token is not known"),
        ],
    ),
    (
        "KeyProof",
        "That a device holds its key.",
        &[
            ("device", "key", "its public key"),
            ("challenge", "hash", "from /v1/challenges"),
            ("signature", "bytes", "over \"annals link\\0\", challenge, log, device"),
        ],
    ),
    (
        "HandedBack",
        "What became of them.",
        &[
            ("taken", "uint", "events that are in the log again"),
            ("known", "uint", "events that the log had"),
            ("refused?", "Refused", "why the first record that was not taken does not fit the log"),
            ("welcome", "bool", "whether the token that was shown is good"),
        ],
    ),
    (
        "Batches",
        "Of one device, in its order.",
        &[
            ("batches", "[bytes]", "each batch"),
            ("brief?", "bool", "whether records of what is admitted are answered without their batches"),
        ],
    ),
    (
        "Outcomes",
        "One for each batch, up to the first that was refused.",
        &[("outcomes", "[BatchOutcome]", "in the order of the batches")],
    ),
    ("Admission", "It is durable, as this record.", &[("record", "bytes", "the record")]),
    (
        "Refused",
        "Nothing of it was taken.",
        &[
            ("code", "text", "which rule"),
            ("message", "text", "what happened"),
            ("hint", "text", "what to do"),
            ("dots", "[dot]", "the events that broke it"),
            ("chunks?", "[hash]", "what has to be sent first"),
        ],
    ),
    (
        "MissingQuestion",
        "What has to be sent, and is there room?",
        &[
            ("chunks", "[ChunkRef]", "single chunks"),
            ("manifests?", "[manifest]", "whole contents: [content id, their manifest chunk]"),
            ("adds?", "uint", "by how many bytes the owner's quota is filled"),
        ],
    ),
    (
        "MissingAnswer",
        "Places in the question, from 0.",
        &[("chunks", "[uint]", "of chunks"), ("manifests", "[uint]", "of manifests")],
    ),
    (
        "ChunksStored",
        "What became of chunks that were sent.",
        &[
            ("new", "uint", "how many were new"),
            ("new_bytes", "uint", "stored bytes of those"),
            ("again?", "[hash]", "could not be made of the difference that was sent: to be sent whole"),
        ],
    ),
    (
        "ChunksWanted",
        "Chunks by name.",
        &[
            ("chunks", "[hash]", "which, in this order"),
            ("bases?", "[bases]", "[place in chunks, chunks that it replaces and the asker holds]"),
            ("content?", "hash", "the content that the first of them is fetched for"),
        ],
    ),
    (
        "SignaturesWanted",
        "Chunks to which a difference is to be told.",
        &[
            ("bases", "[[hash]]", "each a few chunks, one after the other"),
            ("short?", "bool", "whether the asker takes short sums"),
        ],
    ),
    (
        "Signatures",
        "Those that the asker may have.",
        &[
            ("signatures", "[Signature]", "in the order asked"),
            ("short?", "[sums]", "[place in the question, plain bytes in all, short sums]"),
        ],
    ),
    (
        "Signature",
        "Sums of every block of some chunks.",
        &[
            ("bases", "[hash]", "of which chunks"),
            ("bytes", "uint", "their plain bytes in all"),
            ("sums", "bytes", "a weak sum and the beginning of the SHA-256 of every block"),
        ],
    ),
    (
        "VersionInfo",
        "A version of a file.",
        &[
            ("version", "dot", "its name"),
            ("parents", "[dot]", "what it was made from"),
            ("at", "ms", "when it was admitted"),
            ("device", "id", "who made it"),
            ("bytes?", "uint", "how many; none where that is withheld"),
            ("content?", "hash", "the content's id; none where that is withheld"),
            ("head", "bool", "whether no other version was made from it"),
        ],
    ),
    (
        "FileInfo",
        "What is in a folder.",
        &[
            ("name", "text", "what it is called there"),
            ("kind", "kind", "what it is"),
            ("version?", "dot", "the version that is shown; none but for files"),
            ("bytes?", "uint", "how many bytes that holds"),
            ("mtime?", "ns", "when it was changed"),
        ],
    ),
    (
        "FilePut",
        "What is there now.",
        &[("version", "dot", "the version that is shown"), ("bytes", "uint", "how many bytes it holds")],
    ),
    (
        "Content",
        "What a file holds.",
        &[
            ("id", "hash", "the content's id"),
            ("size", "uint", "plain bytes in all"),
            ("cut", "[uint]", "how it was cut: least, average, most bytes"),
            ("chunks?", "[ChunkRef]", "its chunks, up to 64"),
            ("manifest?", "ChunkRef", "the chunk that lists more than those"),
        ],
    ),
    (
        "Problem",
        "Why something was refused (RFC 9457).",
        &[
            ("type", "text", "a name for the code"),
            ("title", "text", "the code in words"),
            ("status", "uint", "the HTTP status"),
            ("code", "text", "stable, for programs"),
            ("detail", "text", "what happened"),
            ("hint", "text", "what to do"),
            ("retry_after?", "uint", "after how many seconds to try again"),
            ("request_id?", "text", "which request it answers, as the server's log names it"),
        ],
    ),
];

/// Types that are no maps of fixed fields.
fn others() -> [(&'static str, Value); 4] {
    let of = |name: &str| json!({ "$ref": reference(name) });
    let one = |key: &str, schema: Value| json!({ "type": "object", "required": [key], "properties": { key: schema } });
    let login = json!({
        "type": "object",
        "required": ["user", "password"],
        "properties": { "user": { "type": "string" }, "password": { "type": "string" } },
    });
    [
        (
            "ChunkRef",
            json!({
                "description": "[length, chunk id]",
                "type": "array",
                "prefixItems": [word("uint"), word("hash")],
            }),
        ),
        (
            "Quota",
            json!({
                "oneOf": [{ "enum": ["default", "unlimited"] }, one("bytes", word("uint"))],
            }),
        ),
        (
            "Credential",
            json!({
                "oneOf": [one("password", login), one("ticket", json!({ "type": "string" }))],
            }),
        ),
        (
            "BatchOutcome",
            json!({
                "oneOf": [
                    one("admitted", of("Admission")),
                    one("already_admitted", of("Admission")),
                    one("refused", of("Refused")),
                ],
            }),
        ),
    ]
}

/// The simple types.
fn word(name: &str) -> Value {
    let hex = |digits: u32| json!({ "type": "string", "pattern": format!("^[0-9a-f]{{{digits}}}$") });
    match name {
        "uint" => json!({ "type": "integer", "minimum": 0 }),
        "ms" => json!({ "type": "integer", "minimum": 0, "description": "milliseconds since 1970" }),
        "text" => json!({ "type": "string" }),
        "bool" => json!({ "type": "boolean" }),
        "id" => hex(32),
        "hash" | "key" => hex(64),
        "signature" => hex(128),
        "ns" => json!({ "type": "integer", "description": "nanoseconds since 1970" }),
        "kind" => json!({ "enum": ["folder", "file", "symlink"] }),
        "role" => json!({ "enum": ["viewer", "editor", "owner"] }),
        "dot" => json!({ "description": "device:counter; [device, counter] in CBOR", "type": "string" }),
        "bytes" => json!({ "description": "a byte string of CBOR", "type": "string", "format": "binary" }),
        "bases" => {
            json!({ "type": "array", "prefixItems": [word("uint"), { "type": "array", "items": word("hash") }] })
        }
        "sums" => json!({ "type": "array", "prefixItems": [word("uint"), word("uint"), word("bytes")] }),
        "manifest" => {
            json!({ "type": "array", "prefixItems": [word("hash"), { "$ref": reference("ChunkRef") }] })
        }
        other => panic!("{other} is no word"),
    }
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// The schema of a type by its name in the table, `[…]` around it for a list.
pub(super) fn of(name: &str) -> Value {
    if let Some(item) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return json!({ "type": "array", "items": of(item) });
    }
    let is_named = name.starts_with(|first: char| first.is_ascii_uppercase());
    if is_named { json!({ "$ref": reference(name) }) } else { word(name) }
}

/// All of them, by name.
pub(super) fn all() -> Map<String, Value> {
    let structs = TYPES.iter().map(|(name, what, fields)| ((*name).to_owned(), of_fields(what, fields)));
    structs.chain(others().map(|(name, schema)| (name.to_owned(), schema))).collect()
}

fn of_fields(what: &str, fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, kind, about) in fields {
        let mut schema = of(kind);
        let name = match name.strip_suffix('?') {
            Some(name) => {
                schema = json!({ "anyOf": [schema, { "type": "null" }] });
                name
            }
            None => {
                required.push(*name);
                name
            }
        };
        if schema.get("$ref").is_some() {
            schema = json!({ "allOf": [schema] });
        }
        schema["description"] = json!(about);
        properties.insert((*name).to_owned(), schema);
    }
    json!({ "type": "object", "description": what, "required": required, "properties": properties })
}
