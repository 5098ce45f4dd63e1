//! What is known of the past: what was where at an earlier moment, the files that ever had a path, and their versions.
//!
//! What must always hold: a path with a time means what the folder showed there then, by what the server had taken; all
//! verbs ask [`Then`] for it. Left out: what was saved here and is not taken yet counts from when it is.

use super::{ClientError, Folder, events::placed};
use annals_engine::{observed::RemoteTree, round::KeptRecords as _, trash::deletes_of};
use annals_events::{Batch, ContentId, Dot, EntryId, EntryKind};
use annals_projections::{Projections, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// Records that are folded as one group.
const RECORDS_PER_GROUP: usize = 1024;

/// Which version of a file is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The one that is shown.
    Now,
    /// The one of this name, or whose device and counter begin so.
    Version(String),
    /// The one that was shown then, in milliseconds since 1970.
    At(u64),
}

/// A file that has, or had, a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLines {
    /// Which.
    pub entry: EntryId,
    /// Whether it is the one that the path means now: what stands there, or was removed there last.
    pub current: bool,
    /// Where it is by now.
    pub is: Whereabouts,
    /// Where it is, or was last.
    pub path: String,
    /// Its versions, the oldest first.
    pub versions: Vec<VersionLine>,
}

/// Where a file is that had a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// There.
    Here,
    /// Under another.
    Elsewhere,
    /// It was removed: when, in milliseconds since 1970, as far as that is known.
    Removed(Option<u64>),
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
    /// Whether that is to be had.
    pub held: Held,
    /// Whether nothing has superseded it.
    pub head: bool,
}

/// What became of a version's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is kept, as far as this device knows.
    Kept,
    /// It expired, or was purged.
    Forgotten,
    /// The log keeps it, and neither the server nor this device has it.
    Lost,
    /// It is withheld.
    Withheld,
}

/// An earlier moment.
pub(super) struct Then {
    /// What the log added up to.
    pub(super) log: Projections,
    /// What it showed.
    pub(super) shown: RemoteTree,
}

impl Folder {
    /// The moment `at_ms`, by when the server took what had happened.
    pub(super) fn then(&self, at_ms: u64) -> Result<Then, ClientError> {
        let log = self.log_at(at_ms)?;
        Ok(Then { shown: RemoteTree::of(&log), log })
    }

    /// The log as far as the server had it at `at_ms`.
    fn log_at(&self, at_ms: u64) -> Result<Projections, ClientError> {
        let mut last = None;
        for logged in self.store.records() {
            let record = logged?.record;
            if record.admission().admitted_at <= at_ms {
                last = Some(record.last_seq());
            }
        }
        let mut log = Projections::new(self.binding().namespace, Scope::Device);
        let mut group = Vec::new();
        let mut fold = |group: &mut Vec<annals_events::log::Logged>| {
            let batches = group
                .iter()
                .map(|logged| (logged.record.batch(), Some(logged.record.admission()), logged.position.0));
            let folded = log.apply_all(batches);
            group.clear();
            folded.map_err(|error| self.store.damaged_records(error))
        };
        for logged in self.store.records() {
            let logged = logged?;
            if Some(logged.record.last_seq()) > last {
                break;
            }
            group.push(logged);
            if group.len() == RECORDS_PER_GROUP {
                fold(&mut group)?;
            }
        }
        fold(&mut group)?;
        Ok(log)
    }

    /// The version of the file at `path` that is meant.
    ///
    /// # Errors
    /// [`ClientError::NoSuchVersion`], [`ClientError::NotYet`], [`ClientError::NotAFile`], [`ClientError::NoSuchPath`].
    pub fn version_at(&mut self, path: &str, when: &When) -> Result<Dot, ClientError> {
        match when {
            When::Now => self.version_now(path),
            When::Version(named) => self.version_called(path, named),
            When::At(ms) => {
                let then = self.then(*ms)?;
                self.version_then(path, &then)
            }
        }
    }

    fn version_now(&mut self, path: &str) -> Result<Dot, ClientError> {
        let shown = self.replica.remote().nodes.get(path).and_then(|node| node.head);
        let file = self.file_at(path)?;
        let last = || self.replica.log().versions(file).last().copied();
        shown.or_else(last).ok_or_else(|| ClientError::NotYet { path: path.into() })
    }

    fn version_called(&mut self, path: &str, named: &str) -> Result<Dot, ClientError> {
        let mut found = 0;
        for (file, _) in self.files_ever_at(path)? {
            let versions = self.replica.log().versions(file);
            let meant: Vec<Dot> = versions.into_iter().filter(|version| is_called(*version, named)).collect();
            match meant.as_slice() {
                [one] => return Ok(*one),
                [] => {}
                several => found = found.max(several.len()),
            }
        }
        Err(ClientError::NoSuchVersion { path: path.into(), version: named.into(), found })
    }

