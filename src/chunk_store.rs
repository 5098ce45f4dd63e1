//! Chunk stores for real. The capability and what it promises stand in `engine/src/chunk_store.rs`.

pub mod packs;

pub use packs::Packs;
