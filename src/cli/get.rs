//! `annals get`: one file from a server, without a linked folder.

use super::{
    arguments::Get,
    failure::{Exit, Failure},
    place, server_url,
    talk::Talk,
};
use crate::transport::{Http, Login, files::GetError};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

pub(super) fn run(get: &Get, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let (http, route) = server_url::file(&get.url, get.fingerprint)?;
    let login = server_url::login(&get.user)?;
    let named = match &get.file {
        Some(file) if file.as_os_str() == "-" => {
            http.get_file(&route, &login, talk.sink())?;
            return Ok(Exit::Done);
        }
        Some(file) => place::absolute(file, directory),
        None => directory.to_owned(),
    };
    let to = if named.is_dir() {
        named.join(server_url::last_name(&route).ok_or_else(|| {
            Failure::usage(format!("`{}` names no file", get.url))
                .hint("name one, or where to write it: annals get URL FILE")
        })?)
    } else {
        named
    };
    if to.symlink_metadata().is_ok() && !get.force {
        return Err(Failure::failed(format!("{} is there already", to.display()))
            .hint("--force replaces it; or say where else to write it: annals get URL FILE"));
    }
    let bytes = whole(&http, &route, &login, &to)?;
    if talk.output.json {
        talk.json(&serde_json::json!({ "file": to.display().to_string(), "bytes": bytes }))?;
    } else {
        talk.remark(format_args!("{} in {}", super::size::many(bytes, "byte"), to.display()))?;
    }
    Ok(Exit::Done)
}

/// Under its name only once it is there as a whole.
fn whole(http: &Http, route: &str, login: &Login, to: &Path) -> Result<u64, Failure> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let part = to.with_file_name(format!(".{}.part-{}", beginning(&name), std::process::id()));
    let failed = |error| Failure::failed(format!("{}: {error}", to.display()));
    let mut file = File::create(&part).map_err(failed)?;
    let got = http.get_file(route, login, &mut file).map_err(Failure::from).and_then(|bytes| {
        file.flush().and_then(|()| file.sync_all()).and_then(|()| fs::rename(&part, to)).map_err(failed)?;
        Ok(bytes)
    });
    if got.is_err() {
        drop(fs::remove_file(&part));
    }
    got
}

/// The beginning of a name, so that there is room for more behind it.
fn beginning(name: &str) -> &str {
    annals_events::path::cut(name, 200)
}

impl From<GetError> for Failure {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Transport(error) => error.into(),
            GetError::Output(error) => Self::writing(error),
            GetError::Folder => Self::usage("that is a folder, not a file").hint(
                "name a file in it; for the folder as a whole: annals link URL FOLDER --user NAME --namespace NS",
            ),
        }
    }
}
