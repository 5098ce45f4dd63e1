//! New events that are no change of the folder: tags, notes, restores, members. They are journaled at once and go
//! out with the next round.

use super::{ClientError, Folder};
use crate::clock::SystemClock;
use annals_engine::{
    admission::needed_role,
    author::{Deed, Said},
    clock::Clock,
    replica::{Effect, Input, Notice},
    retention, round,
};
use annals_events::{Body, Dot, DotSet, EntryId, EntryKind, Fact, Role};
use annals_projections::Retention;

impl Folder {
    /// Adds and removes tags of what stands at `path`.
    ///
    /// # Errors
    /// [`ClientError::BadText`] where a tag is too long, or there are too many; [`ClientError::NoSuchPath`].
    pub fn tag(&mut self, path: &str, added: Vec<String>, removed: Vec<String>) -> Result<(), ClientError> {
        added.iter().chain(&removed).try_for_each(|tag| check("a tag", tag, TAG_BYTES_MAX))?;
        let count = added.len() + removed.len();
        if count > TAGS_MAX {
            let what = format!("{count} tags are too many at once: at most {TAGS_MAX}");
            return Err(ClientError::BadText { what });
        }
        self.attribute(path, Body { tags_added: added, tags_removed: removed, ..Body::default() })
    }

    /// Sets the note of what stands at `path`; an empty one removes it.
    ///
    /// # Errors
    /// As [`tag`](Self::tag).
    pub fn note(&mut self, path: &str, text: String) -> Result<(), ClientError> {
        check("a note", &text, Body::TEXT_BYTES_MAX)?;
        self.attribute(path, Body { note: Some(text), ..Body::default() })
    }

    fn attribute(&mut self, path: &str, body: Body) -> Result<(), ClientError> {
        let entries = self.entries_at(path)?;
        let Some(entry) = entries.first().copied().filter(|entry| *entry != EntryId::ROOT) else {
            return Err(ClientError::BadText {
                what: "the linked folder itself has no tags and no note".into(),
            });
        };
        self.say(vec![Said { fact: Fact::AttributesChanged { entry }, body: Some(body) }])
    }

    /// Makes `version` the content of the file at `path` again, on top of what is there, which may be another file than
    /// the one that it is of; where nothing is, that one comes back if it was removed there.
    ///
    /// # Errors
    /// [`ClientError::NoSuchPath`], [`ClientError::Withheld`], [`ClientError::Forgotten`],
    /// [`ClientError::Lost`]; [`ClientError::Elsewhere`]
    /// where nothing is at `path` and its file has another by now.
    pub fn restore(&mut self, path: &str, version: Dot) -> Result<(), ClientError> {
        let Some(of) = self.replica.log().version(version).map(|view| view.entry) else {
            return Err(ClientError::NoSuchVersion {
                path: path.into(),
                version: version.to_string(),
                found: 0,
            });
        };
        self.is_to_be_had(version)?;
        let entry = self.file_for(path, of)?;
        let mut said = Vec::new();
        let log = self.replica.log();
        if let Some(view) = log.entry(entry).filter(|view| !view.alive) {
            let shows: DotSet = view.places.iter().chain(&view.maximal).copied().collect();
            let lifts = shows.iter().flat_map(|dot| log.hidden_by(dot)).collect();
            said.push(Said { fact: Fact::EntryRestored { entry, place: None, lifts, shows }, body: None });
        }
        let shown = self.replica.remote().nodes.get(path).filter(|node| node.entries.contains(&entry));
        let shown = shown.map(|node| node.heads.clone()).filter(|heads| !heads.is_empty());
        // Of a file in conflict, only what stands at this path is replaced.
        let heads = shown.unwrap_or_else(|| self.replica.log().human_heads(entry));
        if heads != [version] {
            said.push(self.again(entry, version, heads)?);
        }
        if said.is_empty() { Ok(()) } else { self.say(said) }
    }

    /// Which file holds at `path` what a version of the file `of` held.
    fn file_for(&mut self, path: &str, of: EntryId) -> Result<EntryId, ClientError> {
        if let Some(node) = self.replica.remote().nodes.get(path).filter(|node| node.kind == EntryKind::File)
        {
            let of_it = node.entries.contains(&of).then_some(of);
            return Ok(of_it.unwrap_or(node.entries[0]));
        }
        match self.path_of_entry(of) {
            Some(now) if now != path => Err(ClientError::Elsewhere { path: path.into(), now }),
            _ => Ok(of),
        }
    }

    /// What `version` holds, as a new version of `entry` in the place of `over`.
    pub(super) fn again(&self, entry: EntryId, version: Dot, over: Vec<Dot>) -> Result<Said, ClientError> {
        let old = round::body_of(&self.replica, self.store.kept(), version)?;
        let old = old.ok_or_else(|| ClientError::Withheld { version: version.to_string() })?;
        let body =
            Body { content: old.content, mtime: old.mtime, executable: old.executable, ..Body::default() };
        let parents = over.into_iter().collect();
        Ok(Said { fact: Fact::VersionUploaded { entry, parents }, body: Some(body) })
    }

