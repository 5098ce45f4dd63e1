//! Why a batch is not taken: a value with ids, a code for programs and a hint for people.

use crate::protocol::{Code, Refused};
use annals_events::{
    BatchError, ChunkId, ContentId, DeviceId, Dot, Hash, Hlc, NameError, NamespaceId, Role, Seq,
};

/// The rule that a batch breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not well-formed, or not signed by its author.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// It was sent to the wrong place.
    #[error("the batch is for namespace {actual}, this is {expected}")]
    OtherNamespace {
        /// Where it arrived.
        expected: NamespaceId,
        /// Where it belongs.
        actual: NamespaceId,
    },
    /// Sent by somebody other than its author.
    #[error("the batch is by device {author}, it was sent by {sender}")]
    OtherDevice {
        /// Who signed it.
        author: DeviceId,
        /// Whose token was shown.
        sender: DeviceId,
    },
    /// The log knows no such device.
    #[error("device {device} is not linked here")]
    Unlinked {
        /// Which.
        device: DeviceId,
    },
    /// It was cut off.
    #[error("device {device} was retired after its event {last}")]
    Retired {
        /// Which.
        device: DeviceId,
        /// Its last counter.
        last: u64,
        /// The event that comes after it.
        dot: Dot,
    },
    /// A batch is missing before it, or there is one too many.
    #[error("the batch of device {device} does not follow its last one")]
    Prev {
        /// Whose.
        device: DeviceId,
        /// Its last admitted batch.
        expected: Option<Hash>,
        /// What the batch names.
        actual: Option<Hash>,
    },
    /// It begins where the device has been already.
    #[error("event {dot} does not come after the device's last one, which is {last}")]
    CounterUsed {
        /// The batch's first event.
        dot: Dot,
        /// The device's last counter.
        last: u64,
    },
    /// Other content under a used dot.
    #[error("event {dot} was signed before, with other content")]
    Equivocation {
        /// The batch's first event.
        dot: Dot,
        /// The batch that is stored.
        stored: Hash,
    },
    /// It claims to have seen what is not there.
    #[error("the batch has seen event {dot}, the last one admitted of that device is {last}")]
    SeenUnknown {
        /// What it claims.
        dot: Dot,
        /// What there is.
        last: u64,
    },
    /// It claims to be further than the log.
    #[error("event {dot} says that its folder shows everything up to {seq}, the log is at {head}")]
    AheadOfLog {
        /// The event.
        dot: Dot,
        /// What it claims.
        seq: Seq,
        /// What there is.
        head: Seq,
    },
    /// It names what its author had not seen, or nobody ever made.
    #[error("event {dot} names {named}, which its author had not seen or which is nobody's")]
    NamedUnseen {
        /// The event.
        dot: Dot,
        /// What it names.
        named: Dot,
    },
    /// It names what is something else.
    #[error("event {dot} names {named}, which is not {expected}")]
    WrongKind {
        /// The event.
        dot: Dot,
        /// What it names.
        named: Dot,
        /// What it would have to be.
        expected: &'static str,
    },
    /// It would show what a purge or an expiry took.
    #[error("event {dot} would show {gone}, which was purged or has expired")]
    Gone {
        /// The event.
        dot: Dot,
        /// What is gone.
        gone: Dot,
    },
    /// Not above what came before, or past the end of time.
    #[error("the clock of event {dot} is {hlc:?}, before it was {before:?}")]
    Clock {
        /// The event.
        dot: Dot,
        /// Its stamp.
        hlc: Hlc,
        /// The greatest stamp before it.
        before: Hlc,
    },
    /// `.annals`, in any spelling.
    #[error("event {dot} names something at the top {name:?}, which is kept for devices")]
    ReservedName {
        /// The event.
        dot: Dot,
        /// As given.
        name: String,
    },
    /// What no file system holds.
    #[error("event {dot}: {why}")]
    Name {
        /// The event.
        dot: Dot,
        /// What is wrong with it.
        why: NameError,
    },
    /// Bytes that are no body.
    #[error("the body of event {dot} cannot be read: {why}")]
    BodyMalformed {
        /// The event.
        dot: Dot,
        /// What is wrong with it.
        why: String,
    },
    /// A field is not there.
    #[error("event {dot} lacks its {field}")]
    BodyMissing {
        /// The event.
        dot: Dot,
        /// Which.
        field: &'static str,
    },
    /// A body where there is nothing for one to say.
    #[error("event {dot} has a body, which {kind} does not")]
    BodyNotHere {
        /// The event.
        dot: Dot,
        /// Its kind.
        kind: String,
    },
    /// A text is larger than it may be.
    #[error("the {field} of event {dot} has {bytes} bytes, it may have {max}")]
    FieldTooLong {
        /// The event.
        dot: Dot,
        /// Which.
        field: &'static str,
        /// What it has.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// A content that does not add up.
    #[error("event {dot} names content {content}, which does not add up")]
    Content {
        /// The event.
        dot: Dot,
        /// Which.
        content: ContentId,
    },
    /// Chunks have to be sent first.
    #[error("{} chunks were not sent before the batch of {first}", chunks.len())]
    ChunksMissing {
        /// The batch's first event.
        first: Dot,
        /// Which.
        chunks: Vec<ChunkId>,
    },
    /// The owner has no room left.
    #[error("{used} bytes are used and {adds} would be added, the quota has room for {room}")]
    Quota {
        /// What the namespace holds.
        used: u64,
        /// What would come.
        adds: u64,
        /// What it may come to.
        room: u64,
    },
    /// Not with this role.
    #[error("event {dot} ({kind}) needs the role {needed:?}, its author has {}", role.map_or("none".into(), |r| format!("{r:?}")))]
    Forbidden {
        /// The event.
        dot: Dot,
        /// Its kind.
        kind: String,
        /// What it takes.
        needed: Role,
        /// What its author has.
        role: Option<Role>,
    },
    /// Not by a device, or not by a server.
    #[error(
        "event {dot} ({kind}) is not for its author to issue: servers and devices have kinds of their own"
    )]
    ServerOnly {
        /// The event.
        dot: Dot,
        /// Its kind.
        kind: String,
    },
    /// The one whose namespace it is stays its owner.
    #[error("event {dot} would take the namespace from the one it belongs to")]
    LastOwner {
        /// The event.
        dot: Dot,
    },
    /// A kind of a later release.
    #[error("event {dot} is of the unknown kind {kind:?}")]
    UnknownKind {
        /// The event.
        dot: Dot,
        /// Its kind.
        kind: String,
    },
    /// A kind of another stream, or not at its place.
    #[error("event {dot} ({kind}) does not belong here")]
    NotHere {
        /// The event.
        dot: Dot,
        /// Its kind.
        kind: String,
    },
    /// A server's statement that its own log contradicts.
    #[error("event {dot} ({kind}) contradicts the log: {what}")]
    Contradicts {
        /// The event.
        dot: Dot,
        /// Its kind.
        kind: String,
        /// How.
        what: &'static str,
    },
    /// Something that is still needed cannot be forgotten.
    #[error(
        "event {dot} would forget {named}, which is still shown or not yet acknowledged by every device (all have {floor})"
    )]
    NotYet {
        /// The event.
        dot: Dot,
        /// What it names.
        named: Dot,
        /// How far every device is.
        floor: Seq,
    },
}

