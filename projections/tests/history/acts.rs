//! What a person does to the folder as the disk shows it: first single deeds, then a whole act with the
//! judge looking on.

use super::{Device, Random, content};
use crate::judge::{Edit, Judge, Picture};
use annals_events::{Body, Content, Dot, DotSet, EntryId, EntryKind, Fact, Name, Policy, Role, Seq, UserId};
use std::collections::BTreeSet;

const NAMES: [&str; 4] = ["a", "b", "c.txt", "d.txt"];
/// Names that leave no room, or whose extensions are none.
const RARE_NAMES: [&str; 4] = ["e.", ".f", LONG_STEM, LONG_EXTENSION];
const LONG_STEM: &str = "ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää.txt";
const LONG_EXTENSION: &str = "g.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
const TAGS: [&str; 3] = ["red", "green", "blue"];

fn named(name: &str) -> Body {
    Body { name: Some(Name::new(name).expect("a history's names are names")), ..Body::default() }
}

fn set<'a>(dots: impl IntoIterator<Item = &'a Dot>) -> DotSet {
    dots.into_iter().copied().collect()
}

pub fn create(device: &mut Device, parent: EntryId, entry_kind: EntryKind, body: Body) -> EntryId {
    EntryId(device.emit(Fact::EntryCreated { parent, entry_kind }, Some(body)))
}

pub fn move_to(device: &mut Device, entry: EntryId, parent: EntryId, name: &str) -> Dot {
    device.emit(Fact::EntryMoved { entry, parent }, Some(named(name)))
}

pub fn upload(device: &mut Device, entry: EntryId, parents: &BTreeSet<Dot>, content: Content) -> Dot {
    let mtime = device.random.percent(50).then(|| device.random.below(1000) as i64);
    let body = Body { content: Some(content), mtime, ..Body::default() };
    device.emit(Fact::VersionUploaded { entry, parents: set(parents) }, Some(body))
}

/// Removes what `disk` shows at and below `entries`.
pub fn delete(device: &mut Device, disk: &Picture, entries: &[EntryId]) -> (Dot, DotSet) {
    let hides = set(&disk.everything(&disk.below(entries)));
    let entries = entries.iter().map(|entry| entry.0).collect();
    (device.emit(Fact::EntryDeleted { entries, hides: hides.clone() }, None), hides)
}

pub fn resolve(device: &mut Device, entry: EntryId, over: &BTreeSet<Dot>, keep: &BTreeSet<Dot>) -> Dot {
    device.emit(Fact::ConflictResolved { entry, over: set(over), keep: set(keep) }, None)
}

pub fn describe(device: &mut Device, entry: EntryId, said: Body) -> Dot {
    device.emit(Fact::AttributesChanged { entry }, Some(said))
}

/// Purges some of what is in the trash, and lets some superseded versions expire.
pub fn forget(device: &mut Device, random: &mut Random) {
    let picture = Picture::of_reference(&device.whole());
    let mut some = |dots: Vec<Dot>| -> DotSet { dots.into_iter().filter(|_| random.percent(50)).collect() };
    let trash = picture.entries.iter().filter(|(_, entry)| !entry.shown && !entry.alive);
    let entries = some(trash.map(|(x, _)| x.0).collect());
    let superseded = picture.entries.values().flat_map(|entry| {
        let latest = entry.maximal.iter().chain(&entry.heads).copied().collect::<BTreeSet<_>>();
        entry.versions.iter().copied().filter(move |v| !latest.contains(v)).collect::<Vec<_>>()
    });
    let versions = some(superseded.collect());
    device.emit(Fact::EntryPurged { entries }, None);
    device.emit(Fact::VersionsExpired { versions }, None);
    device.seal();
}

/// One act; the judge sees the disk before and after.
pub struct Act<'d, 'j, 'a> {
    pub device: &'d mut Device,
    pub judge: &'j mut Judge<'a>,
    /// What the disk shows, by the reference: on this the person acts.
    disk: Picture,
    /// The same by the fold that is judged.
    before: Picture,
}

