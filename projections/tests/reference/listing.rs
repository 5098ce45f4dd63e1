//! Under which names the folder shows what lives in it.

use super::{Deed, State};
use annals_events::{DeviceId, Dot, EntryId, EntryKind, Fact, Hash};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What stands behind one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// More than one where folders of one name are shown as one, or twins.
    pub entries: Vec<EntryId>,
    pub kind: EntryKind,
    /// One for a file, none else.
    pub heads: Vec<Dot>,
    /// Whether the name is not the logged one.
    pub copy: bool,
}

impl State {
    /// The whole tree by path.
    pub fn listing(&self) -> BTreeMap<String, Line> {
        let mut lines = BTreeMap::new();
        self.list(&[EntryId::ROOT], "", &mut lines);
        lines
    }

    fn list(&self, folders: &[EntryId], prefix: &str, lines: &mut BTreeMap<String, Line>) {
        let mut named = BTreeMap::<&str, Vec<EntryId>>::new();
        let inside = folders.iter().filter_map(|folder| self.children.get(folder)).flatten();
        for entry in inside.filter(|entry| self.shown.contains(entry)) {
            named.entry(self.edges[entry].name.as_str()).or_default().push(*entry);
        }
        let mut page = Page { prefix, taken: named.keys().map(|name| (*name).to_owned()).collect(), lines };
        for (name, mut entries) in named {
            entries.sort_by_key(|entry| self.edges[entry].order);
            let (dirs, files): (Vec<EntryId>, Vec<EntryId>) =
                entries.into_iter().partition(|entry| self.kinds[entry] == EntryKind::Folder);
            let plain: Vec<EntryId> = match files.first() {
                Some(first) if dirs.is_empty() => {
                    files.iter().copied().filter(|x| x == first || self.are_twins(*first, *x)).collect()
                }
                _ => Vec::new(),
            };
            if !dirs.is_empty() {
                let path = format!("{prefix}{name}");
                let below = format!("{path}/");
                let line =
                    Line { entries: dirs.clone(), kind: EntryKind::Folder, heads: vec![], copy: false };
                page.lines.insert(path, line);
                self.list(&dirs, &below, page.lines);
            } else {
                self.show_files(&plain, name, false, &mut page);
            }
            for file in files.iter().filter(|file| !plain.contains(file)) {
                let suffixed = self.suffixed(name, self.edges[file].dot, &mut page.taken);
                self.show_files(&[*file], &suffixed, true, &mut page);
            }
        }
    }

    /// Two files of one name whose contents met without their authors having seen the other's; or two
    /// symlinks of one name that point to one target, likewise.
    fn are_twins(&self, plain: EntryId, x: EntryId) -> bool {
        let met = |a: &Rc<Deed>, b: &Rc<Deed>| !a.saw(self.edges[&x].dot) && !b.saw(self.edges[&plain].dot);
        match (self.kinds[&plain], self.kinds[&x]) {
            (EntryKind::File, EntryKind::File) => {
                let mut known = BTreeSet::new();
                for head in self.human_heads(plain) {
                    known.extend(self.history[&head].iter().copied().chain([head]));
                }
                let met_in_known = |head: &Rc<Deed>| {
                    known.iter().any(|v| {
                        let v = &self.by_dot[v];
                        v.content() == head.content() && met(v, head)
                    })
                };
                self.human_heads(x).iter().all(|head| met_in_known(&self.by_dot[head]))
            }
            (EntryKind::Symlink, EntryKind::Symlink) => {
                let (a, b) = (&self.by_dot[&plain.0], &self.by_dot[&x.0]);
                a.body.target == b.body.target && met(a, b)
            }
            _ => false,
        }
    }

    fn show_files(&self, entries: &[EntryId], name: &str, copy: bool, page: &mut Page<'_>) {
        let (first, kind) = (entries[0], self.kinds[&entries[0]]);
        let heads = self.heads(first);
        let plain = heads.first().copied().into_iter().collect();
        let path = format!("{}{name}", page.prefix);
        page.lines.insert(path, Line { entries: entries.to_vec(), kind, heads: plain, copy });
        let human = self.human_heads(first);
        for head in heads.iter().skip(1) {
            let content = self.by_dot[head].content();
            let group = human.iter().copied().filter(|v| self.by_dot[v].content() == content).collect();
            let beside = self.suffixed(name, self.branch_root(&human, &group), &mut page.taken);
            let path = format!("{}{beside}", page.prefix);
            page.lines.insert(path, Line { entries: vec![first], kind, heads: vec![*head], copy: true });
        }
    }

    fn suffixed(&self, name: &str, dot: Dot, taken: &mut BTreeSet<String>) -> String {
        let hash = Hash::of(b"", &[&dot.device.0, &dot.counter.to_be_bytes()]).to_hex();
        let suffix = format!(" (conflict {} {})", self.label_of(dot), &hash[..8]);
        let mut marks = String::new();
        while taken.contains(&suffixed_with(name, &suffix, &marks)) {
            marks.push('~');
        }
        let name = suffixed_with(name, &suffix, &marks);
        taken.insert(name.clone());
        name
    }

    /// What people call the device, as far as a name can hold it.
    fn label_of(&self, dot: Dot) -> String {
        let linked = |deed: &&Rc<Deed>| matches!(&deed.fact, Fact::DeviceLinked { key, .. } if DeviceId::of_key(key) == dot.device);
        let linked = self.deeds.iter().rev().find(linked);
        let label = linked.and_then(|deed| deed.body.label.clone()).unwrap_or_default();
        let label: String = label.chars().filter(|c| *c != '/' && !c.is_control()).collect();
        match first_bytes(label.trim(), 64).trim_end() {
            "" => dot.device.to_hex()[..6].to_owned(),
            label => label.to_owned(),
        }
    }
}

/// One folder while it is listed.
struct Page<'a> {
    prefix: &'a str,
    taken: BTreeSet<String>,
    lines: &'a mut BTreeMap<String, Line>,
}

/// `stem (conflict LABEL HEX).ext`, in at most 255 bytes: of the stem as much as fits. What leaves no room for
/// a stem is no extension.
fn suffixed_with(name: &str, suffix: &str, marks: &str) -> String {
    let (stem, ext) = match name.rfind('.') {
        Some(0) | None => (name, ""),
        Some(at) if at + 1 == name.len() => (&name[..at], ""),
        Some(at) if name.len() - at + suffix.len() + marks.len() >= 255 => (name, ""),
        Some(at) => name.split_at(at),
    };
    let room = 255usize.saturating_sub(suffix.len() + ext.len() + marks.len());
    format!("{}{suffix}{ext}{marks}", first_bytes(stem, room))
}

fn first_bytes(text: &str, bytes: usize) -> &str {
    let end = (0..=text.len().min(bytes)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
