//! The real thing from outside, in one binary: real processes, real disks, real sockets on loopback.
//!
//! Each file is a list of claims; `tidy` also sees to it that none is forgotten here.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails where it says unwrap, and every file takes what it needs of the others"
)]

mod access;
mod addresses;
mod batches;
mod blocked;
mod chunks;
mod differing;
mod feed;
mod files;
mod following;
mod format;
mod full_disk;
mod garbage;
mod hooks;
mod ignoring;
mod in_place;
mod in_the_way;
mod keeping;
mod killed;
mod limits;
mod looking_back;
mod lost_folder;
mod lost_server;
mod lost_state;
mod manners;
mod mapped;
mod noticing;
mod ordering;
mod place;
mod quotas;
mod restoring;
mod retention;
mod scripts;
mod server;
mod serving;
mod sharing;
mod standing;
mod support;
mod tidy;
mod tls;
mod transfer;
mod trash;
mod two_devices;
mod verbs;
mod verification;
mod walk;
mod watching;
mod wire;
