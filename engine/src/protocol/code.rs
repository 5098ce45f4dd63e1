//! Every way in which something can be refused: a stable word, an HTTP status, what kind of trouble it is, a hint.

use serde::{Deserialize, Serialize};

/// What kind of trouble a code is: what whoever meets it goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It cannot be done, now or later, as it was asked.
    Failed,
    /// It was asked for in a way that nobody can mean.
    Misused,
    /// One of the two sides is not what it was: a person has to look.
    Lineage,
    /// Later it may go.
    Passing,
    /// Bytes are not what they were.
    Damaged,
    /// Whoever asks may not: who they are, their role, their quota.
    Forbidden,
}

/// Declares the codes: word, status, class, title, hint.
macro_rules! codes {
    ($( $name:ident $word:literal $status:literal $class:ident $title:literal, $hint:literal; )*) => {
        /// A stable name for what went wrong. Added to, never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(
                #[doc = $title]
                #[serde(rename = $word)]
                $name,
            )*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$name ),*];

            /// Its word on the wire.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $( Self::$name => $word, )* }
            }

            /// The HTTP status it comes with; 0 for what no server says.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $( Self::$name => $status, )* }
            }

            /// What kind of trouble it is.
            #[must_use]
            pub fn class(self) -> Class {
                match self { $( Self::$name => Class::$class, )* }
            }

            /// What it means, in one line.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $( Self::$name => $title, )* }
            }

            /// What to do about it, unless somebody knows better.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self { $( Self::$name => $hint, )* }
            }
        }
    };
}

