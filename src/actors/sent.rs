//! Which chunks an account's devices sent and no event names yet, kept through a restart: so an upload that was
//! interrupted goes on where it was.
//!
//! What must always hold: a list names only what that account sent and what was stored by then. What is lost of it is
//! sent again, so nothing here is synced; a group whose checksum is wrong ends it. A list that nobody added to for an
//! hour is forgotten.

use super::checkpoints::make_folder;
use annals_events::{ChunkId, UserId};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

/// How long a list is kept that nobody adds to. An upload that pauses longer is asked for again.
pub(super) const KEPT: Duration = Duration::from_secs(60 * 60);
/// More chunks than this are not remembered as sent: 32 bytes each.
const COUNT_MAX: usize = 1 << 20;
/// Before a group's chunks: how many, and the CRC-32C of their ids.
const HEADER_BYTES: usize = 8;

/// Where all lists are.
#[derive(Clone, Debug)]
pub struct SentLists {
    folder: PathBuf,
}

impl SentLists {
    /// In this folder, which is made when it is needed.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The list of a user.
    #[must_use]
    pub fn open(&self, user: UserId) -> SentList {
        let path = self.folder.join(user.to_string());
        let age = fs::metadata(&path).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        let bytes = if age.is_some_and(|age| age < KEPT) { fs::read(&path) } else { Ok(Vec::new()) };
        let chunks = bytes.map(|bytes| groups_in(&bytes)).unwrap_or_default();
        SentList { path, chunks, file: None }
    }
}

/// The ids of all whole groups.
fn groups_in(mut bytes: &[u8]) -> BTreeSet<ChunkId> {
    let mut chunks = BTreeSet::new();
    while let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) {
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let Some((ids, rest)) = rest.split_at_checked((number(0) as usize).saturating_mul(32)) else { break };
        if crc32c::crc32c(ids) != number(4) {
            break;
        }
        chunks.extend(ids.chunks_exact(32).filter_map(ChunkId::from_slice));
        bytes = rest;
    }
    chunks
}

/// What one account sent.
#[derive(Debug)]
pub struct SentList {
    path: PathBuf,
    chunks: BTreeSet<ChunkId>,
    file: Option<File>,
}

impl SentList {
    /// Takes note of chunks that are stored.
    pub fn add(&mut self, chunks: &[ChunkId]) {
        let room = COUNT_MAX.saturating_sub(self.chunks.len());
        let new: Vec<ChunkId> =
            chunks.iter().filter(|id| !self.chunks.contains(id)).take(room).copied().collect();
        if new.is_empty() {
            return;
        }
        if let Err(error) = self.write(&new) {
            tracing::warn!(%error, "what was sent is forgotten when the server ends");
        }
        self.chunks.extend(new);
    }

    fn write(&mut self, chunks: &[ChunkId]) -> io::Result<()> {
        let ids: Vec<u8> = chunks.iter().flat_map(|id| id.0).collect();
        let count = u32::try_from(chunks.len()).expect("a body holds some thousand chunks");
        let group = [&count.to_be_bytes()[..], &crc32c::crc32c(&ids).to_be_bytes(), &ids].concat();
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                make_folder(self.path.parent().expect("it lies in a folder"))?;
                // What is not believed any more goes.
                let fresh = self.chunks.is_empty();
                let mut options = File::options();
                let options = if fresh { options.write(true).truncate(true) } else { options.append(true) };
                self.file.insert(options.create(true).open(&self.path)?)
            }
        };
        file.write_all(&group)
    }

    /// Forgets chunks: events name them, or they are not stored any more.
    pub fn remove<'a>(&mut self, chunks: impl IntoIterator<Item = &'a ChunkId>) {
        let before = self.chunks.len();
        for chunk in chunks {
            self.chunks.remove(chunk);
        }
        if before > 0 && self.chunks.is_empty() {
            self.file = None;
            if let Err(error) = fs::remove_file(&self.path) {
                tracing::debug!(%error, "a list of what was sent");
            }
        }
    }

    /// Whether it was sent.
    #[must_use]
    pub fn contains(&self, chunk: &ChunkId) -> bool {
        self.chunks.contains(chunk)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ChunkId> {
        self.chunks.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId([1; 16]);

    fn id(n: u8) -> ChunkId {
        ChunkId([n; 32])
    }

    fn listed(lists: &SentLists) -> Vec<u8> {
        lists.open(USER).iter().map(|id| id.0[0]).collect()
    }

    #[test]
    fn a_list_is_there_after_a_restart_until_events_name_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let lists = SentLists::new(folder.path().join("sent"));
        let mut list = lists.open(USER);
        list.add(&[id(1), id(2)]);
        list.add(&[id(2), id(3)]);
        assert_eq!(listed(&lists), [1, 2, 3]);
        assert!(lists.open(UserId([2; 16])).is_empty());
        let mut again = lists.open(USER);
        again.add(&[id(4)]);
        assert_eq!(listed(&lists), [1, 2, 3, 4]);
        again.remove(&[id(1), id(2), id(3), id(4)]);
        assert!(listed(&lists).is_empty());
    }

    #[test]
    fn no_cut_and_no_flipped_bit_names_what_was_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let lists = SentLists::new(folder.path().into());
        lists.open(USER).add(&[id(1)]);
        let mut list = lists.open(USER);
        list.add(&[id(2), id(3)]);
        let path = folder.path().join(USER.to_string());
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(listed(&lists), if cut < 40 { vec![] } else { vec![1] }, "{cut}");
            let mut flipped = whole.clone();
            flipped[cut] ^= 4;
            fs::write(&path, flipped).unwrap();
            assert!(listed(&lists).iter().all(|n| [1, 2, 3].contains(n)), "{cut}");
        }
    }
}
