//! `annals retention`: for how long what was replaced or removed is kept.

use super::{
    arguments::Retention,
    failure::{Exit, Failure},
    moment::{self, DAY_MS},
    size::many,
    sync,
    talk::Talk,
};
use crate::client::Folder;

pub(super) fn run(retention: &Retention, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    if let Retention::Set { keep, silence, yes, .. } = retention {
        let said = |text: &Option<String>| text.as_deref().map(moment::span).transpose();
        let (keep, silence) = (said(keep)?, said(silence)?);
        if keep.is_none() && silence.is_none() {
            return Err(Failure::usage("say for how long: --keep TIME, --silence TIME, or both")
                .hint("for example: annals retention set --keep 30d"));
        }
        sync::exchange(folder, talk)?;
        if let Some(Some(ms)) = keep
            && !yes
        {
            ask_first(ms, folder)?;
        }
        sync::tell(folder, talk, |folder| {
            let now = folder.retention();
            folder.set_retention(keep.unwrap_or(now.versions()), silence.unwrap_or(now.silence()))
        })?;
    }
    let now = folder.retention();
    let is_shortened = matches!(retention, Retention::Set { keep: Some(_), .. }) && now.versions().is_some();
    let (keep, silence) = (now.versions(), now.silence());
    if talk.output.json {
        talk.json(
            &serde_json::json!({ "keep_ms": keep, "silence_ms": silence, "default": now.is_default() }),
        )?;
        return Ok(Exit::Done);
    }
    talk.line(format_args!("what was replaced or removed is kept {}", words(keep)))?;
    match silence {
        Some(_) => talk.line(format_args!(
            "a device that stands in the way and was silent {} is retired: it is linked anew when it comes back",
            words(silence)
        ))?,
        None => talk.line("every device is waited for, however long it is silent")?,
    }
    if is_shortened {
        talk.remark(WHEN)?;
    }
    Ok(Exit::Done)
}

/// Why nothing is forgotten at once.
const WHEN: &str = "what is older than that is not forgotten at once: the server looks once a day (`annals gc --data DIR` there does it now), what goes has to be known to every device of the folder first (each says so once a day, when it is here), and its room is given back a day later (`--grace 0s`: at once)";

/// What is forgotten cannot be brought back: whoever shortens it far enough has to say so.
fn ask_first(keep_ms: u64, folder: &Folder) -> Result<(), Failure> {
    let (versions, entries) = folder.would_be_forgotten(keep_ms);
    if (versions, entries) == (0, 0) {
        return Ok(());
    }
    let what = format!(
        "{} and {} in the trash are older than that, and would be forgotten for good",
        many(versions, "version"),
        match entries {
            1 => "1 file or folder".to_owned(),
            more => format!("{more} files and folders"),
        }
    );
    Err(Failure::new(Exit::NeedsPerson, what)
        .hint("look at them with `annals trash list FOLDER` and `annals history FILE`; if that is meant, say it again with --yes"))
}

fn words(ms: Option<u64>) -> String {
    match ms {
        None => "for ever".to_owned(),
        Some(ms) if ms.is_multiple_of(DAY_MS) => format!("for {}", many(ms / DAY_MS, "day")),
        Some(ms) => format!("for {}", many(ms / 1000, "second")),
    }
}
