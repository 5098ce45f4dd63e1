//! Under which names: what people see in a folder, and in the whole tree.
//!
//! Folders of one name are one. Of files of one name the earliest by (hlc, device) of naming is shown plain;
//! its twins stand behind it, unshown; every other one gets a suffix, and so does each further head of a file.
//! A folder keeps its name against files. A suffix is made of the label and the short hash of the dot that
//! it stands for, so that a name stays where it is while its file is edited; it is unique among all siblings and
//! fits 255 bytes. A later head is shown with its own root's suffix.
//!
//! A symlink is treated like a file that has one version, its target.

use crate::{
    Projections, Shown,
    batches::DotIx,
    entries::{EntryIx, ROOT, flag},
    mistakes::{Mistake, made},
    tree::short_of,
};
use annals_events::{
    Dot, EntryId, EntryKind,
    path::{self, is_reserved},
};
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of a device's label in a name.
const LABEL_BYTES_MAX: usize = 64;

/// Why something is shown under the name it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The name it was given.
    Plain,
    /// Another sibling has that name.
    Sibling,
    /// A further head of a file.
    Head,
}

/// A shown line, in indexes.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) entries: Vec<EntryIx>,
    pub(crate) head: Option<DotIx>,
    pub(crate) why: Why,
    /// Which line has the name that this one was given too.
    pub(crate) given: String,
}

impl Projections {
    /// What is shown in a folder (several where folders are shown as one), sorted by name.
    #[must_use]
    pub fn list(&self, folder: &[EntryId]) -> Vec<Shown> {
        let folders: Vec<EntryIx> = folder.iter().filter_map(|&f| self.folder_ix(f)).collect();
        self.lines(&folders).into_iter().map(|line| self.shown(line)).collect()
    }

    /// The whole tree by path, `a/b/c`.
    #[must_use]
    pub fn listing(&self) -> BTreeMap<String, Shown> {
        let mut all = BTreeMap::new();
        self.walk(|prefix, line| {
            all.insert(format!("{prefix}{}", line.name), self.shown(line.clone()));
        });
        all
    }

    /// Every shown line with the path of its folder (empty, or ending in `/`), folder by folder.
    pub(crate) fn walk(&self, mut each: impl FnMut(&str, &Line)) {
        let mut todo = vec![(vec![ROOT], String::new())];
        while let Some((folders, prefix)) = todo.pop() {
            for line in self.lines(&folders) {
                each(&prefix, &line);
                if self.entries.kind(line.entries[0]) == EntryKind::Folder {
                    todo.push((line.entries, format!("{prefix}{}/", line.name)));
                }
            }
        }
    }

    /// As [`walk`](Self::walk), but for folders in which every name is given once and no file has several versions: of
    /// those only the folders in them are visited, and nothing is told.
    pub(crate) fn walk_disputed(&self, mut each: impl FnMut(&str, &Line)) {
        let mut todo = vec![(vec![ROOT], String::new())];
        while let Some((folders, prefix)) = todo.pop() {
            let Some(below) = self.undisputed(&folders) else {
                for line in self.lines(&folders) {
                    each(&prefix, &line);
                    if self.entries.kind(line.entries[0]) == EntryKind::Folder {
                        todo.push((line.entries, format!("{prefix}{}/", line.name)));
                    }
                }
                continue;
            };
            todo.extend(below.into_iter().map(|(name, folder)| (vec![folder], format!("{prefix}{name}/"))));
        }
    }

