//! What brings a part of the tree back to how it was at an earlier moment, as new events on top of everything since.
//!
//! What must always hold: nothing is lost by it. What was shown then and is not is brought back, with what only hides it
//! lifted; what is elsewhere by now goes back to its place; a file that holds something else gets what it held as a new
//! version. What was made since stays where it is, and under another name only where its own is needed. Entries are
//! told by identity: a name that somebody else has by now is not taken for them.
//!
//! Left out: whose moment it is (the caller folds the log up to there), contents (a version is named, the shell says
//! it), tags and notes (they stay), copies in conflict (the version that had the file's name comes back, the others are
//! in its history).

use crate::{
    author::Said,
    observed::{RemoteNode, RemoteTree, name, parent},
    trash::{deletes_of, lifting},
};
use annals_events::{Body, ContentId, Dot, EntryId, EntryKind, Fact, Name, path};
use annals_projections::{EntryView, Projections};
use std::collections::{BTreeMap, BTreeSet};

/// The log and what it shows, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The log up to there.
    pub log: &'a Projections,
    /// What it shows.
    pub shown: &'a RemoteTree,
}

/// What happens to one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was removed since, and is there again.
    BroughtBack,
    /// It was moved or renamed since, and is where it was.
    MovedBack,
    /// It holds again what it held.
    Content,
    /// Its time or executable bit is again what it was.
    Attributes,
    /// It was made since, and gets another name: its own is needed.
    OutOfTheWay,
}

impl Change {
    /// The word for it in every output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BroughtBack => "brought_back",
            Self::MovedBack => "moved_back",
            Self::Content => "content",
            Self::Attributes => "attributes",
            Self::OutOfTheWay => "out_of_the_way",
        }
    }
}

/// One line of what would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What.
    pub change: Change,
    /// Where it will be.
    pub path: String,
    /// Where it is, if that is elsewhere.
    pub from: Option<String>,
}

/// An event to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// As it is.
    Say(Box<Said>),
    /// What a version holds, as a new one of its file.
    Again {
        /// The file.
        entry: EntryId,
        /// The version of then.
        version: Dot,
        /// What it takes the place of.
        over: Vec<Dot>,
        /// When it had been changed, by what was said then.
        mtime: Option<i64>,
        /// Whether it could be executed.
        executable: bool,
    },
}

/// All that is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewind {
    /// For people, by path.
    pub lines: Vec<Line>,
    /// For the log, in order.
    pub steps: Vec<Step>,
    /// Paths whose content of then is not kept any more.
    pub not_kept: Vec<String>,
}

/// What makes `at` and everything below it what it was `then`; an empty path is the whole tree. None where nothing was
/// there then.
#[must_use]
pub fn rewind(at: &str, then: Sight<'_>, now: Sight<'_>) -> Option<Rewind> {
    let below = format!("{at}/");
    let is_meant = |path: &str| at.is_empty() || path == at || path.starts_with(&below);
    let wanted: Vec<(&String, &RemoteNode)> =
        then.shown.nodes.iter().filter(|(path, _)| is_meant(path)).collect();
    if wanted.is_empty() && !at.is_empty() {
        return None;
    }
    let mut work = Work::new(at, then, now, &wanted);
    wanted.iter().for_each(|(path, node)| work.visit(path, node));
    Some(work.done())
}

struct Work<'a> {
    then: Sight<'a>,
    now: Sight<'a>,
    /// Where everything that is shown now is.
    places: BTreeMap<EntryId, &'a str>,
    /// What was there then: none of it is in the way.
    meant: BTreeSet<EntryId>,
    /// Where the folder around all of it was, and is.
    above: (String, String),
    /// Names that are spoken for.
    taken: BTreeSet<String>,
    visited: BTreeSet<EntryId>,
    /// What made room already.
    renamed: BTreeSet<EntryId>,
    /// What returns to the place that it had last.
    lifted: Vec<EntryId>,
    out_of_the_way: Vec<Step>,
    placed: Vec<Step>,
    changed: Vec<Step>,
    lines: Vec<Line>,
    not_kept: Vec<String>,
}

