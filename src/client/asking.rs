//! Questions to a linked folder: paths, versions, tags, whether its state is whole. Answered from what the device has.

use super::{
    ClientError, Folder,
    layout::{self, OUTBOX},
};
use crate::verification::{Problem, Report, TornTail};
use annals_engine::{
    chunk_store::{ChunkDamage, ChunkStore, ChunkStoreError},
    round::{self, KeptRecords},
};
use annals_events::{ContentId, DeviceId, Dot, EntryId, EntryKind, Hash, Seq, UserId, segment::Unfinished};
use annals_projections::Attributes;

/// Which version of a file is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The one that is shown.
    Now,
    /// The one of this name, or whose device and counter begin so.
    Version(String),
    /// The one that was current then, in milliseconds since 1970.
    At(u64),
}

/// A version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionLine {
    /// Its name.
    pub version: Dot,
    /// What it was made from.
    pub parents: Vec<Dot>,
    /// When it was admitted, or made where it is not yet, in milliseconds since 1970.
    pub at: u64,
    /// When it was made, by its device's clock.
    pub made_at: u64,
    /// Whether it is not admitted yet.
    pub pending: bool,
    /// Label of the device that made it.
    pub device: String,
    /// Name of the user it acts for.
    pub user: String,
    /// How many bytes.
    pub bytes: u64,
    /// What it holds; none where that is withheld.
    pub content: Option<ContentId>,
    /// Whether nothing has superseded it.
    pub head: bool,
}

impl Folder {
    /// What stands at `path`, or stood there last: the entries behind it, the shown ones first.
    ///
    /// # Errors
    /// [`ClientError::NoSuchPath`], [`ClientError::Unsaid`].
    pub fn entries_at(&mut self, path: &str) -> Result<Vec<EntryId>, ClientError> {
        if path.is_empty() {
            return Ok(vec![EntryId::ROOT]);
        }
        if let Some(node) = self.replica.remote().nodes.get(path) {
            return Ok(node.entries.clone());
        }
        let log = self.replica.log();
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_it = |entry: &EntryId| log.entry(*entry).is_some_and(|view| view.name == name);
        let gone: Vec<EntryId> = log
            .entries()
            .filter(is_it)
            .filter(|entry| self.path_of_entry(*entry).as_deref() == Some(path))
            .collect();
        match () {
            () if !gone.is_empty() => Ok(gone),
            () if self.root.join(path).symlink_metadata().is_ok() => {
                Err(ClientError::Unsaid { path: path.into() })
            }
            () => Err(ClientError::NoSuchPath { path: path.into() }),
        }
    }

    /// Whether something is at `path`, in the folder or by what others said as far as it was pulled.
    pub fn has(&mut self, path: &str) -> bool {
        path.is_empty()
            || self.replica.remote().nodes.contains_key(path)
            || self.root.join(path).symlink_metadata().is_ok()
    }

    /// Where an entry is, or was last, by the names that the log has.
    #[must_use]
    pub fn path_of_entry(&self, entry: EntryId) -> Option<String> {
        self.replica.log().path(entry)
    }

    fn file_at(&mut self, path: &str) -> Result<EntryId, ClientError> {
        let entries = self.entries_at(path)?;
        let log = self.replica.log();
        let is_file = |entry: &&EntryId| log.entry(**entry).is_some_and(|view| view.kind == EntryKind::File);
        let kind = entries.first().and_then(|entry| log.entry(*entry)).map(|view| view.kind);
        let what = match kind {
            _ if path.is_empty() => "the linked folder itself",
            Some(EntryKind::Symlink) => "a symlink",
            _ => "a folder",
        };
        entries.iter().find(is_file).copied().ok_or_else(|| ClientError::NotAFile { path: path.into(), what })
    }

    /// The versions of the file at `path`, the oldest first.
    ///
    /// # Errors
    /// [`ClientError::NoSuchPath`], [`ClientError::NotAFile`].
    pub fn versions(&mut self, path: &str) -> Result<Vec<VersionLine>, ClientError> {
        let file = self.file_at(path)?;
        let heads = self.replica.log().human_heads(file);
        let mut lines = Vec::new();
        for version in self.replica.log().versions(file) {
            let Some(view) = self.replica.log().version(version) else { continue };
            let (at, made_at) = self.times(version)?;
            let pending = self.replica.pending_batch(version).is_some();
            lines.push(VersionLine {
                version,
                parents: view.parents,
                at,
                made_at,
                pending,
                device: self.device_label(version.device),
                user: self.user_name(version.device),
                bytes: view.size,
                content: view.content,
                head: heads.contains(&version),
            });
        }
        Ok(lines)
    }

    /// When an event was admitted, and where; for a pending one when it was made.
    pub(super) fn when(&self, dot: Dot) -> Result<(u64, Option<Seq>), ClientError> {
        if let Some((batch, index)) = self.replica.pending_batch(dot) {
            return Ok((batch.events()[index].at, None));
        }
        let Some((position, index)) = self.replica.log().locate(dot) else { return Ok((0, None)) };
        let record = self.store.kept().at(position)?;
        Ok((record.admission().admitted_at, Some(Seq(record.seq().0 + index as u64))))
    }

