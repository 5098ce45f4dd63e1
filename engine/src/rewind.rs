//! What brings a part of the tree back to how it was at an earlier moment, as new events on top of everything since.
//!
//! What must always hold: nothing is lost by it. What was shown then and is not is brought back, with what only hides it
//! lifted; what is elsewhere by now goes back to its place; a file that holds something else gets what it held as a new
//! version. What was made since stays where it is, and under another name only where its own is needed. Entries are
//! told by identity: a name that somebody else has by now is not taken for them. The folders around what is brought back
//! stay where they are by now, but for one that lies in what it was around: that returns, too.
//!
//! Left out: whose moment it is (the caller folds the log up to there), contents (a version is named, the shell says
//! it), tags and notes (they stay), copies in conflict (the version that had the file's name comes back, the others are
//! in its history; one that is asked for by its own name comes back as what its file holds).

mod after;

use crate::{
    author::Said,
    observed::{RemoteNode, RemoteTree, ancestors, name},
    trash::{deletes_of, lifting},
};
use after::{After, joined};
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
    /// Paths whose content of then is kept by the log, and gone.
    pub lost: Vec<String>,
    /// Versions whose contents it takes.
    pub needs: BTreeSet<Dot>,
    /// How many paths came since, and stay as they are.
    pub stays: u64,
}

/// What makes `at` and everything below it what it was `then`; an empty path is the whole tree. None where nothing was
/// there then.
#[must_use]
pub fn rewind(at: &str, then: Sight<'_>, now: Sight<'_>) -> Option<Rewind> {
    rewind_without(at, then, now, &BTreeSet::new())
}

/// As [`rewind`], where the contents of these versions are lost.
#[must_use]
pub fn rewind_without(at: &str, then: Sight<'_>, now: Sight<'_>, lost: &BTreeSet<Dot>) -> Option<Rewind> {
    let below = format!("{at}/");
    let is_meant = |path: &str| at.is_empty() || path == at || path.starts_with(&below);
    let wanted: Vec<(&String, &RemoteNode)> =
        then.shown.nodes.iter().filter(|(path, _)| is_meant(path)).collect();
    if wanted.is_empty() && !at.is_empty() {
        return None;
    }
    let mut work = Work::new(at, then, now, &wanted, lost);
    work.make_room();
    std::mem::take(&mut work.items).iter().for_each(|item| work.say(item));
    Some(work.done(is_meant))
}

/// An entry that was there then.
struct Item<'a> {
    entry: EntryId,
    /// Its path of then.
    path: &'a str,
    node: &'a RemoteNode,
    was: EntryView,
    is: EntryView,
    way: Way,
}

/// How an entry gets to where it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is there.
    Stays,
    /// It is elsewhere.
    Moves,
    /// It was removed from there.
    IsLifted,
    /// It was removed from elsewhere.
    Returns,
    /// It was purged.
    NotKept,
    /// It was removed, and what it would hold is gone.
    Lost,
}

impl<'a> Item<'a> {
    fn new(
        entry: EntryId,
        path: &'a str,
        node: &'a RemoteNode,
        then: Sight<'_>,
        now: Sight<'_>,
    ) -> Option<Self> {
        let (was, is) = (then.log.entry(entry)?, now.log.entry(entry)?);
        let in_place = (was.parent, &was.name) == (is.parent, &is.name);
        let way = match (is.alive, in_place) {
            (_, true) if is.alive || !was.alive => Way::Stays, // Or is shown for what is in it, as it was.
            _ if is.purged => Way::NotKept,
            _ if Name::new(was.name.clone()).is_err() => Way::Stays,
            (true, _) => Way::Moves,
            (false, true) => Way::IsLifted,
            (false, false) => Way::Returns,
        };
        Some(Self { entry, path, node, was, is, way })
    }

    fn comes(&self) -> bool {
        matches!(self.way, Way::IsLifted | Way::Returns)
    }

    /// Whether it is brought back unless somebody put the same thing there since.
    fn may_be_there_already(&self) -> bool {
        self.comes() && !self.is.shown && self.node.kind != EntryKind::Folder
    }
}

