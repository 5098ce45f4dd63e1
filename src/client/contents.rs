//! Contents of versions, from where they are nearest: the folder, the outbox, the server.
//!
//! What must always hold: not a byte is handed out that is not of the version that was asked for. A file in the folder
//! is believed chunk by chunk, each only once its bytes match its name.

use super::{ClientError, Folder};
use crate::content::{self, Benches, ChunkSink, CutFile, FileToCut, UnreadFile};
use annals_engine::{
    chunk_store::ChunkStore,
    content::SealedChunk,
    disk::PlainSink,
    round::{self, Fetcher, Lists, Sources},
    transport::Transport,
};
use annals_events::{ChunkId, ChunkRef, Content, Cut, Dot, EntryKind};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::{Read, Write},
    num::NonZero,
    sync::Arc,
};

/// How many files of the folder are tried for a content at most.
const FILES_TRIED_MAX: usize = 4;

/// Chunks are not kept: the file has them.
struct NoChunks;

impl ChunkSink for NoChunks {
    type Error = Infallible;

    fn wanted(&self, _: &ChunkId) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn take(&self, _: SealedChunk) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Folder {
    /// What a version holds.
    ///
    /// # Errors
    /// [`ClientError::Withheld`], [`ClientError::Forgotten`].
    pub fn content_of(&mut self, version: Dot) -> Result<Content, ClientError> {
        self.is_kept(version)?;
        let content = round::content_of(&self.replica, self.store.kept(), version)?;
        content.ok_or_else(|| ClientError::Withheld { version: version.to_string() })
    }

    /// Whether a version's content is still to be had.
    pub(super) fn is_kept(&self, version: Dot) -> Result<(), ClientError> {
        match self.replica.log().version(version) {
            Some(view) if !view.retained => Err(ClientError::Forgotten { version: version.to_string() }),
            _ => Ok(()),
        }
    }

    /// Writes what a version holds, from the folder, the outbox or the server.
    ///
    /// # Errors
    /// [`ClientError::Lost`] where nobody has it, [`ClientError::Transport`] where it cannot be fetched, [`ClientError::Output`] where it cannot be written,
    /// [`ClientError::Changed`] where the file in the folder changed in the middle of it.
    pub fn write_content(
        &mut self,
        version: Dot,
        content: &Content,
        sink: &mut dyn Write,
    ) -> Result<(), ClientError> {
        for path in self.files_with(content) {
            if self.write_from_folder(&path, content, sink)? {
                return Ok(());
            }
        }
        self.http()?;
        let namespace = self.binding().namespace;
        let http = self.take_http();
        let contents = BTreeMap::from([(content.id, content.clone())]);
        let ways = (&http as &dyn Transport, &self.store.outbox as &dyn ChunkStore, &() as &dyn Lists);
        let mut fetcher = Fetcher::new(namespace, ways, contents, &[content.id], Sources::new());
        let written = fetcher.write(content, &mut (), &mut PlainSink(sink));
        let (_, trouble) = fetcher.finish();
        self.put_http(http);
        match (trouble, written) {
            (Some(trouble), _) if trouble.is_unknown_chunk() => {
                Err(ClientError::Lost { version: version.to_string() })
            }
            (Some(trouble), _) => Err(trouble.into()),
            (None, Err(error)) => Err(ClientError::Output(error)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Files that held it when they were last looked at.
    fn files_with(&self, content: &Content) -> Vec<String> {
        let files = self
            .replica
            .synced()
            .iter()
            .filter(|(_, node)| node.kind == EntryKind::File && node.content == Some(content.id));
        files.take(FILES_TRIED_MAX).map(|(path, _)| path.clone()).collect()
    }

    /// Writes a content from a file that may hold it. False: it does not, and nothing was written.
    fn write_from_folder(
        &mut self,
        path: &str,
        content: &Content,
        sink: &mut dyn Write,
    ) -> Result<bool, ClientError> {
        let Some(chunks) = self.chunks_in(path, content) else { return Ok(false) };
        let Ok(mut file) = self.opener.open_file(path) else { return Ok(false) };
        let mut bytes = Vec::new();
        for (nth, chunk) in chunks.iter().enumerate() {
            bytes.resize(chunk.bytes as usize, 0);
            if file.read_exact(&mut bytes).is_err() || ChunkId::of(&bytes) != chunk.id {
                return if nth == 0 { Ok(false) } else { Err(ClientError::Changed { path: path.into() }) };
            }
            sink.write_all(&bytes).map_err(ClientError::Output)?;
        }
        Ok(true)
    }

    /// The chunks of a content in order; where only a manifest lists them, found by cutting the file once more.
    fn chunks_in(&self, path: &str, content: &Content) -> Option<Vec<ChunkRef>> {
        if content.manifest.is_none() {
            return Some(content.chunks.clone());
        }
        let found = self.cut_again(path, content.cut);
        let mut found = found.filter(|found| found.content.id == content.id)?;
        // Its manifest's own chunk is none of the file's.
        found.chunks.truncate(found.chunks.len() - usize::from(found.content.manifest.is_some()));
        Some(found.chunks)
    }

    /// The file at `path`, cut so; its chunks are not kept.
    pub(super) fn cut_again(&self, path: &str, cut: Cut) -> Option<CutFile> {
        let (opener, name) = (Arc::clone(&self.opener), path.to_owned());
        let open = move || opener.open_file(&name);
        let file = FileToCut::Unread(UnreadFile { open: Box::new(open), replaced: Some(cut), first: None });
        let mut found = None;
        let one = NonZero::new(1).expect("one is not zero");
        match content::cut_files_on(one, &Benches::default(), [file], &NoChunks, |_, result| {
            found = result.ok()
        }) {
            Ok(()) => found,
        }
    }
}
