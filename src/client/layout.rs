//! What lies in a linked folder's `.annals/`: every name once, and what becomes of it.
//!
//! | name | what it is | written by |
//! |---|---|---|
//! | `link.json`, `device.key` | the link: which device this is, and its key | `binding` |
//! | `guard/`, `guard.json` | what a copy is noticed by | `guarding` |
//! | `records/` (`.part`, `.new`, `.old` while it is written anew) | the records that were pulled | `store` |
//! | `state/` | the device's own state | `store` |
//! | `outbox/` | chunks of saves that wait for a server | `store/outbox` |
//! | `checkpoint` | what the rows add up to; a cache | `checkpoint` |
//! | `standing.json` | how the folder stood after the last round | `standing` |
//! | `lists/` | lists of large files' chunks; a cache | `lists` |
//! | `paused`, `limit-rate` | how a person wants it to be synced | `settings` |
//! | `forget.json` | what is to be forgotten | `trash` |
//! | `retell.json` | tags and notes to be said again | `retelling` |
//! | `hooks.json`, `hooked.json` | a person's commands, and what they were told | `hooks` |
//! | `lock` | held by whoever has the folder | `folder` |
//! | `control.sock` | where a daemon is asked | `control` |
//! | `tmp/`, `kept/` | files on their way into the folder, and what nobody has seen go | [`disk`](crate::disk) |
//! | `left-*` | the link of a device that is no more while its server does not know | `linking` |
//! | `was-*` | what earlier devices of this folder knew | `guarding`, `linking` |
//!
//! Beside any of them `NAME.new` may lie, which a crash left of writing it. What must always hold: no other file of
//! `client` makes up a name, and whoever adds one says here what [becomes](Fate) of it.

use crate::disk;
use std::path::{Path, PathBuf};

/// The folder in which a device keeps its own state.
pub const STATE_FOLDER: &str = ".annals";

pub(crate) const LINK: &str = "link.json";
pub(crate) const KEY: &str = "device.key";
pub(super) const GUARD: &str = "guard";
pub(super) const GUARD_NOTE: &str = "guard.json";
pub(super) const RECORDS: &str = "records";
/// Being written; counts for nothing.
pub(super) const RECORDS_PART: &str = "records.part";
/// Whole and durable; counts in place of the other.
pub(super) const RECORDS_NEW: &str = "records.new";
/// What was replaced, on its way out.
pub(super) const RECORDS_OLD: &str = "records.old";
pub(super) const STATE: &str = "state";
pub(super) const OUTBOX: &str = "outbox";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const STANDING: &str = "standing.json";
pub(super) const LISTS: &str = "lists";
/// There while nothing is to be sent or fetched.
pub(super) const PAUSED: &str = "paused";
/// Bytes a second in each direction, in decimal.
pub(super) const RATE: &str = "limit-rate";
pub(super) const WISHES: &str = "forget.json";
pub(super) const RETELL: &str = "retell.json";
pub(super) const HOOKS: &str = "hooks.json";
pub(super) const HOOKED: &str = "hooked.json";
pub(super) const LOCK: &str = "lock";
/// The socket's name in the folder of whoever listens, which may be a server's.
pub const SOCKET: &str = "control.sock";
/// How such links begin.
pub(super) const LEFT: &str = "left-";
/// How such folders begin.
pub(super) const WAS: &str = "was-";

/// What becomes of something when the folder becomes another device, and when it is unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is the device: written anew with it, and gone with its link.
    Link,
    /// It is what the device knows: set aside with it, and gone with its link.
    Known,
    /// It is whoever's the folder is: it goes on with the next device, and goes with the last one's link.
    Shared,
    /// Nobody else has it: it stays whatever happens.
    Stays,
}

/// Each of them, by its name or how that begins.
const ALL: [(&str, Fate); 25] = [
    (LINK, Fate::Link),
    (KEY, Fate::Link),
    (GUARD, Fate::Link),
    (GUARD_NOTE, Fate::Link),
    (CHECKPOINT, Fate::Known),
    (RECORDS, Fate::Known),
    (RECORDS_PART, Fate::Known),
    (RECORDS_NEW, Fate::Known),
    (RECORDS_OLD, Fate::Known),
    (STATE, Fate::Known),
    (OUTBOX, Fate::Known),
    (STANDING, Fate::Known),
    (LISTS, Fate::Shared),
    (PAUSED, Fate::Shared),
    (RATE, Fate::Shared),
    (WISHES, Fate::Shared),
    (RETELL, Fate::Shared),
    (HOOKS, Fate::Shared),
    (HOOKED, Fate::Shared),
    (LOCK, Fate::Shared),
    (SOCKET, Fate::Shared),
    (disk::TMP, Fate::Stays),
    (disk::KEPT, Fate::Stays),
    (LEFT, Fate::Stays),
    (WAS, Fate::Stays),
];

/// What is set aside when the folder becomes another device.
pub(super) fn set_aside() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().filter(|(_, fate)| *fate == Fate::Known).map(|(name, _)| name)
}

/// Whether what is called so stays in the folder when that is unlinked.
pub(super) fn stays(name: &[u8]) -> bool {
    ALL.iter().any(|(stays, fate)| *fate == Fate::Stays && name.starts_with(stays.as_bytes()))
}

/// What a device keeps, of which nobody but the process that has it writes to.
pub(super) const WRITTEN: [&str; 2] = [RECORDS, STATE];

/// Where it is in the linked folder `root`.
pub(crate) fn at(root: &Path, name: &str) -> PathBuf {
    root.join(STATE_FOLDER).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_in_the_state_folder_are_made_up_here_alone() {
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client");
        let mut open = vec![client];
        while let Some(folder) = open.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
                let names = code.split(".join(\"").skip(1).filter_map(|rest| rest.split('"').next());
                // Between words; what is the system's, or a server's.
                let others = ["/", " ", ", ", "fd", ".local/state", "server.key", "admin.token"];
                let made_up = names.filter(|name| !is_test && !others.contains(name));
                assert_eq!(made_up.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", path.display());
            }
        }
    }

    #[test]
    fn what_stays_is_not_set_aside_and_what_is_set_aside_does_not_stay() {
        for (name, fate) in ALL {
            assert_eq!(set_aside().any(|known| known == name), fate == Fate::Known, "{name}");
            assert_eq!(stays(name.as_bytes()), fate == Fate::Stays, "{name}");
        }
        assert!(stays(b"was-0123.lost") && stays(b"left-01"));
        assert!(WRITTEN.iter().all(|written| set_aside().any(|known| known == *written)));
    }
}
