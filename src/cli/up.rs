//! `annals up`: everything on one machine. A server on its own data, the folder linked to it and kept in sync.

use super::{
    arguments::Up,
    failure::{Exit, Failure},
    invite, moment, place,
    serve::{self, Security},
    sync,
    talk::Talk,
};
use crate::{
    client::{self, Address, Binding, BindingError, Folder, LinkWish, daemon::Stop},
    server::{Serving, data::last_address, tls::Tls},
    transport::{Http, Pin},
};
use annals_engine::{
    directory::NAME_BYTES_MAX,
    protocol::{Code, Credential, NewAccount, Problem, Quota, TicketRequest},
    transport::TransportError,
};
use serde::Serialize;
use std::path::{Path, PathBuf};

pub(super) fn run(up: &Up, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let wanted = place::to_link(&up.folder, directory)?;
    // A folder that cannot be linked is said so before anything is started.
    match Binding::read(&wanted) {
        Ok(_) => {}
        Err(BindingError::NotLinked { .. }) if wanted.exists() => Binding::check_free(&wanted)?,
        Err(BindingError::NotLinked { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Linked anew, what is on its disk would come once more, to where the disk is mounted.
    if let Some(failure) = place::not_there(&wanted) {
        return Err(failure);
    }
    let data = place::absolute(&serve::data_folder(up.data.as_deref())?, directory);
    let (real_data, real_wanted) = (place::real(&data), place::real(&wanted));
    if real_data.starts_with(&real_wanted) || real_wanted.starts_with(&real_data) {
        return Err(Failure::usage(format!(
            "the server's data ({}) and {} lie inside one another",
            data.display(),
            wanted.display()
        ))
        .hint("keep a folder that does not hold the data, or put the data elsewhere with --data DIR"));
    }
    let security = Security {
        tls: up.tls.then_some(Tls::OwnCertificate),
        insecure: up.insecure,
        trusted_proxies: Vec::new(),
    };
    let known = known_address(&wanted, &data);
    if let Some(known) = known.as_ref().filter(|_| up.listen.is_none()) {
        talk.remark(format_args!(
            "the data in {} is new: this listens where the folder's server was, at {known}",
            data.display()
        ))?;
    }
    let listen = up.listen.as_deref().or(known.as_deref());
    let ending = serve::Ending::heard();
    let serving =
        serve::start(&data, listen, security, talk).map_err(|failure| beside_another(failure, &data))?;
    let socket = serve::answer_others(&serving, data.clone())?;
    if !talk.output.json {
        serve::say_where(&serving, None, talk)?;
    }
    let stop = Stop::default();
    // Without the server there is nothing to keep the folder in sync with.
    let told = stop.clone();
    serving.at_end(move || told.now());
    let (told, stopper) = (stop.clone(), serving.stopper());
    // The server goes too: a round that waits for it would not end.
    ending.then(move || {
        told.now();
        stopper.stop();
    });
    let kept = keep(up, &wanted, &data, &serving, talk, &stop);
    socket.close();
    let stopped = serving.stop();
    let exit = kept?;
    stopped?;
    Ok(exit)
}

fn keep(
    up: &Up,
    wanted: &Path,
    data_folder: &Path,
    serving: &Serving,
    talk: &mut Talk<'_>,
    stop: &Stop,
) -> Result<Exit, Failure> {
    let data = data_folder.canonicalize().unwrap_or_else(|_| data_folder.to_owned());
    let data = data.to_string_lossy().into_owned();
    let root = linked(wanted, &data, serving, talk)?;
    let mut folder = sync::open(&root, Some(&address_of(serving)), talk)??;
    folder.move_to(&address_of(serving))?;
    folder.served_from(&data)?;
    serve::remember(data_folder, up.listen.as_deref(), serving)?;
    say_how_to_link(&mut folder, talk)?;
    sync::keep(folder, talk, stop)
}

/// Where the server on `data` was, by what the folder knows of it: where the data has forgotten, its devices have not.
fn known_address(wanted: &Path, data: &Path) -> Option<String> {
    let (binding, _) = Binding::read(wanted).ok()?;
    let is_its_data =
        binding.data.as_deref().is_some_and(|known| place::real(Path::new(known)) == place::real(data));
    let (_, address) = binding.server.split_once("://")?;
    let is_address = address.parse::<std::net::SocketAddr>().is_ok();
    (is_its_data && is_address && last_address(data).is_none()).then(|| address.to_owned())
}

fn address_of(serving: &Serving) -> Address {
    Address { url: serving.url(), certificate: serving.fingerprint() }
}

/// Where a server runs on `data` already, as the one does that keeps another folder: how to keep this one too.
fn beside_another(failure: Failure, data: &Path) -> Failure {
    if !data.join(client::control::SOCKET).exists() {
        return failure;
    }
    let hint = failure.hint.clone().unwrap_or_default();
    failure.hint(format!(
        "{hint}; or keep this folder beside the other one: annals up FOLDER --data DIR --listen 127.0.0.1:0"
    ))
}

/// The folder, linked to this server: as it was, or as a new device of the person who runs this.
fn linked(wanted: &Path, data: &str, serving: &Serving, talk: &mut Talk<'_>) -> Result<PathBuf, Failure> {
    match Binding::read(wanted) {
        Ok((binding, _)) if binding.log == serving.info().log => {
            Ok(wanted.canonicalize().unwrap_or_else(|_| wanted.to_owned()))
        }
        // The data that this very folder was served from is not what it was: nothing is lost by beginning anew.
        Ok((binding, _)) if binding.data.as_deref() == Some(data) => {
            let aside = client::set_link_aside(wanted)?;
            talk.remark(format_args!(
                "the server's data in {data} was lost or replaced: {} is linked anew, both sides are merged, nothing is deleted",
                wanted.display()
            ))?;
            talk.remark(format_args!(
                "what this device knew of the log that is gone, and what it had not sent, is kept in {}; other devices have to be linked anew: `annals unlink FOLDER`, then the line below",
                aside.display()
            ))?;
            link_anew(wanted, serving, &binding.namespace_label)
        }
        Ok((binding, _)) => {
            let (folder, data) = (place::typed(wanted), place::typed(Path::new(data)));
            let server = &binding.server;
            Err(Failure::usage(format!(
                "{folder} is linked to another server, {server}, or to data that was here before"
            ))
            .hint(format!(
                "to keep it in sync with {server}: `annals sync {folder}`; to link it to this server, which merges both and deletes nothing: `annals unlink {folder}`, then `annals up {folder} --data {data}`"
            )))
        }
        Err(BindingError::NotLinked { .. }) => {
            let name = wanted
                .file_name()
                .map_or_else(|| "folder".into(), |name| name.to_string_lossy().into_owned());
            link_anew(wanted, serving, &name)
        }
        Err(error) => Err(error.into()),
    }
}

/// The folder as a new device of the person who runs this, in their namespace of this name.
fn link_anew(wanted: &Path, serving: &Serving, namespace: &str) -> Result<PathBuf, Failure> {
    let wish = LinkWish {
        url: serving.url(),
        certificate: serving.fingerprint(),
        credential: Credential::Ticket(own_ticket(serving, namespace)?),
        label: client::host_name(),
        namespace: None,
        continues: None,
    };
    Ok(client::link(wanted, wish)?.0)
}

/// A ticket to the namespace called `name` of the person who runs this; account and namespace are made at need.
fn own_ticket(serving: &Serving, name: &str) -> Result<String, Failure> {
    let pin = serving.fingerprint().map(Pin::Whole);
    let admin = Http::pinned(&serving.url(), pin, Some(serving.admin_token().to_owned()))?;
    let user = own_name();
    let account = NewAccount { name: user.clone(), password: None, quota: Quota::Unlimited };
    match admin.add_account(&account) {
        Err(TransportError::Refused(Problem { code: Code::AccountExists, .. })) | Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let request = TicketRequest { namespace: None, user: Some(user), label: Some(name.to_owned()) };
    Ok(admin.ticket(&request)?.code)
}

/// What the person is called on this machine, as an account may be called.
fn own_name() -> String {
    let known = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let name: String = known
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        .take(NAME_BYTES_MAX)
        .collect();
    if name.is_empty() { "me".into() } else { name }
}

fn say_how_to_link(folder: &mut Folder, talk: &mut Talk<'_>) -> Result<(), Failure> {
    let namespace = Some(folder.binding().namespace);
    let ticket = folder.http()?.ticket(&TicketRequest { namespace, ..TicketRequest::default() })?;
    let (binding, root) = (folder.binding(), folder.root());
    if talk.output.json {
        talk.json(&Document {
            url: &binding.server,
            folder: root.display().to_string(),
            name: &binding.namespace_label,
            invitation: invite::Document::new(binding, &ticket),
        })?;
        return talk.flush();
    }
    talk.line(format_args!("keeping {} as `{}`", root.display(), binding.namespace_label))?;
    talk.line("on the next device, type (once, within 15 minutes; `annals invite` makes another):")?;
    talk.line(format_args!("  {}", invite::link_line(&binding.server, &ticket.code)))?;
    if ["://127.", "://localhost", "://[::1]"].iter().any(|here| binding.server.contains(here)) {
        talk.remark("this address is for this machine; for others, start it with `--listen ADDRESS:8417` (TLS, with a certificate of its own that the ticket names)")?;
    }
    talk.remark(format_args!(
        "the ticket is good until {}; Ctrl-C ends this",
        moment::rfc3339(ticket.expires)
    ))?;
    talk.flush()
}

/// The first line of `annals up --json`.
#[derive(Serialize)]
struct Document<'a> {
    url: &'a str,
    folder: String,
    name: &'a str,
    #[serde(flatten)]
    invitation: invite::Document<'a>,
}
