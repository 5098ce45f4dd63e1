//! `annals sync`: exchange everything, once or for good.

use super::{
    arguments::Sync,
    failure::{Exit, Failure},
    place,
    progress::Bar,
    size,
    talk::Talk,
};
use crate::client::{self, Folder, SyncReport};
use std::path::Path;

pub(super) fn run_once(sync: &Sync, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    folder.accept_deletes(sync.accept_deletes);
    let result = folder.sync_once(&mut Bar::new(talk.terminal));
    folder.accept_deletes(false);
    let report = result?;
    say(&report, folder, talk)?;
    Ok(Exit::Done)
}

/// After a verb that made events: they go out now if they can. Without a server they wait in the journal.
pub(super) fn exchange(folder: &mut Folder, talk: &mut Talk<'_>) -> Result<(), Failure> {
    match folder.sync_once(&mut Bar::new(talk.terminal)) {
        Ok(_) => Ok(()),
        Err(error) if error.is_passing() => talk.remark(format_args!("{error}; this waits in the journal")),
        Err(error) => Err(error.into()),
    }
}

fn say(report: &SyncReport, folder: &Folder, talk: &mut Talk<'_>) -> Result<(), Failure> {
    if talk.output.json {
        return talk.json(report);
    }
    talk.remark(format_args!(
        "{} events sent, {} received; {} new chunks, {} sent, {} received",
        report.events_sent,
        report.events_received,
        report.new_chunks,
        size::human(report.sent_bytes),
        size::human(report.received_bytes)
    ))?;
    for refused in folder.set_aside() {
        talk.remark(format_args!("set aside: {} ({})", refused.path, refused.why))?;
    }
    for (path, why) in folder.skipped() {
        talk.remark(format_args!("not synced: {path} ({why})"))?;
    }
    Ok(())
}

pub(super) fn run_daemon(sync: &Sync, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let named = sync.folder.as_deref().unwrap_or(Path::new("."));
    let root = match &sync.folder {
        Some(_) => place::exactly(named, directory)?,
        None => {
            place::folder_of(&super::Verb::Status(super::arguments::FolderArg { folder: None }), directory)?
        }
    };
    let mut folder = Folder::open(&root)?;
    folder.accept_deletes(sync.accept_deletes);
    talk.remark(format_args!("keeping {} in sync; Ctrl-C ends it", root.display()))?;
    client::daemon::run(folder, super::answer, &mut |said| {
        // Whoever watches has gone: the work goes on.
        drop(talk.remark(said));
    })?;
    Ok(Exit::Done)
}