impl<'d, 'j, 'a> Act<'d, 'j, 'a> {
    /// Does something, and says what.
    pub fn play(device: &'d mut Device, judge: &'j mut Judge<'a>) -> &'static str {
        let sight = device.disk();
        let (disk, before) = (Picture::of_reference(&sight), judge.look(&sight));
        let mut act = Self { device, judge, disk, before };
        match act.device.random.weighted(&[8, 8, 8, 6, 4, 2, 2, 3, 1]) {
            0 => act.create(),
            1 => act.upload(),
            2 => act.move_somewhere(),
            3 => act.delete(),
            4 => act.restore(),
            5 => act.resolve(),
            6 => act.merge(),
            7 => act.describe(),
            _ => act.administer(),
        }
        .unwrap_or("nothing")
    }

    fn after(&self) -> Picture {
        self.judge.look(&self.device.disk())
    }

    /// The folder that new things go to, for each folder that is shown.
    fn folders(&self) -> Vec<EntryId> {
        let folders = self.disk.listing.values().filter(|line| line.kind == EntryKind::Folder);
        [EntryId::ROOT].into_iter().chain(folders.map(|line| line.entries[0])).collect()
    }

    fn pick_line(&mut self) -> Option<(String, Vec<EntryId>)> {
        let lines: Vec<_> = self.disk.listing.iter().collect();
        let (path, line) = (!lines.is_empty()).then(|| *self.device.random.pick(&lines))?;
        Some((path.clone(), line.entries.clone()))
    }

    /// Mostly one of a few; sometimes one that is shown somewhere, a copy's for instance.
    fn pick_name(&mut self) -> String {
        if self.device.random.percent(10)
            && let Some((path, _)) = self.pick_line()
        {
            return path.rsplit('/').next().expect("a path has a last part").to_owned();
        }
        let rare = self.device.random.percent(3);
        let names = if rare { &RARE_NAMES } else { &NAMES };
        (*self.device.random.pick(names)).to_owned()
    }

    fn pick_conflict(&mut self) -> Option<EntryId> {
        let files = self.disk.listing.values().map(|line| line.entries[0]);
        let many: Vec<EntryId> = files.filter(|x| self.disk.human_heads(*x).len() > 1).collect();
        (!many.is_empty()).then(|| *self.device.random.pick(&many))
    }

    fn bystanders(&mut self, deed: &'static str) -> Option<&'static str> {
        let after = self.after();
        self.judge.bystanders(&self.before, &after, deed);
        Some(deed)
    }

    fn create(&mut self) -> Option<&'static str> {
        let parent = *self.device.random.pick(&self.folders());
        let mut body = named(&self.pick_name());
        let random = &mut self.device.random;
        let kind = [EntryKind::Folder, EntryKind::File, EntryKind::Symlink][random.weighted(&[38, 52, 10])];
        body.mtime = random.percent(70).then(|| random.below(1000) as i64);
        body.executable = random.percent(30).then(|| random.percent(50));
        match kind {
            EntryKind::Folder => {}
            EntryKind::File => body.content = Some(content(&format!("content {}", random.below(6)))),
            EntryKind::Symlink => body.target = Some(vec![b'0' + random.below(2) as u8]),
        }
        create(self.device, parent, kind, body);
        self.bystanders("create")
    }

    fn upload(&mut self) -> Option<&'static str> {
        let lines = self.disk.listing.iter().filter(|(_, line)| line.kind == EntryKind::File);
        let lines: Vec<(String, EntryId, Dot)> =
            lines.map(|(path, line)| (path.clone(), line.entries[0], line.heads[0])).collect();
        let (path, file, head) = (!lines.is_empty()).then(|| self.device.random.pick(&lines).clone())?;
        self.settle(file);
        let human = self.disk.human_heads(file);
        let parents: BTreeSet<Dot> = if self.disk.heads(file).len() == 1 {
            human.iter().copied().chain([head]).collect()
        } else {
            human.iter().copied().filter(|v| self.disk.contents[v] == self.disk.contents[&head]).collect()
        };
        let text = match self.device.random.below(9) {
            known @ 0..6 => format!("content {known}"),
            _ => format!("new {} {}", self.device.name, self.device.random.next()),
        };
        let new_content = content(&text);
        let new = upload(self.device, file, &parents, new_content.clone());
        let after = self.after();
        let edit = Edit { path: &path, file, head, new, content: new_content.id };
        self.judge.edited(&self.before, &after, &edit);
        self.bystanders("upload")
    }

    /// Heads that are shown only because nothing else is left are made to stay before one of them is edited.
    fn settle(&mut self, file: EntryId) {
        let human = self.disk.human_heads(file);
        let hidden: BTreeSet<Dot> =
            human.iter().copied().filter(|v| self.disk.hidden_by.contains_key(v)).collect();
        if !hidden.is_empty() {
            let lifts = hidden.iter().flat_map(|v| &self.disk.hidden_by[v]);
            let (lifts, shows) = (set(lifts), set(&hidden));
            self.device.emit(Fact::EntryRestored { entry: file, place: None, lifts, shows }, None);
        }
        let maximal = self.disk.maximal(file);
        let resolves = |fact: &Fact| matches!(fact, Fact::ConflictResolved { entry, .. } if *entry == file);
        if (human.len() > 1 || human != maximal)
            && self.device.disk().deeds().any(|deed| resolves(&deed.fact))
        {
            resolve(self.device, file, &maximal, &human);
        }
    }

