//! Chunks on their way out: to the server where there is one, else into the outbox.
//!
//! A group of files is named first, and cut for the bytes of its chunks if the server lacks some. So a chunk that is
//! known costs a hash and no compression, and what is unknown is sent before any event names it (I4). While a group is
//! cut and sent the host may name the [next](Host::read_ahead). About chunks of a version that the log has nothing is
//! asked.

use super::{
    FileRead, FileToRead, Files, Host, Look, Round, RoundError, Step,
    delivery::{Delivery, Replacing},
};
use crate::{
    content::replaced_by,
    protocol::{CHUNKS_COUNT_MAX, ChunksWanted, Class, Code, MissingQuestion, frame::Framed},
    transport::{Transport, TransportError},
};
use annals_events::{ChunkId, ChunkRef, Content, ContentId, Manifest, NamespaceId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

/// Larger chunks are asked about before they are sent.
const UNASKED_BYTES_MAX: u32 = 64 << 10;

impl<H: Host> Round<'_, H> {
    /// Reads a group of files, before the group `next`. Those that it answers with have all their chunks on the server or
    /// in the outbox, once [all is sent](Self::all_sent).
    pub(super) fn read_group(
        &mut self,
        group: Vec<FileToRead>,
        next: &[FileToRead],
        online: bool,
    ) -> Result<Vec<(String, FileRead)>, RoundError> {
        let first = self.host.name(&group)?;
        // None means that nothing is cut any more.
        if !next.is_empty() {
            self.host.read_ahead(next);
        }
        let mut read = Vec::new();
        for (file, result) in group.into_iter().zip(first) {
            match result {
                Ok(found) => read.push((file, found)),
                Err(why) if why.passing => self.report.waiting.push(file.path),
                Err(why) => self.report.skipped.push((file.path, why.why)),
            }
        }
        self.count(&read);
        // What is known to be there holds what the log says: its chunks were sent before that was said.
        let (known, mut read): (Vec<_>, Vec<_>) =
            read.into_iter().partition(|(file, found)| self.is_known(file, found));
        let before = if online { self.before(&read) } else { Before::default() };
        let mut lacking = match (read.is_empty(), online) {
            (true, _) => BTreeSet::new(),
            (_, true) => match self.host.begun().take_lacking(&contents_of(&read)) {
                Some(lacking) => lacking,
                None => {
                    let mut lacking = self.lacking_on_server(&mut read, &before)?;
                    lacking.extend(read.iter().filter_map(|(_, found)| before.unasked(found)));
                    lacking
                }
            },
            (_, false) => self.lacking_in_outbox(&read)?,
        };
        for underway in self.sending.ids() {
            lacking.remove(underway);
        }
        read.extend(known);
        let (complete, incomplete): (Vec<_>, Vec<_>) = read.into_iter().partition(|(_, found)| {
            !found.grew && !found.chunks.iter().any(|chunk| lacking.contains(&chunk.id))
        });
        let mut whole: Vec<(String, FileRead)> =
            complete.into_iter().map(|(file, found)| (file.path, found)).collect();
        whole.extend(self.deliver(incomplete, lacking, &before, online)?);
        self.keep_lists(&whole);
        Ok(whole)
    }

    /// What the next versions of large files are told as the difference to.
    fn keep_lists(&mut self, files: &[(String, FileRead)]) {
        for (_, found) in files {
            let Some(root) = found.content.manifest else { continue };
            let chunks = found.chunks.iter().copied().filter(|chunk| *chunk != root).collect();
            let bytes = Manifest { chunks }.encode();
            if ChunkId::of(&bytes) == root.id {
                self.host.parts().lists.put(&root.id, &bytes);
            }
        }
    }

    /// What the server has of the versions that these files replace.
    fn before(&mut self, read: &[(FileToRead, FileRead)]) -> Before {
        let mut before = Before::default();
        for (file, found) in read {
            let Some(replaced) = &file.replaced else { continue };
            let head = self.replica.synced().get(&file.path).and_then(|node| node.head);
            let admitted = head.is_some_and(|head| {
                self.replica.pending_batch(head).is_none() && self.replica.log().locate(head).is_some()
            });
            if admitted && let Some(chunks) = self.listed(replaced) {
                before.add(found.content.id, replaced.manifest, chunks);
            }
        }
        before
    }

    /// The chunks of a content that the server has.
    fn listed(&mut self, content: &Content) -> Option<Vec<ChunkRef>> {
        let Some(root) = content.manifest else { return Some(content.chunks.clone()) };
        let namespace = self.replica.namespace();
        let parts = self.host.parts();
        if let Some(bytes) = parts.lists.get(&root.id) {
            return Some(Manifest::decode(&bytes, content).ok()?.chunks);
        }
        let sealed = match parts.outbox.get(&root.id).ok().flatten() {
            Some(sealed) => sealed,
            None => {
                let wanted = ChunksWanted::whole(vec![root.id]);
                match parts.transport.fetch_chunks(namespace, &wanted).ok()?.pop()? {
                    Framed::Whole(sealed) => sealed,
                    Framed::Delta(_) => return None,
                }
            }
        };
        Some(Manifest::decode(&sealed.open().ok()?, content).ok()?.chunks)
    }

    /// Sends what the server lacks of files, whatever it knows of them.
    pub(super) fn send_files(&mut self, group: Vec<FileToRead>) -> Result<(), RoundError> {
        let first = self.host.name(&group)?;
        let read = group.into_iter().zip(first).filter_map(|(file, found)| Some((file, found.ok()?)));
        let mut read: Vec<(FileToRead, FileRead)> = read.collect();
        let chunks = unique(read.iter().flat_map(|(_, found)| found.chunks.iter().copied()));
        // Nothing is added by it: what was there comes back.
        let namespace = self.replica.namespace();
        let lacking = missing(self.host.parts().transport, namespace, &chunks, 0)?;
        read.retain(|(_, found)| found.chunks.iter().any(|chunk| lacking.contains(&chunk.id)));
        self.deliver(read, lacking, &Before::default(), true)?;
        self.all_sent()
    }

    /// Waits until everything that was sent has arrived.
    pub(super) fn all_sent(&mut self) -> Result<(), RoundError> {
        self.host.read_ahead(&[]);
        let sent = self.sending.finish(self.host.parts().transport);
        self.count_sent();
        sent
    }

    fn count_sent(&mut self) {
        let counts = self.sending.take_counts();
        self.add_sent(counts);
    }

    /// Ends a delivery: what it was given has arrived then, or lies in the outbox.
    pub(super) fn bring(&mut self, mut delivery: Delivery) -> Result<(), RoundError> {
        let parts = self.host.parts();
        let delivered = delivery.finish(parts.transport, parts.outbox);
        self.add_sent(delivery.sending.take_counts());
        delivered
    }

    fn add_sent(&mut self, (chunks, bytes): (u64, u64)) {
        self.report.new_chunks += chunks;
        self.report.chunk_bytes_sent += bytes;
    }

    fn is_known(&self, file: &FileToRead, found: &FileRead) -> bool {
        let synced = self.replica.synced().get(&file.path);
        synced.is_some_and(|synced| synced.content == Some(found.content.id))
    }

    fn count(&mut self, read: &[(FileToRead, FileRead)]) {
        self.report.chunks += read.iter().map(|(_, found)| found.chunks.len() as u64).sum::<u64>();
        self.report.plain_bytes += read.iter().map(|(_, found)| found.content.size).sum::<u64>();
    }

    /// Which chunks have to be sent. Files for which there is no room are left out, with a word about it.
    fn lacking_on_server(
        &mut self,
        read: &mut Vec<(FileToRead, FileRead)>,
        before: &Before,
    ) -> Result<BTreeSet<ChunkId>, RoundError> {
        let namespace = self.replica.namespace();
        let contents: BTreeMap<_, u64> =
            read.iter().map(|(_, found)| (found.content.id, found.content.size)).collect();
        let chunks = unique(read.iter().flat_map(|(_, found)| before.new_in(found)));
        match missing(self.host.parts().transport, namespace, &chunks, contents.values().sum()) {
            Ok(lacking) => Ok(lacking),
            Err(TransportError::Refused(problem)) if problem.code == Code::Quota => {
                // One file may be what is too large: the others go one by one.
                let mut lacking = BTreeSet::new();
                let group = std::mem::take(read);
                let several = group.len() > 1;
                for (file, found) in group {
                    let answer = match several {
                        true => {
                            let chunks: Vec<ChunkRef> = before.new_in(&found).collect();
                            missing(self.host.parts().transport, namespace, &chunks, found.content.size)
                        }
                        false => Err(TransportError::Refused(problem.clone())),
                    };
                    match answer {
                        Ok(more) => {
                            lacking.extend(more);
                            read.push((file, found));
                        }
                        Err(TransportError::Refused(problem)) if problem.code == Code::Quota => {
                            self.report.skipped.push((file.path, problem.detail.clone()));
                            self.trouble(TransportError::Refused(problem));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(lacking)
            }
            // Shut out: nothing can be sent, and the events will be refused one by one.
            Err(TransportError::Refused(problem)) if problem.class() == Class::Forbidden => {
                self.trouble(TransportError::Refused(problem));
                self.lacking_in_outbox(read)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn lacking_in_outbox(
        &mut self,
        read: &[(FileToRead, FileRead)],
    ) -> Result<BTreeSet<ChunkId>, RoundError> {
        let ids: Vec<ChunkId> = unique(read.iter().flat_map(|(_, found)| found.chunks.iter().copied()))
            .iter()
            .map(|chunk| chunk.id)
            .collect();
        Ok(self.host.parts().outbox.missing(&ids)?.into_iter().collect())
    }

    /// Has files cut for the chunks that are lacking. A file that changed since it was named waits for a later look. The
    /// last chunks are on their way when it returns; where it gave way, all that were cut have arrived.
    fn deliver(
        &mut self,
        files: Vec<(FileToRead, FileRead)>,
        lacking: BTreeSet<ChunkId>,
        before: &Before,
        online: bool,
    ) -> Result<Vec<(String, FileRead)>, RoundError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let online = online && !self.trouble.as_ref().is_some_and(RoundError::is_refusal);
        let replacing = before.replaced_by(&files, &lacking);
        self.say_what_is_there(&files, &lacking);
        let mut left = if files.len() == 1 { lacking.clone() } else { BTreeSet::new() };
        let lacking = Mutex::new(lacking);
        let wanted = |id: &ChunkId| lacking.lock().expect("nobody panics holding it").remove(id);
        let again = |(file, found): &(FileToRead, FileRead)| FileToRead {
            first: found.grew.then_some(found.node.size),
            ..file.clone()
        };
        let group: Vec<FileToRead> = files.iter().map(again).collect();
        let mut delivery = Delivery::new(self.replica.namespace(), online).replacing(replacing);
        delivery.sending = std::mem::take(&mut self.sending);
        let second = self.host.cut(&group, &wanted, &mut |chunk, transport, outbox| {
            left.remove(&chunk.id);
            delivery.add(chunk, transport, outbox)
        });
        let parts = self.host.parts();
        let sent = match second {
            Err(RoundError::GaveWay) => {
                delivery.finish(parts.transport, parts.outbox).and(Err(RoundError::GaveWay))
            }
            second => second.and_then(|second| delivery.send(parts.transport, parts.outbox).map(|()| second)),
        };
        self.sending = delivery.sending;
        self.count_sent();
        if matches!(sent, Err(RoundError::GaveWay)) && online {
            self.host.begun().lacks(&contents_of(&files), &left);
        }
        let second = sent?;
        let mut sealed = Vec::new();
        for ((file, before), after) in files.into_iter().zip(second) {
            match after {
                Ok(after) if after.content.id == before.content.id => sealed.push((file.path, after)),
                _ => {
                    self.report.waiting.push(file.path);
                    self.rescan = Some(Look::Whole);
                }
            }
        }
        Ok(sealed)
    }

    /// What need not be sent, because it was before, is as good as done.
    fn say_what_is_there(&mut self, files: &[(FileToRead, FileRead)], lacking: &BTreeSet<ChunkId>) {
        let chunks = files.iter().flat_map(|(_, found)| &found.chunks);
        let there: u64 =
            chunks.filter(|chunk| !lacking.contains(&chunk.id)).map(|chunk| u64::from(chunk.bytes)).sum();
        if there > 0 {
            let bytes = self.reading.bytes + there;
            self.host.progress(Step::Reading(Files { bytes, ..self.reading.clone() }));
        }
    }
}

fn contents_of(files: &[(FileToRead, FileRead)]) -> Vec<ContentId> {
    files.iter().map(|(_, found)| found.content.id).collect()
}

/// What the server has of the versions that are replaced, by the content that replaces them.
#[derive(Debug, Default)]
struct Before {
    lists: BTreeMap<ContentId, (Option<ChunkRef>, Vec<ChunkRef>)>,
    known: BTreeSet<ChunkId>,
}

impl Before {
    fn add(&mut self, new: ContentId, manifest: Option<ChunkRef>, chunks: Vec<ChunkRef>) {
        self.known.extend(chunks.iter().chain(&manifest).map(|chunk| chunk.id));
        self.lists.insert(new, (manifest, chunks));
    }

    /// The chunks of a file about which the server has to be asked.
    fn new_in<'a>(&'a self, found: &'a FileRead) -> impl Iterator<Item = ChunkRef> + 'a {
        let unasked = self.unasked(found);
        let asked = move |chunk: &ChunkRef| !self.known.contains(&chunk.id) && unasked != Some(chunk.id);
        found.chunks.iter().copied().filter(asked)
    }

    /// The chunk of a small file that replaces another: to ask whether the server has it costs about what its difference
    /// does.
    fn unasked(&self, found: &FileRead) -> Option<ChunkId> {
        let [chunk] = found.chunks[..] else { return None };
        let is_small = chunk.bytes <= UNASKED_BYTES_MAX && self.lists.contains_key(&found.content.id);
        (is_small && !self.known.contains(&chunk.id)).then_some(chunk.id)
    }

    /// What the chunks of `lacking` replace that these files have.
    fn replaced_by(&self, files: &[(FileToRead, FileRead)], lacking: &BTreeSet<ChunkId>) -> Replacing {
        let mut replacing = Replacing::default();
        for (_, found) in files {
            let Some((manifest, old)) = self.lists.get(&found.content.id) else { continue };
            let bases = replaced_by(old, &found.chunks);
            for chunk in found.chunks.iter().filter(|chunk| lacking.contains(&chunk.id)) {
                // A manifest replaces a manifest.
                let of_list =
                    manifest.filter(|_| found.content.manifest == Some(*chunk)).map(|root| vec![root]);
                if let Some(bases) = of_list.as_ref().or_else(|| bases.get(&chunk.id)) {
                    replacing.add(*chunk, bases);
                }
            }
        }
        replacing
    }
}

/// Which of `chunks` the server lacks; asks for room for `adds` bytes with the first question.
///
/// # Errors
/// [`TransportError`].
pub fn missing(
    transport: &dyn Transport,
    namespace: NamespaceId,
    chunks: &[ChunkRef],
    adds: u64,
) -> Result<BTreeSet<ChunkId>, TransportError> {
    let mut lacking = BTreeSet::new();
    let mut adds = adds;
    for part in chunks.chunks(CHUNKS_COUNT_MAX) {
        let question =
            MissingQuestion { chunks: part.to_vec(), manifests: Vec::new(), adds: std::mem::take(&mut adds) };
        let answer = transport.missing(namespace, &question)?;
        lacking
            .extend(answer.chunks.iter().filter_map(|place| part.get(*place as usize)).map(|chunk| chunk.id));
    }
    Ok(lacking)
}

pub(super) fn unique(chunks: impl Iterator<Item = ChunkRef>) -> Vec<ChunkRef> {
    let by_id: BTreeMap<ChunkId, ChunkRef> = chunks.map(|chunk| (chunk.id, chunk)).collect();
    by_id.into_values().collect()
}
