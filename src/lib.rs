//! Annals: files on all your devices, every change kept as a signed event.
//!
//! The engine decides (`annals-engine`); what stands here touches the world. [`clock`], [`disk`], [`content`],
//! [`chunk_store`], [`transport`] and [`watch`] are the capabilities for real, [`whole`] writes small files, `actors` carry the engine on a server,
//! `server` is its HTTP, [`client`] a linked folder, [`cli`] one verb a file.

pub mod actors;
pub mod chunk_store;
pub mod cli;
pub mod client;
pub mod clock;
pub mod content;
pub mod disk;
pub mod random;
pub mod server;
pub mod transport;
pub mod verification;
pub mod watch;
pub mod whole;
