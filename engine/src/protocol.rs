//! What devices and servers say to each other: the bodies of `/v1`, one type each, shared by both sides.
//!
//! JSON for people and tools; CBOR ([`to_cbor`], [`from_cbor`]) for records, batches and questions about
//! chunks; [`frame`]s for chunks themselves. Every refusal is a [`Problem`] with a stable [`Code`], and a
//! code has one HTTP status and one exit code. Limits stand here so that a client asks for no more than a
//! server takes.
//!
//! Left out: who may do what (admission and the server decide that) and how bytes travel.

mod account;
mod chunks;
mod code;
mod feed;
pub mod frame;
mod proof;
mod route;

pub use account::{
    Account, AccountChange, Challenge, Credential, LinkRequest, Linked, NewAccount, OwnAccount, Quota,
    Ticket, TicketRequest,
};
pub use chunks::{ChunksStored, ChunksWanted, MissingAnswer, MissingQuestion, Signatures, SignaturesWanted};
pub use code::{Class, Code, Problem};
pub use feed::{
    FEED_BEAT_MS, FEED_BEATS_MISSED_MAX, FEED_CONNECT_MS, FEED_LOST_MS_MAX, FEED_MESSAGE_BYTES_MAX,
    FEED_SILENCE_MS, FeedEnd, FeedHead, FeedQuery, WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX,
};
pub use proof::{
    Fingerprint, LINK_CHALLENGE_BYTES, fingerprint_in, link_message, normal_ticket, spell_ticket,
    with_fingerprint,
};
pub use route::{decoded, encoded};

use annals_events::{
    ContentId, DeviceId, Dot, EntryKind, Hash, NamespaceId, PublicKey, Role, Seq, UserId, log::Head,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

/// The version of this interface; a server of another one is not talked to.
pub const FORMAT: u64 = 1;
/// Media type of CBOR bodies.
pub const CBOR: &str = "application/cbor";
/// Media type of framed chunks.
pub const FRAMES: &str = "application/vnd.annals.chunks";
/// Content encoding of requests to `/batches`, where an answer of the server to a question for records said by
/// `Accept-Encoding` that it takes that.
pub const ZSTD: &str = "zstd";
/// Media type of a [`Problem`].
pub const PROBLEM: &str = "application/problem+json";

/// Most bytes of a JSON request.
pub const JSON_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of records in one answer, unless a single record is larger.
pub const RECORDS_BYTES_MAX: usize = 4 << 20;
/// Most bytes of batches in one request.
pub const BATCHES_BYTES_MAX: usize = 8 << 20;
/// Most bytes of framed chunks in one request or answer; a single chunk always fits.
pub const CHUNKS_BYTES_MAX: usize = 9 << 20;
/// The slowest way that is still waited for by either side, in bytes a second.
pub const SLOWEST: u64 = 16 << 10;
/// Most chunks in one request, answer or question.
pub const CHUNKS_COUNT_MAX: usize = 16_384;
/// Most plain bytes of what travels as differences in one request or answer.
pub const DELTA_BYTES_MAX: usize = 32 << 20;
/// Most signatures in one answer.
pub const SIGNATURES_COUNT_MAX: usize = 64;
/// How long a ticket lives, in milliseconds.
pub const TICKET_MS: u64 = 15 * 60 * 1000;
/// What one's first namespace is called.
pub const HOME: &str = "home";
/// Longest account, namespace or device label, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;

/// `GET /v1/server`: whom one talks to, before any credential is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// [`FORMAT`] of the server.
    pub format: u64,
    /// Its program version, for display.
    pub version: String,
    /// The log it serves: the id of its directory stream.
    pub log: NamespaceId,
    /// The key that it signs receipts with.
    pub server: PublicKey,
    /// The key that the directory stream began with; a device pins it.
    pub directory: PublicKey,
}

/// `POST /v1/namespaces`, and each line of `GET /v1/namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceInfo {
    /// Its id.
    pub id: NamespaceId,
    /// What people call it; its owner has no other one of that name.
    pub label: String,
    /// Whose.
    pub owner: Account,
    /// What the asker may do in it.
    pub role: Role,
    /// How far it is.
    pub seq: Seq,
}

/// `POST /v1/namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNamespace {
    /// What people call it.
    pub label: String,
}

/// Each line of `GET /v1/namespaces/{ns}/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// What people call them.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// Each line of `GET /v1/namespaces/{ns}/devices`: one's own, for owners everybody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Its id.
    pub device: DeviceId,
    /// What people call it.
    pub label: String,
    /// For whom it acts.
    pub user: UserId,
    /// How far its folder is, as it said itself.
    pub acknowledged: Seq,
    /// Up to where it was given everything, as far as the server knows that since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Seq>,
    /// The device that it goes on as, where its state was copied or put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<DeviceId>,
    /// Its last event's counter.
    pub last_counter: u64,
    /// When it was last heard of, in milliseconds since 1970.
    pub last_seen: Option<u64>,
    /// Whether it is cut off.
    pub retired: bool,
}

/// Query of `GET /v1/namespaces/{ns}/records`: the asker's cursor. Answered by [`Records`] in CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordsQuery {
    /// The last place that the asker has.
    #[serde(default)]
    pub after: Seq,
    /// The running hash there; may be left out with `after=0` alone.
    #[serde(default)]
    pub chain: Option<Hash>,
    /// The epoch there.
    #[serde(default)]
    pub epoch: u64,
    /// The log that the asker knows. Absent: any.
    #[serde(default)]
    pub log: Option<NamespaceId>,
    /// Most bytes of records; [`RECORDS_BYTES_MAX`] at most.
    #[serde(default)]
    pub limit: Option<u64>,
}

