//! Linking a folder: a new device with a key of its own, introduced to a server.

use super::{
    ClientError,
    binding::{Address, Binding, BindingError, FORMAT},
    layout::{self, KEY, LEFT, LINK, WAS},
};
use crate::{
    random::random,
    transport::{Http, Pin},
};
use annals_engine::{
    protocol::{Code, Credential, Fingerprint, LinkRequest, Problem, fingerprint_in, link_message},
    transport::{Transport as _, TransportError},
};
use annals_events::{DeviceId, PublicKey, hex};
use ed25519_dalek::{Signer, SigningKey};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// What linking needs to know.
#[derive(Clone, Debug)]
pub struct LinkWish {
    /// The server's address.
    pub url: String,
    /// The certificate that it is known by, unless this system vouches for it. A ticket may say how that begins.
    pub certificate: Option<Fingerprint>,
    /// Name and password, or a ticket.
    pub credential: Credential,
    /// What to call the device.
    pub label: String,
    /// Which namespace, by name or id; none for the ticket's or the home namespace.
    pub namespace: Option<String>,
    /// The device that lost its state and goes on as this one.
    pub continues: Option<DeviceId>,
}

/// Links `folder`, which is made if it is missing. Files that are there stay; the first sync merges them.
///
/// # Errors
/// [`ClientError`]; nothing is left then that was not there before.
pub fn link(folder: &Path, wish: LinkWish) -> Result<(PathBuf, Binding), ClientError> {
    let pin = pin_of(&wish)?;
    let http = Http::pinned(&wish.url, pin.clone(), None)?;
    let log = http.server()?.log;
    if let Ok((before, _)) = Binding::read(folder)
        && (before.log != log
            || is_retired(&before, &Http::pinned(&wish.url, pin, Some(before.token.clone()))?))
    {
        return relink(folder, &http, wish);
    }
    let made: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
        .map(Path::to_owned)
        .collect();
    let result = prepare(folder).and_then(|folder| Ok((introduce(&folder, &http, wish)?, folder)));
    if result.is_err() {
        // Nothing is left behind but what was there: this fails where there is more.
        drop(fs::remove_dir(folder.join(super::STATE_FOLDER)));
        made.iter().for_each(|made| drop(fs::remove_dir(made)));
    }
    let (binding, folder) = result?;
    super::guarding::plant(&folder)?;
    super::linked::note(&folder);
    retire_left(&folder, &binding);
    Ok((folder, binding))
}

/// Whether the server that `http` leads to takes nothing from the device of that link any more. Where it cannot be asked,
/// nobody knows that.
fn is_retired(link: &Binding, http: &Http) -> bool {
    http.devices(link.namespace).map_err(ClientError::from).is_err_and(|error| error.is_retired())
}

/// Where the server is that a linked folder was linked to, if the one at `address` is that one: the same log, begun by the
/// same key. What it shows is no proof of it but for the certificate; the person who names the address vouches for the rest.
/// None: it is another one.
///
/// # Errors
/// [`ClientError::Transport`]; [`ClientError::Retired`] where it is the same, and takes nothing from this device.
pub fn found_at(root: &Path, link: &Binding, address: &Address) -> Result<Option<Address>, ClientError> {
    let pin = address.certificate.map(Pin::Whole);
    let http = Http::pinned(&address.url, pin.clone(), None)?;
    let info = http.server()?;
    if (info.log, info.directory) != (link.log, link.directory_key) {
        return Ok(None);
    }
    let certificate = http.certificate().filter(|_| http.is_pinned());
    if is_retired(link, &Http::pinned(&address.url, pin, Some(link.token.clone()))?) {
        return Err(Binding { server: address.url.clone(), ..link.clone() }.retired(root));
    }
    Ok(Some(Address { certificate, ..address.clone() }))
}

/// Links a folder anew whose server has begun anew or is another one, or whose device was retired: what it was is set aside.
fn relink(folder: &Path, http: &Http, wish: LinkWish) -> Result<(PathBuf, Binding), ClientError> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    // Nobody is made a device whose folder is not to be had.
    drop(super::folder::lock(&folder.join(super::STATE_FOLDER), &folder)?);
    // Nothing is set aside for a password that is wrong.
    let (binding, key) = ask(http, wish)?;
    set_link_aside(&folder)?;
    binding.write(&folder, &key)?;
    super::guarding::plant(&folder)?;
    super::linked::note(&folder);
    retire_left(&folder, &binding);
    Ok((folder, binding))
}