    pub(super) fn version_then(&mut self, path: &str, then: &Then) -> Result<Dot, ClientError> {
        match then.shown.nodes.get(path) {
            Some(node) if node.kind == EntryKind::File => {
                node.head.ok_or_else(|| ClientError::NotYet { path: path.into() })
            }
            Some(node) => Err(not_a_file(path, Some(node.kind))),
            None if path.is_empty() => Err(not_a_file(path, None)),
            None if self.ever_at(path)?.is_empty() => {
                self.entries_at(path)?;
                Err(ClientError::NotYet { path: path.into() })
            }
            None => Err(ClientError::NotYet { path: path.into() }),
        }
    }

    /// The file that stands at `path`, or was removed there last.
    fn file_at(&mut self, path: &str) -> Result<EntryId, ClientError> {
        let entries = match self.entries_at(path) {
            Err(error @ ClientError::NoSuchPath { .. }) => {
                let went = self.ever_at(path)?.into_iter().find(|entry| self.is_file(*entry));
                let now = went.and_then(|entry| self.path_of_entry(entry));
                return Err(now.map_or(error, |now| ClientError::Elsewhere { path: path.into(), now }));
            }
            entries => entries?,
        };
        let file = entries.iter().copied().find(|entry| self.is_file(*entry));
        let kind = entries.first().and_then(|entry| self.replica.log().entry(*entry)).map(|view| view.kind);
        file.ok_or_else(|| not_a_file(path, kind))
    }

    fn is_file(&self, entry: EntryId) -> bool {
        self.replica.log().entry(entry).is_some_and(|view| view.kind == EntryKind::File)
    }

    /// The files that have `path` or had it, each with whether it is the one that the path means now, which comes first;
    /// then the one that had it last.
    fn files_ever_at(&mut self, path: &str) -> Result<Vec<(EntryId, bool)>, ClientError> {
        let current = self.file_at(path);
        let mut files: Vec<(EntryId, bool)> = current.iter().map(|file| (*file, true)).collect();
        let behind = self.entries_at(path).unwrap_or_default();
        for entry in behind.into_iter().chain(self.ever_at(path)?) {
            if self.is_file(entry) && !files.iter().any(|(known, _)| *known == entry) {
                files.push((entry, false));
            }
        }
        match current {
            Err(error) if files.is_empty() => Err(error),
            _ => Ok(files),
        }
    }

    /// The files that have `path` or had it, with their versions.
    ///
    /// # Errors
    /// [`ClientError::NoSuchPath`], [`ClientError::NotAFile`], [`ClientError::Unsaid`].
    pub fn histories(&mut self, path: &str) -> Result<Vec<FileLines>, ClientError> {
        let files = self.files_ever_at(path)?;
        let here = self.replica.remote().nodes.get(path).map(|node| node.entries.clone()).unwrap_or_default();
        let lines = files.into_iter().map(|(entry, current)| {
            let is = if here.contains(&entry) { Whereabouts::Here } else { self.whereabouts(entry)? };
            let known = self.path_of_entry(entry).unwrap_or_default();
            let path = if is == Whereabouts::Here { path.to_owned() } else { known };
            Ok(FileLines { entry, current, is, path, versions: self.versions(entry)? })
        });
        let mut lines: Vec<FileLines> = lines.collect::<Result<_, ClientError>>()?;
        let all = lines.iter().flat_map(|file| &file.versions).map(|line| line.version);
        let lost = self.lost_among(&all.collect::<Vec<_>>())?.unwrap_or_default();
        for line in lines.iter_mut().flat_map(|file| &mut file.versions) {
            if lost.contains(&line.version) {
                line.held = Held::Lost;
            }
        }
        Ok(lines)
    }

    /// Where something is that is not at the path that was asked for.
    fn whereabouts(&self, entry: EntryId) -> Result<Whereabouts, ClientError> {
        let log = self.replica.log();
        if log.entry(entry).is_some_and(|view| view.shown) {
            return Ok(Whereabouts::Elsewhere);
        }
        let mut last = None;
        for delete in deletes_of(log, entry).iter() {
            last = last.max(Some(self.when(delete)?.0));
        }
        Ok(Whereabouts::Removed(last))
    }

