//! What people expect of a synced folder, whatever the rules are.
//!
//! The judge sees [`Picture`]s of what was shown before and after somebody acted and says which expectation
//! was broken. It knows no rule of the model and makes no exemption for disks that lag behind.

mod apart;
mod folded;
pub mod law;
pub mod picture;
pub mod planted;

use crate::history::Sight;
use annals_events::{Body, ContentId, Dot, EntryId, EntryKind, Fact};
pub use picture::Picture;
use std::collections::{BTreeMap, BTreeSet};

/// What people expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expectation {
    /// Content that no remover's disk showed is visible.
    UnseenContentStays,
    /// A delete hides all that its author saw and nothing else.
    DeleteHidesWhatWasSeen,
    /// Delete, then restore: as before. A restore shows what it names and nothing beside it.
    DeleteThenRestore,
    /// A moved folder keeps its contents, and their versions.
    MovedFolderKeepsContents,
    /// A single file's delete survives a rename above it.
    DeleteSurvivesRenameAbove,
    /// An edit changes one file, hides no other and moves no name.
    EditChangesOneFile,
    /// No operation revives or hides others' entries.
    NothingElseChanges,
    /// A resolution leaves what it keeps and can be undone.
    ResolutionCanBeUndone,
    /// One path names one thing, and everything shown has a path.
    OnePathOneThing,
    /// The same events show the same folder.
    SameEventsSameFolder,
    /// Tags, notes, times: what was said about one entry is what is shown of it, and nobody's words are lost.
    AttributesOfOneEntry,
}

impl Expectation {
    pub const ALL: [Self; 11] = [
        Self::UnseenContentStays,
        Self::DeleteHidesWhatWasSeen,
        Self::DeleteThenRestore,
        Self::MovedFolderKeepsContents,
        Self::DeleteSurvivesRenameAbove,
        Self::EditChangesOneFile,
        Self::NothingElseChanges,
        Self::ResolutionCanBeUndone,
        Self::OnePathOneThing,
        Self::SameEventsSameFolder,
        Self::AttributesOfOneEntry,
    ];
}

/// An expectation that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    pub expectation: Expectation,
    pub claim: String,
    pub detail: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {}: {}", self.expectation, self.claim, self.detail)
    }
}

/// Looks at states with somebody's eyes and keeps what went against the expectations.
pub struct Judge<'a> {
    look: &'a dyn Fn(&Sight) -> Picture,
    pub failures: Vec<Failure>,
}

impl<'a> Judge<'a> {
    pub fn new(look: &'a dyn Fn(&Sight) -> Picture) -> Self {
        Self { look, failures: Vec::new() }
    }

    pub fn look(&self, sight: &Sight) -> Picture {
        (self.look)(sight)
    }

    fn expect(
        &mut self,
        holds: bool,
        expectation: Expectation,
        claim: &str,
        detail: impl FnOnce() -> String,
    ) {
        if !holds {
            self.failures.push(Failure { expectation, claim: claim.into(), detail: detail() });
        }
    }

    /// A head of a file was edited at `path`.
    pub fn edited(&mut self, before: &Picture, after: &Picture, edit: &Edit<'_>) {
        use Expectation::EditChangesOneFile as E;
        let mut others = before.head_contents(edit.file);
        if let Some(edited) = before.contents.get(&edit.head) {
            others.remove(edited);
        }
        let now = after.head_contents(edit.file);
        self.expect(others.is_subset(&now), E, "an edit hides no other shown head", || {
            format!("{edit:?}: {others:?} became {now:?}")
        });
        let beside = after.heads(edit.file).into_iter().filter(|head| *head != edit.new);
        let beside: BTreeSet<ContentId> = beside.map(|head| after.contents[&head]).collect();
        if !beside.contains(&edit.content) && !others.contains(&edit.content) {
            let mut expected = before.paths();
            expected.insert(edit.path.to_owned(), (EntryKind::File, vec![edit.new]));
            self.expect(after.paths() == expected, E, "an edit changes one file and moves no name", || {
                format!("{edit:?}: {:?} became {:?}", before.paths(), after.paths())
            });
        }
    }

    /// `gone` was removed.
    pub fn deleted(&mut self, before: &Picture, after: &Picture, gone: &BTreeSet<EntryId>) {
        use Expectation::DeleteHidesWhatWasSeen as E;
        let shown = after.shown();
        self.expect(gone.is_disjoint(&shown), E, "a delete hides what its author saw", || {
            format!("{gone:?} but {shown:?}")
        });
        let lost = &lost(before, after) - gone;
        let alone = shown.is_subset(&before.shown()) && lost.is_empty();
        self.expect(alone, E, "a delete hides nothing else", || format!("of {gone:?}: also {lost:?}"));
    }