impl Refusal {
    /// For programs.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Batch(error) => match error {
                BatchError::Malformed(_) | BatchError::Counter { .. } => Code::BatchMalformed,
                BatchError::TooLarge { .. } | BatchError::EventCount { .. } => Code::BatchTooLarge,
                BatchError::Signature { .. } => Code::BatchSignature,
                BatchError::BodyHash { .. } => Code::BatchBody,
            },
            Self::OtherNamespace { .. } => Code::BatchNamespace,
            Self::OtherDevice { .. } => Code::BatchSignature,
            Self::Unlinked { .. } => Code::DeviceUnlinked,
            Self::Retired { .. } => Code::DeviceRetired,
            Self::Prev { .. } => Code::PrevMismatch,
            Self::CounterUsed { .. } => Code::CounterUsed,
            Self::Equivocation { .. } => Code::Equivocation,
            Self::SeenUnknown { .. } | Self::AheadOfLog { .. } => Code::SeenUnknown,
            Self::NamedUnseen { .. } => Code::NamedUnseen,
            Self::WrongKind { .. } => Code::WrongKind,
            Self::Gone { .. } => Code::Gone,
            Self::Clock { .. } => Code::Clock,
            Self::ReservedName { .. } => Code::ReservedName,
            Self::Name { .. } => Code::BadName,
            Self::BodyMalformed { .. } | Self::BodyNotHere { .. } => Code::BatchMalformed,
            Self::BodyMissing { .. } => Code::BodyMissing,
            Self::FieldTooLong { .. } => Code::FieldTooLong,
            Self::Content { .. } => Code::ContentInvalid,
            Self::ChunksMissing { .. } => Code::ChunksMissing,
            Self::Quota { .. } => Code::Quota,
            Self::Forbidden { .. } | Self::LastOwner { .. } => Code::Forbidden,
            Self::ServerOnly { .. } => Code::ServerOnly,
            Self::UnknownKind { .. } => Code::KindUnknown,
            Self::NotHere { .. } => Code::NotHere,
            Self::Contradicts { .. } => Code::Internal,
            Self::NotYet { .. } => Code::NotYet,
        }
    }

    /// The events that it is about.
    #[must_use]
    pub fn dots(&self) -> Vec<Dot> {
        match self {
            Self::Retired { dot, .. }
            | Self::CounterUsed { dot, .. }
            | Self::Equivocation { dot, .. }
            | Self::AheadOfLog { dot, .. }
            | Self::NamedUnseen { dot, .. }
            | Self::WrongKind { dot, .. }
            | Self::Gone { dot, .. }
            | Self::Clock { dot, .. }
            | Self::ReservedName { dot, .. }
            | Self::Name { dot, .. }
            | Self::BodyMalformed { dot, .. }
            | Self::BodyMissing { dot, .. }
            | Self::BodyNotHere { dot, .. }
            | Self::FieldTooLong { dot, .. }
            | Self::Content { dot, .. }
            | Self::Forbidden { dot, .. }
            | Self::LastOwner { dot }
            | Self::ServerOnly { dot, .. }
            | Self::UnknownKind { dot, .. }
            | Self::NotHere { dot, .. }
            | Self::Contradicts { dot, .. }
            | Self::NotYet { dot, .. } => vec![*dot],
            Self::Batch(BatchError::BodyHash { dot }) => vec![*dot],
            Self::Batch(_)
            | Self::OtherNamespace { .. }
            | Self::OtherDevice { .. }
            | Self::Unlinked { .. }
            | Self::Prev { .. }
            | Self::SeenUnknown { .. }
            | Self::ChunksMissing { .. }
            | Self::Quota { .. } => Vec::new(),
        }
    }

    /// As it is told to whoever sent the batch.
    #[must_use]
    pub fn to_wire(&self) -> Refused {
        let chunks = match self {
            Self::ChunksMissing { chunks, .. } => chunks.clone(),
            _ => Vec::new(),
        };
        Refused {
            code: self.code(),
            message: self.to_string(),
            hint: self.code().hint().into(),
            dots: self.dots(),
            chunks,
        }
    }
}
