//! `annals invite`: a ticket, and the line to type on the next device.

use super::{
    failure::{Exit, Failure},
    moment,
    talk::Talk,
};
use crate::client::Folder;
use annals_engine::protocol::TicketRequest;

pub(super) fn run(folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let namespace = Some(folder.binding().namespace);
    let ticket = folder.http()?.ticket(&TicketRequest { namespace, ..TicketRequest::default() })?;
    let server = &folder.binding().server;
    if talk.output.json {
        talk.json(&serde_json::json!({
            "ticket": ticket.code,
            "expires": moment::rfc3339(ticket.expires),
            "server": server,
            "namespace": ticket.namespace,
        }))?;
    } else {
        talk.line(link_line(server, &ticket.code))?;
        talk.remark(format_args!("good once, until {}", moment::rfc3339(ticket.expires)))?;
    }
    Ok(Exit::Done)
}

/// What to type on the next device.
pub(super) fn link_line(server: &str, code: &str) -> String {
    format!("annals link {server} FOLDER --ticket {code}")
}
