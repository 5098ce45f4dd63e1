//! Whether a batch may enter the log: every rule of admission, and nothing else.
//!
//! [`judge`] is a pure function of the batch, of what the namespace's log adds up to so far, and of
//! [`Facts`] that somebody looked up before: which chunks are missing, how much room the quota leaves,
//! what is stored under a used dot. [`Needs`] says which facts a batch calls for. All or nothing: one bad
//! event refuses its batch.
//!
//! The order of the checks is part of the answer: who signed it, is it new, does it follow, had its author
//! seen what it names, do its clocks rise, may they do this, is every event whole. Whatever a refusal
//! says is safe to tell whoever signed the batch.
//!
//! What a server admitted before and lost is handed back by devices: [`judge_again`] asks only whether it fits the log
//! as it is now.

mod event;
mod facts;
mod refusal;
#[cfg(test)]
mod tests;

pub use event::needed_role;
pub use facts::Looked;
pub use refusal::Refusal;

use annals_events::{
    Batch, ChunkId, Content, ContentId, DeviceId, Dot, Fact, Hash, Hlc, PublicKey, Role, Seen, Seq,
    VersionVector, epoch,
};
use annals_projections::{DeviceState, Projections};
use std::collections::{BTreeMap, BTreeSet};

/// What has to be looked up before a batch can be judged.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Needs {
    /// A dot of the batch that is in the log already: the hash of the batch that is stored under it.
    pub stored_under: Option<Dot>,
    /// Contents that the batch names: whether their chunks are stored and their manifests add up.
    pub contents: BTreeMap<ContentId, Content>,
}

impl Needs {
    /// What `batch` calls for.
    #[must_use]
    pub fn of(batch: &Batch, projections: &Projections) -> Self {
        let used =
            (0..batch.events().len()).map(|i| batch.dot(i)).find(|dot| projections.devices().contains(*dot));
        let contents = contents_of(batch).map(|content| (content.id, content)).collect();
        Self { stored_under: used, contents }
    }
}

/// The contents that a batch's events name, event by event. What a kind has no use for is passed over.
pub fn contents_of(batch: &Batch) -> impl Iterator<Item = Content> + '_ {
    let versions = batch.events().iter().enumerate().filter(|(_, event)| {
        matches!(
            event.fact,
            Fact::EntryCreated { .. } | Fact::VersionUploaded { .. } | Fact::VersionsMerged { .. }
        )
    });
    versions.filter_map(|(index, _)| batch.body(index).ok().flatten().and_then(|body| body.content))
}

/// What was looked up.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    /// The hash of the batch that is stored under [`Needs::stored_under`].
    pub stored: Option<Hash>,
    /// Chunks that the batch names, itself or in a manifest, and that its author neither sent nor may read
    /// here.
    pub missing: BTreeSet<ChunkId>,
    /// Contents whose manifest chunk holds something else.
    pub broken: BTreeSet<ContentId>,
    /// The bytes that this namespace may come to, by its owner's quota; none for no limit.
    pub room: Option<u64>,
    /// Plain bytes by which the batch makes the namespace larger.
    pub adds: u64,
}

/// What to do with a batch that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Put it into the log.
    Admit,
    /// It is there already: answer as if it had just been put there (I6).
    Again,
}

/// Judges `batch` by all that was admitted before it.
///
/// # Errors
/// [`Refusal`] says which rule it breaks, and where.
pub fn judge(batch: &Batch, projections: &Projections, facts: &Facts) -> Result<Verdict, Refusal> {
    let header = batch.header();
    if header.namespace != projections.namespace() {
        return Err(Refusal::OtherNamespace { expected: projections.namespace(), actual: header.namespace });
    }
    let author = Author::of(batch, projections)?;
    batch.verify(&author.key).map_err(Refusal::Batch)?;
    if let Some(stored) = facts.stored {
        return if stored == batch.hash() {
            Ok(Verdict::Again)
        } else {
            Err(Refusal::Equivocation { dot: batch.dot(0), stored })
        };
    }
    author.may_still_act(batch)?;
    author.goes_on(batch)?;
    let seen = author.saw(batch, projections)?;
    clocks_rise(batch, &author, &seen, projections)?;
    event::check_all(batch, &author, &seen, projections)?;
    content_is_there(batch, facts)?;
    if let Some(room) = facts.room {
        let used = projections.usage().bytes;
        // Whoever is over the limit may still move, rename and remove.
        if facts.adds > 0 && used.saturating_add(facts.adds) > room {
            return Err(Refusal::Quota { used, adds: facts.adds, room });
        }
    }
    Ok(Verdict::Admit)
}

/// Judges a batch that was admitted once, by the receipt that came with it, and that the log lacks now: not whether its
/// author may do this, which was decided then, but whether it goes on from what the log has. `stored` is the hash of the
/// batch that is stored under one of its dots. Nothing goes past the retirement of a device.
///
/// # Errors
/// [`Refusal`] says what does not fit.
pub fn judge_again(
    batch: &Batch,
    projections: &Projections,
    stored: Option<Hash>,
) -> Result<Verdict, Refusal> {
    let header = batch.header();
    if header.namespace != projections.namespace() {
        return Err(Refusal::OtherNamespace { expected: projections.namespace(), actual: header.namespace });
    }
    let author = Author::of(batch, projections)?;
    batch.verify(&author.key).map_err(Refusal::Batch)?;
    if let Some(stored) = stored {
        return if stored == batch.hash() {
            Ok(Verdict::Again)
        } else {
            Err(Refusal::Equivocation { dot: batch.dot(0), stored })
        };
    }
    if author.state.as_ref().and_then(|state| state.retired_last).is_some_and(|last| batch.last() > last) {
        author.may_still_act(batch)?;
    }
    author.goes_on(batch)?;
    let seen = author.saw(batch, projections)?;
    clocks_rise(batch, &author, &seen, projections)?;
    event::check_again(batch, &author, &seen, projections)?;
    Ok(Verdict::Admit)
}

