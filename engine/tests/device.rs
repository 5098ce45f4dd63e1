//! The device's half of the engine, run for real between a folder twin and a server that judges every batch.
//!
//! Random people on several devices edit, move, swap and remove; devices scan, push, pull and crash in any
//! order. What must hold afterwards: all folders are equal and equal to what the log says; what no person
//! removed or replaced where it stood is still there; and every batch was admissible.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "device/conflicts.rs"]
mod conflicts;
#[path = "device/folder.rs"]
mod folder;
#[path = "device/identity.rs"]
mod identity;
#[path = "device/laws.rs"]
mod laws;
#[path = "device/making_room.rs"]
mod making_room;
#[path = "device/plans.rs"]
mod plans;
#[path = "device/rewinding.rs"]
mod rewinding;
#[path = "device/stories.rs"]
mod stories;
#[path = "device/world.rs"]
mod world;
