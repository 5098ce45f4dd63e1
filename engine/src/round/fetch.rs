//! Chunks on their way in: what lies in the folder already is read there; the rest is fetched in the order in which
//! files are written, a window at a time, as the difference to what it replaces where that is there. While one window
//! is written the next is on its way.
//!
//! What must always hold: every byte is believed only once it belongs to a chunk whose name it matches. What is needed
//! again stays here as long as there is room, so that a chunk that many files hold, or one file many times, comes
//! once.

use super::{
    Lists, RoundError, Turns,
    sources::{Lies, Sources},
};
use crate::{
    chunk_store::ChunkStore,
    content::{delta::DELTA_BYTES_MIN, replaced_by},
    disk::{Contents, NewFile, OldFiles},
    flow::WINDOW_BYTES_MAX,
    protocol::ChunksWanted,
    transport::{Arrived, Transport, TransportError, Underway},
};
use annals_events::{ChunkId, ChunkRef, Content, ContentId, Manifest, NamespaceId};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::Arc,
};

/// Plain bytes that are fetched ahead where nobody wants it slower.
const WINDOW_BYTES: u64 = 2 * WINDOW_BYTES_MAX;
/// Chunks that are fetched ahead.
const WINDOW_CHUNKS: usize = 4096;
/// Plain bytes that are kept because they are needed again.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// Chunks that were asked for and may not be here yet.
struct Coming {
    wanted: BTreeSet<ChunkId>,
    /// What those of them replace that may come as differences.
    bases: BTreeMap<ChunkId, Vec<u8>>,
    answer: Underway<Vec<Arrived>>,
}

/// Contents of files, from the folder, the outbox or the server.
pub struct Fetcher<'a> {
    namespace: NamespaceId,
    transport: &'a dyn Transport,
    outbox: &'a dyn ChunkStore,
    lists: &'a dyn Lists,
    contents: BTreeMap<ContentId, Content>,
    sources: Sources,
    lies: Lies,
    /// Chunks that are lists, and were not looked for here yet.
    is_list: BTreeSet<ChunkId>,
    /// What chunks replace; they may come as the difference to that.
    bases: BTreeMap<ChunkId, Vec<ChunkRef>>,
    /// What will be asked for, in order.
    ahead: VecDeque<ChunkRef>,
    /// How often each of these will still be written.
    needed: BTreeMap<ChunkId, u64>,
    fetched: BTreeMap<ChunkId, Arc<Vec<u8>>>,
    /// The bytes in there.
    held: u64,
    /// The next window.
    coming: Option<Coming>,
    /// Whether anything came since the last look at what is needed next.
    went_on: bool,
    /// What is being written.
    writing: Option<ContentId>,
    chunks: u64,
    turns: &'a dyn Turns,
    /// How much of new files was written, of those that are not whole.
    written: BTreeMap<ContentId, u64>,
    trouble: Option<RoundError>,
}

