//! `annals get`: one file from a server, or a folder with all that is in it, without a linked folder.

use super::{
    arguments::Get,
    failure::{Exit, Failure},
    place, server_url,
    size::many,
    talk::Talk,
};
use crate::transport::{
    Http, Login,
    files::{Arriving, Found, GetError},
};
use annals_engine::protocol::FileInfo;
use annals_events::EntryKind;
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

pub(super) fn run(get: &Get, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let (http, route) = server_url::file(&get.url, get.fingerprint)?;
    let login = server_url::login(&get.user)?;
    let from = Source { http: &http, login: &login, force: get.force };
    // The whole of a namespace keeps its slash: without it, that is no route.
    let asked = route.trim_end_matches('/');
    let asked = if asked.matches('/').count() > 2 { asked } else { route.as_str() };
    let named = match &get.file {
        Some(file) if file.as_os_str() == "-" => return from.show(asked, talk),
        Some(file) => place::absolute(file, directory),
        None => directory.to_owned(),
    };
    let (to, is_named) = match server_url::last_name(&route) {
        Some(name) if named.is_dir() => (named.join(name), false),
        // What is in a folder, put into another.
        None if named.is_dir() && route.ends_with('/') => (named, false),
        None if named.is_dir() => {
            return Err(Failure::usage(format!("`{}` names no file", get.url))
                .hint("name one, or where to write it: annals get URL FILE"));
        }
        _ => (named, get.file.is_some()),
    };
    let got = from.fetch(asked, &to, is_named, talk)?;
    say(&got, &to, talk)?;
    Ok(Exit::Done)
}

fn say(got: &Got, to: &Path, talk: &mut Talk<'_>) -> Result<(), Failure> {
    let Got { files, bytes, is_folder } = *got;
    let place = to.display().to_string();
    if talk.output.json {
        return match is_folder {
            true => talk.json(&serde_json::json!({ "folder": place, "files": files, "bytes": bytes })),
            false => talk.json(&serde_json::json!({ "file": place, "bytes": bytes })),
        };
    }
    match is_folder {
        true => talk.remark(format_args!("{}, {} in {place}", many(files, "file"), many(bytes, "byte"))),
        false => talk.remark(format_args!("{} in {place}", many(bytes, "byte"))),
    }
}

/// From where, and how.
struct Source<'a> {
    http: &'a Http,
    login: &'a Login,
    force: bool,
}

/// What came.
#[derive(Default)]
struct Got {
    files: u64,
    bytes: u64,
    is_folder: bool,
}

impl Source<'_> {
    /// The bytes of a file, or the names in a folder, those of folders with a `/` behind.
    fn show(&self, route: &str, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
        match self.http.get_file(route, self.login)? {
            Found::File(arriving) => drop(arriving.write_to(talk.sink())?),
            Found::Folder(lines) if talk.output.json => talk.json(&lines)?,
            Found::Folder(lines) => {
                for FileInfo { name, kind, .. } in lines {
                    talk.line(format_args!("{name}{}", if kind == EntryKind::Folder { "/" } else { "" }))?;
                }
            }
        }
        Ok(Exit::Done)
    }

    /// A file, or a folder with all that is in it. What is there is replaced only where it was named, or that is insisted
    /// on.
    fn fetch(&self, route: &str, to: &Path, is_named: bool, talk: &mut Talk<'_>) -> Result<Got, Failure> {
        let is_there = to.symlink_metadata().is_ok_and(|meta| !meta.is_dir());
        if is_there && !self.force && !is_named {
            return Err(Failure::failed(format!("{} is there already", to.display()))
                .hint("--force replaces it; or say where else to write it: annals get URL FILE"));
        }
        match self.http.get_file(route, self.login)? {
            Found::File(arriving) => Ok(Got { files: 1, bytes: whole(arriving, to)?, is_folder: false }),
            Found::Folder(lines) => self.fetch_all(route, &lines, to, talk),
        }
    }

    fn fetch_all(
        &self,
        route: &str,
        lines: &[FileInfo],
        to: &Path,
        talk: &mut Talk<'_>,
    ) -> Result<Got, Failure> {
        fs::create_dir_all(to).map_err(|error| {
            Failure::failed(format!("{}: {error}", to.display()))
                .hint("a folder comes as a folder: say where else to put it, or remove what is there")
        })?;
        let mut all = Got { is_folder: true, ..Got::default() };
        for FileInfo { name, kind, .. } in lines {
            // A name leads nowhere else, whatever a server says.
            if *kind == EntryKind::Symlink || annals_events::path::check(name).is_err() {
                talk.remark(format_args!("left out, for it is no file and no folder: {name}"))?;
                continue;
            }
            let route = format!("{}/{}", route.trim_end_matches('/'), server_url::encoded(name));
            let Got { files, bytes, .. } = self.fetch(&route, &to.join(name), false, talk)?;
            (all.files, all.bytes) = (all.files + files, all.bytes + bytes);
        }
        Ok(all)
    }
}

/// Under its name only once it is there as a whole.
fn whole(arriving: Arriving, to: &Path) -> Result<u64, Failure> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let part = to.with_file_name(format!(".{}.part-{}", beginning(&name), std::process::id()));
    let failed = |error| {
        Failure::failed(format!("{}: {error}", to.display()))
            .hint("does its folder exist, and may you write there? or say where else: annals get URL FILE")
    };
    let mut file = File::create(&part).map_err(failed)?;
    let got = arriving.write_to(&mut file).map_err(Failure::from).and_then(|bytes| {
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
        }
    }
}
