//! A look at some folders, where a change was hinted at.
//!
//! What must always hold: it says what a look at everything would say, or asks for one. Nothing is taken for deleted
//! here: what is not in its folder any more may have gone to one that was not looked at.

use super::{Effect, Replica, Sight, StateChange};
use crate::{
    author::{self, Removals, Scene},
    observed::{LocalTree, Part, SyncedTree, parent},
};
use annals_events::EntryId;
use std::collections::BTreeSet;

impl Replica {
    /// Whether a look at some folders would do.
    #[must_use]
    pub fn may_glance(&self) -> bool {
        self.unsure.is_some()
            && self.rules.hold_all()
            && !self.merge_only
            && self.aside.is_empty()
            && self.working.is_none()
    }

    /// What disk and log agreed on last about what is in these folders, and about the folders above.
    #[must_use]
    pub fn synced_at(&self, folders: &BTreeSet<String>) -> SyncedTree {
        Part::at(&self.log, &self.synced, folders).synced
    }

    pub(super) fn glanced(
        &mut self,
        now_ms: u64,
        local: LocalTree,
        folders: &BTreeSet<String>,
        effects: &mut Vec<Effect>,
    ) {
        let sight = self.sight();
        if !self.may_glance() || !matches!(sight, Sight::Part(_)) {
            self.put_back(sight);
            return effects.push(Effect::Scan);
        }
        let mut part = Part::at(&self.log, &self.synced, folders);
        let adopted = author::adopt_new(&local, &part.synced, &part.remote);
        adopted.iter().for_each(|change| part.synced.apply(change.clone()));
        self.settle(&sight);
        let (seen, device, next) = (self.seen(), self.device(), self.journal.next());
        let scene = Scene {
            local: &local,
            synced: &part.synced,
            remote: &part.remote,
            log: &self.log,
            seen: &seen,
            resolved: &self.resolved,
            device,
            next,
            removals: Removals::Ask,
            removed_lately: 0,
        };
        let authored = match author::author(scene) {
            Ok(authored) if !authored.missed => authored,
            _ => return effects.push(Effect::Scan),
        };
        let is_elsewhere = |path: &String| !folders.contains(parent(path).unwrap_or(""));
        self.blocked.retain(is_elsewhere);
        self.blocked.extend(local.untouchable());
        self.obstacles.retain(|path, _| is_elsewhere(path));
        self.obstacles.extend(local.obstacles.clone());
        let mut changes = Vec::new();
        for change in adopted {
            self.take_step(change.clone());
            changes.push(StateChange::Synced(change));
        }
        self.take_authored(now_ms, authored, &BTreeSet::new(), changes, effects);
        let looked_at: BTreeSet<EntryId> = folders
            .iter()
            .filter_map(|path| self.synced.get(path))
            .flat_map(|node| node.entries.clone())
            .collect();
        if let Some(unsure) = &mut self.unsure {
            unsure.extend(looked_at);
            unsure.extend(folders.contains("").then_some(EntryId::ROOT));
        }
        self.make_plan(true, 0, effects);
    }
}
