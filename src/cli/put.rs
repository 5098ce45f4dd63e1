//! `annals put`: one file to a server, without a linked folder.

use super::{
    arguments::Put,
    failure::{Exit, Failure},
    place, server_url,
    talk::Talk,
};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

pub(super) fn run(put: &Put, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let (http, mut route) = server_url::file(&put.url, put.fingerprint)?;
    let (body, bytes): (Box<dyn Read + Send>, Option<u64>) = if put.file.as_os_str() == "-" {
        (Box::new(io::stdin()), None)
    } else {
        let path = place::absolute(&put.file, directory);
        let failed = |error| {
            Failure::failed(format!("{}: {error}", put.file.display()))
                .hint("is it a file, and may you read it?")
        };
        let file = File::open(&path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(Failure::usage(format!("{} is not a file", put.file.display()))
                .hint("put one file at a time, or link the folder"));
        }
        (Box::new(file), Some(meta.len()))
    };
    if route.ends_with('/') {
        let name = put.file.file_name().and_then(|name| name.to_str()).filter(|name| *name != "-");
        let name = name.ok_or_else(|| {
            Failure::usage("the URL names a folder, and there is no name for the file in it")
        })?;
        route += &server_url::encoded(name);
    }
    let login = server_url::login(&put.user)?;
    let done = http.put_file(&route, &login, body, bytes, put.if_match.as_deref())?;
    if talk.output.json {
        talk.json(&done)?;
    } else {
        talk.line(format_args!("version {}", done.version))?;
    }
    Ok(Exit::Done)
}