/// Some records in order, and how far there are more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// Which log.
    pub log: NamespaceId,
    /// How far the namespace is.
    pub head: HeadInfo,
    /// The records' bytes.
    pub records: Vec<ByteBuf>,
    /// Contents that the server lost and that somebody waits for: whoever shows one of them is asked to send it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<annals_events::ContentId>,
}

/// How far a namespace's stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeadInfo {
    /// Last place.
    pub seq: Seq,
    /// Running hash there.
    pub chain: Hash,
    /// Epoch there.
    pub epoch: u64,
}

impl From<Head> for HeadInfo {
    fn from(head: Head) -> Self {
        Self { seq: head.seq, chain: head.chain, epoch: head.epoch }
    }
}

/// `POST /v1/namespaces/{ns}/batches` in CBOR: of one device, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batches {
    /// Each batch's bytes.
    pub batches: Vec<ByteBuf>,
    /// Whether the records of what is admitted may be answered without their batches, which the asker has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub brief: bool,
}

/// The answer to [`Batches`]: one outcome each, up to the first that was not admitted; what follows that
/// one was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcomes {
    /// In the order of the batches.
    pub outcomes: Vec<BatchOutcome>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOutcome {
    /// It is durable, as this record.
    Admitted {
        /// Its bytes.
        record: ByteBuf,
    },
    /// It was durable already, as this record.
    AlreadyAdmitted {
        /// Its bytes.
        record: ByteBuf,
    },
    /// Nothing of it was taken.
    Refused(Refused),
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which rule.
    pub code: Code,
    /// What happened, for people.
    pub message: String,
    /// What to do, for people.
    pub hint: String,
    /// Events of the batch that broke the rule, where single ones did.
    pub dots: Vec<Dot>,
    /// Chunks that have to be sent (again) before trying again, where that is what is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<annals_events::ChunkId>,
}

impl Refused {
    /// What happened, for whoever saved something and never heard of events.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self.code {
            Code::Forbidden | Code::Gone | Code::ReservedName | Code::FieldTooLong => {
                format!("{}: {}", self.code.title(), self.code.hint())
            }
            _ => self.message.clone(),
        }
    }
}

/// `POST /v1/namespaces/{ns}/handback` in CBOR: records that a server admitted and does not have any more, in their
/// order, as they were; [`BATCHES_BYTES_MAX`] of them at most.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HandBack {
    /// Each record's bytes.
    pub records: Vec<ByteBuf>,
    /// Of a device whose token the server does not know: that it holds its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<KeyProof>,
}

/// That a device holds its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyProof {
    /// The public half of it.
    pub device: PublicKey,
    /// From [`Challenge`].
    pub challenge: Hash,
    /// The device's signature over [`link_message`]: 64 bytes.
    pub signature: ByteBuf,
}

/// The answer to [`HandBack`].
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HandedBack {
    /// Events that were put into the log again.
    pub taken: u64,
    /// Events that the log had.
    pub known: u64,
    /// Why the first record that was not taken does not fit what the log has by now, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// Whether the device that asks is one of this namespace: the token that it showed is good from now on.
    pub welcome: bool,
}

/// `GET /v1/namespaces/{ns}/entries/{entry}/versions`: a file's history as the server's log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// The version.
    pub version: Dot,
    /// What it was made from.
    pub parents: Vec<Dot>,
    /// When it was admitted, in milliseconds since 1970.
    pub at: u64,
    /// Who made it.
    pub device: DeviceId,
    /// How many bytes; none where that is withheld.
    pub bytes: Option<u64>,
    /// What it holds; none where that is withheld.
    pub content: Option<ContentId>,
    /// Whether no other version was made from it.
    pub head: bool,
}

/// Each line of `GET /v1/namespaces/{ns}/files/{folder}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// What it is called in its folder.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// The version that is shown; none but for files.
    pub version: Option<Dot>,
    /// How many bytes that holds.
    pub bytes: Option<u64>,
    /// When it was changed, in nanoseconds since 1970.
    pub mtime: Option<i64>,
}

/// The answer to `PUT /v1/namespaces/{ns}/files/{path}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePut {
    /// The version that is shown now: what `ETag` says, too.
    pub version: Dot,
    /// How many bytes it holds.
    pub bytes: u64,
}

/// Canonical CBOR of a message.
#[must_use]
pub fn to_cbor(message: &impl Serialize) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(message).expect("messages hold integers, text, bytes and lists of them")
}

/// Reads a message.
///
/// # Errors
/// What is wrong with the bytes, for people.
pub fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_back_as_they_were_sent() {
        let refused = Refused {
            code: Code::Clock,
            message: "m".into(),
            hint: "h".into(),
            dots: vec![Dot::new(DeviceId([1; 16]), 3)],
            chunks: Vec::new(),
        };
        let outcomes = Outcomes {
            outcomes: vec![
                BatchOutcome::Admitted { record: ByteBuf::from(vec![1, 2]) },
                BatchOutcome::AlreadyAdmitted { record: ByteBuf::new() },
                BatchOutcome::Refused(refused),
            ],
        };
        assert_eq!(from_cbor::<Outcomes>(&to_cbor(&outcomes)), Ok(outcomes));
        let question = MissingQuestion { chunks: Vec::new(), manifests: Vec::new(), adds: u64::MAX >> 1 };
        assert_eq!(from_cbor::<MissingQuestion>(&to_cbor(&question)), Ok(question));
    }
}
