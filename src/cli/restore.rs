//! `annals restore`: one version of a file again, as a new event on top of what is there.

use super::{
    arguments::AtVersion,
    cat,
    failure::{Exit, Failure},
    place, sync,
    talk::Talk,
};
use crate::client::{Folder, When};
use std::path::Path;

pub(super) fn run(
    restore: &AtVersion,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_in(folder.root(), &restore.path, directory)?;
    let when = cat::when(restore)?;
    if matches!(when, When::Now) {
        return Err(Failure::usage("say which version: --version ID or --at T")
            .hint(format!("`annals history {}` lists them", restore.path.display())));
    }
    // What is in the folder now becomes a version before another one takes its place.
    sync::exchange(folder, talk)?;
    let version = folder.version_at(&path, &when)?;
    let sent = sync::tell(folder, talk, |folder| folder.restore(&path, version))?;
    if talk.output.json {
        let now = folder.version_at(&path, &When::Now)?;
        let (version, now) = (version.to_string(), now.to_string());
        talk.json(&serde_json::json!({ "path": path, "version": version, "now": now, "sent": sent }))?;
        return Ok(Exit::Done);
    }
    talk.line(format_args!("restored {path} as it was in version {version}"))?;
    Ok(Exit::Done)
}
