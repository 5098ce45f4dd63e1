//! `annals link`: a folder on this device and a namespace on a server become one.

use super::{
    arguments::Link,
    failure::{Exit, Failure},
    password, place, server_url,
    talk::Talk,
};
use crate::client::{self, ClientError, LinkWish};
use annals_engine::{
    protocol::{Credential, Fingerprint},
    transport::TransportError,
};
use serde::Serialize;
use std::{
    io::{self, IsTerminal},
    path::Path,
};

#[derive(Serialize)]
struct Document<'a> {
    folder: String,
    server: &'a str,
    namespace: String,
    namespace_name: &'a str,
    device: String,
    device_name: &'a str,
    user: &'a str,
}

pub(super) fn run(link: &Link, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let url = server_url::checked(&link.url)?;
    let folder = place::to_link(&link.folder, directory)?;
    let credential = match (&link.user, &link.ticket) {
        (Some(user), _) => Credential::Password { user: user.clone(), password: password::of(user)? },
        (None, Some(_)) if link.namespace.is_some() => {
            return Err(Failure::usage("a ticket is for one namespace, --namespace cannot choose another")
                .hint("leave --namespace out, or link with --user"));
        }
        (None, Some(ticket)) => Credential::Ticket(ticket.clone()),
        (None, None) => return Err(Failure::usage("give --user NAME or --ticket CODE")),
    };
    let wish = LinkWish {
        url,
        certificate: link.fingerprint,
        credential,
        label: link.device.clone().unwrap_or_else(client::host_name),
        namespace: link.namespace.clone(),
        continues: None,
    };
    let (folder, binding) = match client::link(&folder, wish.clone()) {
        Err(ClientError::Transport(TransportError::Untrusted { found, pinned: false, what, server }))
            if accepts(&server, &found, &what, talk)? =>
        {
            client::link(&folder, LinkWish { certificate: Some(found), ..wish })?
        }
        Err(ClientError::Transport(TransportError::Untrusted { pinned: true, server, .. }))
            if link.ticket.is_some() && link.fingerprint.is_none() =>
        {
            let what = format!("this ticket is not one of the server at {server}");
            return Err(Failure::new(Exit::NeedsPerson, what).hint(OTHER_TICKET));
        }
        Err(error @ ClientError::Transport(TransportError::Untrusted { pinned: true, .. })) => {
            return Err(Failure::new(Exit::NeedsPerson, error.to_string()).hint(OTHER_CERTIFICATE));
        }
        linked => linked?,
    };
    if talk.output.json {
        talk.json(&Document {
            folder: folder.display().to_string(),
            server: &binding.server,
            namespace: binding.namespace.to_hex(),
            namespace_name: &binding.namespace_label,
            device: binding.device.to_hex(),
            device_name: &binding.device_label,
            user: &binding.user_name,
        })?;
    } else {
        let (name, label, user) = (&binding.namespace_label, &binding.device_label, &binding.user_name);
        talk.line(format_args!("linked {} to `{name}` as {user}'s device `{label}`", folder.display()))?;
        talk.remark(format_args!("next: annals sync {} --once", place::typed(&folder)))?;
    }
    Ok(Exit::Done)
}

/// What to do where a folder is to be linked and the server shows another certificate than the one that was named.
const OTHER_CERTIFICATE: &str = "compare it with what `annals serve` prints on the server: was --fingerprint, or the ticket, of another server, or mistyped? If that server does show another one, somebody stands in between. Nothing was said to them";

/// What to do where the end of a ticket is about another certificate.
const OTHER_TICKET: &str = "was it mistyped, or is it for another address? Copy the whole line that `annals invite` shows, or make another ticket. If it is right to the last letter, somebody stands in between. Nothing was said to them";

/// Whether a person, if there is one, takes this certificate for the server's.
fn accepts(server: &str, found: &Fingerprint, what: &str, talk: &mut Talk<'_>) -> Result<bool, Failure> {
    if !talk.terminal || !io::stdin().is_terminal() {
        return Ok(false);
    }
    talk.remark(format_args!("{server} shows this certificate ({what}):\n  {found}"))?;
    talk.remark("Is it the one that `annals serve` prints there? [y/N]")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
