//! Where chunks of new files lie in the folder already: in the file that is replaced, in another that holds the same.
//!
//! What must always hold: bytes from here are believed only once they have the chunk's name; the files may be changed,
//! moved or gone by the time they are read. Left out: chunks of files that are neither replaced nor equal as a whole,
//! which would take an index of all chunks of the folder.

use super::{Host, Round};
use crate::{
    content::delta::DELTA_BYTES_MIN,
    disk::{DiskOp, OldFiles},
};
use annals_events::{ChunkId, ChunkRef, Content, ContentId};
use std::collections::{BTreeMap, BTreeSet};

/// Files of at least this many bytes are looked for in the folder: a look at all of it takes as long as some chunks.
const LOOK_BYTES_MIN: u64 = 64 << 10;

/// A file of the folder, and what it held when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldFile {
    /// Where.
    pub path: String,
    /// What.
    pub content: Content,
}

/// For contents that are to be written: files that may have some of their chunks, the most promising first.
pub type Sources = BTreeMap<ContentId, Vec<OldFile>>;

impl<H: Host> Round<'_, H> {
    /// What the folder may have of the files that are to be written: the file that each replaces, and for the large
    /// ones another that holds the same.
    pub(super) fn sources_of(&mut self, ops: &[DiskOp]) -> Sources {
        let mut sources = Sources::new();
        let mut large = BTreeSet::new();
        for op in ops {
            let DiskOp::WriteFile { path, content, size, .. } = op else { continue };
            if *size >= LOOK_BYTES_MIN {
                large.insert(*content);
            }
            sources.entry(*content).or_default().extend(self.old_file(path));
        }
        if !large.is_empty() {
            let same = self.replica.synced().iter().filter_map(|(path, node)| {
                node.content.filter(|content| large.contains(content)).map(|content| (content, path.clone()))
            });
            for (content, path) in same.collect::<BTreeMap<_, _>>() {
                sources.entry(content).or_default().extend(self.old_file(&path));
            }
        }
        sources
    }

    /// What the folder showed at `path` when it was last agreed on, where that may be worth a look.
    fn old_file(&mut self, path: &str) -> Option<OldFile> {
        let node = self.replica.synced().get(path)?;
        if node.disk.size < u64::from(DELTA_BYTES_MIN) {
            return None;
        }
        let (head, held) = (node.head?, node.content?);
        let content = self.content_of(head).ok().flatten().filter(|content| content.id == held)?;
        Some(OldFile { path: path.to_owned(), content })
    }
}

/// Where chunks are to be read.
#[derive(Debug, Default)]
pub(super) struct Lies {
    paths: Vec<String>,
    /// By chunk: which file, where in it, and how many bytes.
    at: BTreeMap<ChunkId, (usize, u64, u32)>,
}

impl Lies {
    /// Takes note of a file that held these chunks, one after the other. What is known to lie elsewhere stays so.
    pub(super) fn add(&mut self, path: &str, chunks: &[ChunkRef]) {
        let mut at = 0;
        for chunk in chunks {
            self.at.entry(chunk.id).or_insert((self.paths.len(), at, chunk.bytes));
            at += u64::from(chunk.bytes);
        }
        self.paths.push(path.to_owned());
    }

    pub(super) fn knows(&self, chunk: &ChunkId) -> bool {
        self.at.contains_key(chunk)
    }

    /// The bytes of a chunk, if they are still there.
    pub(super) fn read(&self, chunk: &ChunkId, files: &mut dyn OldFiles) -> Option<Vec<u8>> {
        let (file, at, length) = *self.at.get(chunk)?;
        let mut bytes = vec![0; length as usize];
        let read = files.read_at(&self.paths[file], at, &mut bytes);
        (read && ChunkId::of(&bytes) == *chunk).then_some(bytes)
    }
}
