//! `annals link`: a folder on this device and a namespace on a server become one; or, where they are, the server is found
//! at another address from now on.

use super::{
    arguments::Link,
    failure::{Exit, Failure},
    password, place, server_url, sync,
    talk::Talk,
};
use crate::client::{self, Address, Binding, BindingError, ClientError, Folder, LinkWish};
use annals_engine::{
    protocol::{Credential, Fingerprint},
    transport::TransportError,
};
use serde::Serialize;
use std::{
    io::{self, IsTerminal},
    path::Path,
};

#[derive(Serialize)]
struct Document<'a> {
    folder: String,
    server: &'a str,
    namespace: String,
    namespace_name: &'a str,
    device: String,
    device_name: &'a str,
    user: &'a str,
}

pub(super) fn run(link: &Link, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let url = server_url::checked(&link.url)?;
    let folder = place::to_link(&link.folder, directory)?;
    if let Ok((binding, _)) = Binding::read(&folder)
        && let Some(address) = found_at(link, &url, &folder, &binding, talk)?
    {
        return tell(&address, &folder, directory, talk);
    }
    let credential = match (&link.user, &link.ticket) {
        (Some(user), _) => Credential::Password { user: user.clone(), password: password::of(user)? },
        (None, Some(_)) if link.namespace.is_some() => {
            return Err(Failure::usage("a ticket is for one namespace, --namespace cannot choose another")
                .hint("leave --namespace out, or link with --user"));
        }
        (None, Some(ticket)) => Credential::Ticket(ticket.clone()),
        (None, None) => return Err(nobody(&folder)),
    };
    let wish = LinkWish {
        url,
        certificate: link.fingerprint,
        credential,
        label: link.device.clone().unwrap_or_else(client::host_name),
        namespace: link.namespace.clone(),
        continues: None,
    };
    let before = Binding::read(&folder).ok().map(|(binding, _)| binding);
    // Who is linked again to a server knows its certificate.
    let known = before.as_ref().filter(|before| before.server == wish.url && link.ticket.is_none());
    let named = link.fingerprint.or_else(|| known.and_then(|before| before.certificate));
    let (folder, binding) = trusting(link, named, talk, |certificate| {
        client::link(&folder, LinkWish { certificate, ..wish.clone() })
    })?;
    if talk.output.json {
        talk.json(&Document::of(&folder, &binding))?;
    } else {
        let (name, label, user) = (&binding.namespace_label, &binding.device_label, &binding.user_name);
        talk.line(format_args!("linked {} to `{name}` as {user}'s device `{label}`", folder.display()))?;
        if before.is_some() {
            talk.remark("what it was before, and what it had not sent, is kept in .annals/was-*; what lies in the folder is merged, nothing is deleted")?;
        }
        talk.remark(format_args!("next: annals sync {} --once", place::typed(&folder)))?;
    }
    Ok(Exit::Done)
}

impl<'a> Document<'a> {
    fn of(folder: &Path, binding: &'a Binding) -> Self {
        Self {
            folder: folder.display().to_string(),
            server: &binding.server,
            namespace: binding.namespace.to_hex(),
            namespace_name: &binding.namespace_label,
            device: binding.device.to_hex(),
            device_name: &binding.device_label,
            user: &binding.user_name,
        }
    }
}

/// That nobody said who links, which only a folder that is linked to that server can do without.
fn nobody(folder: &Path) -> Failure {
    match Binding::read(folder) {
        Ok((binding, _)) => {
            BindingError::AlreadyLinked { folder: folder.into(), server: binding.server }.into()
        }
        Err(_) => Failure::usage("nobody said who links this folder").hint(
            "add --user NAME, or --ticket CODE with what `annals invite` prints on a device that is linked",
        ),
    }
}

/// Does what takes the server at its word: with the certificate that was named, or that a person, if there is one, takes
/// for the server's.
fn trusting<T>(
    link: &Link,
    named: Option<Fingerprint>,
    talk: &mut Talk<'_>,
    attempt: impl Fn(Option<Fingerprint>) -> Result<T, ClientError>,
) -> Result<T, Failure> {
    match attempt(named) {
        Err(ClientError::Transport(TransportError::Untrusted { found, pinned: false, what, server }))
            if accepts(&server, &found, &what, talk)? =>
        {
            Ok(attempt(Some(found))?)
        }
        Err(ClientError::Transport(TransportError::Untrusted { pinned: true, server, .. }))
            if link.ticket.is_some() && link.fingerprint.is_none() =>
        {
            let what = format!("this ticket is not one of the server at {server}");
            Err(Failure::new(Exit::NeedsPerson, what).hint(OTHER_TICKET))
        }
        Err(error @ ClientError::Transport(TransportError::Untrusted { pinned: true, .. })) => {
            Err(Failure::new(Exit::NeedsPerson, error.to_string()).hint(OTHER_CERTIFICATE))
        }
        done => Ok(done?),
    }
}

