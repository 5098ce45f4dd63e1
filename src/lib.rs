//! Annals: files in sync as what a log of signed events adds up to. Here is what touches the world.

pub mod chunk_store;
pub mod content;
pub mod disk;
