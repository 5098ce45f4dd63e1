//! Chunks on their way to where they go, a parcel at a time: whole, or as the difference to what they replace. A parcel
//! has a window's bytes, unless one chunk alone has more; a second one is on its way meanwhile.
//!
//! A device has not got the bytes that it replaced any more. So it asks the server for their signatures, some chunks
//! ahead, and tells the difference to those. What the server cannot make whole of it is sent whole at once; a server
//! that knows nothing of signatures gets everything whole, and so does one whose chunks the new ones have nothing
//! in common with.

use super::{RoundError, sending::Sending};
use crate::{
    chunk_store::{ChunkStore, service::is_worth_it},
    content::{ChunkDelta, SealedChunk, Signature, delta::DELTA_BYTES_MIN},
    protocol::{CHUNKS_COUNT_MAX, DELTA_BYTES_MAX, SIGNATURES_COUNT_MAX, SignaturesWanted, frame::Framed},
    transport::Transport,
};
use annals_events::{ChunkId, ChunkRef, NamespaceId};
use std::collections::{BTreeMap, VecDeque};

/// After so many differences it is judged whether they are worth it.
const TRIES: u32 = 16;

/// Chunks that replace others.
#[derive(Debug, Default)]
pub(super) struct Replacing {
    bases: BTreeMap<ChunkId, Vec<ChunkRef>>,
    /// Those whose signatures were not asked for yet, about in the order in which they will be sent.
    waiting: VecDeque<ChunkId>,
    signatures: BTreeMap<ChunkId, Signature>,
    tried: u32,
    worth_it: u32,
    given_up: bool,
}

impl Replacing {
    /// `chunk` will be sent, and replaces `bases`.
    pub(super) fn add(&mut self, chunk: ChunkRef, bases: &[ChunkRef]) {
        let large = chunk.bytes >= DELTA_BYTES_MIN && bases.iter().map(|base| base.bytes).sum::<u32>() > 0;
        if large && self.bases.insert(chunk.id, bases.to_vec()).is_none() {
            self.waiting.push_back(chunk.id);
        }
    }

    /// The chunk as a difference, where that is worth it.
    fn difference(
        &mut self,
        chunk: &SealedChunk,
        namespace: NamespaceId,
        transport: &dyn Transport,
    ) -> Option<ChunkDelta> {
        if self.given_up || !self.bases.contains_key(&chunk.id) {
            return None;
        }
        if self.waiting.contains(&chunk.id) {
            self.ask(chunk.id, namespace, transport);
        }
        let signature = self.signatures.remove(&chunk.id)?;
        let plain = chunk.clone().open().ok()?;
        let delta = ChunkDelta::to_signature(chunk.id, &plain, &signature);
        let delta = delta.filter(|delta| is_worth_it(delta, chunk));
        self.tried += 1;
        self.worth_it += u32::from(delta.is_some());
        self.given_up = self.tried >= TRIES && self.worth_it < self.tried / 4;
        delta
    }

    /// Asks for the signatures of what `first` replaces, and the next ones.
    fn ask(&mut self, first: ChunkId, namespace: NamespaceId, transport: &dyn Transport) {
        self.waiting.retain(|id| *id != first);
        let (mut asked, mut bytes) = (vec![first], 0);
        while let Some(next) = self.waiting.front() {
            bytes += self.bases[next].iter().map(|base| base.bytes as usize).sum::<usize>();
            if asked.len() == SIGNATURES_COUNT_MAX || bytes > DELTA_BYTES_MAX {
                break;
            }
            asked.extend(self.waiting.pop_front());
        }
        let ids = |chunk: &ChunkId| self.bases[chunk].iter().map(|base| base.id).collect::<Vec<_>>();
        let wanted = SignaturesWanted { bases: asked.iter().map(ids).collect(), short: true };
        // Whatever it says: without an answer chunks travel whole, and if nobody is there, that will be told then.
        let Ok(answer) = transport.signatures(namespace, &wanted) else {
            self.given_up = true;
            return;
        };
        let found = answer.answering(&wanted);
        self.signatures.extend(found.into_iter().map(|(place, signature)| (asked[place], signature)));
    }
}

/// Chunks on their way.
pub(super) struct Delivery {
    namespace: NamespaceId,
    /// Whether they go to the server, and not into the outbox.
    online: bool,
    replacing: Replacing,
    parcel: Vec<Framed>,
    parcel_bytes: usize,
    /// Plain bytes of the differences in there.
    compared: usize,
    /// The same chunks whole.
    spare: BTreeMap<ChunkId, SealedChunk>,
    /// The parcels before it.
    pub(super) sending: Sending,
}

impl Delivery {
    pub(super) fn new(namespace: NamespaceId, online: bool) -> Self {
        Self {
            namespace,
            online,
            replacing: Replacing::default(),
            parcel: Vec::new(),
            parcel_bytes: 0,
            compared: 0,
            spare: BTreeMap::new(),
            sending: Sending::default(),
        }
    }

    /// The same, of chunks that replace others.
    pub(super) fn replacing(self, replacing: Replacing) -> Self {
        Self { replacing, ..self }
    }

    /// Takes a chunk, and sends the parcel if that is full.
    pub(super) fn add(
        &mut self,
        chunk: SealedChunk,
        transport: &dyn Transport,
        outbox: &dyn ChunkStore,
    ) -> Result<(), RoundError> {
        let delta = match self.online {
            true => self.replacing.difference(&chunk, self.namespace, transport),
            false => None,
        };
        let compared = delta.as_ref().map_or(0, |delta| delta.plain_bytes as usize);
        let (framed, spare) = match delta {
            Some(delta) => (Framed::Delta(delta), Some(chunk)),
            None => (Framed::Whole(chunk), None),
        };
        let full = (self.parcel_bytes + framed.wire_bytes()) as u64 > transport.window()
            || self.compared + compared > DELTA_BYTES_MAX
            || self.parcel.len() == CHUNKS_COUNT_MAX;
        if full {
            self.send(transport, outbox)?;
        }
        self.parcel_bytes += framed.wire_bytes();
        self.compared += compared;
        self.parcel.push(framed);
        self.spare.extend(spare.map(|chunk| (chunk.id, chunk)));
        Ok(())
    }

    /// Sends what is in the parcel, and waits until everything has arrived.
    pub(super) fn finish(
        &mut self,
        transport: &dyn Transport,
        outbox: &dyn ChunkStore,
    ) -> Result<(), RoundError> {
        self.send(transport, outbox)?;
        self.sending.finish(transport)
    }

    /// Sends what is in the parcel, which is then on its way; into the outbox it goes at once.
    pub(super) fn send(
        &mut self,
        transport: &dyn Transport,
        outbox: &dyn ChunkStore,
    ) -> Result<(), RoundError> {
        let (parcel, mut spare) = (std::mem::take(&mut self.parcel), std::mem::take(&mut self.spare));
        (self.parcel_bytes, self.compared) = (0, 0);
        if parcel.is_empty() {
            return Ok(());
        }
        if !self.online {
            self.sending.count(&parcel);
            let whole = parcel.into_iter().filter_map(|framed| match framed {
                Framed::Whole(chunk) => Some(chunk),
                Framed::Delta(delta) => spare.remove(&delta.id),
            });
            return Ok(outbox.put_all(&whole.collect::<Vec<_>>())?);
        }
        self.sending.begin(self.namespace, parcel, spare, transport)
    }
}
