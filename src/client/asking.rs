//! Questions to a linked folder: paths, times, tags, whether its state is whole. Answered from what the device has.

use super::{
    ClientError, Folder,
    layout::{self, OUTBOX},
};
use crate::verification::{Problem, Report, TornTail};
use annals_engine::{
    chunk_store::{ChunkDamage, ChunkStore, ChunkStoreError},
    round::{self, KeptRecords},
};
use annals_events::{DeviceId, Dot, EntryId, Hash, Seq, UserId, segment::Unfinished};
use annals_projections::Attributes;

impl Folder {
    /// What stands at `path`, or was removed there: the entries behind it, the shown ones or the latest first.
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
        let mut gone: Vec<EntryId> = log
            .entries()
            .filter(is_it)
            .filter(|entry| self.path_of_entry(*entry).as_deref() == Some(path))
            .collect();
        let put_there = |entry: &EntryId| {
            log.entry(*entry)
                .map(|view| (log.devices().hlc_at(view.place.device, view.place.counter), view.place))
        };
        gone.sort_by_cached_key(|entry| std::cmp::Reverse(put_there(entry)));
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

    /// When an event was admitted, and where; for a pending one when it was made.
    pub(super) fn when(&self, dot: Dot) -> Result<(u64, Option<Seq>), ClientError> {
        if let Some((batch, index)) = self.replica.pending_batch(dot) {
            return Ok((batch.events()[index].at, None));
        }
        let Some((position, index)) = self.replica.log().locate(dot) else { return Ok((0, None)) };
        let record = self.store.kept().at(position)?;
        Ok((record.admission().admitted_at, Some(Seq(record.seq().0 + index as u64))))
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

    /// What people said about `path`.
    ///
    /// # Errors
    /// [`ClientError::NoSuchPath`].
    pub fn attributes(&mut self, path: &str) -> Result<Attributes, ClientError> {
        let entries = self.entries_at(path)?;
        Ok(self.replica.log().attributes(entries[0]))
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
