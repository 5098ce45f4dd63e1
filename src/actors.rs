//! Thin shells around the engine: mailbox, engine step, effects.
//!
//! Four kinds, each rebuilt from the log when somebody asks for it, passivated when nobody does, and rebuilt
//! after a panic: [`user`](UserActor), [`namespace`](NamespaceActor), [`file`](FileActor) and
//! [`session`](SessionActor). Asking goes one way, sessions to users to namespaces to the log, so that nobody
//! waits in a circle. Nothing in here blocks an arbiter: the log answers by futures, chunks and passwords go
//! through [`node::blocking`].
//!
//! Left out: HTTP, and who holds which secret (the server's).

pub mod checkpoints;
pub mod collecting;
pub mod directory;
pub mod file;
pub mod filing;
pub mod forgetting;
pub mod handback;
pub(crate) mod issuers;
pub mod keys;
pub(crate) mod listeners;
pub mod marks;
pub mod meters;
pub mod namespace;
pub mod node;
pub mod rights;
pub mod roster;
pub mod sent;
pub mod session;
#[cfg(test)]
mod tests;
pub mod upkeep;
pub mod user;
mod wanted;

pub use file::FileActor;
pub use namespace::NamespaceActor;
pub use node::Node;
pub use session::SessionActor;
pub use user::UserActor;
