//! `annals share` and `annals unshare`: who else may use a linked folder's namespace.

use super::{
    arguments::{RoleArg, Share, Unshare},
    failure::{Exit, Failure},
    sync,
    talk::Talk,
};
use crate::client::Folder;
use annals_events::Role;

pub(super) fn run_share(share: &Share, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let role = match share.role {
        RoleArg::Viewer => Role::Viewer,
        RoleArg::Editor => Role::Editor,
        RoleArg::Owner => Role::Owner,
    };
    folder.share(&share.with, Some(role))?;
    sync::exchange(folder, talk)?;
    let (with, binding) = (&share.with, folder.binding());
    talk.line(format_args!(
        "{with} may now use `{}` as {}",
        binding.namespace_label,
        super::namespaces::role_word(role)
    ))?;
    talk.remark(format_args!(
        "they type: annals link {} FOLDER --user {with} --namespace {}",
        binding.server, binding.namespace
    ))?;
    Ok(Exit::Done)
}

pub(super) fn run_unshare(
    unshare: &Unshare,
    folder: &mut Folder,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    folder.share(&unshare.with, None)?;
    sync::exchange(folder, talk)?;
    talk.line(format_args!("{} may no longer use `{}`", unshare.with, folder.binding().namespace_label))?;
    Ok(Exit::Done)
}
