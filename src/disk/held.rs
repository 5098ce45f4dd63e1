//! What is in our hands, and its note.
//!
//! Between an exchange of names and the proof that what came out was expected, a file of the user's lies in
//! `.annals/tmp`. Should we crash there, it must not be taken for one of our own leftovers. So before the
//! first exchange of a group a note says durably which names in `.annals/tmp` may hold somebody's file, where
//! that belongs, and which file is ours. What no note mentions is ours.

use super::{
    calls::{self as fs, AtFlags, Mode, OFlags},
    folder::{Folder, KEPT, STATE, TMP},
};
use annals_engine::disk::Identity;
use annals_events::ContentId;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{fs::File, io::Write as _};

/// The note's name in `.annals/tmp`, and the one under which it is written.
pub(super) const NOTE: &str = "note";
pub(super) const NOTE_NEW: &str = "note.new";

/// One name in `.annals/tmp` that may come to hold what is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The name.
    pub(super) name: String,
    /// Where what comes out belongs.
    pub(super) path: String,
    /// Where else it may go, if that is taken.
    pub(super) onward: Option<String>,
    /// The file system and number of what goes in for it.
    pub(super) ours: Option<(u64, u64)>,
    /// What is expected to come out.
    pub(super) expect: Identity,
    /// What it is to hold, where its times do not vouch for that.
    #[serde(default)]
    pub(super) holds: Option<ContentId>,
}

/// Writes the note, whole on the disk before it has its name: half a note would leave what is ours for somebody's. Its
/// name is durable only after a sync of `tmp`.
pub(super) fn write_note(tmp: BorrowedFd<'_>, intents: &[Intent]) -> Result<(), Errno> {
    let bytes = serde_ipld_dagcbor::to_vec(intents).expect("names and numbers have an encoding");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(fs::openat(tmp, NOTE_NEW, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(&bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    fs::fsync(&file)?;
    fs::renameat(tmp, NOTE_NEW, tmp, NOTE)
}

/// What the note says.
pub(super) enum Note {
    /// There is none, or it was never made durable: nothing was exchanged.
    None,
    /// These names may hold what is not ours.
    Says(Vec<Intent>),
    /// It cannot be read: any name may.
    Unreadable,
}

/// Reads the note.
pub(super) fn read_note(tmp: BorrowedFd<'_>) -> Result<Note, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = match fs::openat(tmp, NOTE, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Note::None),
        answer => File::from(answer?),
    };
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if bytes.is_empty() {
        return Ok(Note::None);
    }
    Ok(serde_ipld_dagcbor::from_slice(&bytes).map_or(Note::Unreadable, Note::Says))
}

/// Tears up the note, once nothing is in our hands.
pub(super) fn drop_note(tmp: BorrowedFd<'_>) -> Result<(), Errno> {
    match fs::unlinkat(tmp, NOTE, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        answer => answer,
    }
}

/// Moves `name` from `.annals/tmp` to `.annals/kept`, durably, under a name that tells where it was.
pub(super) fn keep_aside(
    folder: &Folder,
    tmp: BorrowedFd<'_>,
    name: &str,
    path: &str,
) -> Result<String, Errno> {
    let kept = folder.state_folder(KEPT)?;
    let last = path.rsplit('/').next().unwrap_or(path);
    let mut stem = last;
    while stem.len() > 230 {
        stem = &stem[..stem.floor_char_boundary(stem.len() - 1)];
    }
    let is_folder =
        super::node::identity_at(tmp, name)?.is_some_and(|it| it.kind == annals_events::EntryKind::Folder);
    for number in 1_u64.. {
        let aside = format!("{number}-{stem}");
        match super::folder::rename_into_free((tmp, name), (kept.as_fd(), &aside), is_folder) {
            Ok(()) => {
                fs::fsync(&kept)?;
                return Ok(aside);
            }
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}

/// The names in a folder of `.annals`, sorted; none if it is missing.
pub(super) fn names_in_state(folder: &Folder, name: &str) -> Result<Vec<String>, Errno> {
    debug_assert!(name == KEPT || name == TMP, "{STATE} holds more, which is none of our business");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = folder.state().and_then(|state| fs::openat(&state, name, flags, Mode::empty()));
    let opened: OwnedFd = match opened {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        answer => answer?,
    };
    let mut names = Vec::new();
    for entry in fs::Dir::new(opened)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
