//! `annals user`: accounts on a server, by its admin.

use super::{
    arguments::{AdminOf, User, UserAdd, UserSet},
    failure::{Exit, Failure},
    password, server_url, size,
    talk::Talk,
};
use crate::{
    server::{data::ADMIN_TOKEN_FILE, tls::own_fingerprint},
    transport::Http,
};
use annals_engine::protocol::{AccountChange, NewAccount, Quota};

pub(super) fn run(user: &User, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    match user {
        User::Add(add) => run_add(add, talk),
        User::Set(set) => run_set(set, talk),
    }
}

fn run_add(add: &UserAdd, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let quota = Quota::Bytes(size::parse(&add.quota)?);
    let server = server_url::checked(&add.admin.server)?;
    let http = admin_of(&add.admin)?;
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

fn run_set(set: &UserSet, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let quota = match set.quota.as_deref() {
        Some("unlimited") => Some(Quota::Unlimited),
        Some(quota) => Some(Quota::Bytes(size::parse(quota)?)),
        None => None,
    };
    let http = admin_of(&set.admin)?;
    let password = if set.password { Some(password::of(&set.name)?) } else { None };
    let account = http.change_account(&set.name, &AccountChange { password, quota })?;
    if talk.output.json {
        talk.json(&account)?;
    } else {
        let may = account.quota.map_or_else(|| "any amount".into(), size::human);
        talk.line(format_args!(
            "{} may store {may}, and stores {}",
            account.name,
            size::human(account.used)
        ))?;
    }
    Ok(Exit::Done)
}

/// The way to a server for its admin: by the token, and by the certificate, where they are found in its data.
fn admin_of(admin: &AdminOf) -> Result<Http, Failure> {
    if let Ok(token) = std::env::var("ANNALS_ADMIN_TOKEN") {
        return server_url::http(&admin.server, admin.fingerprint, Some(token));
    }
    let data = super::serve::data_folder(admin.data.as_deref())?;
    let path = data.join(ADMIN_TOKEN_FILE);
    let token = std::fs::read_to_string(&path).map_err(|error| {
        Failure::new(Exit::Refused, format!("the admin's token is needed; {}: {error}", path.display()))
            .hint("name the server's data with --data DIR, or set ANNALS_ADMIN_TOKEN")
    })?;
    let fingerprint = admin.fingerprint.or_else(|| own_fingerprint(&data));
    server_url::http(&admin.server, fingerprint, Some(token.trim().to_owned()))
}
