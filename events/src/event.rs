//! Every fact there is, in the past tense.
//!
//! An event has two halves. Its [`Fact`] (in the log's bytes: `structure`) says which entries, versions,
//! devices and people it is about and stands in what is signed. Its [`Body`] holds names, attributes and
//! content ids; only its hash is signed, so a body can be withheld or shredded and every fold still works.
//! Each body carries 16 bytes of salt, which keep its hash from being guessed.
//!
//! Facts and bodies that this release does not know are kept as they are ([`Fact::Unknown`]); the signed
//! bytes are never written again.

use crate::{
    causality::{Dot, DotSet},
    hlc::Hlc,
    id::{DeviceId, EntryId, Hash, NamespaceId, PublicKey, Seq, UserId},
    manifest::Content,
    path::Name,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// One fact as a batch carries it; its dot follows from its place in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands in the total order that respects causality and breaks ties.
    pub hlc: Hlc,
    /// The author's wall clock in milliseconds since 1970, for display alone.
    pub at: u64,
    /// What happened.
    pub fact: Fact,
    /// SHA-256 (`annals body\0`) of the body's bytes; none for kinds that have no body.
    pub body_hash: Option<Hash>,
}

/// Declares the kinds: the word in the log, the fact, and the constructor of the enum.
macro_rules! facts {
    ($( $(#[$doc:meta])* $word:literal => $kind:ident { $( $(#[$field_doc:meta])* $field:ident : $type:ty ),* $(,)? } )*) => {
        /// What happened, and to whom: the signed half of an event.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant, reason = "the common kinds are the large ones")]
        pub enum Fact {
            $( $(#[$doc])* $kind { $( $(#[$field_doc])* $field: $type ),* }, )*
            /// A kind that this release does not know: admitted by a later one, kept as it is.
            Unknown {
                /// Its word in the log.
                kind: String,
            },
        }

        impl Fact {
            /// The word for it in the log and in every output.
            #[must_use]
            pub fn kind(&self) -> &str {
                match self {
                    $( Self::$kind { .. } => $word, )*
                    Self::Unknown { kind } => kind,
                }
            }

            /// The words of all kinds that this release knows.
            pub const KINDS: &'static [&'static str] = &[$( $word ),*];
        }

        /// The structure's CBOR, one map a kind. Only here do facts meet serde.
        mod structure {
            use super::*;
            $( #[derive(Serialize, Deserialize)] pub(super) struct $kind {
                $( #[serde(skip_serializing_if = "Absent::is_absent")] pub(super) $field: $type ),*
            } )*
        }

        impl Serialize for Structure<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.0.clone() {
                    $( Fact::$kind { $( $field ),* } => structure::$kind { $( $field ),* }.serialize(serializer), )*
                    Fact::Unknown { .. } => Err(serde::ser::Error::custom("an unknown kind is never written again")),
                }
            }
        }

        impl<'de> serde::de::DeserializeSeed<'de> for StructureOf<'_> {
            type Value = Fact;
            fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Fact, D::Error> {
                match self.0 {
                    $( $word => structure::$kind::deserialize(deserializer).map(|s| Fact::$kind { $( $field: s.$field ),* }), )*
                    kind => serde::de::IgnoredAny::deserialize(deserializer).map(|_| Fact::Unknown { kind: kind.into() }),
                }
            }
        }
    };
}