impl<'a> Fetcher<'a> {
    /// For these contents, which will be written about in this order, each as often as it stands there.
    #[must_use]
    pub fn new(
        namespace: NamespaceId,
        (transport, outbox, lists): (&'a dyn Transport, &'a dyn ChunkStore, &'a dyn Lists),
        contents: BTreeMap<ContentId, Content>,
        order: &[ContentId],
        sources: Sources,
    ) -> Self {
        let mut fetcher = Self {
            namespace,
            transport,
            outbox,
            lists,
            contents,
            sources,
            lies: Lies::default(),
            is_list: BTreeSet::new(),
            bases: BTreeMap::new(),
            ahead: VecDeque::new(),
            needed: BTreeMap::new(),
            fetched: BTreeMap::new(),
            held: 0,
            coming: None,
            went_on: false,
            writing: None,
            chunks: 0,
            turns: &(),
            written: BTreeMap::new(),
            trouble: None,
        };
        fetcher.know_listed();
        for chunk in order.iter().filter_map(|id| fetcher.contents.get(id)).flat_map(Content::roots) {
            *fetcher.needed.entry(chunk.id).or_default() += 1;
            if !fetcher.lies.knows(&chunk.id) {
                fetcher.ahead.push_back(chunk);
            }
        }
        fetcher
    }

    /// The same, that lets others have their turn. So much of what it will write was `written` by this process.
    #[must_use]
    pub fn taking_turns(self, turns: &'a dyn Turns, written: BTreeMap<ContentId, u64>) -> Self {
        Self { turns, written, ..self }
    }

    /// Where the chunks lie that the events list themselves.
    fn know_listed(&mut self) {
        for (id, files) in &self.sources {
            for file in files.iter().filter(|file| file.content.manifest.is_none()) {
                self.lies.add(&file.path, &file.content.chunks);
                if let Some(new) = self.contents.get(id).filter(|new| new.manifest.is_none()) {
                    self.bases.extend(replaced_by(&file.content.chunks, &new.chunks));
                }
            }
        }
    }

    /// How much was written of what is not whole.
    pub(super) fn take_written(&mut self) -> BTreeMap<ContentId, u64> {
        std::mem::take(&mut self.written)
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
    pub fn write(
        &mut self,
        content: &Content,
        files: &mut dyn OldFiles,
        sink: &mut dyn NewFile,
    ) -> io::Result<()> {
        self.writing = Some(content.id);
        let chunks = match &content.manifest {
            None => content.chunks.clone(),
            Some(root) => {
                let chunks = self.listed(content, *root, files)?;
                chunks.iter().for_each(|chunk| *self.needed.entry(chunk.id).or_default() += 1);
                chunks
            }
        };
        let (mut at, known) = (0, self.written.remove(&content.id));
        let written = self.write_chunks(&chunks, known, &mut at, files, sink);
        if written.is_err() && at > 0 {
            self.written.insert(content.id, at);
        }
        written
    }

    /// Writes `chunks`, of which the first bytes may be `known` to stand there; `at`: how far that is.
    fn write_chunks(
        &mut self,
        chunks: &[ChunkRef],
        known: Option<u64>,
        at: &mut u64,
        files: &mut dyn OldFiles,
        sink: &mut dyn NewFile,
    ) -> io::Result<()> {
        let (mut known, mut begun) = (known.unwrap_or(0), true);
        for (place, chunk) in chunks.iter().enumerate() {
            let bytes = u64::from(chunk.bytes);
            if *at + bytes > known || !sink.skip(chunk.bytes as usize)? {
                known = 0;
                begun = begun && stands(*chunk, sink)?;
                if !begun {
                    let next = &chunks[place + 1..];
                    let bytes = self.chunk(*chunk, next, files)?;
                    self.look_ahead(*chunk, next, files);
                    sink.write_all(&bytes)?;
                }
            }
            *at += bytes;
            self.wrote(chunk.id);
        }
        Ok(())
    }

    /// The chunks of a content that has a manifest. Takes note of which of them lie in the folder.
    fn listed(
        &mut self,
        content: &Content,
        root: ChunkRef,
        files: &mut dyn OldFiles,
    ) -> io::Result<Vec<ChunkRef>> {
        let sources = self.sources.remove(&content.id).unwrap_or_default();
        self.is_list.insert(root.id);
        let (same, other): (Vec<_>, Vec<_>) =
            sources.into_iter().partition(|file| file.content.id == content.id);
        let mut lists = Vec::new();
        for file in other {
            lists.push((file.path, self.listed_before(&file.content, root, files)?));
        }
        let bytes = self.chunk(root, &[], files)?;
        self.wrote(root.id);
        let chunks = Manifest::decode(&bytes, content).map_err(io::Error::other)?.chunks;
        self.lists.put(&root.id, &bytes);
        same.iter().for_each(|file| self.lies.add(&file.path, &chunks));
        for (path, old) in lists {
            self.lies.add(&path, &old);
            self.bases.extend(replaced_by(&old, &chunks));
        }
        Ok(chunks)
    }

    /// The chunks of a content that is replaced by one with the manifest `root`, which may come as the difference to
    /// its own.
    fn listed_before(
        &mut self,
        old: &Content,
        root: ChunkRef,
        files: &mut dyn OldFiles,
    ) -> io::Result<Vec<ChunkRef>> {
        let Some(before) = old.manifest else { return Ok(old.chunks.clone()) };
        self.is_list.insert(before.id);
        let bytes = match self.chunk(before, &[], files) {
            Ok(bytes) => bytes,
            Err(error) if self.trouble.is_some() => return Err(error),
            // Without it everything is fetched.
            Err(_) => return Ok(Vec::new()),
        };
        self.bases.insert(root.id, vec![before]);
        Ok(Manifest::decode(&bytes, old).map(|manifest| manifest.chunks).unwrap_or_default())
    }

    /// What is not needed again goes.
    fn wrote(&mut self, chunk: ChunkId) {
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
    fn chunk(
        &mut self,
        chunk: ChunkRef,
        next: &[ChunkRef],
        files: &mut dyn OldFiles,
    ) -> io::Result<Arc<Vec<u8>>> {
        if let Some(bytes) = self.fetched.get(&chunk.id) {
            return Ok(Arc::clone(bytes));
        }
        if let Some(bytes) = self.kept_list(chunk) {
            return Ok(bytes);
        }
        if self.coming.is_none() {
            self.take_turn()?;
        }
        if let Some(bytes) = self.lies.read(&chunk.id, files) {
            return Ok(Arc::new(bytes));
        }
        if let Some(sealed) = self.outbox.get(&chunk.id).map_err(io::Error::other)? {
            return sealed.open().map(Arc::new).map_err(io::Error::other);
        }
        if self.held > KEPT_BYTES_MAX {
            self.fetched.clear();
            self.held = 0;
        }
        if self.coming.as_ref().is_some_and(|coming| coming.wanted.contains(&chunk.id)) {
            let coming = self.coming.take();
            coming.map_or(Ok(()), |coming| self.take(coming, true))?;
        }
        if !self.fetched.contains_key(&chunk.id) {
            let window = self.window(chunk, true, next);
            let coming = self.begin(window, self.writing, files);
            let differs = !coming.bases.is_empty();
            self.take(coming, false)?;
            if differs && !self.fetched.contains_key(&chunk.id) {
                // What came was no difference to that.
                let whole = self.ask(ChunksWanted::whole(vec![chunk.id]), BTreeMap::new());
                self.take(whole, false)?;
            }
        }
        self.went_on = true;
        let bytes = self.fetched.get(&chunk.id).map(Arc::clone);
        bytes.ok_or_else(|| io::Error::other(format!("the server did not send chunk {}", chunk.id)))
    }

    /// Before the next piece moves. What is on its way is written before somebody else has a turn: nothing comes twice.
    fn take_turn(&mut self) -> io::Result<()> {
        if self.turns.goes_on() {
            return Ok(());
        }
        self.trouble = Some(RoundError::GaveWay);
        Err(io::Error::other("it is another's turn"))
    }

    /// Has the next window on its way while what came is written.
    fn look_ahead(&mut self, chunk: ChunkRef, next: &[ChunkRef], files: &mut dyn OldFiles) {
        if std::mem::take(&mut self.went_on) && self.coming.is_none() && self.turns.goes_on() {
            let window = self.window(chunk, false, next);
            self.coming = (!window.is_empty()).then(|| self.begin(window, None, files));
        }
    }

    /// Asks for chunks, the first of which is one of `content`, as differences to what is here where that may be less.
    fn begin(&self, chunks: Vec<ChunkId>, content: Option<ContentId>, files: &mut dyn OldFiles) -> Coming {
        let mut bases = BTreeMap::new();
        let mut wanted = ChunksWanted { content, ..ChunksWanted::whole(chunks) };
        for (place, id) in (0..).zip(&wanted.chunks) {
            if let Some((ids, bytes)) = self.base_of(id, files) {
                wanted.bases.push((place, ids));
                bases.insert(*id, bytes);
            }
        }
        self.ask(wanted, bases)
    }

    /// The list that this chunk is, if it was kept; what comes next may be the difference to it.
    fn kept_list(&mut self, chunk: ChunkRef) -> Option<Arc<Vec<u8>>> {
        if !self.is_list.remove(&chunk.id) {
            return None;
        }
        let bytes = Arc::new(self.lists.get(&chunk.id)?);
        self.held += bytes.len() as u64;
        self.fetched.insert(chunk.id, Arc::clone(&bytes));
        Some(bytes)
    }

    fn ask(&self, wanted: ChunksWanted, bases: BTreeMap<ChunkId, Vec<u8>>) -> Coming {
        let ids = wanted.chunks.iter().copied().collect();
        Coming { wanted: ids, bases, answer: self.transport.begin_fetching(self.namespace, wanted) }
    }

    /// Takes what came. What could not be had `ahead` of its turn is asked for again when it is needed.
    fn take(&mut self, coming: Coming, ahead: bool) -> io::Result<()> {
        let arrived = match (coming.answer)() {
            Ok(arrived) => arrived,
            Err(error) if ahead && RoundError::from(error.clone()).is_unknown_chunk() => return Ok(()),
            Err(error) => return Err(self.give_up(error)),
        };
        for arrived in arrived {
            let (id, plain) = match arrived {
                Arrived::Whole(id, plain) => (id, plain.map_err(io::Error::other)?),
                Arrived::Difference(delta) => {
                    let base = coming.bases.get(&delta.id).map_or(&[][..], Vec::as_slice);
                    let Ok(plain) = delta.apply(base) else { continue };
                    (delta.id, plain)
                }
            };
            self.chunks += 1;
            self.held += plain.len() as u64;
            let before = self.fetched.insert(id, Arc::new(plain));
            self.held -= before.map_or(0, |bytes| bytes.len() as u64);
        }
        Ok(())
    }

    /// What the chunk replaces and is here: which chunks, and their bytes.
    fn base_of(&self, chunk: &ChunkId, files: &mut dyn OldFiles) -> Option<(Vec<ChunkId>, Vec<u8>)> {
        let bases = self.bases.get(chunk)?;
        if bases.iter().map(|base| base.bytes).sum::<u32>() < DELTA_BYTES_MIN {
            return None;
        }
        let mut bytes = Vec::new();
        for base in bases {
            match self.fetched.get(&base.id) {
                Some(fetched) => bytes.extend(&**fetched),
                None => bytes.extend(self.lies.read(&base.id, files)?),
            }
        }
        Some((bases.iter().map(|base| base.id).collect(), bytes))
    }

    /// What to ask for when it is the turn of `chunk`: what is needed next, behind itself if it is `lacking`.
    fn window(&mut self, chunk: ChunkRef, lacking: bool, next: &[ChunkRef]) -> Vec<ChunkId> {
        let mut window = if lacking { vec![chunk.id] } else { Vec::new() };
        let mut asked = BTreeSet::from([chunk.id]);
        let mut bytes = if lacking { u64::from(chunk.bytes) } else { 0 };
        // What was written since is not asked for again.
        if let Some(at) = self.ahead.iter().position(|ahead| ahead.id == chunk.id) {
            self.ahead.drain(..=at);
        }
        let coming = self.coming.as_ref().map(|coming| &coming.wanted);
        let bytes_max = match self.transport.window() {
            WINDOW_BYTES_MAX.. => WINDOW_BYTES,
            limited => limited,
        };
        for chunk in next.iter().chain(&self.ahead) {
            if asked.contains(&chunk.id)
                || self.fetched.contains_key(&chunk.id)
                || self.lies.knows(&chunk.id)
                || coming.is_some_and(|coming| coming.contains(&chunk.id))
            {
                continue;
            }
            bytes += u64::from(chunk.bytes);
            if bytes > bytes_max || window.len() >= WINDOW_CHUNKS {
                break;
            }
            asked.insert(chunk.id);
            window.push(chunk.id);
        }
        window
    }

    fn give_up(&mut self, error: TransportError) -> io::Error {
        let (said, error) = (io::Error::other(error.to_string()), RoundError::from(error));
        if self.trouble.as_ref().is_none_or(RoundError::is_unknown_chunk) {
            self.trouble = Some(error);
        }
        said
    }
}

/// Whether the next bytes of a new file are those of `chunk` already, from an earlier try; then it goes on behind them.
fn stands(chunk: ChunkRef, sink: &mut dyn NewFile) -> io::Result<bool> {
    let Some(bytes) = sink.left_before(chunk.bytes as usize)? else { return Ok(false) };
    let stands = ChunkId::of(&bytes) == chunk.id;
    if stands {
        sink.keep(&bytes)?;
    }
    Ok(stands)
}

impl Contents for Fetcher<'_> {
    fn write_to(
        &mut self,
        content: &ContentId,
        files: &mut dyn OldFiles,
        sink: &mut dyn NewFile,
    ) -> io::Result<()> {
        // What the server does not have stops nothing else.
        if self.trouble.as_ref().is_some_and(|trouble| !trouble.is_unknown_chunk()) {
            return Err(io::Error::other("the server could not be asked"));
        }
        let content = self.contents.get(content).cloned();
        let content = content.ok_or_else(|| io::Error::other("nobody knows what it holds"))?;
        self.write(&content, files, sink)
    }
}