/// Who signed the batch, as the log knows them.
struct Author {
    device: DeviceId,
    key: PublicKey,
    /// None for the batch that a namespace begins with.
    state: Option<DeviceState>,
    role: Option<Role>,
    is_server: bool,
}

impl Author {
    fn of(batch: &Batch, projections: &Projections) -> Result<Self, Refusal> {
        let device = batch.header().device;
        if projections.head().seq == Seq(0) {
            return Self::of_first(batch);
        }
        let Some(state) = projections.devices().get(device) else {
            let known = |server| projections.devices().get(server).filter(|s| s.is_server).map(|s| s.key);
            let key = epoch::introduced(batch, false, known).ok_or(Refusal::Unlinked { device })?;
            return Ok(Self { device, key, state: None, role: None, is_server: true });
        };
        if !state.linked && !state.is_server {
            return Err(Refusal::Unlinked { device });
        }
        Ok(Self {
            device,
            key: state.key,
            role: state.user.and_then(|user| projections.access().role(user)),
            is_server: state.is_server,
            state: Some(state.clone()),
        })
    }

    /// A namespace begins with the event that names its server's key, signed with that key.
    fn of_first(batch: &Batch) -> Result<Self, Refusal> {
        let device = batch.header().device;
        match &batch.events()[0].fact {
            Fact::NamespaceCreated { server, .. } if DeviceId::of_key(server) == device => {
                Ok(Self { device, key: *server, state: None, role: None, is_server: true })
            }
            _ => Err(Refusal::Unlinked { device }),
        }
    }

    fn may_still_act(&self, batch: &Batch) -> Result<(), Refusal> {
        match self.state.as_ref().and_then(|state| state.retired_last) {
            Some(last) => Err(Refusal::Retired { device: self.device, last, dot: batch.dot(0) }),
            None => Ok(()),
        }
    }

    fn last_counter(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.last_counter)
    }

    fn goes_on(&self, batch: &Batch) -> Result<(), Refusal> {
        let expected = self.state.as_ref().and_then(|state| state.last_batch);
        let (actual, first, last) = (batch.header().prev, batch.header().first, self.last_counter());
        if first <= last {
            return Err(Refusal::CounterUsed { dot: batch.dot(0), last });
        }
        if actual != expected {
            return Err(Refusal::Prev { device: self.device, expected, actual });
        }
        Ok(())
    }

    /// What the author had seen, made whole from the difference; nothing in it may be of the future.
    fn saw(&self, batch: &Batch, projections: &Projections) -> Result<Seen, Refusal> {
        let before = self.state.as_ref().map_or_else(VersionVector::new, |state| state.seen.clone());
        let vector = before.changed_by(&batch.header().seen);
        let own_before = batch.header().first - 1;
        for dot in &batch.header().seen {
            let last = if dot.device == self.device {
                own_before
            } else {
                projections.devices().get(dot.device).map_or(0, |state| state.last_counter)
            };
            if dot.counter > last {
                return Err(Refusal::SeenUnknown { dot: *dot, last });
            }
        }
        // What was not pulled cannot be pulled and not shown; and ranges without end are nobody's to walk.
        for (device, _, last) in batch.header().unseen.ranges() {
            let pulled = if device == self.device { own_before } else { vector.get(device) };
            if last > pulled {
                return Err(Refusal::SeenUnknown { dot: Dot::new(device, last), last: pulled });
            }
        }
        Ok(Seen { vector, unseen: batch.header().unseen.clone() })
    }
}

/// Each stamp is above the one before it and above all that was seen. Past the year 9999 it may only count
/// on from there.
fn clocks_rise(
    batch: &Batch,
    author: &Author,
    seen: &Seen,
    projections: &Projections,
) -> Result<(), Refusal> {
    let devices = projections.devices();
    let met = seen.vector.iter().map(|dot| devices.hlc_at(dot.device, dot.counter)).max();
    let own = author.state.as_ref().map(|state| state.last_hlc);
    let mut before = met.max(own).unwrap_or_default();
    for (index, event) in batch.events().iter().enumerate() {
        let one_ms_on = Hlc(before.0.saturating_add(1 << 16));
        if event.hlc <= before || (event.hlc >= Hlc::AFTER_LAST && event.hlc > one_ms_on) {
            return Err(Refusal::Clock { dot: batch.dot(index), hlc: event.hlc, before });
        }
        before = event.hlc;
    }
    Ok(())
}

fn content_is_there(batch: &Batch, facts: &Facts) -> Result<(), Refusal> {
    for index in 0..batch.events().len() {
        let content = batch.body(index).ok().flatten().and_then(|body| body.content);
        if let Some(content) = content.filter(|content| facts.broken.contains(&content.id)) {
            return Err(Refusal::Content { dot: batch.dot(index), content: content.id });
        }
    }
    if facts.missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::ChunksMissing { first: batch.dot(0), chunks: facts.missing.iter().copied().collect() })
}