    /// What had just been removed was brought back.
    pub fn restored_at_once(&mut self, before: &Picture, after: &Picture) {
        let (was, is) = (before.paths(), after.paths());
        let claim = "delete, then restore: as before";
        self.expect(was == is, Expectation::DeleteThenRestore, claim, || format!("{was:?} became {is:?}"));
    }

    /// `x` was brought back; `gone` went with it then.
    pub fn restored(&mut self, before: &Picture, after: &Picture, x: EntryId, gone: &BTreeSet<EntryId>) {
        use Expectation::DeleteThenRestore as E;
        self.expect(after.is_shown(x), E, "a restore shows", || format!("{x:?}"));
        let above: BTreeSet<EntryId> = after.ancestors(x).into_iter().collect();
        let beside: Vec<EntryId> = (&after.shown() - &before.shown())
            .into_iter()
            .filter(|y| !gone.contains(y) && !above.contains(y))
            .collect();
        self.expect(beside.is_empty(), E, "a restore shows nothing beside it", || {
            format!("{x:?}: {beside:?}")
        });
    }

    /// Somebody chose among the heads of `x`.
    pub fn resolved(&mut self, after: &Picture, x: EntryId, keep: &BTreeSet<Dot>) {
        let (heads, claim) = (after.human_heads(x), "a resolution leaves what it keeps");
        self.expect(heads == *keep, Expectation::ResolutionCanBeUndone, claim, || {
            format!("{x:?}: {heads:?} for {keep:?}")
        });
    }

    /// And chose again what was shown before.
    pub fn unresolved(&mut self, before: &Picture, after: &Picture, x: EntryId) {
        let (was, is) = (before.paths(), after.paths());
        let claim = "a resolution can be undone";
        self.expect(was == is, Expectation::ResolutionCanBeUndone, claim, || {
            format!("{x:?}: {was:?} became {is:?}")
        });
    }

    /// Something was said about `x`.
    pub fn described(&mut self, before: &Picture, after: &Picture, x: EntryId, said: &Body) {
        use Expectation::AttributesOfOneEntry as E;
        let (was, is) = (&before.paths(), &after.paths());
        self.expect(was == is, E, "words about an entry change no path", || format!("{was:?} became {is:?}"));
        for (other, portrait) in &before.entries {
            let now = after.entries.get(other).map(|entry| &entry.attributes);
            let same = *other == x || now == Some(&portrait.attributes);
            self.expect(same, E, "nor words about another", || format!("{other:?} by {x:?}: {now:?}"));
        }
        let (Some(was), Some(is)) = (before.entries.get(&x), after.entries.get(&x)) else { return };
        let mut expected = was.attributes.clone();
        expected.mtime = said.mtime.or(expected.mtime);
        expected.executable = said.executable.unwrap_or(expected.executable);
        expected.tags.retain(|tag| !said.tags_removed.contains(tag));
        expected.tags.extend(said.tags_added.iter().cloned());
        if let Some(note) = &said.note {
            expected.notes = [note.clone()].into_iter().filter(|note| !note.is_empty()).collect();
        }
        self.expect(is.attributes == expected, E, "what was said is shown", || {
            format!("{x:?} {said:?}: {:?} became {:?}", was.attributes, is.attributes)
        });
    }

    /// Somebody did something that removes and restores nothing.
    pub fn bystanders(&mut self, before: &Picture, after: &Picture, deed: &str) {
        use Expectation::NothingElseChanges as E;
        let revived: Vec<EntryId> = (&after.shown() - &before.shown())
            .into_iter()
            .filter(|x| before.entries.contains_key(x))
            .collect();
        self.expect(revived.is_empty(), E, "an act revives nothing", || format!("{deed}: {revived:?}"));
        let lost = lost(before, after);
        self.expect(lost.is_empty(), E, "an act hides nothing", || format!("{deed}: {lost:?}"));
    }

    /// Somebody did something that concerns no entry.
    pub fn unchanged(&mut self, before: &Picture, after: &Picture) {
        let claim = "what concerns no entry changes none";
        self.expect(before == after, Expectation::NothingElseChanges, claim, String::new);
    }

    /// A state that somebody has, judged alone.
    pub fn state(&mut self, sight: &Sight, picture: &Picture) {
        let (mut removed, mut dropped) = (BTreeSet::new(), BTreeSet::new());
        for deed in sight.deeds() {
            match &deed.fact {
                Fact::EntryDeleted { hides, .. } => removed.extend(hides.iter()),
                Fact::ConflictResolved { over, keep, .. } => {
                    dropped.extend(over.iter().filter(|v| !keep.contains(*v)));
                }
                _ => {}
            }
        }
        use Expectation::{OnePathOneThing, UnseenContentStays};
        for (x, entry) in &picture.entries {
            for v in entry.maximal.iter().filter(|v| !removed.contains(*v) && !dropped.contains(*v)) {
                let there = entry.shown && entry.human_heads.contains(v);
                self.expect(there, UnseenContentStays, "what nobody removed is there", || {
                    format!("{x:?} {v:?}")
                });
            }
            let has_content = entry.kind != EntryKind::File || !entry.shown || !entry.heads.is_empty();
            self.expect(has_content, UnseenContentStays, "a shown file has content", || format!("{x:?}"));
        }
        self.uploads_are_reachable(sight, picture);
        let behind: BTreeSet<EntryId> =
            picture.listing.values().flat_map(|line| line.entries.clone()).collect();
        let hidden = &picture.shown() - &behind;
        self.expect(hidden.is_empty(), OnePathOneThing, "everything shown has a path", || {
            format!("{hidden:?}")
        });
        self.every_head_has_one_path(picture);
    }