    /// For how long what was replaced or removed is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.replica.log().retention()
    }

    /// How many versions, and how many files and folders of the trash, would be forgotten if all were kept for that long
    /// only and are kept longer now.
    #[must_use]
    pub fn would_be_forgotten(&self, keep_ms: u64) -> (u64, u64) {
        if self.retention().versions().is_some_and(|now| now <= keep_ms) {
            return (0, 0);
        }
        let due = retention::would_go(self.replica.log(), SystemClock.now_ms(), keep_ms);
        (due.versions.len() as u64, due.entries.len() as u64)
    }

    /// Keeps it for another time, in milliseconds; none for ever.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] for whoever is no owner.
    pub fn set_retention(&mut self, versions: Option<u64>, silence: Option<u64>) -> Result<(), ClientError> {
        self.say(vec![Said { fact: Fact::RetentionSet { versions, silence }, body: None }])
    }

    /// Lets the account called `name` in as `role`, or out.
    ///
    /// # Errors
    /// [`ClientError::Transport`] where the server does not know the account.
    pub fn share(&mut self, name: &str, role: Option<Role>) -> Result<(), ClientError> {
        let user = self.http()?.user(name)?.user;
        let access = self.replica.log().access();
        if access.owner() == Some(user) {
            return Err(ClientError::Owner { user: name.into() });
        }
        if role.is_none() && access.role(user).is_none() {
            return Err(ClientError::NoMember { user: name.into() });
        }
        let said = match role {
            Some(role) => {
                let body = Body { user_name: Some(name.into()), ..Body::default() };
                Said { fact: Fact::MemberGranted { user, role }, body: Some(body) }
            }
            None => Said { fact: Fact::MemberRevoked { user }, body: None },
        };
        self.say(vec![said])
    }

    /// Whether the person's role allows what needs this one, as far as this device knows: what would be refused is not
    /// said, so that nothing has to be set aside.
    pub(super) fn may(&self, needed: Role) -> Result<(), ClientError> {
        let role = self.replica.log().access().role(self.binding().user);
        if role.is_some_and(|role| role < needed) { Err(ClientError::NotAllowed { needed }) } else { Ok(()) }
    }

    /// Signs and journals events; durable when it returns.
    pub(super) fn say(&mut self, said: Vec<Said>) -> Result<(), ClientError> {
        self.say_deeds(deeds_of(said))
    }

    /// As [`say`](Self::say), each of them as far as it goes in one batch.
    pub(super) fn say_deeds(&mut self, deeds: Vec<Deed>) -> Result<(), ClientError> {
        self.may(needed_for(&deeds))?;
        let effects = self.replica.step(SystemClock.now_ms(), Input::Asked { deeds });
        let mut replan = false;
        for effect in effects {
            match effect {
                Effect::Persist(changes) => self.store.persist(&changes)?,
                // What the events change in the folder is done in the next round.
                Effect::Materialise(_) => replan = true,
                Effect::Notice(Notice::Lineage(why)) => {
                    let namespace = self.replica.namespace();
                    return Err(round::RoundError::Lineage { namespace, why }.into());
                }
                Effect::Submit(_) | Effect::Scan | Effect::Glance | Effect::Notice(_) | Effect::Reopen => {}
            }
        }
        if replan {
            let effects =
                self.replica.step(SystemClock.now_ms(), Input::Materialised { outcomes: Vec::new() });
            for effect in effects {
                if let Effect::Persist(changes) = effect {
                    self.store.persist(&changes)?;
                }
            }
        }
        Ok(())
    }
}

/// The role that all of this needs. What no device may say, the server says so.
fn needed_for(deeds: &[Deed]) -> Role {
    let said = deeds.iter().flat_map(|deed| &deed.0);
    said.filter_map(|said| needed_role(&said.fact)).max().unwrap_or(Role::Viewer)
}

/// One deed, unless the events are of a kind of which one fills a batch.
fn deeds_of(said: Vec<Said>) -> Vec<Deed> {
    let fills = |said: &Said| matches!(said.fact, Fact::EntryPurged { .. } | Fact::EntryRestored { .. });
    if said.iter().all(fills) {
        return said.into_iter().map(|said| Deed(vec![said])).collect();
    }
    vec![Deed(said)]
}

/// Longest tag in bytes.
const TAG_BYTES_MAX: usize = 256;
/// Most tags said at once: with their length far below what a batch holds.
const TAGS_MAX: usize = 256;

fn check(what: &str, text: &str, max: usize) -> Result<(), ClientError> {
    if text.len() > max {
        return Err(ClientError::BadText {
            what: format!("{what} has at most {max} bytes, this one has {}", text.len()),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::{Policy, Seq};

    #[test]
    fn what_is_said_together_needs_the_highest_role_that_any_of_it_does() {
        let word = || Fact::Acknowledged { seq: Seq(1) };
        let tag = || Fact::AttributesChanged { entry: EntryId::ROOT };
        for (facts, needed) in [
            (vec![], Role::Viewer),
            (vec![word()], Role::Viewer),
            (vec![word(), tag()], Role::Editor),
            (vec![tag(), Fact::RetentionSet { versions: None, silence: None }], Role::Owner),
            (vec![Fact::PolicySet { policy: Policy::Both }], Role::Owner),
            (vec![tag(), Fact::VersionsExpired { versions: DotSet::new() }], Role::Owner),
        ] {
            let said = |fact| Deed(vec![Said { fact, body: None }]);
            let deeds: Vec<Deed> = facts.iter().cloned().map(said).collect();
            assert_eq!(needed_for(&deeds), needed, "{facts:?}");
        }
    }
}
