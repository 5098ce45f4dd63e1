//! The live feed: how far a namespace is, told to devices that wait for it.
//!
//! What must always hold: it carries heads and nothing else. Whoever lost a message, or all of them, loses nothing: the
//! next head says as much, and what lies behind it is pulled as ever. So nobody keeps anything for a device that is slow
//! or gone. Left out: sockets and their heartbeats (the server's and the transport's).

use super::{Code, HeadInfo};
use annals_events::{Hash, NamespaceId, Seq, log::Head};
use serde::{Deserialize, Serialize};

/// Longest message on the feed, in bytes, in either direction.
pub const FEED_MESSAGE_BYTES_MAX: usize = 4096;
/// How often a server shows on a feed that it is there, in milliseconds. Below what proxies take for silence.
pub const FEED_BEAT_MS: u64 = 18_000;
/// How long a device is taken to be there that shows nothing: in beats.
pub const FEED_BEATS_MISSED_MAX: u32 = 2;
/// How long a device waits for a beat before it asks for a sign of life, in milliseconds, and then for that.
pub const FEED_SILENCE_MS: u64 = FEED_BEAT_MS + FEED_BEAT_MS / 4;
/// Within this time a device knows of its own accord that nobody is there, in milliseconds.
pub const FEED_LOST_MS_MAX: u64 = 60_000;
/// How long a device waits for a server to take up a connection, in milliseconds.
pub const FEED_CONNECT_MS: u64 = 10_000;
/// How long `changes` waits unless something else is asked for, in seconds.
pub const WAIT_SECONDS_DEFAULT: u64 = 60;
/// How long it waits at most.
pub const WAIT_SECONDS_MAX: u64 = 120;

/// Query of `GET /v1/namespaces/{ns}/live` and `…/changes`: the asker's cursor, and how long it would wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeedQuery {
    /// The last place that the asker has.
    #[serde(default)]
    pub after: Seq,
    /// The running hash there. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Hash>,
    /// The log that the asker knows. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<NamespaceId>,
    /// Of `changes` alone: how long to wait, in seconds; [`WAIT_SECONDS_DEFAULT`] if absent, [`WAIT_SECONDS_MAX`] at
    /// most, 0 for an answer at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
}

impl FeedQuery {
    /// Whether `head` is something that the asker does not have: further, or further back, or another history.
    #[must_use]
    pub fn is_behind(&self, head: &Head) -> bool {
        head.seq != self.after || self.chain.is_some_and(|chain| chain != head.chain)
    }

    /// The cursor of somebody who heard of `head`.
    #[must_use]
    pub fn having(self, head: &Head) -> Self {
        Self { after: head.seq, chain: Some(head.chain), ..self }
    }
}

/// How far a namespace is: a message of the feed, and the answer of `changes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedHead {
    /// In which log.
    pub log: NamespaceId,
    /// How far.
    pub head: HeadInfo,
    /// Whether that is something that the asker does not have.
    pub changed: bool,
    /// Whether the device is asked to say how far its folder is, though its day is not over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge: bool,
}

/// Why a server ended a feed, as the reason of its close frame says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEnd {
    /// The server stops.
    Stopping,
    /// The device listens elsewhere, more often than it may.
    Replaced,
    /// It did not take what it was sent, or sent what nobody asked for.
    Broken,
    /// It may not listen any more.
    Refused(Code),
}

impl FeedEnd {
    /// The reason.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Replaced => "replaced",
            Self::Broken => "broken",
            Self::Refused(code) => code.word(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_elsewhere_than_the_head_is_behind() {
        let head = Head { seq: Seq(5), chain: Hash([1; 32]), epoch: 1 };
        let at = |after, chain: Option<u8>| FeedQuery {
            after: Seq(after),
            chain: chain.map(|byte| Hash([byte; 32])),
            ..FeedQuery::default()
        };
        for (query, behind) in [
            (at(5, None), false),
            (at(5, Some(1)), false),
            (at(4, None), true),
            (at(4, Some(1)), true),
            // The server was put back to an older copy, or has another history: the pull will say so.
            (at(6, None), true),
            (at(5, Some(2)), true),
        ] {
            assert_eq!(query.is_behind(&head), behind, "{query:?}");
            assert!(!query.having(&head).is_behind(&head));
        }
    }

    #[test]
    fn who_is_gone_without_a_word_is_missed_within_a_minute() {
        // Silence, an unanswered question, and as long as it may take to find that nobody takes a new line.
        const { assert!(2 * FEED_SILENCE_MS + FEED_CONNECT_MS <= FEED_LOST_MS_MAX) }
        const { assert!(FEED_SILENCE_MS > FEED_BEAT_MS) }
    }

    #[test]
    fn no_end_is_taken_for_another() {
        let ends = [FeedEnd::Stopping, FeedEnd::Replaced, FeedEnd::Broken];
        assert!(ends.iter().all(|end| Code::ALL.iter().all(|code| code.word() != end.word())));
    }
}
