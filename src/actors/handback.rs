//! What a server admitted and lost comes back: its namespace takes it, the directory learns again whom and what it knew.

use super::{
    namespace::{NamespaceActor, feed, go_on},
    node::{Node, log_problem},
};
use crate::random::random;
use actix::{AtomicResponse, Context, Handler, Message};
use annals_engine::{
    directory::Directory,
    namespace::{Input, Issued, Namespace, Outcome},
    protocol::{Code, HandedBack, Problem},
};
use annals_events::{Batch, DeviceId, Fact, Hash, NamespaceId, Record, UserId};
use std::sync::Arc;

/// Records that this server admitted and that may be gone.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Taken, Problem>")]
pub struct HandBack(pub Arc<Vec<Arc<Record>>>);

/// What became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They are in the log, but for those that do not fit it.
    Done(HandedBack),
    /// Some are gone that were signed with the key of now: the server has to go on under another one first.
    Lost,
}

impl Handler<HandBack> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<Taken, Problem>>;

    fn handle(&mut self, HandBack(records): HandBack, context: &mut Context<Self>) -> Self::Result {
        self.lend(context, move |mut namespace, node| async move {
            let taken = take(&mut namespace, &node, &records).await;
            (namespace, taken)
        })
    }
}

async fn take(namespace: &mut Namespace, node: &Node, records: &[Arc<Record>]) -> Result<Taken, Problem> {
    let mut answer = HandedBack::default();
    let own = node.keys.known();
    for record in records {
        if !namespace.believes(record, &own) {
            return Err(Problem::plain(Code::OtherLog));
        }
        go_on(namespace, node).await?;
        if namespace.has_lost(record) {
            return Ok(Taken::Lost);
        }
        let events = record.batch().events().len() as u64;
        match feed(namespace, node, Input::HandedBack { record: Arc::clone(record) }).await {
            Outcome::Admitted(_) => answer.taken += events,
            Outcome::Again(_) => answer.known += events,
            Outcome::Refused(refusal) => {
                say_again(namespace, node, record.batch()).await?;
                answer.refused.get_or_insert(refusal.to_wire());
            }
            Outcome::Failed(error) => return Err(log_problem(&error)),
        }
    }
    go_on(namespace, node).await?;
    Ok(Taken::Done(answer))
}

/// What this server said under a dot that it used once more, before it knew that it had lost something: it says it again
/// under a dot of its own.
async fn say_again(namespace: &mut Namespace, node: &Node, batch: &Batch) -> Result<(), Problem> {
    if namespace.server_key(batch.header().device).is_none() {
        return Ok(());
    }
    for (index, event) in batch.events().iter().enumerate() {
        let devices = namespace.projections().devices();
        let fact = match &event.fact {
            Fact::DeviceLinked { key, .. } => {
                let linked = devices.get(DeviceId::of_key(key)).is_some_and(|state| state.linked);
                (!linked).then(|| event.fact.clone())
            }
            Fact::DeviceRetired { device, .. } => {
                let state = devices.get(*device).filter(|state| state.retired_last.is_none());
                state.map(|state| Fact::DeviceRetired { device: *device, last: state.last_counter })
            }
            _ => None,
        };
        let Some(fact) = fact else { continue };
        let body = batch.body(index).ok().flatten();
        let said = namespace.issue(node.now_ms(), vec![Issued { fact, body }]);
        let input = Input::Submit { batch: said, facts: Default::default() };
        if let Outcome::Failed(error) = feed(namespace, node, input).await {
            return Err(log_problem(&error));
        }
    }
    Ok(())
}

