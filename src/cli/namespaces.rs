//! `annals namespaces`: what one may read, and as what.

use super::{
    arguments::Namespaces,
    failure::{Exit, Failure},
    password, server_url,
    talk::Talk,
};
use crate::client::{self, Folder};
use annals_engine::protocol::NamespaceInfo;
use annals_events::Role;
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    namespace: String,
    name: &'a str,
    owner: &'a str,
    role: Role,
    seq: u64,
    linked: bool,
}

/// By the link of a folder.
pub(super) fn run(folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let here = folder.binding().namespace;
    show(&folder.http()?.namespaces()?, |namespace| namespace.id == here, talk)
}

/// By name and password.
pub(super) fn run_on_server(namespaces: &Namespaces, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let (Some(server), Some(user)) = (&namespaces.server, &namespaces.user) else {
        return Err(Failure::usage("give --server URL and --user NAME"));
    };
    let http = server_url::http(server, namespaces.fingerprint, None)?;
    let listed = client::namespaces_of(&http, user, &password::of(user)?)?;
    show(&listed, |_| false, talk)
}

fn show(
    namespaces: &[NamespaceInfo],
    linked: impl Fn(&NamespaceInfo) -> bool,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let lines = namespaces.iter().map(|namespace| Line {
        namespace: namespace.id.to_hex(),
        name: &namespace.label,
        owner: &namespace.owner.name,
        role: namespace.role,
        seq: namespace.seq.0,
        linked: linked(namespace),
    });
    if talk.output.json {
        talk.json(&lines.collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    let row = |line: Line<'_>| {
        let here = if line.linked { "(this folder)" } else { "" };
        let whose = format!("of {}", line.owner);
        vec![line.namespace, role_word(line.role).into(), line.name.into(), whose, here.into()]
    };
    talk.table(&lines.map(row).collect::<Vec<_>>())?;
    Ok(Exit::Done)
}

/// A role as people say it.
pub(super) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Editor => "editor",
        Role::Owner => "owner",
    }
}