/// Where the server of a folder that is linked is by now, if it is the one at `url`. None: it is to be linked, or there is
/// nothing to do, which linking says.
fn found_at(
    link: &Link,
    url: &str,
    folder: &Path,
    binding: &Binding,
    talk: &mut Talk<'_>,
) -> Result<Option<Address>, Failure> {
    let is_known = link.fingerprint.is_none_or(|named| Some(named) == binding.certificate);
    let is_meant = |name: &String| *name == binding.namespace_label || *name == binding.namespace.to_hex();
    if binding.server == url && is_known || !link.namespace.iter().all(is_meant) {
        return Ok(None);
    }
    let at = |certificate| client::found_at(folder, binding, &Address { url: url.to_owned(), certificate });
    // The one that it was known by is no question.
    let known = binding.certificate.filter(|_| link.fingerprint.is_none() && url.starts_with("https://"));
    let found = match known.map(|known| at(Some(known))) {
        None | Some(Err(ClientError::Transport(TransportError::Untrusted { .. }))) => {
            trusting(link, link.fingerprint, talk, |certificate| match at(certificate) {
                Err(error @ ClientError::Retired { .. }) => Ok(Err(error)),
                found => found.map(Ok),
            })?
        }
        Some(found) => found,
    };
    let is_anybody = link.user.is_some() || link.ticket.is_some();
    match found {
        Ok(Some(address)) => Ok(Some(address)),
        // What was said of who links is for these.
        Ok(None) | Err(ClientError::Retired { .. }) if is_anybody => Ok(None),
        Ok(None) => {
            let (what, root) = (&binding.server, place::typed(folder));
            Err(Failure::new(
                Exit::NeedsPerson,
                format!("the server at {url} is not the one that {} is linked to, at {what}", folder.display()),
            )
            .hint(format!("it has another log; nothing was changed. Is the address right? To link the folder to that server all the same, as a new device: annals link {url} {root} --user NAME, which merges both sides and deletes nothing")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells whoever has the folder.
fn tell(address: &Address, folder: &Path, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let root = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let certificate = address.certificate.map(|certificate| format!("--fingerprint={certificate}"));
    let named = ["link".to_owned(), address.url.clone(), root.display().to_string()];
    let json = talk.output.json.then(|| "--json".to_owned());
    let typed: Vec<String> = named.into_iter().chain(certificate).chain(json).collect();
    for _ in 0..super::TRIES {
        match sync::open(&root, Some(address), talk)? {
            Ok(mut folder) => return take(address, &mut folder, talk),
            Err(ClientError::Held { .. }) => {}
            Err(error) => return Err(Failure::from(error).at(&root)),
        }
        if let Some(answered) = super::ask_daemon(&root.join(client::STATE_FOLDER), &typed, directory, talk) {
            return answered;
        }
        crate::clock::pause(super::BETWEEN_TRIES);
    }
    Err(super::in_use(&root))
}

/// What a daemon does that is told: whoever tells it has seen whose server that is.
pub(super) fn take_told(link: &Link, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    take(&Address { url: link.url.clone(), certificate: link.fingerprint }, folder, talk)
}

/// A linked folder finds its server there from now on.
fn take(address: &Address, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    folder.move_to(address)?;
    folder.leave_to_daemon();
    let (root, binding) = (folder.root(), folder.binding());
    if talk.output.json {
        talk.json(&Document::of(root, binding))?;
        return Ok(Exit::Done);
    }
    let (name, server) = (&binding.namespace_label, &binding.server);
    talk.line(format_args!(
        "{} finds `{name}` at {server} from now on; nothing else changed",
        root.display()
    ))?;
    match folder.has_daemon() {
        true => talk.remark("the daemon that keeps it goes on there")?,
        false => talk.remark(format_args!("next: annals sync {} --once", place::typed(root)))?,
    }
    Ok(Exit::Done)
}

/// What to do where a folder is to be linked and the server shows another certificate than the one that was named.
const OTHER_CERTIFICATE: &str = "compare it with what `annals serve` prints on the server: was --fingerprint, or the ticket, of another server, or mistyped? If that server does show another one, somebody stands in between. Nothing was said to them";

/// What to do where the end of a ticket is about another certificate.
const OTHER_TICKET: &str = "was it mistyped, or is it for another address? Copy the whole line that `annals invite` shows, or make another ticket. If it is right to the last letter, somebody stands in between. Nothing was said to them";

/// Whether a person, if there is one, takes this certificate for the server's.
fn accepts(server: &str, found: &Fingerprint, what: &str, talk: &mut Talk<'_>) -> Result<bool, Failure> {
    if !talk.terminal || !io::stdin().is_terminal() {
        return Ok(false);
    }
    talk.remark(format_args!("{server} shows this certificate ({what}):"))?;
    talk.remark(format_args!("  {found}"))?;
    talk.remark("Is it the one that `annals serve` prints there? [y/N]")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