    fn move_somewhere(&mut self) -> Option<&'static str> {
        let (_, entries) = self.pick_line()?;
        let target = *self.device.random.pick(&self.folders());
        if entries.iter().any(|x| self.disk.is_at_or_above(*x, target)) {
            return None;
        }
        let name = self.pick_name();
        for x in entries {
            move_to(self.device, x, target, &name);
        }
        self.bystanders("move")
    }

    fn delete(&mut self) -> Option<&'static str> {
        let (_, entries) = self.pick_line()?;
        let gone = self.disk.below(&entries);
        let (delete, hides) = delete(self.device, &self.disk, &entries);
        let after = self.after();
        self.judge.deleted(&self.before, &after, &gone);
        if self.device.random.percent(50) {
            let (entry, lifts) = (entries[0], set([&delete]));
            self.device.emit(Fact::EntryRestored { entry, place: None, lifts, shows: hides }, None);
            let again = self.after();
            self.judge.restored_at_once(&self.before, &again);
            return Some("delete, restore");
        }
        Some("delete")
    }

    /// Brings something back from the trash, to where it was or to somewhere else.
    fn restore(&mut self) -> Option<&'static str> {
        let dead = self.disk.entries.iter().filter(|(_, entry)| !entry.shown).map(|(x, _)| *x);
        let trash: Vec<EntryId> = dead.collect();
        let x = (!trash.is_empty()).then(|| *self.device.random.pick(&trash))?;
        let own = self.disk.everything(&[x]);
        let lifts: DotSet = own.iter().flat_map(|dot| &self.disk.hidden_by[dot]).copied().collect();
        let below = |y: &EntryId| self.disk.ancestors(*y).contains(&x);
        let gone: BTreeSet<EntryId> = trash.iter().copied().filter(|y| *y == x || below(y)).collect();
        let lifted: BTreeSet<Dot> = self
            .device
            .disk()
            .deeds()
            .filter(|deed| lifts.contains(deed.dot))
            .flat_map(|deed| match &deed.fact {
                Fact::EntryDeleted { hides, .. } => hides.iter().collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        let shows = set(&(&self.disk.everything(&gone) & &lifted));
        let target = *self.device.random.pick(&self.folders());
        let elsewhere = self.device.random.percent(20) && !self.disk.is_at_or_above(x, target);
        let body = elsewhere.then(|| named(&self.pick_name()));
        let place = elsewhere.then_some(target);
        self.device.emit(Fact::EntryRestored { entry: x, place, lifts, shows }, body);
        let after = self.after();
        self.judge.restored(&self.before, &after, x, &gone);
        Some("restore")
    }

    fn resolve(&mut self) -> Option<&'static str> {
        let x = self.pick_conflict()?;
        let (human, maximal) = (self.disk.human_heads(x), self.disk.maximal(x));
        let heads: Vec<Dot> = human.iter().copied().collect();
        let mut keep = BTreeSet::from([*self.device.random.pick(&heads)]);
        if self.device.random.percent(20) {
            keep.insert(*self.device.random.pick(&heads));
        }
        resolve(self.device, x, &maximal, &keep);
        let after = self.after();
        self.judge.resolved(&after, x, &keep);
        if self.device.random.percent(50) {
            resolve(self.device, x, &maximal, &human);
            let again = self.after();
            self.judge.unresolved(&self.before, &again, x);
        }
        self.bystanders("resolve")
    }

    fn merge(&mut self) -> Option<&'static str> {
        let x = self.pick_conflict()?;
        let inputs = set(&self.disk.human_heads(x));
        let body = Body { content: Some(content("merged")), ..Body::default() };
        self.device.emit(Fact::VersionsMerged { entry: x, inputs, algorithm: "text".into() }, Some(body));
        self.bystanders("merge")
    }

    fn describe(&mut self) -> Option<&'static str> {
        let (_, entries) = self.pick_line()?;
        let random = &mut self.device.random;
        let tag = random.below(TAGS.len());
        let other = TAGS[(tag + 1 + random.below(2)) % 3];
        let note = ["", "first", "second", "third"][random.below(4)];
        let said = Body {
            mtime: random.percent(30).then(|| random.below(1000) as i64),
            executable: random.percent(30).then(|| random.percent(50)),
            tags_added: if random.percent(50) { vec![TAGS[tag].into()] } else { Vec::new() },
            tags_removed: if random.percent(50) { vec![other.into()] } else { Vec::new() },
            note: random.percent(40).then(|| note.to_owned()),
            ..Body::default()
        };
        describe(self.device, entries[0], said.clone());
        let after = self.after();
        self.judge.described(&self.before, &after, entries[0], &said);
        self.bystanders("describe")
    }

    /// What concerns no entry changes none.
    fn administer(&mut self) -> Option<&'static str> {
        let user = UserId([self.device.random.below(3) as u8; 16]);
        let role = *self.device.random.pick(&[Role::Viewer, Role::Editor, Role::Owner]);
        let (fact, body) = match self.device.random.below(4) {
            0 => (Fact::Acknowledged { seq: Seq(self.device.random.below(9) as u64) }, None),
            1 => (Fact::MemberGranted { user, role }, Some(Body::default())),
            2 => (Fact::MemberRevoked { user }, None),
            _ if self.device.random.percent(50) => {
                let said = |n: usize| (n > 0).then_some(n as u64);
                let (versions, silence) = (self.device.random.below(4), self.device.random.below(4));
                (Fact::RetentionSet { versions: said(versions), silence: said(silence) }, None)
            }
            _ => {
                let body = Body { pattern: Some("*.txt".into()), ..Body::default() };
                (Fact::PolicySet { policy: Policy::Both }, Some(body))
            }
        };
        self.device.emit(fact, body);
        let after = self.after();
        self.judge.unchanged(&self.before, &after);
        Some("administer")
    }
}