impl<'a> Work<'a> {
    fn new(at: &str, then: Sight<'a>, now: Sight<'a>, wanted: &[(&String, &RemoteNode)]) -> Self {
        let places: BTreeMap<EntryId, &str> = now
            .shown
            .nodes
            .iter()
            .flat_map(|(path, node)| node.entries.iter().map(move |entry| (*entry, path.as_str())))
            .collect();
        let was = parent(at).unwrap_or_default().to_owned();
        let around = then.shown.nodes.get(&was).and_then(|node| node.entries.first());
        let is = around.and_then(|entry| places.get(entry)).map_or_else(|| was.clone(), |p| (*p).to_owned());
        let meant = wanted.iter().flat_map(|(_, node)| node.entries.iter().copied()).collect();
        let mut work = Self {
            then,
            now,
            places,
            meant,
            above: (was, is),
            taken: BTreeSet::new(),
            visited: BTreeSet::new(),
            renamed: BTreeSet::new(),
            lifted: Vec::new(),
            out_of_the_way: Vec::new(),
            placed: Vec::new(),
            changed: Vec::new(),
            lines: Vec::new(),
            not_kept: Vec::new(),
        };
        work.taken = wanted.iter().map(|(path, _)| work.here(path)).collect();
        work
    }

    /// What was at this path then is to be here.
    fn here(&self, path: &str) -> String {
        let (was, is) = &self.above;
        if was == is {
            return path.to_owned();
        }
        let rest = path[was.len()..].trim_start_matches('/');
        joined(is, rest)
    }

    fn visit(&mut self, path: &str, node: &RemoteNode) {
        let here = self.here(path);
        for &entry in &node.entries {
            if !self.visited.insert(entry) {
                continue; // Another name of a file in conflict.
            }
            let (Some(was), Some(is)) = (self.then.log.entry(entry), self.now.log.entry(entry)) else {
                continue;
            };
            if !was.alive {
                continue; // Shown for what is in it.
            }
            if is.purged {
                self.not_kept.push(path.to_owned());
                continue;
            }
            if !is.alive && !is.shown && self.is_there_already(&here, node) {
                continue;
            }
            self.place(&here, node, entry, (&was, &is));
            if node.kind == EntryKind::File {
                self.content(&here, entry, (&was, &is));
            }
        }
    }

    /// Whether somebody put the same thing there since.
    fn is_there_already(&self, here: &str, node: &RemoteNode) -> bool {
        self.now.shown.nodes.get(here).is_some_and(|there| {
            there.kind == node.kind
                && !there.entries.iter().any(|entry| self.meant.contains(entry))
                && match node.kind {
                    EntryKind::Folder => false,
                    EntryKind::File => there.content.is_some() && there.content == node.content,
                    EntryKind::Symlink => there.target.is_some() && there.target == node.target,
                }
        })
    }

    /// Brings an entry back, and to its place.
    fn place(&mut self, here: &str, node: &RemoteNode, entry: EntryId, (was, is): (&EntryView, &EntryView)) {
        let in_place = (was.parent, &was.name) == (is.parent, &is.name);
        if is.alive && in_place {
            return;
        }
        let Ok(given) = Name::new(was.name.clone()) else { return };
        // What is at its path, and what is under its name in its folder, which may be elsewhere still.
        let top = (was.parent == EntryId::ROOT).then_some("");
        let around = top.or_else(|| self.places.get(&was.parent).copied());
        let beside = around.map(|folder| joined(folder, &was.name));
        for there in BTreeSet::from_iter(beside.into_iter().chain([here.to_owned()])) {
            self.make_room(&there, here, node);
        }
        let body = Body { name: Some(given), ..Body::default() };
        let from = self.places.get(&entry).map(|path| (*path).to_owned());
        let change = if is.alive { Change::MovedBack } else { Change::BroughtBack };
        if is.alive {
            let fact = Fact::EntryMoved { entry, parent: was.parent };
            self.placed.push(say(Said { fact, body: Some(body) }));
        } else if in_place {
            self.lifted.push(entry);
        } else {
            let deletes = deletes_of(self.now.log, entry);
            let place = Some((was.parent, body.name.expect("it was just given")));
            let said = lifting(self.now.log, entry, &[entry], &deletes, place);
            self.placed.extend(said.into_iter().map(say));
        }
        self.lines.push(Line { change, path: here.to_owned(), from });
    }