struct Work<'a> {
    at: &'a str,
    then: Sight<'a>,
    now: Sight<'a>,
    /// Where everything that is shown now is.
    places: BTreeMap<EntryId, &'a str>,
    /// What was there then: none of it is in the way.
    meant: BTreeSet<EntryId>,
    /// The same, the folders above first: each goes into one that is in its place already, so no ring can close.
    items: Vec<Item<'a>>,
    /// The tree with all of it in its place.
    after: After,
    out_of_the_way: Vec<Step>,
    /// What returns to the place that it had last.
    lifted: Vec<EntryId>,
    placed: Vec<Step>,
    changed: Vec<Step>,
    lines: Vec<Line>,
    not_kept: Vec<String>,
    gone: &'a BTreeSet<Dot>,
    lost: Vec<String>,
    needs: BTreeSet<Dot>,
}

impl<'a> Work<'a> {
    fn new(
        at: &'a str,
        then: Sight<'a>,
        now: Sight<'a>,
        wanted: &[(&'a String, &'a RemoteNode)],
        gone: &'a BTreeSet<Dot>,
    ) -> Self {
        let places = now.shown.nodes.iter();
        let places = places.flat_map(|(path, node)| node.entries.iter().map(move |e| (*e, path.as_str())));
        let mut meant: BTreeSet<EntryId> =
            wanted.iter().flat_map(|(_, node)| node.entries.iter().copied()).collect();
        let around = turned_around(at, then, now, &meant);
        let mut visited = BTreeSet::new();
        let mut items = Vec::new();
        let wanted = wanted.iter().map(|(path, node)| (path.as_str(), *node));
        for (path, node) in around.into_iter().chain(wanted) {
            for &entry in &node.entries {
                // Another name of a file in conflict is the same entry.
                if visited.insert(entry) {
                    items.extend(Item::new(entry, path, node, then, now));
                }
            }
        }
        meant.extend(visited);
        let mut work = Self {
            at,
            then,
            now,
            places: places.collect(),
            meant,
            items,
            after: After::default(),
            out_of_the_way: Vec::new(),
            lifted: Vec::new(),
            placed: Vec::new(),
            changed: Vec::new(),
            lines: Vec::new(),
            not_kept: Vec::new(),
            gone,
            lost: Vec::new(),
            needs: BTreeSet::new(),
        };
        let mut items = std::mem::take(&mut work.items);
        for item in items.iter_mut().filter(|item| item.comes() && item.node.kind == EntryKind::File) {
            let held = work.will_hold(item.entry);
            work.needs.extend(held.into_iter().chain(now.log.heads(item.entry).first().copied()));
            if held.is_some_and(|version| gone.contains(&version)) {
                item.way = Way::Lost;
            }
        }
        work.items = items;
        work.after = work.after(|item| !item.may_be_there_already());
        let items = std::mem::take(&mut work.items);
        work.items = items.into_iter().filter(|item| !work.is_there_already(item)).collect();
        work.after = work.after(|_| true);
        work
    }

    /// What a file holds once it is there again: what it held then, or else what it held last.
    fn will_hold(&self, entry: EntryId) -> Option<Dot> {
        let (log, last) = (self.now.log, self.now.log.heads(entry));
        let held = self.then.log.heads(entry);
        let is_kept = |version: &Dot| log.version(*version).is_some_and(|view| view.retained);
        let differs = contents(self.then.log, &held) != contents(log, &last);
        let then = held.first().copied().filter(|held| differs && is_kept(held) && !self.gone.contains(held));
        then.or_else(|| last.first().copied())
    }

