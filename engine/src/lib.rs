//! What to do about it: everything that decides, nothing that touches the world.

pub mod admission;
pub mod chunk_store;
pub mod content;
pub mod directory;
pub mod disk;
pub mod namespace;
pub mod protocol;
