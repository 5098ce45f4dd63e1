//! Chunks on their way in: fetched in the order in which files are written, a window at a time, each believed
//! only once its bytes match its name. What is needed again stays here as long as there is room, so that a chunk
//! that many files hold, or one file many times, comes once.

use super::RoundError;
use crate::{
    chunk_store::ChunkStore,
    disk::Contents,
    transport::{Transport, TransportError},
};
use annals_events::{ChunkId, ChunkRef, Content, ContentId, Manifest, NamespaceId};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    sync::Arc,
};

/// Plain bytes that are fetched ahead.
const WINDOW_BYTES: u64 = 8 << 20;
/// Chunks that are fetched ahead.
const WINDOW_CHUNKS: usize = 4096;
/// Plain bytes that are kept because they are needed again.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// Contents of files, from the outbox or the server.
pub struct Fetcher<'a> {
    namespace: NamespaceId,
    transport: &'a dyn Transport,
    outbox: &'a dyn ChunkStore,
    contents: BTreeMap<ContentId, Content>,
    /// What will be asked for, in order.
    ahead: VecDeque<ChunkRef>,
    /// How often each of these will still be written.
    needed: BTreeMap<ChunkId, u64>,
    fetched: BTreeMap<ChunkId, Arc<Vec<u8>>>,
    /// The bytes in there.
    held: u64,
    chunks: u64,
    trouble: Option<RoundError>,
}

impl<'a> Fetcher<'a> {
    /// For these contents, which will be written about in this order, each as often as it stands there.
    #[must_use]
    pub fn new(
        namespace: NamespaceId,
        transport: &'a dyn Transport,
        outbox: &'a dyn ChunkStore,
        contents: BTreeMap<ContentId, Content>,
        order: &[ContentId],
    ) -> Self {
        let ahead: VecDeque<ChunkRef> =
            order.iter().filter_map(|id| contents.get(id)).flat_map(Content::roots).collect();
        let mut needed = BTreeMap::new();
        ahead.iter().for_each(|chunk| *needed.entry(chunk.id).or_default() += 1);
        Self {
            namespace,
            transport,
            outbox,
            contents,
            ahead,
            needed,
            fetched: BTreeMap::new(),
            held: 0,
            chunks: 0,
            trouble: None,
        }
    }

    /// How many chunks were fetched, and what stood in the way of more.
    #[must_use]
    pub fn finish(self) -> (u64, Option<RoundError>) {
        (self.chunks, self.trouble)
    }

    /// Writes all of `content` into `sink`.
    ///
    /// # Errors
    /// What the server, the outbox or the sink says.
    pub fn write(&mut self, content: &Content, sink: &mut dyn Write) -> io::Result<()> {
        let chunks = match &content.manifest {
            None => content.chunks.clone(),
            Some(root) => {
                let bytes = self.chunk(*root, &[])?;
                self.is_written(root.id);
                let chunks = Manifest::decode(&bytes, content).map_err(io::Error::other)?.chunks;
                chunks.iter().for_each(|chunk| *self.needed.entry(chunk.id).or_default() += 1);
                chunks
            }
        };
        for (place, chunk) in chunks.iter().enumerate() {
            let bytes = self.chunk(*chunk, &chunks[place + 1..])?;
            sink.write_all(&bytes)?;
            self.is_written(chunk.id);
        }
        Ok(())
    }

    /// What is not needed again goes.
    fn is_written(&mut self, chunk: ChunkId) {
        let left = self.needed.get_mut(&chunk).map_or(0, |needed| {
            *needed = needed.saturating_sub(1);
            *needed
        });
        if left == 0 {
            self.needed.remove(&chunk);
            let gone = self.fetched.remove(&chunk);
            self.held -= gone.map_or(0, |bytes| bytes.len() as u64);
        }
    }

    /// The plain bytes of `chunk`. What is needed `next` is fetched along.
    fn chunk(&mut self, chunk: ChunkRef, next: &[ChunkRef]) -> io::Result<Arc<Vec<u8>>> {
        if let Some(bytes) = self.fetched.get(&chunk.id) {
            return Ok(Arc::clone(bytes));
        }
        if let Some(sealed) = self.outbox.get(&chunk.id).map_err(io::Error::other)? {
            return sealed.open().map(Arc::new).map_err(io::Error::other);
        }
        if self.held > KEPT_BYTES_MAX {
            self.fetched.clear();
            self.held = 0;
        }
        let window = self.window(chunk, next);
        let answer = self.transport.fetch_chunks(self.namespace, &window);
        let sealed = match answer {
            Ok(sealed) => sealed,
            Err(error) => return Err(self.give_up(error)),
        };
        for sealed in sealed {
            let id = sealed.id;
            let plain = sealed.open().map_err(io::Error::other)?;
            self.chunks += 1;
            self.held += plain.len() as u64;
            let before = self.fetched.insert(id, Arc::new(plain));
            self.held -= before.map_or(0, |bytes| bytes.len() as u64);
        }
        let bytes = self.fetched.get(&chunk.id).map(Arc::clone);
        bytes.ok_or_else(|| io::Error::other(format!("the server did not send chunk {}", chunk.id)))
    }

    fn window(&mut self, first: ChunkRef, next: &[ChunkRef]) -> Vec<ChunkId> {
        let mut window = vec![first.id];
        let mut bytes = u64::from(first.bytes);
        // What was written since is not asked for again.
        if let Some(at) = self.ahead.iter().position(|ahead| ahead.id == first.id) {
            self.ahead.drain(..=at);
        }
        for chunk in next.iter().chain(&self.ahead) {
            bytes += u64::from(chunk.bytes);
            if bytes > WINDOW_BYTES || window.len() >= WINDOW_CHUNKS {
                break;
            }
            if !window.contains(&chunk.id) && !self.fetched.contains_key(&chunk.id) {
                window.push(chunk.id);
            }
        }
        window
    }

    fn give_up(&mut self, error: TransportError) -> io::Error {
        let said = io::Error::other(error.to_string());
        self.trouble.get_or_insert(error.into());
        said
    }
}

impl Contents for Fetcher<'_> {
    fn write_to(&mut self, content: &ContentId, sink: &mut dyn Write) -> io::Result<()> {
        if self.trouble.is_some() {
            return Err(io::Error::other("the server could not be asked"));
        }
        let content = self.contents.get(content).cloned();
        let content = content.ok_or_else(|| io::Error::other("nobody knows what it holds"))?;
        self.write(&content, sink)
    }
}