impl Node {
    /// Takes records back. Answers with what became of them.
    ///
    /// # Errors
    /// [`Code::OtherLog`] where this server never signed them; what the log fails with.
    pub async fn take_back(
        self: &Arc<Self>,
        namespace: NamespaceId,
        records: Arc<Vec<Arc<Record>>>,
    ) -> Result<HandedBack, Problem> {
        let before = self.keys.public();
        // What these name and is stored is not collected meanwhile.
        let _upload = self.uploads.read().await;
        let mut taken = self.ask_namespace(namespace, HandBack(Arc::clone(&records))).await??;
        if taken == Taken::Lost {
            tracing::warn!(%namespace, "this server lost records that it signed: it goes on under another key");
            // The new key is the end of knowing that something was lost.
            self.marks.forget().map_err(|error| {
                tracing::error!(%error, "what was garbage could not be forgotten");
                Problem::plain(Code::LogUnavailable)
            })?;
            self.keys.renew(before, random())?;
            self.directory.go_on(self.now_ms()).await?;
            taken = self.ask_namespace(namespace, HandBack(Arc::clone(&records))).await??;
        }
        let Taken::Done(answer) = taken else { return Err(Problem::plain(Code::Busy)) };
        if answer.taken > 0 {
            tracing::warn!(%namespace, events = answer.taken, "events were handed back");
            self.learn(namespace).await?;
            // They may say that a device is retired.
            self.cut_off_retired(namespace).await?;
        }
        Ok(answer)
    }

    /// Has the directory know a namespace that it lost, and the accounts of those who use it.
    async fn learn(self: &Arc<Self>, namespace: NamespaceId) -> Result<(), Problem> {
        let members = self.summary(namespace).await?.members;
        for (user, (_, name)) in members {
            if self.directory.read(|directory| directory.account(user).is_some()) {
                continue;
            }
            tracing::warn!(name, "an account came back that was lost; its password is gone");
            let quota = self.quota_default;
            let known = |directory: &Directory| account_again(directory, user, &name, quota);
            self.directory.append(self.now_ms(), known).await?;
        }
        let Some((owner, label)) = self.ask_namespace(namespace, super::namespace::Whose).await?? else {
            return Ok(());
        };
        let unknown = |directory: &Directory| match directory.namespace(namespace) {
            Some(_) => Ok(Vec::new()),
            None => {
                let label = free(&label, |label| directory.namespace_named(owner, label).is_some());
                directory.open_namespace(random(), namespace, owner, &label)
            }
        };
        self.directory.append(self.now_ms(), unknown).await
    }

    /// Lets a device in again that this server forgot: by the token with this hash, if it is linked to the namespace.
    ///
    /// # Errors
    /// What the log fails with.
    pub async fn welcome(
        self: &Arc<Self>,
        namespace: NamespaceId,
        device: DeviceId,
        token: Hash,
    ) -> Result<bool, Problem> {
        let known = self.directory.read(|directory| directory.namespace(namespace).is_some());
        if !known {
            return Ok(false);
        }
        let devices = self.ask_namespace(namespace, super::namespace::Devices).await??;
        let Some(info) = devices.into_iter().find(|info| info.device == device && !info.retired) else {
            return Ok(false);
        };
        if self.summary(namespace).await?.role_of(info.user).is_none() {
            return Ok(false);
        }
        let now_ms = self.now_ms();
        let forgotten = |directory: &Directory| match directory.token(token, now_ms) {
            Err(Code::TokenUnknown) => {
                let fact = Fact::TokenIssued { token, user: info.user, device, expires: 0 };
                Ok(vec![Issued { fact, body: None }])
            }
            known => known.map(|_| Vec::new()),
        };
        self.directory.append(now_ms, forgotten).await?;
        Ok(true)
    }
}

fn account_again(
    directory: &Directory,
    user: UserId,
    name: &str,
    quota: Option<u64>,
) -> Result<Vec<Issued>, Code> {
    if directory.account(user).is_some() {
        return Ok(Vec::new());
    }
    let name = if annals_engine::directory::is_account_name(name) { name } else { "somebody" };
    let name = free(name, |name| directory.account_named(name).is_some());
    directory.create_account(random(), user, &name, None, quota)
}

/// `name`, or what is like it and not taken.
fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let others = (2..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned()).chain(others).find(|name| !taken(name)).expect("there are only so many")
}