    /// The tree with those in their places that `come`, and with the folders of the others.
    fn after(&self, comes: impl Fn(&Item<'_>) -> bool) -> After {
        let (mut there, mut placed) = (BTreeSet::new(), BTreeMap::new());
        let is_alive = |entry: &EntryId| self.now.log.entry(*entry).is_some_and(|view| view.alive);
        there.extend(self.places.keys().copied().filter(is_alive));
        for item in &self.items {
            match item.way {
                Way::NotKept | Way::Lost => continue,
                Way::Stays => {}
                _ => drop(placed.insert(item.entry, (item.was.parent, item.was.name.clone()))),
            }
            if item.way != Way::Stays {
                there.insert(if comes(item) { item.entry } else { item.was.parent });
            }
        }
        After::new(self.now.log, there, &placed)
    }

    /// Whether somebody put the same thing there since.
    fn is_there_already(&self, item: &Item<'_>) -> bool {
        let log = self.now.log;
        let is_same = |other: &&EntryId| match item.node.kind {
            EntryKind::Folder => false,
            EntryKind::File => {
                let held = log.heads(**other).first().and_then(|head| log.version(*head)?.content);
                held.is_some() && held == item.node.content
            }
            EntryKind::Symlink => {
                let target = log.entry(**other).and_then(|view| view.target);
                target.is_some() && target == item.node.target
            }
        };
        let beside = self.after.beside(item.was.parent, &item.was.name);
        item.may_be_there_already() && beside.iter().filter(|e| !self.meant.contains(e)).any(|e| is_same(&e))
    }

    /// What was made since and whose name is needed gets another one.
    fn make_room(&mut self) {
        let after = std::mem::take(&mut self.after);
        let mut taken = BTreeSet::new();
        for (path, entries) in after.iter() {
            let in_the_way = self.in_the_way(&after, entries);
            if in_the_way.is_empty() {
                continue;
            }
            let above = path.strip_suffix(name(path)).unwrap_or_default();
            let to = |name: &str| format!("{above}{name}");
            let free = |name: &String| {
                let to = to(name);
                !after.contains(&to) && !self.now.shown.nodes.contains_key(&to) && !taken.contains(&to)
            };
            let names = (0..).map(|n| path::suffixed(name(path), NEWER, &"~".repeat(n)));
            let found = { names }.find(free).expect("there are more marks than siblings");
            let to = to(&found);
            let Ok(found) = Name::new(found) else { continue };
            for entry in in_the_way {
                let Some(view) = self.now.log.entry(entry) else { continue };
                let fact = Fact::EntryMoved { entry, parent: view.parent };
                let body = Body { name: Some(found.clone()), ..Body::default() };
                self.out_of_the_way.push(say(Said { fact, body: Some(body) }));
                let from = self.places.get(&entry).map(|path| (*path).to_owned());
                self.lines.push(Line { change: Change::OutOfTheWay, path: to.clone(), from });
            }
            taken.insert(to);
        }
        self.after = after;
    }

    /// Which of those at one path keep it from what was there. Two folders of one name are shown as one.
    fn in_the_way(&self, after: &After, entries: &[EntryId]) -> Vec<EntryId> {
        let is_meant = |entry: &EntryId| self.meant.contains(entry);
        let is_folder = |entry: &EntryId| after.is_folder(*entry);
        if !entries.iter().any(is_meant) {
            return Vec::new();
        }
        let united = entries.iter().any(|entry| is_meant(entry) && is_folder(entry));
        let is_behind = |entry: &EntryId| {
            let node = self.places.get(entry).and_then(|path| self.now.shown.nodes.get(*path));
            node.is_some_and(|node| node.entries.iter().any(is_meant))
        };
        let others = entries.iter().copied().filter(|entry| !is_meant(entry) && !is_behind(entry));
        others.filter(|entry| !(united && is_folder(entry))).collect()
    }

    fn say(&mut self, item: &Item<'_>) {
        let above = self.after.path(item.was.parent);
        let here = above.map_or_else(|| item.path.to_owned(), |above| joined(above, name(item.path)));
        match item.way {
            Way::NotKept => return self.not_kept.push(here),
            Way::Lost => return self.lost.push(here),
            _ => {}
        }
        self.place(&here, item);
        if item.node.kind == EntryKind::File {
            self.content(&here, item);
        }
    }

    /// Brings an entry back, and to its place.
    fn place(&mut self, here: &str, item: &Item<'_>) {
        let (entry, was) = (item.entry, &item.was);
        let Ok(given) = Name::new(was.name.clone()) else { return };
        match item.way {
            Way::Stays | Way::NotKept | Way::Lost => return,
            Way::Moves => {
                let body = Some(Body { name: Some(given), ..Body::default() });
                self.placed.push(say(Said { fact: Fact::EntryMoved { entry, parent: was.parent }, body }));
            }
            Way::IsLifted => self.lifted.push(entry),
            Way::Returns => {
                let deletes = deletes_of(self.now.log, entry);
                let place = Some((was.parent, given));
                let said = lifting(self.now.log, entry, &[entry], &deletes, place);
                self.placed.extend(said.into_iter().map(say));
            }
        }
        let change = if item.is.alive { Change::MovedBack } else { Change::BroughtBack };
        let from = self.places.get(&entry).map(|path| (*path).to_owned());
        self.lines.push(Line { change, path: here.to_owned(), from });
    }

    /// Makes a file hold what it held.
    fn content(&mut self, here: &str, item: &Item<'_>) {
        let (entry, was, is) = (item.entry, &item.was, &item.is);
        let copy = self.copy_asked_for(item);
        let held = copy.map_or_else(|| self.then.log.heads(entry), |head| vec![head]);
        // What is beside a file is one side of it; where it is not, the file takes it.
        let beside = copy.and_then(|_| self.now.shown.nodes.get(item.path));
        let beside = beside.filter(|node| node.entries.contains(&entry));
        let holds = match beside {
            Some(node) => BTreeSet::from([node.content]),
            None => contents(self.now.log, &self.now.log.heads(entry)),
        };
        let here = match copy {
            Some(_) if beside.is_none() => self.after.path(entry).unwrap_or(here).to_owned(),
            _ => here.to_owned(),
        };
        let line = |change| Line { change, path: here.clone(), from: None };
        if contents(self.then.log, &held) != holds {
            let Some(version) = held.first().copied() else { return };
            if self.now.log.version(version).is_none_or(|view| !view.retained) {
                return self.not_kept.push(here);
            }
            self.needs.insert(version);
            if self.gone.contains(&version) {
                return self.lost.push(here);
            }
            let over = beside.map_or_else(|| self.now.log.human_heads(entry), |node| node.heads.clone());
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

    /// The version of a copy in conflict, where nothing but that is asked for.
    fn copy_asked_for(&self, item: &Item<'_>) -> Option<Dot> {
        item.node.head.filter(|_| item.node.copy && item.path == self.at)
    }

    fn done(mut self, is_meant: impl Fn(&str) -> bool) -> Rewind {
        let came_since = |(path, entries): &(&str, &[EntryId])| {
            is_meant(path) && !entries.iter().any(|entry| self.meant.contains(entry))
        };
        let stays = self.after.iter().filter(came_since).count() as u64;
        let mut steps = std::mem::take(&mut self.out_of_the_way);
        steps.extend(self.returning().into_iter().map(say));
        steps.append(&mut self.placed);
        steps.append(&mut self.changed);
        self.lines.sort_by(|a, b| a.path.cmp(&b.path));
        self.not_kept.dedup();
        let Self { lines, not_kept, lost, needs, .. } = self;
        Rewind { lines, steps, not_kept, lost, needs, stays }
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

/// The folders that were around `at` and are in what is `meant` by now, the uppermost first.
fn turned_around<'a>(
    at: &str,
    then: Sight<'a>,
    now: Sight<'a>,
    meant: &BTreeSet<EntryId>,
) -> Vec<(&'a str, &'a RemoteNode)> {
    let is_inside = |entry: &EntryId| now.log.ancestors(*entry).any(|above| meant.contains(&above));
    let around = ancestors(at).filter_map(|path| then.shown.nodes.get_key_value(path));
    let mut around: Vec<(&str, &RemoteNode)> = around
        .filter(|(_, node)| node.entries.iter().any(is_inside))
        .map(|(path, node)| (path.as_str(), node))
        .collect();
    around.reverse();
    around
}

fn say(said: Said) -> Step {
    Step::Say(Box::new(said))
}

/// What is in a name that had to make room.
const NEWER: &str = " (newer)";

fn contents(log: &Projections, heads: &[Dot]) -> BTreeSet<Option<ContentId>> {
    heads.iter().map(|head| log.version(*head).and_then(|version| version.content)).collect()
}
