//! What happened in a linked folder, for people: the events that the device has, in log order, each with the path
//! that its entry had then and what it changed.

use super::{ClientError, Folder};
use annals_events::{Batch, Body, Dot, EntryId, Fact, Hash, Seq};
use annals_projections::DotKind;
use std::collections::{BTreeMap, BTreeSet};

/// An event, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    /// Its place; none while it is pending.
    pub seq: Option<Seq>,
    /// When it was admitted, or made, in milliseconds since 1970.
    pub at: u64,
    /// What happened.
    pub kind: String,
    /// Name of the user.
    pub user: String,
    /// Label of the device.
    pub device: String,
    /// Where the entry was from then on, or was last; the first of several.
    pub path: Option<String>,
    /// Where it was before, if that is another place.
    pub from: Option<String>,
    /// What else it changed, in a few words.
    pub change: Option<String>,
    /// Which entry.
    pub entry: Option<EntryId>,
    /// The event's name.
    pub dot: Dot,
    /// The hash of its batch.
    pub batch: Hash,
}

/// Which events are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventsWanted<'a> {
    /// Those about what is, or was last, at this path.
    pub path: Option<&'a str>,
    /// Those admitted then or later, in milliseconds since 1970; pending ones too.
    pub since: Option<u64>,
    /// Those after this place.
    pub after: Option<u64>,
    /// So many, the last ones.
    pub limit: Option<usize>,
}

/// Where every entry is, as the log goes by.
#[derive(Default)]
struct Places(BTreeMap<EntryId, (EntryId, String)>);

impl Places {
    fn put(&mut self, entry: EntryId, folder: EntryId, name: String) {
        self.0.insert(entry, (folder, name));
    }

    fn path(&self, entry: EntryId) -> Option<String> {
        let mut names = Vec::new();
        let mut at = entry;
        // In log order a ring may come up that the folder tree does not have: it ends somewhere.
        while let Some((folder, name)) = self.0.get(&at).filter(|_| names.len() <= self.0.len()) {
            names.push(name.as_str());
            at = *folder;
        }
        names.reverse();
        (!names.is_empty()).then(|| names.join("/"))
    }
}

impl Folder {
    /// Events in log order, pending ones last.
    ///
    /// # Errors
    /// [`ClientError::NoSuchPath`]; [`ClientError::Store`] where records cannot be read.
    pub fn events(&mut self, wanted: EventsWanted<'_>) -> Result<Vec<EventLine>, ClientError> {
        let about = match wanted.path.filter(|path| !path.is_empty()) {
            Some(path) => Some(self.entries_at(path)?),
            None => None,
        };
        let (mut lines, mut places) = (Vec::new(), Places::default());
        for logged in self.store.records() {
            let record = logged?.record;
            let at = record.admission().admitted_at;
            let shown = record.last_seq().0 > wanted.after.unwrap_or(0)
                && wanted.since.is_none_or(|since| at >= since);
            let admitted = Some((record.seq(), at));
            self.lines_of(
                record.batch(),
                admitted,
                about.as_deref(),
                &mut places,
                shown.then_some(&mut lines),
            );
        }
        let pending: Vec<_> = self.replica.pending().cloned().collect();
        for batch in pending {
            self.lines_of(&batch, None, about.as_deref(), &mut places, Some(&mut lines));
        }
        lines.retain(|line| line.seq.is_none_or(|seq| seq.0 > wanted.after.unwrap_or(0)));
        let skip = wanted.limit.map_or(0, |limit| lines.len().saturating_sub(limit));
        Ok(lines.split_off(skip))
    }

    fn lines_of(
        &self,
        batch: &Batch,
        admitted: Option<(Seq, u64)>,
        about: Option<&[EntryId]>,
        places: &mut Places,
        mut lines: Option<&mut Vec<EventLine>>,
    ) {
        for (index, event) in batch.events().iter().enumerate() {
            let dot = batch.dot(index);
            let body = batch.body(index).ok().flatten();
            let (entry, before) = places.take(dot, &event.fact, body.as_ref());
            let Some(lines) = lines.as_deref_mut() else { continue };
            let entries = self.entries_of(dot, &event.fact);
            if about.is_some_and(|about| !entries.iter().any(|entry| about.contains(entry))) {
                continue;
            }
            let entry = entry.or_else(|| entries.first().copied());
            let path = entry.and_then(|entry| places.path(entry).or_else(|| self.path_of_entry(entry)));
            lines.push(EventLine {
                seq: admitted.map(|(seq, _)| Seq(seq.0 + index as u64)),
                at: admitted.map_or(event.at, |(_, at)| at),
                kind: event.fact.kind().to_owned(),
                user: self.user_name(dot.device),
                device: self.device_label(dot.device),
                from: before.filter(|before| Some(before) != path.as_ref()),
                path: path.filter(|path| !path.is_empty()),
                change: self.change_of(&event.fact, body.as_ref(), entries.len()),
                entry,
                dot,
                batch: batch.hash(),
            });
        }
    }

