//! Chunks on their way in: fetched in the order in which files are written, a window at a time, each believed
//! only once its bytes match its name.

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
};

/// Plain bytes that are fetched ahead.
const WINDOW_BYTES: u64 = 8 << 20;
/// Chunks that are fetched ahead.
const WINDOW_CHUNKS: usize = 4096;

/// Contents of files, from the outbox or the server.
pub struct Fetcher<'a> {
    namespace: NamespaceId,
    transport: &'a dyn Transport,
    outbox: &'a dyn ChunkStore,
    contents: BTreeMap<ContentId, Content>,
    /// What will be asked for, in order.
    ahead: VecDeque<ChunkRef>,
    fetched: BTreeMap<ChunkId, Vec<u8>>,
    chunks: u64,
    trouble: Option<RoundError>,
}

impl<'a> Fetcher<'a> {
    /// For these contents, which will be asked for about in this order.
    #[must_use]
    pub fn new(
        namespace: NamespaceId,
        transport: &'a dyn Transport,
        outbox: &'a dyn ChunkStore,
        contents: BTreeMap<ContentId, Content>,
        order: &[ContentId],
    ) -> Self {
        let ahead = order.iter().filter_map(|id| contents.get(id)).flat_map(Content::roots).collect();
        Self {
            namespace,
            transport,
            outbox,
            contents,
            ahead,
            fetched: BTreeMap::new(),
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
                Manifest::decode(&bytes, content).map_err(io::Error::other)?.chunks
            }
        };
        for (place, chunk) in chunks.iter().enumerate() {
            let bytes = self.chunk(*chunk, &chunks[place + 1..])?;
            sink.write_all(&bytes)?;
        }
        Ok(())
    }

    /// The plain bytes of `chunk`. What is needed `next` is fetched along.
    fn chunk(&mut self, chunk: ChunkRef, next: &[ChunkRef]) -> io::Result<Vec<u8>> {
        if let Some(bytes) = self.fetched.remove(&chunk.id) {
            return Ok(bytes);
        }
        if let Some(sealed) = self.outbox.get(&chunk.id).map_err(io::Error::other)? {
            return sealed.open().map_err(io::Error::other);
        }
        let window = self.window(chunk, next);
        let answer = self.transport.fetch_chunks(self.namespace, &window);
        let sealed = match answer {
            Ok(sealed) => sealed,
            Err(error) => return Err(self.give_up(error)),
        };
        self.fetched.clear();
        for sealed in sealed {
            let id = sealed.id;
            let plain = sealed.open().map_err(io::Error::other)?;
            self.chunks += 1;
            self.fetched.insert(id, plain);
        }
        self.fetched
            .remove(&chunk.id)
            .ok_or_else(|| io::Error::other(format!("the server did not send chunk {}", chunk.id)))
    }

    fn window(&mut self, first: ChunkRef, next: &[ChunkRef]) -> Vec<ChunkId> {
        let mut window = vec![first.id];
        let mut bytes = u64::from(first.bytes);
        // What was written since is not asked for again.
        while self.ahead.front().is_some_and(|ahead| ahead.id != first.id)
            && self.ahead.iter().any(|ahead| ahead.id == first.id)
        {
            self.ahead.pop_front();
        }
        for chunk in next.iter().chain(self.ahead.iter().skip(1)) {
            bytes += u64::from(chunk.bytes);
            if bytes > WINDOW_BYTES || window.len() >= WINDOW_CHUNKS {
                break;
            }
            if !window.contains(&chunk.id) {
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
