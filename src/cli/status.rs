//! `annals status`: how a linked folder stands, without asking anybody.

use super::{
    failure::{Exit, Failure},
    size,
    talk::Talk,
};
use crate::client::Folder;

pub(super) fn run(folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let status = folder.status();
    if talk.output.json {
        talk.json(&status)?;
        return Ok(Exit::Done);
    }
    talk.line(format_args!("{}  {}", status.state.word(), folder.root().display()))?;
    let binding = folder.binding();
    talk.line(format_args!(
        "  {} of {}, as device {}, on {}",
        binding.namespace_label, binding.user_name, binding.device_label, binding.server
    ))?;
    talk.line(format_args!(
        "  {} files, {} folders, {}; at event {} of {}",
        status.files,
        status.folders,
        size::human(status.bytes),
        status.cursor,
        status.seq
    ))?;
    if status.pending_events > 0 {
        talk.line(format_args!(
            "  waiting to be sent: {} events, {}",
            status.pending_events,
            size::human(status.pending_bytes)
        ))?;
    }
    if status.conflicts > 0 {
        talk.line(format_args!("  {} conflicts: look for names with `(conflict …)`", status.conflicts))?;
    }
    for refused in folder.set_aside() {
        talk.line(format_args!("  set aside: {} ({})", refused.path, refused.why))?;
    }
    for (path, why) in folder.skipped() {
        talk.line(format_args!("  not synced: {path} ({why})"))?;
    }
    if let Some(error) = &status.last_error {
        talk.line(format_args!("  last error: {error}"))?;
    }
    Ok(Exit::Done)
}