    /// The entries that an event is about, the ones that it names first.
    fn entries_of(&self, dot: Dot, fact: &Fact) -> Vec<EntryId> {
        let log = self.replica.log();
        match fact {
            Fact::EntryDeleted { entries, hides } => {
                let below = hides.iter().filter_map(|dot| log.dot_kind(dot).and_then(DotKind::entry));
                let mut known: BTreeSet<EntryId> = BTreeSet::new();
                let all = entries.iter().map(EntryId).chain(below);
                all.filter(|entry| known.insert(*entry)).collect()
            }
            Fact::EntryPurged { entries } => entries.iter().map(EntryId).collect(),
            _ => log.dot_kind(dot).and_then(DotKind::entry).into_iter().collect(),
        }
    }

    /// What an event changed beside a place, in a few words.
    fn change_of(&self, fact: &Fact, body: Option<&Body>, entries: usize) -> Option<String> {
        let name_of = |named: Option<&String>, user| named.cloned().unwrap_or_else(|| self.name_of(user));
        match fact {
            Fact::NamespaceCreated { .. } => body?.label.clone(),
            Fact::EpochOpened { .. } => Some("the server had lost state".into()),
            Fact::DeviceLinked { user, .. } => {
                let label = body.and_then(|body| body.label.clone()).unwrap_or_default();
                Some(format!("{label}, of {}", name_of(body.and_then(|body| body.user_name.as_ref()), *user)))
            }
            Fact::DeviceRetired { device, .. } => Some(self.device_label(*device)),
            Fact::Acknowledged { seq } => Some(format!("event {seq}")),
            Fact::MemberGranted { user, role } => {
                let name = name_of(body.and_then(|body| body.user_name.as_ref()), *user);
                Some(format!("{name} as {}", format!("{role:?}").to_lowercase()))
            }
            Fact::MemberRevoked { user } => Some(self.name_of(*user)),
            Fact::RetentionSet { versions, .. } => {
                let days = |ms: &u64| format!("{} days", ms / (24 * 60 * 60 * 1000));
                Some(versions.as_ref().map_or_else(|| "for ever".into(), days))
            }
            Fact::VersionsExpired { versions } => Some(format!("{} versions", versions.len())),
            Fact::EntryDeleted { .. } if entries > 1 => Some(format!("and {} more", entries - 1)),
            Fact::EntryCreated { .. } | Fact::VersionUploaded { .. } | Fact::VersionsMerged { .. } => {
                body?.content.as_ref().map(|content| bytes_in_words(content.size))
            }
            Fact::AttributesChanged { .. } => body.map(attributes_in_words),
            _ => None,
        }
    }
}

fn bytes_in_words(bytes: u64) -> String {
    format!("{bytes} byte{}", if bytes == 1 { "" } else { "s" })
}

fn attributes_in_words(body: &Body) -> String {
    let added = body.tags_added.iter().map(|tag| format!("+{tag}"));
    let removed = body.tags_removed.iter().map(|tag| format!("-{tag}"));
    let note =
        body.note.iter().map(|note| if note.is_empty() { "no note".into() } else { format!("note: {note}") });
    let run = body.executable.iter().map(|yes| if *yes { "executable" } else { "not executable" }.to_owned());
    let time = body.mtime.iter().map(|_| "time".to_owned());
    added.chain(removed).chain(note).chain(run).chain(time).collect::<Vec<_>>().join(", ")
}

impl Places {
    /// Takes note of where an event puts an entry: which, and where that was before.
    fn take(&mut self, dot: Dot, fact: &Fact, body: Option<&Body>) -> (Option<EntryId>, Option<String>) {
        let Some((entry, folder)) = placed(dot, fact) else { return (None, None) };
        let before = self.path(entry);
        if let Some(name) = body.and_then(|body| body.name.as_ref()) {
            self.put(entry, folder, name.to_string());
        }
        (Some(entry), before)
    }
}

/// Which entry an event puts into which folder.
pub(super) fn placed(dot: Dot, fact: &Fact) -> Option<(EntryId, EntryId)> {
    match fact {
        Fact::EntryCreated { parent, .. } => Some((EntryId(dot), *parent)),
        Fact::EntryMoved { entry, parent } => Some((*entry, *parent)),
        Fact::EntryRestored { entry, place: Some(parent), .. } => Some((*entry, *parent)),
        _ => None,
    }
}
