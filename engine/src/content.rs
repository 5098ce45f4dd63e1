//! Bytes to chunks and back: where a file is cut, what its pieces are called, and how a piece travels.
//!
//! A file is cut by [`Chunker`] (FastCDC v2020) as it streams by, each piece is named by SHA-256 of its plain
//! bytes and [sealed](SealedChunk) once, by whoever cut it: compressed where that gains something. Sealed it is
//! sent and stored as it is. [`ContentDraft`] collects the pieces into the
//! [`Content`](annals_events::Content) that an event names.
//!
//! What must always hold: the same bytes cut with the same sizes give the same chunks, whatever pieces they
//! arrive in and on every machine; nobody believes a chunk whose bytes do not match its name; no file is ever
//! in memory as a whole. Left out: reading files and working on all cores, which is the shell's (`src/content.rs`).

pub mod sealed;

pub use sealed::{ChunkError, Codec, SealedChunk};
