//! `annals user add`: an account on a server, by its admin.

use super::{
    arguments::{User, UserAdd},
    failure::{Exit, Failure},
    password, server_url, size,
    talk::Talk,
};
use crate::server::{data::ADMIN_TOKEN_FILE, tls::own_fingerprint};
use annals_engine::protocol::{Fingerprint, NewAccount, Quota};

pub(super) fn run(user: &User, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    match user {
        User::Add(add) => run_add(add, talk),
    }
}

fn run_add(add: &UserAdd, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let quota = Quota::Bytes(size::parse(&add.quota)?);
    let server = server_url::checked(&add.server)?;
    let (token, fingerprint) = admin_token(add)?;
    let http = server_url::http(&server, fingerprint, Some(token))?;
    let password = Some(password::of(&add.name)?);
    let account = http.add_account(&NewAccount { name: add.name.clone(), password, quota })?;
    if talk.output.json {
        talk.json(&account)?;
    } else {
        talk.line(format_args!("added {}, who may store {}", account.name, add.quota))?;
        talk.remark(format_args!("next, on a device: annals link {server} FOLDER --user {}", account.name))?;
    }
    Ok(Exit::Done)
}

/// The admin's token; and the certificate of that server, where both are found in its data.
fn admin_token(add: &UserAdd) -> Result<(String, Option<Fingerprint>), Failure> {
    if let Ok(token) = std::env::var("ANNALS_ADMIN_TOKEN") {
        return Ok((token, add.fingerprint));
    }
    let data = super::serve::data_folder(add.data.as_deref())?;
    let path = data.join(ADMIN_TOKEN_FILE);
    let token = std::fs::read_to_string(&path).map_err(|error| {
        Failure::new(Exit::Refused, format!("the admin's token is needed; {}: {error}", path.display()))
            .hint("name the server's data with --data DIR, or set ANNALS_ADMIN_TOKEN")
    })?;
    Ok((token.trim().to_owned(), add.fingerprint.or_else(|| own_fingerprint(&data))))
}
