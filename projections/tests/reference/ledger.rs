//! What model.py leaves out: attributes, members, and what is stored.

use super::{Deed, State};
use annals_events::{ChunkId, Dot, EntryId, Fact, Role, UserId};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What is known of an entry beside its place and content.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Attributes {
    pub mtime: Option<i64>,
    pub executable: bool,
    pub tags: BTreeSet<String>,
    /// More than one where people wrote them apart.
    pub notes: BTreeSet<String>,
}

impl State {
    /// The later one by (hlc, device) for time and executable bit, each for itself; tags, of which an adding
    /// stands until a removal that saw it; notes, of which each stands until another that saw it.
    pub fn attributes(&self, entry: EntryId) -> Attributes {
        let about: Vec<&Rc<Deed>> =
            self.deeds.iter().filter(|d| d.entry() == Some(entry) && has_attributes(&d.fact)).collect();
        let stands = |tag: &String, adding: &Deed| {
            !about
                .iter()
                .any(|d| d.dot != adding.dot && d.body.tags_removed.contains(tag) && d.saw(adding.dot))
        };
        let mut attributes = Attributes::default();
        for deed in &about {
            attributes.mtime = deed.body.mtime.or(attributes.mtime);
            attributes.executable = deed.body.executable.unwrap_or(attributes.executable);
            attributes.tags.extend(deed.body.tags_added.iter().filter(|tag| stands(tag, deed)).cloned());
            let replaced =
                about.iter().any(|d| d.dot != deed.dot && d.body.note.is_some() && d.saw(deed.dot));
            let note = deed.body.note.clone().filter(|note| !note.is_empty() && !replaced);
            attributes.notes.extend(note);
        }
        attributes
    }

    /// Everybody who may use the namespace, and as what. Of what was said of a person that counts which nobody
    /// who said something else had seen: of that a revocation, else the least role. The owner stays the owner.
    pub fn members(&self) -> BTreeMap<UserId, Role> {
        let mut said = BTreeMap::<UserId, Vec<Rc<Deed>>>::new();
        for deed in &self.deeds {
            if let Fact::MemberGranted { user, .. } | Fact::MemberRevoked { user } = &deed.fact {
                said.entry(*user).or_default().push(deed.clone());
            }
        }
        let role_said = |deed: &Rc<Deed>| match &deed.fact {
            Fact::MemberGranted { role, .. } => Some(*role),
            _ => None,
        };
        let least = |said: &Vec<Rc<Deed>>| super::not_seen_by_another(said).map(role_said).min().flatten();
        let mut members: BTreeMap<UserId, Role> =
            said.iter().filter_map(|(user, said)| Some((*user, least(said)?))).collect();
        let owner = self.deeds.iter().find_map(|deed| match &deed.fact {
            Fact::NamespaceCreated { owner, .. } => Some(*owner),
            _ => None,
        });
        members.extend(owner.map(|owner| (owner, Role::Owner)));
        members
    }

    /// How long versions are kept and devices may be silent: what the latest event says that says anything.
    pub fn retention(&self) -> (Option<u64>, Option<u64>) {
        let said = self.deeds.iter().filter_map(|deed| match &deed.fact {
            Fact::RetentionSet { versions, silence } => Some((deed.order(), (*versions, *silence))),
            _ => None,
        });
        let ninety_days = Some(7_776_000_000);
        said.max().map_or((ninety_days, ninety_days), |(_, said)| said)
    }

    /// What is dead and was not purged.
    pub fn trash(&self) -> BTreeSet<EntryId> {
        let purged = self.purged();
        self.edges.keys().copied().filter(|x| !self.shown.contains(x) && !purged.contains(x)).collect()
    }

    fn purged(&self) -> BTreeSet<EntryId> {
        let purges = self.deeds.iter().filter_map(|deed| match &deed.fact {
            Fact::EntryPurged { entries } => Some(entries.iter().map(EntryId)),
            _ => None,
        });
        purges.flatten().collect()
    }

    /// The versions whose contents are kept.
    fn retained(&self) -> Vec<&Rc<Deed>> {
        let mut gone: BTreeSet<Dot> = BTreeSet::new();
        for deed in &self.deeds {
            if let Fact::VersionsExpired { versions } = &deed.fact {
                gone.extend(versions.iter());
            }
        }
        let purged = self.purged();
        let kept = self.versions.iter().filter(|(entry, _)| !purged.contains(entry)).flat_map(|(_, v)| v);
        kept.filter(|version| !gone.contains(&version.dot)).collect()
    }

    /// For each chunk that a retained version names itself, those versions.
    pub fn chunk_roots(&self) -> BTreeMap<ChunkId, BTreeSet<Dot>> {
        let mut roots = BTreeMap::<ChunkId, BTreeSet<Dot>>::new();
        for version in self.retained() {
            for root in version.body.content.iter().flat_map(|content| content.roots()) {
                roots.entry(root.id).or_default().insert(version.dot);
            }
        }
        roots
    }

    /// Bytes of all retained versions, equal contents once.
    pub fn bytes_used(&self) -> u64 {
        let contents = self.retained().into_iter().filter_map(|version| version.body.content.as_ref());
        contents.map(|content| (content.id, content.size)).collect::<BTreeMap<_, _>>().values().sum()
    }
}

fn has_attributes(fact: &Fact) -> bool {
    matches!(fact, Fact::EntryCreated { .. } | Fact::VersionUploaded { .. } | Fact::AttributesChanged { .. })
}
