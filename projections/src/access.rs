//! Who may do what: the owner, and the members with their roles.
//!
//! The state is a function of the set of events. Of a user's grants and revocations those count that no other
//! one had seen; a revocation among them wins, else the least role that was granted. Who concurrently grants
//! what somebody took away has not given it back: taking away is the safe side, and a later grant by somebody
//! who has seen the revocation holds. The account that the namespace was created for is its owner for ever.
//! Whether somebody had the right to grant is judged at admission, in log order, before this fold sees it.

use crate::batches::DotIx;
use annals_events::{DeviceId, Hlc, Role, UserId};
use std::collections::BTreeMap;

/// Members and roles.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// With the order of the event that said so.
    pub(crate) owner: Option<((Hlc, DeviceId), UserId)>,
    pub(crate) label: Option<((Hlc, DeviceId), String)>,
    /// The latest statements about each user: none of them has seen another.
    pub(crate) statements: BTreeMap<UserId, Vec<(DotIx, Option<Role>)>>,
    pub(crate) names: BTreeMap<UserId, ((Hlc, DeviceId), String)>,
}

impl Access {
    /// Whose namespace it is.
    #[must_use]
    pub fn owner(&self) -> Option<UserId> {
        self.owner.as_ref().map(|(_, user)| *user)
    }

    /// What `user` may do here; none for nothing.
    #[must_use]
    pub fn role(&self, user: UserId) -> Option<Role> {
        if self.owner() == Some(user) {
            return Some(Role::Owner);
        }
        let roles: Option<Vec<Role>> = self.statements.get(&user)?.iter().map(|(_, role)| *role).collect();
        roles?.into_iter().min()
    }

    /// Everybody who may do something here, by user id, with the account's name (empty where it is withheld).
    pub fn members(&self) -> impl Iterator<Item = (UserId, Role, &str)> {
        let owner = self.owner().into_iter();
        let mut users: Vec<UserId> = owner.chain(self.statements.keys().copied()).collect();
        users.sort_unstable();
        users.dedup();
        users.into_iter().filter_map(|user| Some((user, self.role(user)?, self.name(user))))
    }

    /// An account's name, as the latest event that says it has it; empty where none does.
    #[must_use]
    pub fn name(&self, user: UserId) -> &str {
        self.names.get(&user).map_or("", |(_, name)| name)
    }

    /// What people call the namespace; empty where that is withheld.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.as_ref().map_or("", |(_, label)| label)
    }

    pub(crate) fn create(&mut self, order: (Hlc, DeviceId), owner: UserId, label: Option<String>) {
        if self.owner.as_ref().is_none_or(|(earlier, _)| order < *earlier) {
            self.owner = Some((order, owner));
            self.label = label.map(|label| (order, label));
        }
    }

    /// Somebody's role from here on, in place of `replaced`: every statement that its author had seen.
    pub(crate) fn state(
        &mut self,
        user: UserId,
        role: Option<Role>,
        by: DotIx,
        replaced: impl Fn(DotIx) -> bool,
    ) {
        let statements = self.statements.entry(user).or_default();
        statements.retain(|(dot, _)| !replaced(*dot));
        statements.push((by, role));
    }

    pub(crate) fn call(&mut self, user: UserId, order: (Hlc, DeviceId), name: Option<String>) {
        let Some(name) = name else { return };
        let known = self.names.entry(user).or_insert_with(|| (order, name.clone()));
        if known.0 < order {
            *known = (order, name);
        }
    }
}
