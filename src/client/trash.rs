//! The trash of a linked folder: what was removed, bringing it back, and forgetting it.
//!
//! What is to be forgotten waits until every device of the folder has said that it knows of the removal: one that has
//! not might have something to say against it; whoever is away is asked by the server when it comes. Until then the wish lies in `.annals/forget.json`, and every round looks
//! whether its time has come. A wish names the deletes it was made of: what was brought back meanwhile, or removed
//! again, is not what was meant, and the wish is dropped; so is one that came true.

use super::{
    ClientError, Folder, Progress,
    layout::{self, WISHES},
};
use crate::{clock::Stopwatch, whole};
use annals_engine::{
    author::Said,
    protocol::FeedQuery,
    trash::{self, Removed, behind, deletes_of, known_from},
};
use annals_events::{DeviceId, Dot, DotSet, EntryId, EntryKind, Fact, Role};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::Duration,
};

/// How long devices that are there are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A line of the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashLine {
    /// Where it was.
    pub path: String,
    /// The entry at its top.
    pub entry: EntryId,
    /// What that is.
    pub kind: EntryKind,
    /// When it was removed, in milliseconds since 1970.
    pub removed_at: u64,
    /// Label of the device that removed it.
    pub device: String,
    /// Name of the user it acted for.
    pub user: String,
    /// How many entries went with it, itself counted.
    pub entries: u64,
    /// How many files and symlinks there are in it, itself if it is one.
    pub files: u64,
    /// What they hold.
    pub bytes: u64,
    /// Whether it is to be forgotten, and which devices that waits for.
    pub waits_for: Option<Vec<String>>,
}

/// An entry that is to be forgotten, as it was removed when that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wish {
    entry: Dot,
    deletes: Vec<Dot>,
}

impl Folder {
    /// What was removed and can be brought back: at `path` and below, or everywhere.
    ///
    /// # Errors
    /// [`ClientError::Store`] where records cannot be read.
    pub fn trash(&self, path: Option<&str>) -> Result<Vec<TrashLine>, ClientError> {
        let wishes = wishes(&self.root);
        let mut lines = Vec::new();
        for removed in self.removed(path) {
            let (mut removed_at, mut by) = (0, None);
            for delete in removed.deletes.iter() {
                let (at, _) = self.when(delete)?;
                if by.is_none() || at >= removed_at {
                    (removed_at, by) = (at, Some(delete.device));
                }
            }
            let waits = wishes.iter().any(|wish| wish.entry == removed.entry.0);
            lines.push(TrashLine {
                path: removed.path,
                entry: removed.entry,
                kind: removed.kind,
                removed_at,
                device: by.map(|device| self.device_label(device)).unwrap_or_default(),
                user: by.map(|device| self.user_name(device)).unwrap_or_default(),
                entries: removed.entries.len() as u64,
                files: removed.files,
                bytes: removed.bytes,
                waits_for: waits.then(|| self.waits_for(removed.entry).into_iter().collect()),
            });
        }
        Ok(lines)
    }

