//! What to do about it: everything that decides, nothing that touches the world.

pub mod admission;
pub mod author;
pub mod chunk_store;
pub mod clock;
pub mod content;
pub mod directory;
pub mod disk;
pub mod file_history;
pub mod journal;
pub mod names;
pub mod namespace;
pub mod observed;
pub mod plan;
pub mod protocol;
pub mod replica;
pub mod retry;
pub mod round;
pub mod transport;
mod working_tree;
