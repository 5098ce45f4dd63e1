//! What was signed while no server was in reach: its chunks lie in the outbox, and go in the same pieces and turns as
//! anything else.
//!
//! What must always hold: a batch is sent once its chunks are there (I4); what has little to send does not wait for what
//! has much ([`Replica::order_of_pending`]); what gave way is gone on with
//! where it was. Left out: what the server does with batches.

use super::{
    Begun, FileToRead, Files, Host, Round, RoundError, Step,
    delivery::Delivery,
    send::{missing, unique},
};
use crate::{
    flow,
    protocol::Class,
    replica::{Input, Replica},
    transport::TransportError,
};
use annals_events::{Batch, ChunkId, ChunkRef, Content, ContentId, Manifest};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

/// How far the chunks of what is pending are.
pub(super) enum Outgoing {
    /// Those of so many batches, the first ones, are there.
    There(usize),
    /// It is another's turn first.
    Later,
}

impl<H: Host> Round<'_, H> {
    /// Whether chunks of what is pending wait here.
    pub(super) fn has_outgoing(&mut self) -> Result<bool, RoundError> {
        Ok(self.replica.pending().next().is_some()
            && !self.trouble.as_ref().is_some_and(RoundError::is_refusal)
            && self.host.parts().outbox.stats()?.chunks > 0)
    }

    /// Puts what is pending into the order in which it goes, by what of it has to be sent. To be asked when everything
    /// was pulled that the log has: what was taken has its place.
    pub(super) fn put_pending_in_order(&mut self) -> Result<(), RoundError> {
        if !self.has_outgoing()? {
            return Ok(());
        }
        self.learn_costs()?;
        let (costs, window) = (self.costs(), self.window());
        match self.replica.order_of_pending(&costs, window) {
            Some(order) => {
                let effects = self.replica.step(self.host.now_ms(), Input::Ordered { order });
                self.perform(effects)
            }
            None => Ok(()),
        }
    }

    /// Finds out about how much has to be sent of each pending content. A large one is there if its list is: that goes
    /// last.
    fn learn_costs(&mut self) -> Result<(), RoundError> {
        let contents = self.pending_contents();
        let begun = self.host.begun();
        let unknown: Vec<&Content> =
            contents.iter().filter(|content| begun.cost_of(&content.id).is_none()).collect();
        let roots = unique(unknown.iter().flat_map(|content| content.roots().collect::<Vec<_>>()));
        if unknown.is_empty() {
            return Ok(());
        }
        let namespace = self.replica.namespace();
        let lacking = match missing(self.host.parts().transport, namespace, &roots, 0) {
            Err(TransportError::Refused(problem)) if problem.class() == Class::Forbidden => return Ok(()),
            lacking => lacking?,
        };
        for content in unknown {
            let is_there = content.roots().all(|chunk| !lacking.contains(&chunk.id));
            self.host.begun().costs(content.id, if is_there { 0 } else { content.size });
        }
        Ok(())
    }

    /// What each pending batch has to send, in bytes.
    fn costs(&mut self) -> Vec<u64> {
        let batches: Vec<_> = self.replica.pending().cloned().collect();
        let begun = self.host.begun();
        let of = |content: &Content| begun.cost_of(&content.id).unwrap_or(content.size);
        batches.iter().map(|batch| contents_in(batch).iter().map(of).sum()).collect()
    }

    /// Sends what the outbox has of what the next batches name, as much as goes together.
    pub(super) fn send_outgoing(&mut self) -> Result<Outgoing, RoundError> {
        if !self.has_outgoing()? {
            return Ok(Outgoing::There(usize::MAX));
        }
        let costs = self.costs();
        let count = flow::together(&costs, self.window());
        let next: Vec<Content> =
            self.replica.pending().take(count).flat_map(|batch| contents_in(batch)).collect();
        let left = match self.left_of(&next) {
            Err(RoundError::Transport(TransportError::Refused(problem)))
                if problem.class() == Class::Forbidden =>
            {
                return Ok(Outgoing::There(usize::MAX));
            }
            left => left?,
        };
        let now: u64 = left.iter().flat_map(|(_, chunks)| chunks).map(|chunk| u64::from(chunk.bytes)).sum();
        let later: u64 = costs[count..].iter().sum();
        let of_bytes = self.sent_before + now + later;
        let files = Files { of_bytes, ..Files::default() };
        self.turn_to(self.receives_later || !self.later.is_empty());
        self.send_left(left, files)?;
        Ok(if self.sends_later { Outgoing::Later } else { Outgoing::There(count) })
    }

    /// Which chunks of these contents the server lacks, each in the order in which it goes: a list comes last.
    fn left_of(&mut self, contents: &[Content]) -> Result<Vec<(ContentId, Vec<ChunkRef>)>, RoundError> {
        let mut left = Vec::with_capacity(contents.len());
        for content in contents {
            let known = self.host.begun().take_left(&content.id);
            let is_known = known.is_some();
            let chunks = match known {
                Some(chunks) => chunks,
                None => self.chunks_of(content)?,
            };
            left.push((content.id, chunks, is_known));
        }
        let unknown =
            left.iter().filter(|(.., is_known)| !is_known).flat_map(|(_, chunks, _)| chunks.clone());
        let unknown = unique(unknown);
        let namespace = self.replica.namespace();
        let lacking = missing(self.host.parts().transport, namespace, &unknown, 0)?;
        let lacks = |(id, chunks, is_known): (ContentId, Vec<ChunkRef>, bool)| {
            let lacks = |chunk: &ChunkRef| is_known || lacking.contains(&chunk.id);
            (id, chunks.into_iter().filter(lacks).collect())
        };
        Ok(left.into_iter().map(lacks).collect())
    }

    /// The chunks of a content, as far as that is known here.
    fn chunks_of(&mut self, content: &Content) -> Result<Vec<ChunkRef>, RoundError> {
        let Some(root) = content.manifest else { return Ok(content.chunks.clone()) };
        let listed = self.host.parts().outbox.get(&root.id)?.and_then(|sealed| sealed.open().ok());
        let listed = listed.and_then(|plain| Manifest::decode(&plain, content).ok());
        let mut chunks = listed.map(|manifest| manifest.chunks).unwrap_or_default();
        chunks.push(root);
        Ok(chunks)
    }

    /// Sends these, a piece at a time; what did not get its turn is remembered.
    fn send_left(
        &mut self,
        left: Vec<(ContentId, Vec<ChunkRef>)>,
        mut files: Files,
    ) -> Result<(), RoundError> {
        let mut delivery = Delivery::new(self.replica.namespace(), true);
        let paths = self.paths_of(left.iter().map(|(id, _)| *id).collect());
        let mut sent: BTreeSet<ChunkId> = BTreeSet::new();
        let mut rest = Vec::new();
        self.sends_later = false;
        for (id, mut chunks) in left {
            chunks.retain(|chunk| !sent.contains(&chunk.id));
            if !self.sends_later && !chunks.is_empty() {
                (files.path, files.bytes) = (paths.get(&id).cloned(), self.sent_before);
                self.host.progress(Step::Sending(files.clone()));
            }
            let (parts, mut done) = (self.host.parts(), 0);
            for chunk in &chunks {
                self.sends_later = self.sends_later || !parts.turns.goes_on();
                if self.sends_later {
                    break;
                }
                // What is nowhere here is found in the folder once the server asks for it.
                if let Some(sealed) = parts.outbox.get(&chunk.id)? {
                    delivery.add(sealed, parts.transport, parts.outbox)?;
                }
                self.sent_before += u64::from(chunk.bytes);
                sent.insert(chunk.id);
                done += 1;
            }
            chunks.drain(..done);
            rest.push((id, chunks));
        }
        self.bring(delivery)?;
        for (id, chunks) in rest {
            self.host.begun().leaves(id, chunks);
        }
        if self.sends_later { self.give_way() } else { Ok(()) }
    }

    /// Where in the folder these lie.
    fn paths_of(&self, contents: BTreeSet<ContentId>) -> BTreeMap<ContentId, String> {
        let lies = self.replica.synced().iter();
        let lies = lies.filter_map(|(path, node)| Some((node.content?, path.clone())));
        lies.filter(|(content, _)| contents.contains(content)).collect()
    }

    fn pending_contents(&self) -> Vec<Content> {
        self.replica.pending().flat_map(|batch| contents_in(batch)).collect()
    }

    /// Chunks that the server asked for although they had been sent, or should have been there; answers with those
    /// that are not to be found.
    pub(super) fn send_again(&mut self, chunks: &[ChunkId]) -> Result<BTreeSet<ChunkId>, RoundError> {
        let left = self.send_from_outbox(chunks)?;
        self.find_in_folder(left, true)
    }

    /// The server went away before it took what was signed: the chunks of that go into the outbox while the folder still
    /// has them, for the server may forget what it was sent.
    pub(super) fn keep_pending_chunks(&mut self) -> Result<(), RoundError> {
        let roots =
            self.pending_contents().into_iter().flat_map(|content| content.roots().collect::<Vec<_>>());
        let ids: Vec<ChunkId> = unique(roots).iter().map(|chunk| chunk.id).collect();
        let lacking = self.host.parts().outbox.missing(&ids)?;
        self.find_in_folder(lacking.into_iter().collect(), false).map(drop)
    }

    /// Looks for chunks of pending events in the files that had them, and sends them or puts them into the outbox.
    /// Answers with those that are not there any more.
    fn find_in_folder(
        &mut self,
        lacking: BTreeSet<ChunkId>,
        online: bool,
    ) -> Result<BTreeSet<ChunkId>, RoundError> {
        if lacking.is_empty() {
            return Ok(lacking);
        }
        let contents: BTreeSet<_> = self.pending_contents().into_iter().map(|content| content.id).collect();
        let held = self
            .replica
            .synced()
            .iter()
            .filter(|(_, node)| node.content.is_some_and(|id| contents.contains(&id)));
        let paths: Vec<(String, u64)> = held.map(|(path, node)| (path.clone(), node.disk.size)).collect();
        let files: Vec<FileToRead> = paths
            .into_iter()
            .map(|(path, size)| FileToRead { path, size, replaced: None, first: None })
            .collect();
        let lacking = Mutex::new(lacking);
        let wanted = |id: &ChunkId| lacking.lock().expect("nobody panics holding it").remove(id);
        let mut delivery = Delivery::new(self.replica.namespace(), online);
        self.host
            .cut(&files, &wanted, &mut |chunk, transport, outbox| delivery.add(chunk, transport, outbox))?;
        self.bring(delivery)?;
        Ok(lacking.into_inner().expect("nobody panics holding it"))
    }

    /// Sends those of `chunks` that the outbox has; answers with the others.
    fn send_from_outbox(&mut self, chunks: &[ChunkId]) -> Result<BTreeSet<ChunkId>, RoundError> {
        let (mut left, mut delivery) = (BTreeSet::new(), Delivery::new(self.replica.namespace(), true));
        let parts = self.host.parts();
        for id in chunks {
            match parts.outbox.get(id)? {
                Some(chunk) => {
                    delivery.add(chunk, parts.transport, parts.outbox)?;
                }
                None => drop(left.insert(*id)),
            }
        }
        self.bring(delivery)?;
        Ok(left)
    }
}

/// How many bytes what is pending has to send, as far as all of that is known.
#[must_use]
pub fn left_to_send(replica: &Replica, begun: &Begun) -> Option<u64> {
    let contents: BTreeSet<ContentId> =
        replica.pending().flat_map(|batch| contents_in(batch)).map(|content| content.id).collect();
    contents.iter().map(|content| begun.cost_of(content)).sum()
}

fn contents_in(batch: &Batch) -> Vec<Content> {
    let bodies = (0..batch.events().len()).filter_map(|index| batch.body(index).ok().flatten());
    bodies.filter_map(|body| body.content).collect()
}