    /// The versions of a file, the oldest first.
    fn versions(&self, file: EntryId) -> Result<Vec<VersionLine>, ClientError> {
        let heads = self.replica.log().human_heads(file);
        let mut lines = Vec::new();
        for version in self.replica.log().versions(file) {
            let Some(view) = self.replica.log().version(version) else { continue };
            let (at, made_at) = self.times(version)?;
            lines.push(VersionLine {
                version,
                parents: view.parents,
                at,
                made_at,
                pending: self.replica.pending_batch(version).is_some(),
                device: self.device_label(version.device),
                user: self.user_name(version.device),
                bytes: view.size,
                content: view.content,
                held: match view.content {
                    _ if !view.retained => Held::Forgotten,
                    Some(_) => Held::Kept,
                    None => Held::Withheld,
                },
                head: heads.contains(&version),
            });
        }
        Ok(lines)
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

    /// What ever stood at `path` under the names that were given, as the log goes by: the last to come there first.
    fn ever_at(&self, path: &str) -> Result<Vec<EntryId>, ClientError> {
        let mut trail = Trail::of(path);
        for logged in self.store.records() {
            trail.follow(logged?.record.batch());
        }
        self.replica.pending().for_each(|batch| trail.follow(batch));
        trail.found.reverse();
        Ok(trail.found)
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

fn not_a_file(path: &str, kind: Option<EntryKind>) -> ClientError {
    let what = match kind {
        _ if path.is_empty() => "the linked folder itself",
        Some(EntryKind::Symlink) => "a symlink",
        _ => "a folder",
    };
    ClientError::NotAFile { path: path.into(), what }
}

/// What stands at a path and at the folders above it, as the log goes by.
struct Trail<'a> {
    /// The names of the path, from the top.
    names: Vec<&'a str>,
    /// Where every entry is that has one of them.
    places: BTreeMap<EntryId, (EntryId, &'a str)>,
    by_name: BTreeMap<&'a str, BTreeSet<EntryId>>,
    /// What stands there: the top, then for each name.
    stands: Vec<BTreeSet<EntryId>>,
    /// What ever stood at the end, the last to come there last.
    found: Vec<EntryId>,
}

impl<'a> Trail<'a> {
    fn of(path: &'a str) -> Self {
        let names: Vec<&str> = path.split('/').collect();
        let mut stands = vec![BTreeSet::new(); names.len() + 1];
        stands[0].insert(EntryId::ROOT);
        Self { names, places: BTreeMap::new(), by_name: BTreeMap::new(), stands, found: Vec::new() }
    }

    fn follow(&mut self, batch: &Batch) {
        for (index, event) in batch.events().iter().enumerate() {
            let dot = batch.dot(index);
            let Some((entry, folder)) = placed(dot, &event.fact) else { continue };
            let body = batch.body(index).ok().flatten();
            if let Some(name) = body.as_ref().and_then(|body| body.name.as_ref()) {
                self.put(entry, folder, name.as_str());
            }
        }
    }

    fn put(&mut self, entry: EntryId, folder: EntryId, name: &str) {
        if let Some((_, before)) = self.places.remove(&entry) {
            self.by_name.entry(before).or_default().remove(&entry);
        }
        let given = self.names.iter().copied().find(|known| *known == name);
        if let Some(given) = given {
            self.places.insert(entry, (folder, given));
            self.by_name.entry(given).or_default().insert(entry);
        }
        let stood = self.stands.iter().skip(1).any(|stand| stand.contains(&entry));
        let comes = self
            .names
            .iter()
            .zip(&self.stands)
            .any(|(known, above)| *known == name && above.contains(&folder));
        if stood || comes {
            self.look_again();
        }
    }

    fn look_again(&mut self) {
        for (nth, name) in self.names.iter().enumerate() {
            let above = &self.stands[nth];
            let is_in = |entry: &&EntryId| self.places.get(entry).is_some_and(|(at, _)| above.contains(at));
            let here: BTreeSet<EntryId> =
                self.by_name.get(name).into_iter().flatten().filter(is_in).copied().collect();
            if nth + 1 == self.names.len() {
                let came: Vec<EntryId> = here.difference(&self.stands[nth + 1]).copied().collect();
                self.found.retain(|entry| !came.contains(entry));
                self.found.extend(came);
            }
            self.stands[nth + 1] = here;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::DeviceId;

    fn entry(counter: u64) -> EntryId {
        EntryId(Dot { device: DeviceId([1; 16]), counter })
    }

    #[test]
    fn whatever_stood_at_a_path_is_found_however_it_came_there_and_went() {
        let (docs, deep, file, other, twin) = (entry(1), entry(2), entry(3), entry(4), entry(5));
        let mut trail = Trail::of("docs/deep/t");
        trail.put(file, deep, "t");
        trail.put(deep, docs, "deep");
        assert_eq!(trail.found, []);
        trail.put(docs, EntryId::ROOT, "docs");
        assert_eq!(trail.found, [file], "the folder above came last");
        trail.put(other, deep, "another name");
        trail.put(docs, EntryId::ROOT, "papers");
        // Nothing stands there any more: what is made in that folder does not come there.
        trail.put(twin, deep, "t");
        assert_eq!(trail.found, [file]);
        trail.put(twin, deep, "s");
        trail.put(docs, EntryId::ROOT, "docs");
        trail.put(file, EntryId::ROOT, "t");
        trail.put(other, deep, "t");
        assert_eq!(trail.found, [file, other]);
        trail.put(file, deep, "t");
        assert_eq!(trail.found, [other, file], "the last to come is the last");
    }

    #[test]
    fn names_that_come_twice_in_a_path_are_told_apart() {
        let (outer, inner, file) = (entry(1), entry(2), entry(3));
        let mut trail = Trail::of("a/a/a");
        trail.put(outer, EntryId::ROOT, "a");
        trail.put(inner, outer, "a");
        assert_eq!(trail.found, []);
        trail.put(file, inner, "a");
        assert_eq!(trail.found, [file]);
        trail.put(inner, EntryId::ROOT, "b");
        trail.put(inner, outer, "a");
        assert_eq!(trail.found, [file]);
    }
}