/// The certificate that the server has to show: the one that was named, or that the ticket is about.
fn pin_of(wish: &LinkWish) -> Result<Option<Pin>, ClientError> {
    if let Some(certificate) = wish.certificate {
        return Ok(Some(Pin::Whole(certificate)));
    }
    match &wish.credential {
        Credential::Password { .. } => Ok(None),
        Credential::Ticket(code) => match fingerprint_in(code) {
            Ok(beginning) => Ok(beginning.map(Pin::Beginning)),
            Err(_) => Err(TransportError::Refused(Problem::plain(Code::TicketUnknown)).into()),
        },
    }
}

pub(super) fn introduce(folder: &Path, http: &Http, wish: LinkWish) -> Result<Binding, ClientError> {
    let (binding, key) = ask(http, wish)?;
    binding.write(folder, &key)?;
    Ok(binding)
}

/// Has a new device linked; nothing is written down.
fn ask(http: &Http, wish: LinkWish) -> Result<(Binding, SigningKey), ClientError> {
    let challenge = http.challenge()?;
    let key = SigningKey::from_bytes(&random::<32>());
    let public = PublicKey(key.verifying_key().to_bytes());
    let proof = key.sign(&link_message(&challenge.challenge, &challenge.server.log, &public)).to_bytes();
    let linked = http.link(&LinkRequest {
        credential: wish.credential,
        device: public,
        challenge: challenge.challenge,
        proof: hex(&proof),
        label: wish.label.clone(),
        namespace: wish.namespace,
        continues: wish.continues,
        create: false,
    })?;
    let binding = Binding {
        format: FORMAT,
        server: wish.url,
        // From here on it is this very one.
        certificate: http.certificate().filter(|_| http.is_pinned()),
        log: linked.server.log,
        server_key: linked.server.server,
        directory_key: linked.server.directory,
        namespace: linked.namespace.id,
        namespace_label: linked.namespace.label,
        device: linked.device,
        device_label: wish.label,
        user: linked.account.user,
        user_name: linked.account.name,
        token: linked.token,
        data: None,
    };
    Ok((binding, key))
}

/// The folder with every symlink on the way resolved, made if missing, and free to be linked.
fn prepare(folder: &Path) -> Result<PathBuf, ClientError> {
    let io = |source| ClientError::Folder { folder: folder.into(), source };
    if let Some(outer) = folder.parent().and_then(super::binding::linked_at_or_above) {
        return Err(BindingError::Inside { folder: folder.into(), outer }.into());
    }
    fs::create_dir_all(folder).map_err(io)?;
    let folder = folder.canonicalize().map_err(io)?;
    Binding::check_free(&folder)?;
    // A folder that cannot be written would be found out only after the device is linked.
    super::binding::make_state_folder(&folder)?;
    Ok(folder)
}

/// What this machine is called.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "device".into() } else { name }
}

/// What became of a device whose link was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// Nothing is taken from it any more.
    Retired,
    /// The server could not be told.
    Unknown,
    /// It was a copy: the device goes on where it was copied from.
    Copy,
}

