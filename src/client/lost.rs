//! Contents that are lost, as far as this device can tell: the log keeps their versions, and neither the server nor this
//! folder nor its outbox has them.
//!
//! What must always hold: nothing is said to be lost that nobody was asked about. Left out: other devices. What one of
//! them has comes back when it syncs.

use super::{ClientError, Folder};
use annals_engine::{
    chunk_store::ChunkStore as _,
    round::{self, RoundError},
};
use annals_events::{ChunkId, ChunkRef, ContentId, Dot};
use std::collections::{BTreeMap, BTreeSet};

impl Folder {
    /// Those of these versions whose contents are lost; none where the server cannot be asked, or does not say.
    pub(super) fn lost_among(&mut self, versions: &[Dot]) -> Result<Option<BTreeSet<Dot>>, ClientError> {
        let roots = self.roots_elsewhere(versions)?;
        if roots.is_empty() {
            return Ok(Some(BTreeSet::new()));
        }
        if self.last.offline {
            return Ok(None);
        }
        let namespace = self.binding().namespace;
        let chunks: Vec<ChunkRef> = roots.values().map(|(chunk, _)| *chunk).collect();
        let Ok(missing) = round::missing(self.http()?, namespace, &chunks, 0) else { return Ok(None) };
        let lost = missing.iter().filter_map(|id| roots.get(id)).flat_map(|(_, versions)| versions);
        Ok(Some(lost.copied().collect()))
    }

    /// How many of all versions have lost their contents.
    pub(super) fn lost_versions(&mut self) -> Result<Option<u64>, ClientError> {
        let log = self.replica.log();
        let all: Vec<Dot> = log.entries().flat_map(|entry| log.versions(entry)).collect();
        Ok(self.lost_among(&all)?.map(|lost| lost.len() as u64))
    }

    /// Whether the content of a version is to be had, as far as that can be told.
    ///
    /// # Errors
    /// [`ClientError::Forgotten`], [`ClientError::Lost`] where it is not.
    pub fn is_to_be_had(&mut self, version: Dot) -> Result<(), ClientError> {
        self.is_kept(version)?;
        match self.lost_among(&[version])? {
            Some(lost) if lost.contains(&version) => Err(ClientError::Lost { version: version.to_string() }),
            _ => Ok(()),
        }
    }

    /// The chunks that these versions name and this device does not have, each with the versions that name it.
    fn roots_elsewhere(
        &self,
        versions: &[Dot],
    ) -> Result<BTreeMap<ChunkId, (ChunkRef, Vec<Dot>)>, ClientError> {
        let log = self.replica.log();
        let kept = versions.iter().filter_map(|version| {
            let view = log.version(*version).filter(|view| view.retained)?;
            Some((*version, view.content?)).filter(|_| self.replica.pending_batch(*version).is_none())
        });
        let kept: Vec<(Dot, ContentId)> = kept.collect();
        let mut elsewhere: BTreeSet<ContentId> = kept.iter().map(|(_, content)| *content).collect();
        for (_, node) in self.replica.synced().iter() {
            if let Some(content) = node.content {
                elsewhere.remove(&content);
            }
        }
        let mut roots: BTreeMap<ChunkId, (ChunkRef, Vec<Dot>)> = BTreeMap::new();
        for (version, _) in kept.iter().filter(|(_, content)| elsewhere.contains(content)) {
            let content = round::content_of(&self.replica, self.store.kept(), *version)?;
            for chunk in content.iter().flat_map(|content| content.roots()) {
                if !self.store.outbox.contains(&chunk.id).map_err(RoundError::Outbox)? {
                    roots.entry(chunk.id).or_insert_with(|| (chunk, Vec::new())).1.push(*version);
                }
            }
        }
        Ok(roots)
    }
}