    /// What was made since at `there` and whose name is needed at `here` gets another one. Two folders of one name are
    /// shown as one.
    fn make_room(&mut self, there: &str, here: &str, node: &RemoteNode) {
        let Some(occupant) = self.now.shown.nodes.get(there) else { return };
        let is_in_the_way = |entry: &EntryId| !self.meant.contains(entry) && !self.renamed.contains(entry);
        let in_the_way: Vec<EntryId> = occupant.entries.iter().copied().filter(is_in_the_way).collect();
        let united = occupant.kind == EntryKind::Folder && node.kind == EntryKind::Folder;
        if in_the_way.is_empty() || united {
            return;
        }
        let at = |path: &str, name: &str| joined(parent(path).unwrap_or_default(), name);
        let free = |name: &String| {
            let is_shown = |path: &str| self.now.shown.nodes.contains_key(&at(path, name));
            !is_shown(there) && !is_shown(here) && !self.taken.contains(&at(here, name))
        };
        let names = (0..).map(|n| path::suffixed(name(here), NEWER, &"~".repeat(n)));
        let found = { names }.find(free).expect("there are more marks than siblings");
        let to = at(here, &found);
        let Ok(found) = Name::new(found) else { return };
        for entry in in_the_way {
            let Some(view) = self.now.log.entry(entry) else { continue };
            let fact = Fact::EntryMoved { entry, parent: view.parent };
            let body = Body { name: Some(found.clone()), ..Body::default() };
            self.out_of_the_way.push(say(Said { fact, body: Some(body) }));
            self.renamed.insert(entry);
        }
        self.taken.insert(to.clone());
        self.lines.push(Line { change: Change::OutOfTheWay, path: to, from: Some(there.to_owned()) });
    }

    /// Makes a file hold what it held.
    fn content(&mut self, here: &str, entry: EntryId, (was, is): (&EntryView, &EntryView)) {
        let held = self.then.log.heads(entry);
        let line = |change| Line { change, path: here.to_owned(), from: None };
        if contents(self.then.log, &held) != contents(self.now.log, &self.now.log.heads(entry)) {
            let Some(version) = held.first().copied() else { return };
            if self.now.log.version(version).is_none_or(|view| !view.retained) {
                return self.not_kept.push(here.to_owned());
            }
            let over = self.now.log.human_heads(entry);
            let (mtime, executable) = (was.mtime, was.executable);
            self.changed.push(Step::Again { entry, version, over, mtime, executable });
            return self.lines.push(line(Change::Content));
        }
        let mtime = was.mtime.filter(|_| was.mtime != is.mtime);
        let executable = Some(was.executable).filter(|_| was.executable != is.executable);
        if mtime.is_some() || executable.is_some() {
            let body = Body { mtime, executable, ..Body::default() };
            let fact = Fact::AttributesChanged { entry };
            self.changed.push(say(Said { fact, body: Some(body) }));
            self.lines.push(line(Change::Attributes));
        }
    }

    fn done(mut self) -> Rewind {
        let mut steps = std::mem::take(&mut self.out_of_the_way);
        steps.extend(self.returning().into_iter().map(say));
        // The folders above come first: each goes into one that is in its place already, so no ring can close.
        steps.append(&mut self.placed);
        steps.append(&mut self.changed);
        self.lines.sort_by(|a, b| a.path.cmp(&b.path));
        self.not_kept.dedup();
        Rewind { lines: self.lines, steps, not_kept: self.not_kept }
    }

    /// What returns to the place that it had last: one event for each tree that went as a whole.
    fn returning(&self) -> Vec<Said> {
        let log = self.now.log;
        let all: BTreeSet<EntryId> = self.lifted.iter().copied().collect();
        let mut trees: BTreeMap<EntryId, Vec<EntryId>> = BTreeMap::new();
        for &entry in &self.lifted {
            let top = log.ancestors(entry).take_while(|above| all.contains(above)).last().unwrap_or(entry);
            trees.entry(top).or_default().push(entry);
        }
        let said = trees.into_iter().map(|(top, entries)| {
            let deletes = entries.iter().flat_map(|entry| deletes_of(log, *entry).iter().collect::<Vec<_>>());
            lifting(log, top, &entries, &deletes.collect(), None)
        });
        said.flatten().collect()
    }
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn say(said: Said) -> Step {
    Step::Say(Box::new(said))
}

/// What is in a name that had to make room.
const NEWER: &str = " (newer)";

fn contents(log: &Projections, heads: &[Dot]) -> BTreeSet<Option<ContentId>> {
    heads.iter().map(|head| log.version(*head).and_then(|version| version.content)).collect()
}
