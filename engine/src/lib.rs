//! What to do about it: everything that decides, nothing that touches the world.

pub mod chunk_store;
pub mod content;
pub mod disk;
pub mod protocol;