codes! {
    // Requests
    BadRequest "bad-request" 400 Failed "the request is malformed", "client and server may be of different versions";
    BadName "bad-name" 400 Misused "the name cannot be used", "use 1 to 64 of a-z, 0-9, dot, dash and underscore";
    BadPassword "bad-password" 400 Misused "the password cannot be used", "use at least 8 characters";
    NotFound "not-found" 404 Failed "there is no such thing here", "look at /v1/openapi.json for what there is";
    Method "method-not-allowed" 405 Failed "this is not asked for in that way", "`Allow` says in which ways it is; /v1/openapi.json describes them";
    Encoding "encoding" 415 Failed "the body is encoded in a way that this server does not undo", "send it as it is, without Content-Encoding";
    TooLarge "too-large" 413 Failed "the request is larger than this server takes", "send less at once";
    OtherFormat "other-format" 400 Failed "client and server speak different versions", "update the older one of the two";
    Internal "internal" 500 Failed "the server failed", "its log says more; trying again is safe";
    TooMany "too-many" 429 Passing "this was asked for too often", "wait as long as `retry_after` says, in seconds";
    TooSlow "too-slow" 408 Passing "the request took too long", "try again, with less at once if the connection is slow";
    Busy "busy" 503 Passing "the server is busy", "try again in a moment";
    Unreachable "unreachable" 0 Passing "the server cannot be reached", "is it running, and is the address right?";
    // Who asks
    WrongPassword "wrong-password" 401 Forbidden "name or password is wrong", "check both; ANNALS_PASSWORD is used when it is set";
    AdminToken "admin-token" 401 Forbidden "this needs the admin's token", "it is in DATA/admin.token, or in ANNALS_ADMIN_TOKEN";
    LoginMissing "login-missing" 401 Forbidden "nobody said who asks", "show a name and a password (`curl -u NAME`), or a device's token";
    TokenMissing "token-missing" 401 Forbidden "no token was shown", "link the folder first";
    TokenUnknown "token-unknown" 401 Forbidden "the token is not known here", "link the folder again";
    TokenExpired "token-expired" 401 Forbidden "the token has expired", "link the folder again: `annals link URL FOLDER --user NAME`; both sides are merged, nothing is deleted";
    TokenRevoked "token-revoked" 401 Forbidden "the token was revoked", "this device was retired; link the folder again: `annals link URL FOLDER --user NAME`; both sides are merged, nothing is deleted";
    TicketUnknown "ticket-unknown" 403 Forbidden "the ticket is not known here", "check the code, or make a new one with `annals invite FOLDER`";
    TicketExpired "ticket-expired" 403 Forbidden "the ticket has expired", "make a new one with `annals invite FOLDER`; it lasts 15 minutes";
    TicketUsed "ticket-used" 403 Forbidden "the ticket was used already", "make a new one with `annals invite FOLDER`; it works once";
    TicketEnded "ticket-ended" 403 Forbidden "the ticket ended when a device was retired", "make a new one with `annals invite FOLDER` where a device is still linked";
    Challenge "challenge" 403 Forbidden "the challenge is not known or too old", "start linking again";
    Proof "proof" 403 Forbidden "the device did not prove that it holds its key", "start linking again";
    DeviceKnown "device-known" 409 Failed "this device is linked already", "a device links once; take a new key";
    AccountExists "account-exists" 409 Failed "there is an account of that name", "choose another name";
    UnknownUser "unknown-user" 404 Forbidden "there is no account of that name", "ask the admin for `annals user add NAME`";
    UnknownNamespace "unknown-namespace" 404 Forbidden "there is no such namespace, or one may not read it", "`annals namespaces` lists those one may read";
    NamespaceExists "namespace-exists" 409 Failed "one has a namespace of that name", "choose another name";
    UnknownDevice "unknown-device" 404 Forbidden "there is no such device", "`annals devices FOLDER` lists them";
    Forbidden "forbidden" 403 Forbidden "your role does not allow this", "ask an owner of the namespace";
    Quota "quota" 413 Forbidden "the owner's quota has no room for this", "what was removed still counts while its versions are kept; ask the server's admin";
    // Cursors
    OtherLog "other-log" 409 Lineage "the server has another log than before", "link the folder anew: nothing is deleted, both sides are merged";
    ChainMismatch "chain-mismatch" 409 Lineage "the server's history is not the one this device knows", "was the server put back to an older copy?";
    // Content
    ChunkMismatch "chunk-mismatch" 422 Damaged "the bytes of a chunk do not match its id", "they were changed on the way or on disk; send them again";
    ChunkUnknown "chunk-unknown" 404 Failed "a chunk is not here, or one may not read it", "sync again";
    // Files as such
    NotAFile "not-a-file" 409 Failed "there is something else than a file", "name a file; a folder is listed by GET";
    InConflict "in-conflict" 409 Failed "it is in conflict", "choose on a linked device first: `annals status FOLDER` lists conflicts";
    Precondition "precondition" 412 Failed "another version is there than was asked for", "get it again, then decide";
    Range "range" 416 Failed "the file has no bytes there", "ask for fewer";
    // The log
    LogFull "log-full" 507 Passing "the server has no space left", "free some space there; nothing that was acknowledged is lost";
    LogUnavailable "log-unavailable" 503 Passing "the server's log is unavailable", "its log says why";
    LogDamaged "log-damaged" 500 Damaged "the server's log is damaged", "stop the server and run `annals verify --data DATA`";
    // Batches
    BatchMalformed "batch-malformed" 400 Failed "the batch is malformed", "client and server may be of different versions";
    BatchTooLarge "batch-too-large" 413 Failed "the batch is too large", "at most 256 events and 512 KiB fit a batch";
    BatchSignature "batch-signature" 403 Forbidden "the batch is not signed by its device", "the device's key is not the one it was linked with";
    BatchBody "batch-body" 400 Damaged "a body is not the one that was signed", "it was changed on the way or on disk; send it again";
    BatchNamespace "batch-namespace" 400 Failed "the batch is for another namespace", "this is a mistake of the client";
    DeviceUnlinked "device-unlinked" 403 Forbidden "the device is not linked to this namespace", "link the folder again";
    DeviceRetired "device-retired" 403 Forbidden "the device was retired", "link the folder again: `annals link URL FOLDER --user NAME`; both sides are merged, nothing is deleted";
    PrevMismatch "prev-mismatch" 409 Lineage "the batch does not follow the device's last one", "was this device's state copied or put back?";
    CounterUsed "counter-used" 409 Lineage "the batch begins at or below the device's last event", "was this device's state copied or put back?";
    Equivocation "equivocation" 409 Lineage "the device signed two different events under one name", "was this device's state copied or put back? The evidence is kept";
    SeenUnknown "seen-unknown" 409 Failed "the batch claims to have seen what was never admitted", "pull, then issue it again";
    NamedUnseen "named-unseen" 409 Failed "an event names one that its author had not seen", "pull, then issue it again";
    WrongKind "wrong-kind" 409 Failed "an event names one of the wrong kind", "this is a mistake of the client";
    Gone "gone" 409 Failed "what the event would show was purged or has expired", "it cannot be brought back";
    Clock "clock" 400 Failed "an event's clock is out of order or past the year 9999", "set this device's clock";
    ReservedName "reserved-name" 400 Failed "the name is kept for the device's own state", "rename it: nothing at the top may be called .annals";
    BodyMissing "body-missing" 400 Failed "an event lacks what its kind needs", "this is a mistake of the client";
    FieldTooLong "field-too-long" 400 Failed "a text in an event is too long", "shorten it";
    ContentInvalid "content-invalid" 400 Damaged "a content does not add up", "this is a mistake of the client";
    ChunksMissing "chunks-missing" 409 Failed "the batch names chunks that were not sent", "send them, then the batch again";
    ServerOnly "server-only" 403 Forbidden "only a server may issue this event", "this is a mistake of the client";
    KindUnknown "kind-unknown" 400 Failed "the server does not know this kind of event", "update the server";
    NotHere "not-here" 400 Failed "this kind of event does not belong into this stream", "this is a mistake of the client";
    NotYet "not-yet" 409 Failed "a device that is not retired has not acknowledged this yet", "wait for it, or retire it";
}

impl Code {
    /// Whether it says that a device is one no more: nothing is taken from it, whatever that is.
    #[must_use]
    pub fn is_of_retired(self) -> bool {
        matches!(self, Self::TokenRevoked | Self::TokenExpired | Self::DeviceRetired)
    }
}

/// An RFC 9457 problem document, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// `urn:annals:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// For programs.
    pub code: Code,
    /// What to do about it.
    pub hint: String,
    /// After how many seconds to try again, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Problem {
    /// What went wrong, with its code's hint.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:annals:problem:{}", code.word()),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code,
            hint: code.hint().into(),
            retry_after: None,
        }
    }

    /// What the code says, without anything particular.
    #[must_use]
    pub fn plain(code: Code) -> Self {
        Self::new(code, code.title())
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn class(&self) -> Class {
        self.code.class()
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::plain(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| !code.hint().is_empty()));
    }
}
