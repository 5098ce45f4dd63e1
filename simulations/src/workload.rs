//! A person at work: creates, edits, saves through rename, moves, swaps, deletes, over and over in the same few
//! places.
//!
//! Contents are new each time, but for a few that are written twice on purpose, and of a few lengths only, so that a
//! changed file may look the same from outside.

use crate::{disk::Volume, random::Random};
use annals_events::EntryKind;
use std::collections::BTreeSet;

/// All contents that any person ever wrote.
#[derive(Debug, Default)]
pub struct Diary {
    written: Vec<Vec<u8>>,
    known: BTreeSet<Vec<u8>>,
}

impl Diary {
    /// Everything that was written, once each.
    pub fn contents(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.known.iter()
    }

    /// Takes note that this was written.
    pub fn note(&mut self, bytes: &[u8]) {
        self.known.insert(bytes.to_vec());
    }

    /// Something to write.
    fn next(&mut self, who: usize, random: &mut Random) -> Vec<u8> {
        if random.percent(4)
            && let Some(old) = random.pick(&self.written)
        {
            return old.clone();
        }
        let number = self.written.len();
        let mut bytes = format!("person {who} wrote this as number {number:06}\n").into_bytes();
        if random.percent(20) {
            bytes.extend(b"with a second line\n");
        }
        if random.percent(1) {
            // Enough for several chunks.
            bytes.extend((0..40_000).flat_map(|_| random.bits().to_be_bytes()));
        }
        self.written.push(bytes.clone());
        bytes
    }
}

const NAMES: &[&str] = &["a", "b", "c.txt", "d.txt", "A", "docs", "old docs"];
const TARGETS: &[&[u8]] = &[b"a", b"../b", b"/etc/passwd", b"docs/a", b"no\xffwhere"];
/// How deep folders go.
const DEPTH_MAX: usize = 4;

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Create,
    Edit,
    Save,
    MakeFolder,
    RenameFile,
    RenameFolder,
    Swap,
    DeleteFile,
    DeleteFolder,
    MakeSymlink,
    SetExecutable,
}

const ACTS: &[(u64, Act)] = &[
    (22, Act::Create),
    (14, Act::Edit),
    (12, Act::Save),
    (10, Act::MakeFolder),
    (11, Act::RenameFile),
    (9, Act::RenameFolder),
    (4, Act::Swap),
    (7, Act::DeleteFile),
    (4, Act::DeleteFolder),
    (3, Act::MakeSymlink),
    (4, Act::SetExecutable),
];

/// One thing that person `who` does on this folder; answers with words for it, if it could be done.
pub fn act(volume: &mut Volume, who: usize, diary: &mut Diary, random: &mut Random) -> Option<String> {
    let files = volume.paths(EntryKind::File);
    let folders = volume.paths(EntryKind::Folder);
    let act = random.weighted(ACTS);
    match act {
        Act::Create | Act::Edit | Act::Save => {
            let path =
                if act == Act::Create { new_path(&folders, random) } else { random.pick(&files)?.clone() };
            let bytes = diary.next(who, random);
            let done = if act == Act::Save || random.percent(20) {
                volume.save(&path, &bytes)
            } else {
                volume.write(&path, &bytes)
            };
            if done {
                diary.note(&bytes);
            }
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            done.then(|| format!("{act:?} {path:?} {text:?}"))
        }
        Act::MakeFolder => {
            let path = new_path(&folders, random);
            volume.make_folder(&path).then(|| format!("{act:?} {path:?}"))
        }
        Act::RenameFile | Act::RenameFolder => {
            let from = if act == Act::RenameFile {
                let symlinks = volume.paths(EntryKind::Symlink);
                let all: Vec<String> = files.iter().chain(&symlinks).cloned().collect();
                random.pick(&all)?.clone()
            } else {
                random.pick(&folders)?.clone()
            };
            // Over something that is there, now and then.
            let over = random.percent(25).then(|| random.pick(&files).cloned()).flatten();
            let to = over.unwrap_or_else(|| new_path(&folders, random));
            volume.rename(&from, &to).then(|| format!("{act:?} {from:?} to {to:?}"))
        }
        Act::Swap => {
            let all: Vec<&String> = files.iter().chain(&folders).collect();
            let (one, other) = ((*random.pick(&all)?).clone(), (*random.pick(&all)?).clone());
            volume.swap(&one, &other).then(|| format!("{act:?} {one:?} {other:?}"))
        }
        Act::DeleteFile => {
            let symlinks = volume.paths(EntryKind::Symlink);
            let all: Vec<String> = files.iter().chain(&symlinks).cloned().collect();
            let path = random.pick(&all)?;
            volume.remove(path).then(|| format!("{act:?} {path:?}"))
        }
        Act::DeleteFolder => {
            let path = random.pick(&folders)?;
            volume.remove(path).then(|| format!("{act:?} {path:?}"))
        }
        Act::MakeSymlink => {
            let (path, target) = (new_path(&folders, random), *random.pick(TARGETS)?);
            let said = String::from_utf8_lossy(target);
            volume.make_symlink(&path, target).then(|| format!("{act:?} {path:?} {said:?}"))
        }
        Act::SetExecutable => {
            let (path, bit) = (random.pick(&files)?, random.percent(60));
            volume.set_executable(path, bit).then(|| format!("{act:?} {path:?} {bit}"))
        }
    }
}

/// A name at the top or in some folder.
fn new_path(folders: &[String], random: &mut Random) -> String {
    let name = NAMES[random.index(NAMES.len())];
    let shallow: Vec<&String> =
        folders.iter().filter(|path| path.matches('/').count() + 1 < DEPTH_MAX).collect();
    match random.pick(&shallow) {
        Some(folder) if random.percent(65) => format!("{folder}/{name}"),
        _ => name.to_owned(),
    }
}
