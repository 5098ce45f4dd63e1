//! What to do about it: everything that decides, nothing that touches the world.
//!
//! Reading order. What the world promises: [`clock`], [`disk`], [`chunk_store`], [`transport`]. What both halves
//! share: [`content`] and [`protocol`]. The device's half: [`observed`] holds the three trees, [`author`] says what
//! changed here, [`plan`] what the folder should show and [`names`] under which names, [`journal`] what is signed
//! and not in the log, [`replica`] all that a device knows; [`round`] performs what follows, [`retry`] says when to
//! try again, [`watch`] when to look, [`vigil`] what a daemon does between two rounds, [`ignore`] what is passed by,
//! [`priority`] what goes first, [`flow`] for how long, [`rate`] how fast.
//! The server's half: [`admission`] judges a batch, [`namespace`] is the single writer of a stream, [`directory`]
//! knows accounts, [`retention`] says what may be forgotten, [`garbage`] which chunks nothing needs, and [`filing`]
//! what a path means to those who link nothing. What people ask for: [`file_history`] tells one file's versions,
//! [`trash`] what was removed, [`rewind`] brings back how it was.
//!
//! What must always hold: the same inputs give the same answers. Nothing in here reads a clock, draws a random
//! number or waits.

pub mod admission;
pub mod author;
pub mod chunk_store;
pub mod clock;
pub mod content;
pub mod directory;
pub mod disk;
pub mod file_history;
pub mod filing;
pub mod flow;
pub mod garbage;
pub mod ignore;
pub mod journal;
pub mod names;
pub mod namespace;
pub mod observed;
pub mod plan;
pub mod priority;
pub mod protocol;
pub mod rate;
pub mod replica;
pub mod retention;
pub mod retry;
pub mod rewind;
pub mod round;
pub mod transport;
pub mod trash;
pub mod vigil;
pub mod watch;
mod working_tree;
