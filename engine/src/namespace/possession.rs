//! Which chunks a namespace's readers may read: naming a hash is not owning it.
//!
//! The projections count what versions name themselves. What their manifests list is kept here, once
//! somebody read those chunks: [`Possession::unread`] says which are still to be read.
//!
//! What expired or was purged is not read here any more. But a device that was told before that it need not send a
//! chunk may rely on that (I4): whoever judges its batch asks [`covers_lately`](Possession::covers_lately), and whether
//! the chunk is still stored, which it is for a grace period at least. That is kept for as long as this is, and in no
//! checkpoint; without it the device is asked to send the chunk after all.

use annals_events::{Batch, ChunkId, ChunkRef, Content, ContentId, Fact, Manifest, manifest::ManifestError};
use annals_projections::Projections;
use std::collections::{BTreeMap, BTreeSet};

/// A body that names a manifest holds this key; most bodies don't, and need not be read.
const MANIFEST_KEY: &[u8] = b"\x68manifest";

/// Manifests and what they list.
#[derive(Clone, Debug, Default)]
pub struct Possession {
    /// By content: those whose chunks are in `listed`.
    read: BTreeMap<ContentId, Content>,
    unread: BTreeMap<ContentId, Content>,
    listed: BTreeSet<ChunkId>,
    /// Contents that have manifests and were forgotten, and what those listed that were read.
    forgotten: BTreeMap<ContentId, Content>,
    listed_once: BTreeSet<ChunkId>,
    /// Contents whose manifest could not be read.
    lost: BTreeMap<ContentId, Content>,
}

impl Possession {
    /// Nothing read yet of what has these manifests.
    #[must_use]
    pub fn of(manifests: Vec<Content>) -> Self {
        let unread = manifests.into_iter().map(|content| (content.id, content)).collect();
        Self { unread, ..Self::default() }
    }

    /// The contents that have manifests, read or not, and those that could not be read, in order of their ids.
    #[must_use]
    pub fn manifests(&self) -> Vec<Content> {
        let all: BTreeMap<_, _> = self.read.iter().chain(&self.unread).chain(&self.lost).collect();
        all.into_values().cloned().collect()
    }

    /// Takes note of the manifests that an admitted batch names, and of what it takes away. `projections` have folded it.
    pub fn note(&mut self, batch: &Batch, projections: &Projections) {
        let forgets = |fact: &Fact| matches!(fact, Fact::VersionsExpired { .. } | Fact::EntryPurged { .. });
        if batch.events().iter().any(|event| forgets(&event.fact)) {
            self.forget(projections);
        }
        for index in 0..batch.events().len() {
            let bytes = batch.body_bytes(index).unwrap_or_default();
            if !bytes.windows(MANIFEST_KEY.len()).any(|window| window == MANIFEST_KEY) {
                continue;
            }
            let content = batch.body(index).ok().flatten().and_then(|body| body.content);
            let content =
                content.filter(|content| content.manifest.is_some() && !self.read.contains_key(&content.id));
            if let Some(content) = content {
                self.unread.insert(content.id, content);
            }
        }
    }

    /// Takes out what no retained version holds any more. What the others list is read again when somebody asks.
    fn forget(&mut self, projections: &Projections) {
        let stays = |content: &Content| {
            content.manifest.is_some_and(|manifest| projections.chunk_refs().contains(manifest.id))
        };
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.read).into_iter().partition(|(_, content)| stays(content));
        if gone.is_empty() {
            self.read = kept;
        } else {
            self.listed_once.append(&mut self.listed);
            self.unread.extend(kept);
            self.forgotten.extend(gone);
        }
        let (unread, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.unread).into_iter().partition(|(_, content)| stays(content));
        self.unread = unread;
        self.forgotten.extend(gone);
        self.lost.retain(|_, content| stays(content));
    }

    /// The manifests that nobody has read yet.
    #[must_use]
    pub fn unread(&self) -> Vec<Content> {
        self.unread.values().cloned().collect()
    }

    /// Takes note of what is in the manifest of `content`; `bytes` are plain.
    ///
    /// # Errors
    /// [`ManifestError`] where the bytes are something else; it is not asked for again.
    pub fn read(&mut self, content: &Content, bytes: &[u8]) -> Result<(), ManifestError> {
        self.unread.remove(&content.id);
        let manifest = Manifest::decode(bytes, content).inspect_err(|_| {
            self.lost.insert(content.id, content.clone());
        })?;
        self.lost.remove(&content.id);
        self.listed.extend(manifest.chunks.iter().map(|chunk| chunk.id));
        self.read.insert(content.id, content.clone());
        Ok(())
    }

    /// Whether whoever may read the namespace may read `chunk`, as far as manifests were read.
    #[must_use]
    pub fn covers(&self, projections: &Projections, chunk: ChunkId) -> bool {
        projections.chunk_refs().contains(chunk) || self.listed.contains(&chunk)
    }

    /// As [`covers`](Self::covers), also for what was forgotten lately.
    #[must_use]
    pub fn covers_lately(&self, projections: &Projections, chunk: ChunkId) -> bool {
        self.covers(projections, chunk)
            || projections.chunk_refs().was_named(chunk)
            || self.listed_once.contains(&chunk)
    }

    /// As [`covers_manifest`](Self::covers_manifest), also for what was forgotten lately.
    #[must_use]
    pub fn covers_manifest_lately(
        &self,
        projections: &Projections,
        id: ContentId,
        manifest: ChunkRef,
    ) -> bool {
        self.covers_manifest(projections, id, manifest)
            || self.forgotten.contains_key(&id) && projections.chunk_refs().was_named(manifest.id)
    }

    /// Every chunk that a retained version needs, as far as manifests were read; some of them twice.
    #[must_use]
    pub fn needed(&self, projections: &Projections) -> Vec<ChunkId> {
        projections.chunk_refs().chunks().chain(self.listed.iter().copied()).collect()
    }

    /// The retained contents whose manifests could not be read: nobody knows what else they need.
    #[must_use]
    pub fn lost(&self, projections: &Projections) -> Vec<ContentId> {
        let needed = |content: &&Content| {
            content.manifest.is_some_and(|manifest| projections.chunk_refs().contains(manifest.id))
        };
        self.lost.values().filter(needed).map(|content| content.id).collect()
    }

    /// Whether the whole content behind this manifest chunk is here.
    #[must_use]
    pub fn covers_manifest(&self, projections: &Projections, id: ContentId, manifest: ChunkRef) -> bool {
        (self.read.contains_key(&id) || self.unread.contains_key(&id))
            && projections.chunk_refs().contains(manifest.id)
    }
}

/// Plain bytes by which `contents` make the namespace larger. What is made of chunks that are here counts as
/// here.
pub fn bytes_added<'a>(projections: &Projections, contents: impl IntoIterator<Item = &'a Content>) -> u64 {
    let mut counted = BTreeSet::new();
    let new = contents.into_iter().filter(|content| {
        content.roots().any(|chunk| !projections.chunk_refs().contains(chunk.id))
            && counted.insert(content.id)
    });
    new.map(|content| content.size).sum()
}
