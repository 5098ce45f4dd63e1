//! `annals link`: a folder on this device and a namespace on a server become one.

use super::{
    arguments::Link,
    failure::{Exit, Failure},
    password, place, server_url,
    talk::Talk,
};
use crate::client::{self, LinkWish};
use annals_engine::protocol::Credential;
use serde::Serialize;
use std::path::Path;

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
        credential,
        label: link.device.clone().unwrap_or_else(client::host_name),
        namespace: link.namespace.clone(),
        continues: None,
    };
    let (folder, binding) = client::link(&folder, wish)?;
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
        talk.remark(format_args!("next: annals sync {} --once", folder.display()))?;
    }
    Ok(Exit::Done)
}
