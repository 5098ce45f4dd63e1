//! What a server itself says in a namespace: that it begins, that a device is linked or cut off. Judged like everything
//! else, and said once.

use super::super::node::{Node, log_problem};
use super::{NamespaceActor, go_on, submit};
use crate::random::random;
use actix::{AtomicResponse, Context, Handler, Message};
use annals_engine::{
    admission::Facts,
    namespace::{Issued, Namespace, Outcome},
    protocol::{Code, Problem},
};
use annals_events::{Body, DeviceId, Fact, PublicKey, UserId};

/// Something that the server itself says here.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), Problem>")]
pub enum State {
    /// The namespace begins. Again is no error.
    Begun {
        /// Whose it is.
        owner: UserId,
        /// What people call it.
        label: String,
    },
    /// A device may act for a user.
    Linked {
        /// The device.
        key: PublicKey,
        /// The user.
        user: UserId,
        /// The user's name.
        user_name: String,
        /// What people call the device.
        label: String,
        /// The device that goes on as this one.
        continues: Option<DeviceId>,
    },
    /// A device is cut off, at once. Again is no error.
    Retired(DeviceId),
}

impl Handler<State> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<(), Problem>>;

    fn handle(&mut self, statement: State, context: &mut Context<Self>) -> Self::Result {
        self.lend(context, |mut namespace, node| async move {
            if let Err(problem) = go_on(&mut namespace, &node).await {
                return (namespace, Err(problem));
            }
            let issued = match statement_of(&namespace, &node, statement) {
                Ok(Some(issued)) => issued,
                Ok(None) => return (namespace, Ok(())),
                Err(problem) => return (namespace, Err(problem)),
            };
            let batch = namespace.issue(node.now_ms(), vec![issued]);
            let answer = judged(submit(&mut namespace, &node, batch, Facts::default()).await);
            (namespace, answer)
        })
    }
}

/// What became of what the server itself said.
pub(in crate::actors) fn judged(outcome: Outcome) -> Result<(), Problem> {
    match outcome {
        Outcome::Admitted(_) | Outcome::Again(_) => Ok(()),
        Outcome::Refused(refusal) => Err(Problem::new(refusal.code(), refusal.to_string())),
        Outcome::Failed(error) => Err(log_problem(&error)),
    }
}

/// None if it has been said.
pub(in crate::actors) fn statement_of(
    namespace: &Namespace,
    node: &Node,
    statement: State,
) -> Result<Option<Issued>, Problem> {
    let devices = namespace.projections().devices();
    match statement {
        State::Begun { owner, label } => {
            let server = node.keys.public();
            let body = Body { salt: random(), label: Some(label), ..Body::default() };
            let issued = Issued { fact: Fact::NamespaceCreated { owner, server }, body: Some(body) };
            Ok((namespace.projections().head().seq.0 == 0).then_some(issued))
        }
        State::Linked { key, user, user_name, label, continues } => {
            let known = devices.get(DeviceId::of_key(&key)).is_some_and(|state| state.linked);
            let body =
                Body { salt: random(), label: Some(label), user_name: Some(user_name), ..Body::default() };
            let issued = Issued { fact: Fact::DeviceLinked { key, user, continues }, body: Some(body) };
            Ok((!known).then_some(issued))
        }
        State::Retired(device) => {
            let state = devices.get(device).filter(|state| !state.is_server);
            let state = state.ok_or(Code::UnknownDevice)?;
            let fact = Fact::DeviceRetired { device, last: state.last_counter };
            Ok(state.retired_last.is_none().then_some(Issued { fact, body: None }))
        }
    }
}
