//! Parcels of chunks that are on their way to the server while others are made.
//!
//! What must always hold: what is on its way counts as sent only once it was [waited for](Sending::finish); no more than
//! a few parcels are, whatever their number. Left out: what is in them.

use super::RoundError;
use crate::{
    content::SealedChunk,
    protocol::{ChunksStored, frame::Framed},
    transport::{Transport, Underway},
};
use annals_events::{ChunkId, NamespaceId};
use std::collections::{BTreeMap, VecDeque};

/// So many parcels are on their way at once: while one is checked and stored over there the next one travels.
const UNDERWAY_MAX: usize = 2;

/// Parcels on their way, the oldest first.
#[derive(Default)]
pub(super) struct Sending {
    underway: VecDeque<Parcel>,
    chunks: u64,
    bytes: u64,
}

struct Parcel {
    namespace: NamespaceId,
    chunks: Vec<ChunkId>,
    /// Those whole that went as differences.
    spare: BTreeMap<ChunkId, SealedChunk>,
    answer: Underway<ChunksStored>,
}

impl Sending {
    /// Sends a parcel, once there is room on the way. `spare` are those of its chunks whole that go as differences.
    pub(super) fn begin(
        &mut self,
        namespace: NamespaceId,
        parcel: Vec<Framed>,
        spare: BTreeMap<ChunkId, SealedChunk>,
        transport: &dyn Transport,
    ) -> Result<(), RoundError> {
        while self.underway.len() >= UNDERWAY_MAX {
            self.wait(transport)?;
        }
        self.count(&parcel);
        let chunks = parcel.iter().map(Framed::id).collect();
        let answer = transport.begin_sending(namespace, parcel);
        self.underway.push_back(Parcel { namespace, chunks, spare, answer });
        Ok(())
    }

    /// Takes note of what is sent.
    pub(super) fn count(&mut self, parcel: &[Framed]) {
        self.chunks += parcel.len() as u64;
        self.bytes += parcel.iter().map(|framed| framed.wire_bytes() as u64).sum::<u64>();
    }

    /// How many chunks, and how many bytes of them, were sent since it was last asked.
    pub(super) fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.chunks), std::mem::take(&mut self.bytes))
    }

    /// Chunks that need not be sent again.
    pub(super) fn ids(&self) -> impl Iterator<Item = &ChunkId> {
        self.underway.iter().flat_map(|parcel| &parcel.chunks)
    }

    /// Waits until everything has arrived.
    pub(super) fn finish(&mut self, transport: &dyn Transport) -> Result<(), RoundError> {
        while !self.underway.is_empty() {
            self.wait(transport)?;
        }
        Ok(())
    }

    /// Waits until nothing is on its way any more, whatever becomes of it.
    pub(super) fn abandon(&mut self) {
        self.underway.drain(..).for_each(|parcel| drop((parcel.answer)()));
    }

    fn wait(&mut self, transport: &dyn Transport) -> Result<(), RoundError> {
        let Some(Parcel { namespace, mut spare, answer, .. }) = self.underway.pop_front() else {
            return Ok(());
        };
        let again = answer()?.again;
        for whole in again.iter().filter_map(|id| spare.remove(id)).map(|chunk| [Framed::Whole(chunk)]) {
            self.bytes += whole[0].wire_bytes() as u64;
            transport.send_chunks(namespace, &whole)?;
        }
        Ok(())
    }
}
