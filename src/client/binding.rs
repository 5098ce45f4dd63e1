//! The link of a folder: all that makes it this device, in `FOLDER/.annals/` (0700) and nowhere else.
//!
//! `link.json` says where the server is and who we are there, `device.key` holds the secret half of the
//! device's key. Both are written once, durably, before the link is used. Left out: what was exchanged
//! (`store.rs`).

use super::{
    ClientError,
    layout::{self, KEY, LINK, STATE_FOLDER},
};
use crate::whole;
use annals_engine::protocol::Fingerprint;
use annals_events::{DeviceId, NamespaceId, PublicKey, UserId};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The format of `.annals/` that this release reads and writes.
pub const FORMAT: u32 = 1;

/// What `link.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The format of this folder's state.
    pub format: u32,
    /// The server's address.
    pub server: String,
    /// The certificate that the server is known by; none where this system's authorities vouch for it, or without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Fingerprint>,
    /// The log behind that address: the id of its directory stream.
    pub log: NamespaceId,
    /// The key that the server signs receipts with.
    pub server_key: PublicKey,
    /// The key that the directory stream began with, pinned.
    pub directory_key: PublicKey,
    /// The namespace that the folder shows.
    pub namespace: NamespaceId,
    /// What people call it.
    pub namespace_label: String,
    /// This device.
    pub device: DeviceId,
    /// What people call it.
    pub device_label: String,
    /// For whom it acts.
    pub user: UserId,
    /// Their name.
    pub user_name: String,
    /// The secret that lets this device in; its server keeps only a hash.
    pub token: String,
    /// Where `annals up` serves this folder itself: the server's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// Where a server is, and by which certificate it is known there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub url: String,
    /// None where this system's authorities vouch for it, or without TLS.
    pub certificate: Option<Fingerprint>,
}

/// Why a folder's link could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// Nothing was ever linked here.
    #[error("{} is not a linked folder", folder.display())]
    NotLinked {
        /// Where.
        folder: PathBuf,
    },
    /// It is linked already.
    #[error("{} is already linked to {server}", folder.display())]
    AlreadyLinked {
        /// Where.
        folder: PathBuf,
        /// To whom.
        server: String,
    },
    /// A folder above is linked: two links would fight over the same files.
    #[error("{} lies inside the linked folder {}", folder.display(), outer.display())]
    Inside {
        /// The folder that was named.
        folder: PathBuf,
        /// The one it lies in.
        outer: PathBuf,
    },
    /// A server keeps its data there: its keys are nobody else's.
    #[error("{} holds the data of a server, in {}", folder.display(), data.display())]
    HoldsData {
        /// The folder that was named.
        folder: PathBuf,
        /// Where the data is.
        data: PathBuf,
    },
    /// A folder below is linked.
    #[error("{} contains the linked folder {}", folder.display(), inner.display())]
    Around {
        /// The folder that was named.
        folder: PathBuf,
        /// The one that lies in it.
        inner: PathBuf,
    },
    /// Its state was written by another release.
    #[error("{} has format {found}, this release knows {FORMAT}", folder.display())]
    Format {
        /// Where.
        folder: PathBuf,
        /// What it says.
        found: u32,
    },
    /// Its state is there and unreadable.
    #[error("the link in {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> BindingError + '_ {
    |source| BindingError::Io { path: path.into(), source }
}

impl Binding {
    /// Where the server is.
    #[must_use]
    pub fn address(&self) -> Address {
        Address { url: self.server.clone(), certificate: self.certificate }
    }

    /// What is said where the state beside this link, in `folder`, is a copy of a device's, or was put back.
    pub(super) fn copied(self, folder: &Path) -> ClientError {
        let Self { server, user_name: user, device_label: device, .. } = self;
        ClientError::Copied { folder: folder.to_owned(), server, user, device }
    }

