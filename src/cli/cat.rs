//! `annals cat`: the content of a file, as it is or as it was.

use super::{
    arguments::AtVersion,
    failure::{Exit, Failure},
    moment, place,
    talk::Talk,
};
use crate::client::{Folder, When};
use annals_engine::clock::Clock;
use std::path::Path;

pub(super) fn run(
    cat: &AtVersion,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_in(folder.root(), &cat.path, directory)?;
    let version = folder.version_at(&path, &when(cat)?)?;
    let content = folder.content_of(version)?;
    folder.write_content(&content, talk.sink())?;
    Ok(Exit::Done)
}

/// Which version `--version` and `--at` ask for.
pub(super) fn when(asked: &AtVersion) -> Result<When, Failure> {
    match (&asked.version, &asked.at) {
        (Some(version), _) => Ok(When::Version(version.clone())),
        (None, Some(at)) => moment::parse(at, now()).map(When::At),
        (None, None) => Ok(When::Now),
    }
}

/// This moment.
pub(super) fn now() -> jiff::Timestamp {
    let ms = i64::try_from(crate::clock::SystemClock.now_ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
}
