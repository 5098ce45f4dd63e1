//! `annals share` and `annals unshare`: who else may use a linked folder's namespace.

use super::{
    arguments::{RoleArg, Share, Unshare},
    failure::{Exit, Failure},
    sync,
    talk::Talk,
};
use crate::client::Folder;
use annals_events::Role;
use serde::Serialize;

/// `annals share --json`, `annals unshare --json`.
#[derive(Serialize)]
struct Document<'a> {
    with: &'a str,
    /// None: they are out.
    role: Option<&'a str>,
    namespace: String,
    namespace_name: &'a str,
    server: &'a str,
    /// What they type on a device of theirs.
    link: Option<String>,
    /// Whether the server knows; false: it waits in the journal.
    sent: bool,
}

pub(super) fn run_share(share: &Share, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let role = match share.role {
        RoleArg::Viewer => Role::Viewer,
        RoleArg::Editor => Role::Editor,
        RoleArg::Owner => Role::Owner,
    };
    let sent = sync::tell(folder, talk, |folder| folder.share(&share.with, Some(role)))?;
    let (with, binding) = (&share.with, folder.binding());
    let link =
        format!("annals link {} FOLDER --user {with} --namespace {}", binding.server, binding.namespace);
    if talk.output.json {
        talk.json(&Document {
            with,
            role: Some(super::namespaces::role_word(role)),
            namespace: binding.namespace.to_hex(),
            namespace_name: &binding.namespace_label,
            server: &binding.server,
            link: Some(link),
            sent,
        })?;
        return Ok(Exit::Done);
    }
    talk.line(format_args!(
        "{with} may now use `{}` as {}",
        binding.namespace_label,
        super::namespaces::role_word(role)
    ))?;
    talk.remark(format_args!("they type: {link}"))?;
    Ok(Exit::Done)
}

pub(super) fn run_unshare(
    unshare: &Unshare,
    folder: &mut Folder,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let sent = sync::tell(folder, talk, |folder| folder.share(&unshare.with, None))?;
    let (with, binding) = (&unshare.with, folder.binding());
    if talk.output.json {
        talk.json(&Document {
            with,
            role: None,
            namespace: binding.namespace.to_hex(),
            namespace_name: &binding.namespace_label,
            server: &binding.server,
            link: None,
            sent,
        })?;
    } else {
        talk.line(format_args!("{with} may no longer use `{}`", binding.namespace_label))?;
    }
    Ok(Exit::Done)
}
