//! `annals unlink`: the folder stays, the device is forgotten.

use super::{
    arguments::FolderArg,
    failure::{Exit, Failure},
    place,
    talk::Talk,
};
use crate::client;
use std::path::Path;

pub(super) fn run(unlink: &FolderArg, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let folder = unlink.folder.as_deref().unwrap_or(Path::new("."));
    let root = place::exactly(folder, directory)?;
    let retired = client::unlink(&root)?;
    talk.line(format_args!("unlinked {}; its files stay", root.display()))?;
    if !retired {
        talk.remark("the server could not be told: retire the device from another one (`annals devices FOLDER --retire LABEL`)")?;
    }
    Ok(Exit::Done)
}