/// Takes the link away: the device is retired where the server can be told, and its state in the folder goes, unless it
/// is damaged: then it is set aside. Its files stay, and what nobody but this device has: what was kept beside them, what earlier devices left.
///
/// # Errors
/// [`ClientError::Held`] while another process has the folder; [`ClientError::Unsent`] where events wait to be sent,
/// unless they may be forgotten.
pub fn unlink(root: &Path, forget_unsent: bool) -> Result<Unlinked, ClientError> {
    let (binding, _) = Binding::read(root)?;
    let mut damaged = false;
    match super::Folder::open(root) {
        Ok(mut folder) => {
            let events = folder.status().pending_events;
            if events > 0 && !forget_unsent {
                return Err(ClientError::Unsent { folder: root.to_owned(), events });
            }
        }
        Err(held @ ClientError::Held { .. }) => return Err(held),
        Err(error) => {
            damaged = error.is_damage();
            tracing::debug!(%error, "unlinked as it is");
        }
    }
    // The state itself may be damaged: taking the link away is the way out then.
    let lock = super::folder::lock(&root.join(super::STATE_FOLDER), root)?;
    let unlinked = if super::guarding::is_copy(root)? {
        Unlinked::Copy
    } else {
        match super::host::http_of(&binding)?.retire(binding.namespace, binding.device) {
            Ok(()) => Unlinked::Retired,
            Err(_) => Unlinked::Unknown,
        }
    };
    drop(lock);
    if damaged {
        // What was not sent may be in there, and nobody can tell.
        set_link_aside(root)?;
        super::linked::forget_linked(root);
        return Ok(unlinked);
    }
    let state = root.join(super::STATE_FOLDER);
    let remove = || {
        // The link first: what is left of a removal that was cut off is no link.
        let left = state.join(format!("{LEFT}{}", binding.device.to_hex()));
        fs::rename(state.join(LINK), &left)?;
        if unlinked != Unlinked::Unknown {
            fs::remove_file(&left)?;
        }
        for entry in fs::read_dir(&state)? {
            let entry = entry?;
            match entry.file_name().as_encoded_bytes() {
                name if layout::stays(name) => {
                    // Where nothing is in it, it goes.
                    drop(fs::remove_dir(entry.path()));
                }
                _ if entry.file_type()?.is_dir() => fs::remove_dir_all(entry.path())?,
                _ => fs::remove_file(entry.path())?,
            }
        }
        drop(fs::remove_dir(&state));
        Ok(())
    };
    remove().map_err(|source| ClientError::Folder { folder: root.into(), source })?;
    super::linked::forget_linked(root);
    Ok(unlinked)
}

/// Sets the link of `root` aside, so that the folder can be linked anew to a log that is not the one it knew. What
/// made it this device, what was not sent yet included, lies in the folder that is answered with and is not
/// touched again; tags and notes are said again later; the files stay, and the next link merges them. Cut off anywhere, it goes on where it was.
///
/// # Errors
/// [`ClientError::Held`] while another process has the folder.
pub fn set_link_aside(root: &Path) -> Result<PathBuf, ClientError> {
    let (binding, _) = Binding::read(root)?;
    let failed = |source| ClientError::Folder { folder: root.into(), source };
    super::retelling::take_down(root).map_err(failed)?;
    let state = root.join(super::STATE_FOLDER);
    let _lock = super::folder::lock(&state, root)?;
    let aside = state.join(format!("{WAS}{}.lost", &binding.device.to_hex()[..8]));
    let set_aside = || {
        fs::create_dir_all(&aside)?;
        fs::copy(state.join(KEY), aside.join(KEY))?;
        // The link is the last to go: as long as it is there, this can be done again.
        for name in layout::set_aside().chain([LINK]) {
            match fs::rename(state.join(name), aside.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::remove_file(state.join(KEY))?;
        File::open(&aside)?.sync_all()?;
        File::open(&state)?.sync_all()
    };
    set_aside().map_err(failed)?;
    Ok(aside)
}

/// Tells a server of the devices that this folder was while it could not be told, or that it was towards this log before
/// it was linked to another: nobody would say for them what is waited for.
fn retire_left(folder: &Path, binding: &Binding) {
    let state = folder.join(super::STATE_FOLDER);
    for entry in fs::read_dir(&state).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let link = match name.as_encoded_bytes() {
            name if name.starts_with(LEFT.as_bytes()) => entry.path(),
            name if name.starts_with(WAS.as_bytes()) => entry.path().join(LINK),
            _ => continue,
        };
        let left = fs::read(&link).ok().and_then(|text| serde_json::from_slice::<Binding>(&text).ok());
        let is_other = |left: &Binding| left.log == binding.log && left.device != binding.device;
        let Some(left) = left.filter(is_other) else { continue };
        let pin = binding.certificate.map(Pin::Whole);
        let http = Http::pinned(&binding.server, pin, Some(left.token));
        let told = http.and_then(|http| http.retire(left.namespace, left.device));
        match told {
            // Whom it does not let in any more, it knows to be gone.
            Ok(()) | Err(TransportError::Refused(_)) => drop(fs::remove_file(&link)),
            Err(error) => tracing::debug!(%error, "a device that is no more could not be retired"),
        }
    }
}

/// The namespaces that an account may read, by its password.
///
/// # Errors
/// [`ClientError::Transport`].
pub fn namespaces_of(
    http: &Http,
    user: &str,
    password: &str,
) -> Result<Vec<annals_engine::protocol::NamespaceInfo>, ClientError> {
    Ok(http.namespaces_of(user, password)?)
}