    fn removed(&self, path: Option<&str>) -> Vec<Removed> {
        let mut all = trash::trash(self.replica.log());
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            let below = format!("{path}/");
            all.retain(|removed| removed.path == path || removed.path.starts_with(&below));
        }
        all
    }

    /// Brings back what was removed last at `path`, with all that went with it; where the folder itself is there, all that
    /// was removed from it. Answers with what came back, and where it is now.
    ///
    /// # Errors
    /// [`ClientError::NotInTrash`].
    pub fn restore_removed(&mut self, path: &str) -> Result<Vec<(String, String)>, ClientError> {
        let at_and_below = self.removed(Some(path));
        let last =
            |removed: &Removed| removed.deletes.iter().map(|dot| self.when(dot).unwrap_or_default()).max();
        let mut latest: BTreeMap<&str, &Removed> = BTreeMap::new();
        for removed in &at_and_below {
            let known = latest.entry(&removed.path).or_insert(removed);
            if last(removed) > last(known) {
                *known = removed;
            }
        }
        let meant: Vec<Removed> = match latest.get(path) {
            Some(removed) => vec![(*removed).clone()],
            None => match self.removed_around(path) {
                Some(removed) => vec![removed],
                None => latest.into_values().cloned().collect(),
            },
        };
        if meant.is_empty() {
            return Err(ClientError::NotInTrash { path: path.into() });
        }
        meant.iter().map(|removed| Ok((removed.path.clone(), self.restore_one(removed)?))).collect()
    }

    fn restore_one(&mut self, removed: &Removed) -> Result<String, ClientError> {
        self.replica.remote();
        let shown = self.replica.remote().clone();
        let (said, path) = trash::restoring(self.replica.log(), &shown, removed);
        self.say(said)?;
        Ok(path)
    }

    /// One entry out of a larger removal: what went with it, and nothing beside it.
    fn removed_around(&self, path: &str) -> Option<Removed> {
        let log = self.replica.log();
        let whole =
            self.removed(None).into_iter().find(|removed| path.starts_with(&format!("{}/", removed.path)))?;
        let entry = *whole.entries.iter().find(|entry| log.path(**entry).as_deref() == Some(path))?;
        let below = |e: &EntryId| *e == entry || log.ancestors(*e).any(|above| above == entry);
        let entries =
            [vec![entry], whole.entries.iter().copied().filter(|e| *e != entry && below(e)).collect()];
        let kind = log.entry(entry)?.kind;
        Some(Removed { entry, kind, path: path.into(), entries: entries.concat(), ..whole })
    }

    /// Everything removed at `path` and below, or everywhere, is to be forgotten: with the next round, where that may be.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] for whoever is no owner; [`ClientError::NotInTrash`] where there is nothing.
    pub fn empty_trash(&mut self, path: Option<&str>) -> Result<(), ClientError> {
        self.may(Role::Owner)?;
        let removed = self.removed(path);
        if let Some(path) = path.filter(|_| removed.is_empty()) {
            return Err(ClientError::NotInTrash { path: path.into() });
        }
        let log = self.replica.log();
        let meant: BTreeSet<EntryId> = removed.into_iter().flat_map(|removed| removed.entries).collect();
        let mut wishes = wishes(&self.root);
        wishes.retain(|wish| !meant.contains(&EntryId(wish.entry)));
        let wish = |entry: EntryId| Wish { entry: entry.0, deletes: deletes_of(log, entry).iter().collect() };
        wishes.extend(meant.into_iter().map(wish));
        self.keep_wishes(&wishes)
    }

    /// Says what is to be forgotten and may be by now, and this device's own word where that is what it waits for. It
    /// goes out with the next round.
    pub(super) fn forget_what_may_go(&mut self) -> Result<(), ClientError> {
        let mut wishes = wishes(&self.root);
        let log = self.replica.log();
        let before = wishes.len();
        wishes.retain(|wish| is_still_meant(log, wish));
        let (mut ripe, mut own_word) = (Vec::new(), false);
        for entry in wishes.iter().map(|wish| EntryId(wish.entry)) {
            let Some(devices) = known_from(log, entry).map(|seq| behind(log, seq)) else { continue };
            own_word |= devices.contains(&self.replica.device());
            ripe.extend(devices.is_empty().then_some(entry));
        }
        let facts = trash::forgetting(ripe);
        let mut said: Vec<Said> = facts.into_iter().map(|fact| Said { fact, body: None }).collect();
        // Whoever asks to forget need not wait for the day's own word.
        if own_word && self.replica.is_settled() {
            let seq = self.replica.cursor().seq;
            said.push(Said { fact: Fact::Acknowledged { seq }, body: None });
        }
        if !said.is_empty() {
            self.say(said)?;
        }
        if wishes.len() < before { self.keep_wishes(&wishes) } else { Ok(()) }
    }

    /// Somebody wants to know how far this device is: it says so with the next round.
    pub(super) fn owe_word(&mut self) {
        self.owes_word = true;
    }

    /// Asks whether somebody wants to know how far this device is, and has others asked where it waits for them. Of a daemon
    /// the feed says so; without one nobody would for a day. Where nobody answers, it is heard another time.
    pub(super) fn hear_questions(&mut self) {
        if self.kept || self.owes_word || !self.replica.is_settled() {
            return;
        }
        let (namespace, waits) = (self.binding.namespace, !wishes(&self.root).is_empty());
        let query = FeedQuery { log: Some(self.binding.log), wait: Some(0), ..FeedQuery::default() };
        let query = query.having(&self.replica.cursor());
        let Ok(http) = self.http() else { return };
        let heard =
            http.changes(namespace, &query).inspect_err(|error| tracing::debug!(%error, "no questions"));
        if waits && let Err(error) = http.ask_devices(namespace) {
            tracing::debug!(%error, "others are not asked");
        }
        self.owes_word = heard.is_ok_and(|heard| heard.acknowledge);
    }

    /// Says how far this device is, if somebody wants to know and does not yet.
    pub(super) fn say_how_far(&mut self) -> Result<bool, ClientError> {
        if !self.owes_word || !self.replica.is_settled() {
            return Ok(false);
        }
        self.owes_word = false;
        if !self.replica.has_news_since_its_word() {
            return Ok(false);
        }
        let seq = self.replica.cursor().seq;
        self.say(vec![Said { fact: Fact::Acknowledged { seq }, body: None }])?;
        Ok(true)
    }

    /// Asks the devices that are there to say that they know what is to be forgotten, and waits for them a little:
    /// what is left in the trash then.
    ///
    /// # Errors
    /// [`ClientError::Transport`], [`ClientError::Round`].
    pub fn ask_others(
        &mut self,
        path: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<TrashLine>, ClientError> {
        let namespace = self.binding.namespace;
        let asked = self.http()?.ask_devices(namespace)?;
        let asked: BTreeSet<DeviceId> = asked.into_iter().map(|info| info.device).collect();
        let began = Stopwatch::start();
        loop {
            let left = self.trash(path)?;
            let is_awaited = |line: &TrashLine| !self.behind_with(line.entry).is_disjoint(&asked);
            if !left.iter().any(is_awaited) || began.elapsed() > PATIENCE {
                return Ok(left);
            }
            let query = FeedQuery { log: Some(self.binding.log), wait: Some(1), ..FeedQuery::default() };
            let query = query.having(&self.replica.cursor());
            self.http()?.changes(namespace, &query)?;
            self.sync_nowhere(progress)?;
        }
    }

    /// The devices that did not say yet that they know of an entry's removal.
    fn behind_with(&self, entry: EntryId) -> BTreeSet<DeviceId> {
        let log = self.replica.log();
        let seq = known_from(log, entry);
        seq.map_or_else(|| BTreeSet::from([self.replica.device()]), |seq| behind(log, seq))
    }

    /// Whether something waits to be forgotten that may be by now, or this device's own word is missing for it.
    pub(super) fn is_forgetting_due(&mut self) -> bool {
        let wishes = wishes(&self.root);
        if wishes.is_empty() || self.may(Role::Owner).is_err() || !self.replica.is_settled() {
            return false;
        }
        let (log, own) = (self.replica.log(), self.replica.device());
        wishes.iter().any(|wish| {
            let behind = known_from(log, EntryId(wish.entry)).map(|seq| behind(log, seq));
            !is_still_meant(log, wish)
                || behind.is_some_and(|devices| devices.is_empty() || devices.contains(&own))
        })
    }

    fn waits_for(&self, entry: EntryId) -> BTreeSet<String> {
        self.behind_with(entry).into_iter().map(|device| self.device_label(device)).collect()
    }

    fn keep_wishes(&self, wishes: &[Wish]) -> Result<(), ClientError> {
        let path = layout::at(&self.root, WISHES);
        let written = match wishes {
            [] => whole::remove(&path),
            _ => whole::durable(&path, &serde_json::to_vec(wishes).expect("plain data")),
        };
        written.map_err(|source| ClientError::Folder { folder: self.root.clone(), source })
    }
}

/// Whether an entry is removed, and by what was meant.
fn is_still_meant(log: &annals_projections::Projections, wish: &Wish) -> bool {
    let deletes: DotSet = wish.deletes.iter().copied().collect();
    let view = log.entry(EntryId(wish.entry));
    view.is_some_and(|view| !view.shown && !view.purged) && deletes_of(log, EntryId(wish.entry)) == deletes
}

/// What cannot be read is no wish: nothing is forgotten by it, and that is said, as somebody was promised it.
fn wishes(root: &Path) -> Vec<Wish> {
    let path = layout::at(root, WISHES);
    let read = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        read => read.and_then(|text| Ok(serde_json::from_slice(&text)?)),
    };
    read.unwrap_or_else(|error| {
        let path = path.display();
        tracing::warn!(%path, %error, "what is to be forgotten cannot be read: nothing is, until `annals trash empty`");
        Vec::new()
    })
}
