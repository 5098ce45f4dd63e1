//! Who may read, and who may not any more: the one place where that is decided for whatever is handed out.
//!
//! What must always hold: a namespace that one may not read is one that does not exist; a device that is retired reads
//! nothing, is given nothing to let others in with, and hears nothing. Left out: who is asking (the server's), and who
//! may write, which admission judges event by event.

use super::node::{Node, Summary};
use annals_engine::protocol::{Code, FeedEnd, Problem};
use annals_events::{DeviceId, NamespaceId, Role, UserId};
use std::sync::Arc;

/// On whose behalf something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The account.
    pub user: UserId,
    /// The device whose token was shown; none for whoever showed a name and a password.
    pub device: Option<DeviceId>,
}

impl Asker {
    /// Somebody who is no device.
    #[must_use]
    pub fn person(user: UserId) -> Self {
        Self { user, device: None }
    }
}

impl Node {
    /// What `asker` may do in `namespace`, which is `needed` at least, and what is known of it.
    ///
    /// # Errors
    /// [`Code::UnknownNamespace`] where there is nothing that they may read, [`Code::Forbidden`] where they may do less,
    /// [`Code::DeviceRetired`]; when it cannot be rebuilt.
    pub async fn allowed(
        self: &Arc<Self>,
        asker: Asker,
        namespace: NamespaceId,
        needed: Role,
    ) -> Result<(Role, Summary), Problem> {
        let summary = self.known(namespace).await?;
        // Who is no longer waited for may miss what was forgotten: it begins anew, as a device of its own.
        if asker.device.is_some_and(|device| summary.retired.contains(&device)) {
            return Err(Problem::plain(Code::DeviceRetired));
        }
        match summary.role_of(asker.user) {
            Some(role) if role >= needed => Ok((role, summary)),
            Some(_) => Err(Problem::plain(Code::Forbidden)),
            None => Err(Problem::plain(Code::UnknownNamespace)),
        }
    }

    /// What is known of a namespace, if there is one.
    pub(super) async fn known(self: &Arc<Self>, namespace: NamespaceId) -> Result<Summary, Problem> {
        let known = self.directory.read(|directory| directory.namespace(namespace).is_some());
        if !known {
            return Err(Problem::plain(Code::UnknownNamespace));
        }
        self.summary(namespace).await
    }

    /// Cuts a device off that is retired: its tokens are worth nothing any more, nor are the tickets that it made or of
    /// which nobody knows who made them, and it hears nothing. Again is no error.
    ///
    /// # Errors
    /// What the log fails with.
    pub async fn cut_off(&self, device: DeviceId) -> Result<(), Problem> {
        let now = self.now_ms();
        let append = self.directory.append(now, |directory| {
            let Some(user) = directory.user_of(device) else { return Ok(Vec::new()) };
            let mut events = directory.revoke_tokens(device);
            let open = directory.open_tickets(user, now);
            events
                .extend(directory.end_tickets(open.filter(|ticket| self.issuers.may_be_of(ticket, device))));
            Ok(events)
        });
        append.await?;
        self.listeners.end(device, FeedEnd::Refused(Code::TokenRevoked));
        Ok(())
    }

    /// Cuts off whoever is retired in `namespace` and was not yet, also for want of time.
    ///
    /// # Errors
    /// When the namespace cannot be rebuilt; what the log fails with.
    pub(super) async fn cut_off_retired(self: &Arc<Self>, namespace: NamespaceId) -> Result<(), Problem> {
        for device in self.summary(namespace).await?.retired {
            if self.directory.read(|directory| directory.user_of(device).is_some()) {
                self.cut_off(device).await?;
            }
        }
        Ok(())
    }
}

impl Summary {
    /// What `user` may do here; none for nothing at all.
    #[must_use]
    pub fn role_of(&self, user: UserId) -> Option<Role> {
        self.members.get(&user).map(|(role, _)| *role)
    }
}