facts! {
    /// The first event of a namespace, by the server that made it; `server` is the key that signs this batch.
    "namespace_created" => NamespaceCreated {
        /// Whose it is.
        owner: UserId,
        /// The server's public key: its device id follows from it.
        server: PublicKey,
    }
    /// A server that lost state goes on under a new key, in a new epoch. Signed with the new key.
    "epoch_opened" => EpochOpened {
        /// The new public key: its device id follows from it.
        server: PublicKey,
        /// The server as which it goes on.
        before: DeviceId,
        /// The word of that one for the new key: its signature.
        vouched: ByteBuf,
    }
    /// A device may act here for `user`. By a server.
    "device_linked" => DeviceLinked {
        /// Its public key: its device id follows from it.
        key: PublicKey,
        /// For whom it acts.
        user: UserId,
        /// The device that lost its state and goes on as this one.
        continues: Option<DeviceId>,
    }
    /// Nothing of `device` is admitted past its counter `last`. By a server.
    "device_retired" => DeviceRetired {
        /// Which.
        device: DeviceId,
        /// Its last admitted counter.
        last: u64,
    }
    /// The author's folder shows everything up to `seq`. At most one a day.
    "acknowledged" => Acknowledged {
        /// How far.
        seq: Seq,
    }
    /// A new folder, a symlink, or a file with its first version. The entry's id is this event's dot. Has a body.
    "entry_created" => EntryCreated {
        /// The folder it is in.
        parent: EntryId,
        /// What it is.
        entry_kind: EntryKind,
    }
    /// New content of a file. Has a body.
    "version_uploaded" => VersionUploaded {
        /// The file.
        entry: EntryId,
        /// The versions that the author's disk showed.
        parents: DotSet,
    }
    /// The merge of exactly the versions `inputs`. By a server. Has a body.
    "versions_merged" => VersionsMerged {
        /// The file.
        entry: EntryId,
        /// All heads by people at that moment.
        inputs: DotSet,
        /// Which algorithm made it.
        algorithm: String,
    }
    /// An entry has another folder or name. The name stands in the body.
    "entry_moved" => EntryMoved {
        /// Which.
        entry: EntryId,
        /// The folder it is in now.
        parent: EntryId,
    }
    /// Time, executable bit, tags or note changed; the body says which. Has a body.
    "attributes_changed" => AttributesChanged {
        /// Of which entry.
        entry: EntryId,
    }
    /// Entries were removed.
    "entry_deleted" => EntryDeleted {
        /// What the author removed: one entry, or several that were shown as one.
        entries: DotSet,
        /// The places and maximal versions, at and below, that the author's disk showed or had settled.
        hides: DotSet,
    }
    /// Deletes were lifted from what they hid. The name, if it has a place, stands in the body.
    "entry_restored" => EntryRestored {
        /// What was brought back; a place of this entry.
        entry: EntryId,
        /// The folder it is put into; without one it returns to where it was.
        place: Option<EntryId>,
        /// The deletes that are lifted …
        lifts: DotSet,
        /// … from these places and versions.
        shows: DotSet,
    }
    /// A person chose among the heads of a file.
    "conflict_resolved" => ConflictResolved {
        /// The file.
        entry: EntryId,
        /// Every maximal version that the author's disk showed or had settled.
        over: DotSet,
        /// Those that stay.
        keep: DotSet,
    }
    /// How concurrent edits of files under a pattern are treated. The pattern stands in the body.
    "policy_set" => PolicySet {
        /// The rule from here on.
        policy: Policy,
    }
    /// How long what was replaced or removed is kept, and how long a device may be silent.
    "retention_set" => RetentionSet {
        /// Milliseconds after it was replaced or removed; absent: for ever.
        versions: Option<u64>,
        /// Milliseconds after which a silent device that stands in the way is retired; absent: never.
        silence: Option<u64>,
    }
    /// A person may use this namespace.
    "member_granted" => MemberGranted {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
    }
    /// A person may no longer use this namespace.
    "member_revoked" => MemberRevoked {
        /// Who.
        user: UserId,
    }
    /// Removed entries were forgotten: their contents may go.
    "entry_purged" => EntryPurged {
        /// Which.
        entries: DotSet,
    }
    /// Superseded versions passed their retention: their chunks may go.
    "versions_expired" => VersionsExpired {
        /// Which.
        versions: DotSet,
    }
    /// Directory: an account. Name, password hash and quota stand in the body.
    "account_created" => AccountCreated {
        /// Whose.
        user: UserId,
    }
    /// Directory: another password or quota for an account. Has a body.
    "account_changed" => AccountChanged {
        /// Whose.
        user: UserId,
    }
    /// Directory: a namespace exists.
    "namespace_opened" => NamespaceOpened {
        /// Which.
        namespace: NamespaceId,
        /// Whose.
        owner: UserId,
    }
    /// Directory: whoever shows the secret behind `ticket` may link a device, once.
    "ticket_issued" => TicketIssued {
        /// SHA-256 of the secret.
        ticket: Hash,
        /// For whom.
        user: UserId,
        /// To which namespace.
        namespace: NamespaceId,
        /// Until when, in milliseconds since 1970.
        expires: u64,
    }
    /// Directory: a ticket was used.
    "ticket_redeemed" => TicketRedeemed {
        /// SHA-256 of the secret.
        ticket: Hash,
    }
    /// Directory: a ticket is good for nothing any more, and was not used: the device that made it was retired.
    "ticket_ended" => TicketEnded {
        /// SHA-256 of the secret.
        ticket: Hash,
    }
    /// Directory: whoever shows the secret behind `token` is `device`.
    "token_issued" => TokenIssued {
        /// SHA-256 of the secret.
        token: Hash,
        /// For whom.
        user: UserId,
        /// Which device.
        device: DeviceId,
        /// Until when, in milliseconds since 1970; 0 for no end.
        expires: u64,
    }
    /// Directory: a token is worth nothing any more.
    "token_revoked" => TokenRevoked {
        /// SHA-256 of the secret.
        token: Hash,
    }
}

/// A fact on its way into CBOR.
pub(crate) struct Structure<'a>(pub(crate) &'a Fact);

/// Reads the structure of the kind that it names.
pub(crate) struct StructureOf<'a>(pub(crate) &'a str);

