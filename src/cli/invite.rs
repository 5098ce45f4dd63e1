//! `annals invite`: a ticket, and the line to type on the next device.

use super::{
    failure::{Exit, Failure},
    moment,
    talk::Talk,
};
use crate::client::{self, Binding, Folder};
use annals_engine::protocol::{Ticket, TicketRequest};
use serde::Serialize;

/// `annals invite --json`.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    ticket: String,
    expires: String,
    server: &'a str,
    namespace: String,
    /// What to type on the next device.
    link: String,
}

impl<'a> Document<'a> {
    pub(super) fn new(binding: &'a Binding, ticket: &Ticket) -> Self {
        Self {
            ticket: ticket.code.clone(),
            expires: moment::rfc3339(ticket.expires),
            server: &binding.server,
            namespace: binding.namespace.to_hex(),
            link: link_line(&binding.server, &ticket.code),
        }
    }
}

pub(super) fn run(folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let namespace = Some(folder.binding().namespace);
    let ticket = folder.http()?.ticket(&TicketRequest { namespace, ..TicketRequest::default() })?;
    if talk.output.json {
        talk.json(&Document::new(folder.binding(), &ticket))?;
    } else {
        talk.line(link_line(&folder.binding().server, &ticket.code))?;
        talk.remark(format_args!("good once, until {}", moment::rfc3339(ticket.expires)))?;
    }
    Ok(Exit::Done)
}

/// What to type on the next device.
pub(super) fn link_line(server: &str, code: &str) -> String {
    format!("annals link {} FOLDER --ticket {code}", from_elsewhere(server))
}

/// How a server is reached from another machine: where it listens on every address of this one, that is not one of them,
/// but its name is.
pub(super) fn from_elsewhere(server: &str) -> String {
    let all = ["://0.0.0.0", "://[::]"].into_iter().find(|all| server.contains(all));
    all.map_or_else(
        || server.to_owned(),
        |all| server.replacen(all, &format!("://{}", client::host_name()), 1),
    )
}
