//! `annals unlink`: the folder stays, the device is forgotten.

use super::{
    arguments::Unlink,
    failure::{Exit, Failure},
    place, service,
    talk::Talk,
};
use crate::client::{self, Binding, Unlinked};
use std::path::Path;

pub(super) fn run(unlink: &Unlink, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let folder = unlink.folder.as_deref().unwrap_or(Path::new("."));
    let root = match place::exactly(folder, directory) {
        Ok(root) => root,
        Err(failure) => return forget(&place::absolute(folder, directory), failure, talk),
    };
    let service = Binding::read(&root).ok().and_then(|(binding, _)| service::left_of(&root, &binding));
    let unlinked = client::unlink(&root, unlink.forget_unsent)?;
    if talk.output.json {
        let retired = unlinked == Unlinked::Retired;
        let root = root.display().to_string();
        talk.json(&serde_json::json!({ "folder": root, "retired": retired, "service": service }))?;
    } else {
        talk.line(format_args!("unlinked {}; its files stay", root.display()))?;
    }
    if let Some(line) = service {
        talk.remark(format_args!("its service is still installed, and has nothing to do any more: {line}"))?;
    }
    match unlinked {
        Unlinked::Retired => {}
        Unlinked::Unknown => talk.remark("the server could not be told: it will be when this folder is linked to it again; until then the device is listed there (from another one: `annals devices FOLDER --retire LABEL`)")?,
        Unlinked::Copy => talk.remark("it was a copy: the device itself goes on where it was made; if that is gone, retire it from another one (`annals devices FOLDER --retire LABEL`)")?,
    }
    Ok(Exit::Done)
}

/// A folder that is not there any more, with all that its device was, is forgotten here.
fn forget(root: &Path, failure: Failure, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    if client::linked_and_gone(root).as_deref() != Some(root) || !client::forget_linked(root) {
        return Err(failure);
    }
    if talk.output.json {
        talk.json(&serde_json::json!({ "folder": root.display().to_string(), "retired": false }))?;
    } else {
        talk.line(format_args!("forgot that {} was linked", root.display()))?;
    }
    talk.remark("its server was not told: from another device, `annals devices FOLDER --retire LABEL`")?;
    Ok(Exit::Done)
}