    /// The folders in these, by name, if each name in them is given once and no file has several versions.
    fn undisputed(&self, folders: &[EntryIx]) -> Option<Vec<(String, EntryIx)>> {
        let (mut names, mut below) = (Vec::new(), Vec::new());
        for &folder in folders {
            let shown = self.children_of(folder).filter(|&child| self.entries.has(child, flag::SHOWN));
            for child in shown {
                let name = self.name_of(child);
                if folder == ROOT && is_reserved(&name) {
                    continue;
                }
                let is_folder = self.entries.kind(child) == EntryKind::Folder;
                if !is_folder && self.entries.rich(child).is_some() && self.heads_of(child).len() > 1 {
                    return None;
                }
                if is_folder {
                    below.push((name.clone(), child));
                }
                names.push(name);
            }
        }
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1]).then_some(below)
    }

    fn shown(&self, line: Line) -> Shown {
        Shown {
            kind: self.entries.kind(line.entries[0]),
            entries: line.entries.into_iter().map(|ix| self.entry_id(ix)).collect(),
            heads: line.head.into_iter().map(|head| self.devices.dot(head)).collect(),
            copy: line.why != Why::Plain,
            name: line.name,
        }
    }

    /// What is shown in these folders as one.
    pub(crate) fn lines(&self, folders: &[EntryIx]) -> Vec<Line> {
        let mut named: BTreeMap<String, Vec<EntryIx>> = BTreeMap::new();
        for &folder in folders {
            let shown = self.children_of(folder).filter(|&child| self.entries.has(child, flag::SHOWN));
            for child in shown {
                let name = self.name_of(child);
                if folder != ROOT || !is_reserved(&name) {
                    named.entry(name).or_default().push(child);
                }
            }
        }
        let mut taken = Taken { names: named.keys().cloned().collect() };
        let mut lines = Vec::with_capacity(named.len());
        for (name, entries) in named {
            self.lines_of(&name, entries, &mut taken, &mut lines);
        }
        lines.sort_by(|a, b| a.name.cmp(&b.name));
        lines
    }

    /// The siblings of one name.
    fn lines_of(&self, name: &str, mut entries: Vec<EntryIx>, taken: &mut Taken, lines: &mut Vec<Line>) {
        if entries.len() > 1 {
            entries.sort_by_cached_key(|&ix| self.devices.order(self.entries.edge(ix)));
        }
        let (dirs, mut files): (Vec<EntryIx>, Vec<EntryIx>) =
            entries.into_iter().partition(|&ix| self.entries.kind(ix) == EntryKind::Folder);
        if dirs.is_empty() {
            let first = files.remove(0);
            let (twins, others): (Vec<EntryIx>, Vec<EntryIx>) =
                files.into_iter().partition(|&x| self.is_twin(first, x));
            let plain: Vec<EntryIx> = std::iter::once(first).chain(twins).collect();
            self.lines_of_file(plain, name.to_owned(), Why::Plain, name, taken, lines);
            files = others;
        } else {
            let name = name.to_owned();
            lines.push(Line { given: name.clone(), name, entries: dirs, head: None, why: Why::Plain });
        }
        for x in files {
            let suffixed = self.suffixed(name, self.entries.edge(x), taken);
            self.lines_of_file(vec![x], suffixed, Why::Sibling, name, taken, lines);
        }
    }

    fn lines_of_file(
        &self,
        entries: Vec<EntryIx>,
        name: String,
        why: Why,
        given: &str,
        taken: &mut Taken,
        lines: &mut Vec<Line>,
    ) {
        let first = entries[0];
        let heads = self.heads_of(first);
        let plain = name.clone();
        lines.push(Line { name, entries, head: heads.first().copied(), why, given: given.to_owned() });
        if heads.len() < 2 {
            return;
        }
        let human = self.human_heads_of(first);
        for &head in &heads[1..] {
            let group: Vec<DotIx> = human.iter().copied().filter(|&h| self.same_content(h, head)).collect();
            let name = self.suffixed(&plain, self.branch_root(&human, &group), taken);
            let given = given.to_owned();
            lines.push(Line { name, entries: vec![first], head: Some(head), why: Why::Head, given });
        }
    }

    /// Two files of one name whose contents met without their authors having seen the other's.
    fn is_twin(&self, plain: EntryIx, x: EntryIx) -> bool {
        let (edge, other) = (self.entries.edge(plain), self.entries.edge(x));
        if made(Mistake::NamesakesAreTwins) {
            return true;
        }
        if self.entries.kind(plain) != self.entries.kind(x) {
            return false;
        }
        if self.entries.kind(x) == EntryKind::Symlink {
            let (one, two) = (self.entries.born[plain as usize], self.entries.born[x as usize]);
            let unknowing = !self.devices.saw(one, other) && !self.devices.saw(two, edge);
            return unknowing && self.target(plain).is_some() && self.target(plain) == self.target(x);
        }
        let known = self.history_with(self.human_heads_of(plain));
        self.human_heads_of(x).into_iter().all(|head| {
            !self.devices.saw(head, edge)
                && known.iter().any(|&v| self.same_content(v, head) && !self.devices.saw(v, other))
        })
    }

    /// `name` with the suffix of `dot`, different from every sibling's.
    fn suffixed(&self, name: &str, dot: DotIx, taken: &mut Taken) -> String {
        let dot = self.devices.dot(dot);
        let suffix = format!(" (conflict {} {})", self.label_of(dot), short_of(dot));
        taken.take(name, &suffix)
    }

    /// What people call the author of `dot`, as part of a name.
    fn label_of(&self, dot: Dot) -> String {
        let label = self.devices.get(dot.device).map_or("", |state| &state.label);
        let kept: String = label.chars().filter(|c| *c != '/' && !c.is_control()).collect();
        match path::cut(kept.trim(), LABEL_BYTES_MAX).trim_end() {
            "" => dot.device.to_hex()[..6].to_owned(),
            label => label.to_owned(),
        }
    }
}

/// The names that siblings have.
struct Taken {
    names: BTreeSet<String>,
}

impl Taken {
    /// A free name made of `name` and `suffix`: `stem SUFFIX.ext`, the stem cut to what a name holds.
    fn take(&mut self, name: &str, suffix: &str) -> String {
        let mut marks = String::new();
        if made(Mistake::NamesakesShareTheName) {
            return name.to_owned();
        }
        loop {
            let found = path::suffixed(name, suffix, &marks);
            if self.names.insert(found.clone()) {
                return found;
            }
            marks.push('~');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_are_avoided_and_the_mark_survives_cutting() {
        let mut taken = Taken { names: BTreeSet::new() };
        let name = "x".repeat(255);
        let found: BTreeSet<String> = (0..4).map(|_| taken.take(&name, " (conflict a 0)")).collect();
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|name| name.len() <= 255));
    }
}