    /// Every version that a person made and that no one edited, removed or dropped can be reached by a path: at
    /// least, its content can. Read from the events alone, not from what the state says about versions.
    fn uploads_are_reachable(&mut self, sight: &Sight, picture: &Picture) {
        let mut versions = BTreeMap::<Dot, ContentId>::new();
        let mut replaced = BTreeSet::new();
        for deed in sight.deeds() {
            match &deed.fact {
                Fact::EntryCreated { .. } => {
                    versions.extend(deed.body.content.as_ref().map(|content| (deed.dot, content.id)));
                }
                Fact::VersionUploaded { parents, .. } => {
                    versions.extend(deed.body.content.as_ref().map(|content| (deed.dot, content.id)));
                    replaced.extend(parents.iter());
                }
                Fact::EntryDeleted { hides, .. } => replaced.extend(hides.iter()),
                Fact::ConflictResolved { over, .. } => replaced.extend(over.iter()),
                Fact::VersionsMerged { inputs, .. } => replaced.extend(inputs.iter()),
                _ => {}
            }
        }
        let heads = picture.listing.values().flat_map(|line| &line.heads);
        let shown: BTreeSet<ContentId> =
            heads.filter_map(|head| picture.contents.get(head)).copied().collect();
        // A twin stands behind a file that holds or held the same.
        let mut behind: BTreeSet<&Dot> = BTreeSet::new();
        for line in picture.listing.values() {
            let of = |x: &EntryId| picture.entries.get(x).map_or(&[][..], |entry| &entry.versions);
            let held: BTreeSet<_> = of(&line.entries[0]).iter().map(|v| picture.contents.get(v)).collect();
            let twins = line.entries[1..].iter().flat_map(of);
            behind.extend(twins.filter(|v| held.contains(&picture.contents.get(v))));
        }
        for (version, content) in versions {
            let there = replaced.contains(&version) || shown.contains(&content) || behind.contains(&version);
            let claim = "content that nobody replaced or removed is under some path";
            self.expect(there, Expectation::UnseenContentStays, claim, || format!("{version:?}"));
        }
    }

    fn every_head_has_one_path(&mut self, picture: &Picture) {
        use Expectation::OnePathOneThing as E;
        let mut of_file = BTreeMap::<EntryId, Vec<Dot>>::new();
        for (path, line) in &picture.listing {
            let single = (line.kind == EntryKind::File) == (line.heads.len() == 1);
            self.expect(single, E, "a path shows one content", || format!("{path}: {line:?}"));
            let fits = path.split('/').all(|name| annals_events::path::check(name).is_ok());
            self.expect(fits, E, "a path is made of names", || path.clone());
            let parent = path.rsplit_once('/').map(|(parent, _)| parent);
            let in_folder =
                parent.is_none_or(|p| picture.listing.get(p).is_some_and(|l| l.kind == EntryKind::Folder));
            self.expect(in_folder, E, "a path is in a folder", || path.clone());
            if line.kind == EntryKind::File {
                of_file.entry(line.entries[0]).or_default().extend(&line.heads);
            }
        }
        for (file, mut shown) in of_file {
            let mut heads = picture.heads(file);
            shown.sort();
            heads.sort();
            self.expect(shown == heads, E, "each head has one path", || {
                format!("{file:?}: {shown:?}, {heads:?}")
            });
        }
    }

    /// All have everything.
    pub fn all_have_met(&mut self, pictures: &[Picture]) {
        let same = pictures.windows(2).all(|pair| pair[0] == pair[1]);
        let claim = "same events, same folder";
        self.expect(same, Expectation::SameEventsSameFolder, claim, || format!("{pictures:?}"));
    }
}

/// An edit as its author made it.
#[derive(Debug)]
pub struct Edit<'a> {
    pub path: &'a str,
    pub file: EntryId,
    /// The version that the path showed.
    pub head: Dot,
    pub new: Dot,
    pub content: ContentId,
}

/// What lived and is not shown any more. A folder that was deleted, and shown only for what still lived in it, may
/// go with the last of that.
fn lost(before: &Picture, after: &Picture) -> BTreeSet<EntryId> {
    (&before.shown() - &after.shown()).into_iter().filter(|x| before.is_alive(*x)).collect()
}