    /// When an event was admitted, and when it was made; for a pending one both are that.
    fn times(&self, dot: Dot) -> Result<(u64, u64), ClientError> {
        if let Some((batch, index)) = self.replica.pending_batch(dot) {
            return Ok((batch.events()[index].at, batch.events()[index].at));
        }
        let Some((position, index)) = self.replica.log().locate(dot) else { return Ok((0, 0)) };
        let record = self.store.kept().at(position)?;
        Ok((record.admission().admitted_at, record.batch().events()[index].at))
    }

    pub(super) fn device_label(&self, device: DeviceId) -> String {
        match self.replica.log().devices().get(device) {
            Some(state) if state.is_server => "server".into(),
            Some(state) if !state.label.is_empty() => state.label.clone(),
            _ => device.to_hex()[..8].to_owned(),
        }
    }

    pub(super) fn user_name(&self, device: DeviceId) -> String {
        let Some(state) = self.replica.log().devices().get(device) else { return String::new() };
        state.user.map_or_else(|| "server".into(), |user| self.name_of(user))
    }

    /// What people call an account; the beginning of its id where nobody here knows.
    #[must_use]
    pub fn name_of(&self, user: UserId) -> String {
        match self.replica.log().access().name(user) {
            _ if user == self.binding().user => self.binding().user_name.clone(),
            "" => user.to_hex()[..8].to_owned(),
            name => name.to_owned(),
        }
    }

    /// The version of the file at `path` that is meant.
    ///
    /// # Errors
    /// [`ClientError::NoSuchVersion`], [`ClientError::NotYet`].
    pub fn version_at(&mut self, path: &str, when: &When) -> Result<Dot, ClientError> {
        let shown = self.replica.remote().nodes.get(path).and_then(|node| node.head);
        let versions = self.versions(path)?;
        match when {
            When::Now => {
                let last = versions.last().map(|line| line.version);
                shown.or(last).ok_or_else(|| ClientError::NotYet { path: path.into() })
            }
            When::Version(named) => {
                let meant: Vec<Dot> = versions
                    .iter()
                    .map(|line| line.version)
                    .filter(|version| is_called(*version, named))
                    .collect();
                match meant.as_slice() {
                    [one] => Ok(*one),
                    several => Err(ClientError::NoSuchVersion {
                        path: path.into(),
                        version: named.clone(),
                        found: several.len(),
                    }),
                }
            }
            When::At(ms) => {
                let mut before = versions.iter().filter(|line| line.at <= *ms);
                before
                    .next_back()
                    .map(|line| line.version)
                    .ok_or_else(|| ClientError::NotYet { path: path.into() })
            }
        }
    }

    /// What people said about `path`.
    ///
    /// # Errors
    /// [`ClientError::NoSuchPath`].
    pub fn attributes(&mut self, path: &str) -> Result<Attributes, ClientError> {
        let entries = self.entries_at(path)?;
        Ok(self.replica.log().attributes(entries[0]))
    }
}

/// Whether people call `version` so: whole, or the beginning of the device and the whole counter.
fn is_called(version: Dot, name: &str) -> bool {
    match name.split_once(':') {
        Some((device, counter)) => {
            version.device.to_hex().starts_with(device) && version.counter.to_string() == counter
        }
        None => !name.is_empty() && version.device.to_hex().starts_with(name),
    }
}

impl Folder {
    /// Every record that the device keeps, in order.
    pub fn records(
        &self,
    ) -> impl Iterator<Item = Result<annals_events::log::Logged, annals_engine::round::StoreError>> {
        self.store.records()
    }

    /// Where the folds at work differ from those of a replay. While events are pending there is nothing to compare.
    #[must_use]
    pub fn differences(&self, replayed: &Report) -> Vec<Problem> {
        if self.replica.pending().next().is_some() {
            return Vec::new();
        }
        let namespace = self.binding().namespace.to_hex();
        let Some(replayed) = replayed.digests.get(&namespace) else { return Vec::new() };
        let at_work = self.replica.log().digests();
        let differ =
            at_work.into_iter().filter(|(name, digest)| replayed.get(*name) != Some(&digest.to_hex()));
        let problem = |(name, _): (&str, Hash)| Problem {
            what: "a projection is not what its log adds up to".into(),
            place: name.into(),
            affects: "what this folder shows".into(),
        };
        differ.map(problem).collect()
    }

    /// What a crash cut off in this device's state, of a folder that was opened to be looked at.
    #[must_use]
    pub fn torn(&self) -> Vec<TornTail> {
        let cut_off = self.store.unfinished().into_iter();
        cut_off
            .map(|(row, Unfinished { place, bytes })| TornTail { place: format!("{row}, {place}"), bytes })
            .collect()
    }

    /// Looks at the chunks that wait to be sent, at every one of them if it is to be `deep`.
    ///
    /// # Errors
    /// [`ClientError::Round`] where they cannot be read at all.
    pub fn verify_outbox(&self, deep: bool, found: &mut Vec<Problem>) -> Result<(), ClientError> {
        let folder = layout::at(self.root(), OUTBOX);
        let mut damaged = |damage: ChunkDamage| {
            found.push(Problem {
                what: damage.what,
                place: format!("{}, {}", folder.display(), damage.place),
                affects: "a save that waits to be sent".into(),
            });
        };
        let outbox = &self.store.outbox;
        let verified = if deep { outbox.verify(&mut damaged) } else { outbox.stats() };
        match verified {
            Ok(_) => Ok(()),
            Err(ChunkStoreError::Damaged(damage)) => {
                damaged(damage);
                Ok(())
            }
            Err(error) => Err(round::RoundError::Outbox(error).into()),
        }
    }
}
