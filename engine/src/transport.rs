//! How a device reaches its server: the calls of a sync round, and what they promise.
//!
//! A call that fails as [`TransportError::Unreachable`] may have happened all the same (a reply can be lost after
//! the work was done), so every call is safe to repeat: batches are known by their dots, chunks by their
//! names. Answers are checked by whoever asked: records by chain and receipt, chunks by their hash.

use crate::{
    content::{ChunkDelta, ChunkError},
    flow::WINDOW_BYTES_MAX,
    protocol::{
        Batches, Challenge, ChunksStored, ChunksWanted, Class, Fingerprint, HandBack, HandedBack,
        MissingAnswer, MissingQuestion, Outcomes, Problem, Records, RecordsQuery, Signatures,
        SignaturesWanted, frame::Framed,
    },
};
use annals_events::{ChunkId, NamespaceId};

/// A way to one server, for one device.
pub trait Transport {
    /// Records after a cursor.
    ///
    /// # Errors
    /// Refused with `other-log` or `chain-mismatch` where the cursor is not of this log.
    fn records(&self, namespace: NamespaceId, query: &RecordsQuery) -> Result<Records, TransportError>;

    /// Hands over batches, in the device's order.
    ///
    /// # Errors
    /// [`TransportError`]; what became of single batches is in the answer.
    fn submit(&self, namespace: NamespaceId, batches: &Batches) -> Result<Outcomes, TransportError>;

    /// Gives the server what it admitted and lost. Refused with `other-log` where it never signed that.
    ///
    /// # Errors
    /// [`TransportError`]; what was taken before stays taken.
    fn hand_back(&self, namespace: NamespaceId, lost: &HandBack) -> Result<HandedBack, TransportError>;

    /// Something fresh to sign.
    ///
    /// # Errors
    /// [`TransportError`].
    fn challenge(&self) -> Result<Challenge, TransportError>;

    /// Which of these chunks have to be sent. Refused with `quota` where there is no room.
    ///
    /// # Errors
    /// [`TransportError`].
    fn missing(
        &self,
        namespace: NamespaceId,
        question: &MissingQuestion,
    ) -> Result<MissingAnswer, TransportError>;

    /// Sends chunks; they are durable when it returns, but for those that it names to be sent whole.
    ///
    /// # Errors
    /// [`TransportError`].
    fn send_chunks(&self, namespace: NamespaceId, chunks: &[Framed]) -> Result<ChunksStored, TransportError>;

    /// As [`send_chunks`](Self::send_chunks), and may come back before that is done: what became of it is told when it
    /// is waited for. Whoever does not wait may be told nothing.
    fn begin_sending(&self, namespace: NamespaceId, chunks: Vec<Framed>) -> Underway<ChunksStored> {
        let answer = self.send_chunks(namespace, &chunks);
        Box::new(move || answer)
    }

    /// How many bytes go together: what is sent, or asked for, in one request ([`flow::window`](crate::flow::window)).
    fn window(&self) -> u64 {
        WINDOW_BYTES_MAX
    }

    /// Fetches chunks: a prefix of those asked for, at least one. Not checked yet.
    ///
    /// # Errors
    /// Refused with `chunk-unknown` where the first is not to be had.
    fn fetch_chunks(
        &self,
        namespace: NamespaceId,
        wanted: &ChunksWanted,
    ) -> Result<Vec<Framed>, TransportError>;

    /// As [`fetch_chunks`](Self::fetch_chunks), and may come back before that is done; what came is opened, as far as it
    /// can be without what it replaces.
    fn begin_fetching(&self, namespace: NamespaceId, wanted: ChunksWanted) -> Underway<Vec<Arrived>> {
        let answer = self.fetch_chunks(namespace, &wanted).map(opened);
        Box::new(move || answer)
    }

    /// Signatures of chunks that others replace.
    ///
    /// # Errors
    /// [`TransportError`]; a server that knows nothing of signatures refuses with `not-found`.
    fn signatures(
        &self,
        namespace: NamespaceId,
        wanted: &SignaturesWanted,
    ) -> Result<Signatures, TransportError>;
}

/// A call that goes on beside what else is done: waits for its answer.
pub type Underway<T> = Box<dyn FnOnce() -> Result<T, TransportError>>;

/// A chunk that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// Its plain bytes, which have its name; or what is wrong with it.
    Whole(ChunkId, Result<Vec<u8>, ChunkError>),
    /// The difference to others.
    Difference(ChunkDelta),
}

/// Opens what was fetched.
#[must_use]
pub fn opened(framed: Vec<Framed>) -> Vec<Arrived> {
    let open = |framed| match framed {
        Framed::Whole(sealed) => Arrived::Whole(sealed.id, sealed.open()),
        Framed::Delta(delta) => Arrived::Difference(delta),
    };
    framed.into_iter().map(open).collect()
}

/// Why a call did not do what it was for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The server answered and said no.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// No answer. The call may have happened.
    #[error("{server} cannot be reached: {what}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What stood in the way.
        what: String,
    },
    /// A person holds everything up on this side. Nothing was said to anybody.
    #[error("paused: nothing is sent or fetched")]
    Paused,
    /// Whoever answers did not show that it is the server. Nothing was said to it.
    #[error("{}", untrusted(server, found, *pinned, what))]
    Untrusted {
        /// Its address.
        server: String,
        /// The certificate that it showed.
        found: Fingerprint,
        /// Whether the server is known by another one.
        pinned: bool,
        /// What is wrong with this one.
        what: String,
    },
    /// It answers, and not as its address says: by TLS where that has none, or without it.
    #[error("{server} speaks {}", if meant.starts_with("https:") { "TLS" } else { "no TLS" })]
    OtherScheme {
        /// Its address, as it was asked.
        server: String,
        /// The address that it answers to.
        meant: String,
    },
    /// An answer that is none.
    #[error("{server} gave an answer that makes no sense: {what}")]
    Malformed {
        /// Its address.
        server: String,
        /// What is wrong with it.
        what: String,
    },
}

impl TransportError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.class() == Class::Passing,
            Self::Unreachable { .. } | Self::Paused => true,
            Self::Untrusted { .. } | Self::OtherScheme { .. } | Self::Malformed { .. } => false,
        }
    }
}

impl TransportError {
    /// How long the server asked to be left alone, in milliseconds.
    #[must_use]
    pub fn asked_wait_ms(&self) -> Option<u64> {
        match self {
            Self::Refused(problem) => problem.retry_after.map(|seconds| u64::from(seconds) * 1000),
            _ => None,
        }
    }
}

fn untrusted(server: &str, found: &Fingerprint, pinned: bool, what: &str) -> String {
    if pinned {
        return format!("{server} shows another certificate than the one that it is known by: {found}");
    }
    format!("{server} shows a certificate that cannot be trusted ({what}): {found}")
}