/// Fields that are left out of a structure when there is nothing to say, so that a reader of any release
/// finds the same bytes.
trait Absent {
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

macro_rules! always_present { ($($type:ty),*) => { $( impl Absent for $type {} )* } }
always_present!(
    ByteBuf,
    UserId,
    PublicKey,
    DeviceId,
    NamespaceId,
    Hash,
    Seq,
    EntryId,
    EntryKind,
    DotSet,
    String,
    Policy,
    Role,
    u64
);

/// What an entry is, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Holds entries.
    Folder,
    /// Holds versions of content.
    File,
    /// Holds the text of a path, which nothing follows.
    Symlink,
}

/// What a person may do in a namespace. Each may all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read.
    Viewer,
    /// And change entries.
    Editor,
    /// And grant and revoke.
    Owner,
}

/// What becomes of concurrent edits of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Texts are merged line by line; everything else stays side by side.
    Text,
    /// Contents whose changed chunks differ are put together.
    Chunks,
    /// Everything stays side by side.
    Both,
    /// The later by (hlc, device) is kept.
    Newest,
}

/// The half of an event whose hash is signed and whose bytes may be withheld.
///
/// One type for all kinds: a kind uses the fields that it has and leaves out the rest. In CBOR a map
/// with the fields' names; what is absent is left out.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Body {
    /// 16 bytes that nobody else knows.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 16],
    /// EntryCreated, EntryMoved, EntryRestored with a place: the entry's name in its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// EntryCreated of a file, VersionUploaded, VersionsMerged: what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// EntryCreated of a symlink: where it points, as the bytes that the file system gave.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub target: Option<Vec<u8>>,
    /// EntryCreated, VersionUploaded, AttributesChanged: modification time in nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<i64>,
    /// EntryCreated, VersionUploaded, AttributesChanged: whether the owner may execute it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// AttributesChanged: tags that the entry has from here on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags_added: Vec<String>,
    /// AttributesChanged: tags that lose every adding that the author had seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags_removed: Vec<String>,
    /// AttributesChanged: the note, in place of every one that the author had seen; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// PolicySet: which paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// DeviceLinked: what people call the device. NamespaceCreated, NamespaceOpened: what people call the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// AccountCreated, DeviceLinked, MemberGranted: the account's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// AccountCreated, AccountChanged: the password's argon2 hash (PHC string); empty for no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// AccountCreated, AccountChanged: bytes that the account may store; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
}

impl Body {
    /// Longest symlink target, tag, note, label or pattern, in bytes.
    pub const TEXT_BYTES_MAX: usize = 4096;

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("a body holds only text, integers, bytes and lists of them")
    }

    /// Reads a body. Fields of later releases are passed over.
    ///
    /// # Errors
    /// Whatever is not canonical DAG-CBOR of this shape.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        serde_ipld_dagcbor::from_slice(bytes).map_err(|error| BodyError(error.to_string()))
    }

    /// The hash by which the signed half names these bytes.
    #[must_use]
    pub fn hash_of(bytes: &[u8]) -> Hash {
        Hash::of(b"annals body\0", &[bytes])
    }
}

/// Bytes that are no body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed body: {0}")]
pub struct BodyError(String);

impl Fact {
    /// Every dot that the structure names, in its order; the top of a namespace has none.
    pub fn each_named(&self, mut name: impl FnMut(Dot)) {
        let mut entry = |entry: &EntryId| {
            if *entry != EntryId::ROOT {
                name(entry.0);
            }
        };
        let sets: [&DotSet; 2] = match self {
            Self::EntryCreated { parent, .. } => return entry(parent),
            Self::AttributesChanged { entry: changed } => return entry(changed),
            Self::EntryMoved { entry: moved, parent } => {
                entry(moved);
                return entry(parent);
            }
            Self::VersionUploaded { entry: file, parents: versions }
            | Self::VersionsMerged { entry: file, inputs: versions, .. } => {
                entry(file);
                return versions.iter().for_each(name);
            }
            Self::EntryPurged { entries: dots } | Self::VersionsExpired { versions: dots } => {
                return dots.iter().for_each(name);
            }
            Self::EntryDeleted { entries, hides } => [entries, hides],
            Self::ConflictResolved { entry: file, over, keep } => {
                entry(file);
                [over, keep]
            }
            Self::EntryRestored { entry: restored, place, lifts, shows } => {
                entry(restored);
                place.iter().for_each(&mut entry);
                [lifts, shows]
            }
            Self::NamespaceCreated { .. }
            | Self::EpochOpened { .. }
            | Self::DeviceLinked { .. }
            | Self::DeviceRetired { .. }
            | Self::Acknowledged { .. }
            | Self::PolicySet { .. }
            | Self::RetentionSet { .. }
            | Self::MemberGranted { .. }
            | Self::MemberRevoked { .. }
            | Self::AccountCreated { .. }
            | Self::AccountChanged { .. }
            | Self::NamespaceOpened { .. }
            | Self::TicketIssued { .. }
            | Self::TicketRedeemed { .. }
            | Self::TicketEnded { .. }
            | Self::TokenIssued { .. }
            | Self::TokenRevoked { .. }
            | Self::Unknown { .. } => return,
        };
        sets.into_iter().flat_map(DotSet::iter).for_each(name);
    }
}
