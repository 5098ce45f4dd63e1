//! What is missing of a batch: told from what its namespace has and from what was looked up elsewhere (I4).

use super::{Facts, contents_of};
use crate::namespace::{Possession, bytes_added};
use annals_events::{Batch, ChunkId, ContentId};
use annals_projections::Projections;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody looked up of batches outside of their namespace.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Looked {
    /// Chunks outside of the namespace that the author sent or may read elsewhere.
    pub held: BTreeSet<ChunkId>,
    /// Those that the batches name and that are not stored.
    pub absent: BTreeSet<ChunkId>,
    /// What the manifests of contents list, where they could be read.
    pub listed: BTreeMap<ContentId, Vec<ChunkId>>,
    /// Contents whose manifest chunk holds something else.
    pub broken: BTreeSet<ContentId>,
}

impl Facts {
    /// What `looked` and the namespace say of `batch`; complete but for [`Facts::stored`] and [`Facts::room`].
    ///
    /// A chunk is there if it is stored, and the namespace names it or did lately, or its author holds it. Of a content
    /// that the namespace has whole, what its manifest lists need only be stored.
    #[must_use]
    pub fn of(batch: &Batch, projections: &Projections, possession: &Possession, looked: &Looked) -> Self {
        let mut facts = Self::default();
        let contents: Vec<_> = contents_of(batch).collect();
        facts.adds = bytes_added(projections, &contents);
        let absent = |chunk: &ChunkId| looked.absent.contains(chunk);
        let there = |chunk: ChunkId| {
            !absent(&chunk) && (possession.covers_lately(projections, chunk) || looked.held.contains(&chunk))
        };
        for content in &contents {
            facts.missing.extend(content.roots().map(|chunk| chunk.id).filter(|chunk| !there(*chunk)));
            let Some(manifest) = content.manifest else { continue };
            let listed = looked.listed.get(&content.id);
            if possession.covers_manifest_lately(projections, content.id, manifest) {
                facts.missing.extend(listed.into_iter().flatten().copied().filter(absent));
                continue;
            }
            if looked.broken.contains(&content.id) {
                facts.broken.insert(content.id);
            }
            match listed {
                Some(listed) => facts.missing.extend(listed.iter().copied().filter(|chunk| !there(*chunk))),
                None => facts.missing.extend([manifest.id]),
            }
        }
        facts
    }
}