    /// Reads the link of exactly `folder`.
    ///
    /// # Errors
    /// [`BindingError`].
    pub fn read(folder: &Path) -> Result<(Self, SigningKey), BindingError> {
        let state = folder.join(STATE_FOLDER);
        let path = state.join(LINK);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(BindingError::NotLinked { folder: folder.into() });
            }
            Err(error) => return Err(io_at(&path)(error)),
        };
        let damaged = |path: PathBuf, what: String| BindingError::Damaged { path, what };
        let format: FormatOnly =
            serde_json::from_slice(&text).map_err(|e| damaged(path.clone(), e.to_string()))?;
        if format.format != FORMAT {
            return Err(BindingError::Format { folder: folder.into(), found: format.format });
        }
        let binding: Self =
            serde_json::from_slice(&text).map_err(|e| damaged(path.clone(), e.to_string()))?;
        let key_path = state.join(KEY);
        let secret = fs::read(&key_path).map_err(io_at(&key_path))?;
        let secret: [u8; 32] =
            secret.try_into().map_err(|_| damaged(key_path.clone(), "a key has 32 bytes".into()))?;
        let key = SigningKey::from_bytes(&secret);
        if DeviceId::of_key(&PublicKey(key.verifying_key().to_bytes())) != binding.device {
            return Err(damaged(key_path, "the key is of another device".into()));
        }
        Ok((binding, key))
    }

    /// Checks that `folder` may be linked: not linked, not inside or around a linked one.
    ///
    /// # Errors
    /// [`BindingError::AlreadyLinked`], [`BindingError::Inside`], [`BindingError::Around`];
    /// [`BindingError::HoldsData`] where a server's keys would be synced.
    pub fn check_free(folder: &Path) -> Result<(), BindingError> {
        match Self::read(folder) {
            Ok((binding, _)) => {
                return Err(BindingError::AlreadyLinked { folder: folder.into(), server: binding.server });
            }
            Err(BindingError::NotLinked { .. }) => {}
            Err(other) => return Err(other),
        }
        if let Some(outer) = folder.parent().and_then(linked_at_or_above) {
            return Err(BindingError::Inside { folder: folder.into(), outer });
        }
        let is_linked = |at: &Path| layout::at(at, LINK).is_file();
        let is_data = |at: &Path| at.join("server.key").is_file() && at.join("admin.token").is_file();
        if is_data(folder) {
            return Err(BindingError::HoldsData { folder: folder.into(), data: folder.into() });
        }
        match found_in(folder, &|below| is_linked(below) || is_data(below)) {
            Some(inner) if is_linked(&inner) => Err(BindingError::Around { folder: folder.into(), inner }),
            Some(data) => Err(BindingError::HoldsData { folder: folder.into(), data }),
            None => Ok(()),
        }
    }

    /// That the server takes nothing from this device, whose folder is `root`, any more.
    #[must_use]
    pub fn retired(&self, root: &Path) -> ClientError {
        ClientError::Retired {
            folder: root.to_owned(),
            server: self.server.clone(),
            user: self.user_name.clone(),
            device: self.device_label.clone(),
        }
    }

    /// Writes the link, key first, durably.
    ///
    /// # Errors
    /// [`BindingError::Io`].
    pub fn write(&self, folder: &Path, key: &SigningKey) -> Result<(), BindingError> {
        let state = make_state_folder(folder)?;
        write_private(&state.join(KEY), &key.to_bytes())?;
        self.rewrite(folder)
    }

    /// Writes `link.json` anew, for a link that goes on (another address, a new token).
    ///
    /// # Errors
    /// [`BindingError::Io`].
    pub fn rewrite(&self, folder: &Path) -> Result<(), BindingError> {
        let text = serde_json::to_vec_pretty(self).expect("a binding is plain text");
        write_private(&layout::at(folder, LINK), &text)
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// The linked folder that `path` is or lies in.
#[must_use]
pub fn linked_at_or_above(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|folder| layout::at(folder, LINK).is_file()).map(Path::to_path_buf)
}

/// A folder below `folder` that is looked for, if there is one. Follows no symlink.
fn found_in(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if wanted(&entry.path()) {
                return Some(entry.path());
            }
            open.push(entry.path());
        }
    }
    None
}

/// `FOLDER/.annals/`, readable by its owner alone.
///
/// # Errors
/// [`BindingError::Io`].
pub fn make_state_folder(folder: &Path) -> Result<PathBuf, BindingError> {
    let state = folder.join(STATE_FOLDER);
    match fs::DirBuilder::new().mode(0o700).create(&state) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_at(&state)(error)),
        _ => Ok(state),
    }
}

/// Puts `bytes` under `path` (0600): whole or not at all, and durably.
///
/// # Errors
/// [`BindingError::Io`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), BindingError> {
    whole::durable(path, bytes).map_err(io_at(path))
}
