//! What to do about it: everything that decides, nothing that touches the world.

pub mod disk;
