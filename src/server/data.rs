//! The data directory of a server.
//!
//! ```text
//! DATA/format        "annals data 1" and the log's id; a directory of another format is refused
//! DATA/lock          locked while a server runs on it
//! DATA/server.key    the key that signs receipts, in hex; 0600
//! DATA/former.keys   those before it, once state was lost, the oldest first; 0600
//! DATA/guard         by what a copy of the directory is noticed, with guard.json
//! DATA/admin.token   what the admin shows, in hex; 0600
//! DATA/tls.crt       the certificate that the server made itself, once it spoke TLS with one
//! DATA/tls.key       its key; 0600
//! DATA/sent/         what devices sent and no event names yet
//! DATA/log/          the log: the truth
//! DATA/packs/        chunks
//! DATA/checkpoints/  what rebuilds begin with; may be deleted
//! DATA/garbage       which chunks nothing needs, and since when; may be deleted
//! DATA/listen        where its devices look for the server, as `keep_address` wrote it
//! DATA/equivocations/  batches that devices signed under used dots
//! ```

use super::{ServeError, new_secret, tls::CertificateFiles};
use crate::{actors::keys::Keys, random::random, whole};
use annals_events::{DeviceId, Hash, NamespaceId, PublicKey};
use ed25519_dalek::SigningKey;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The file that holds what the admin shows.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";
/// The file that says which format a data directory has.
pub const FORMAT_FILE: &str = "format";
/// The folder of checkpoints.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";
/// The format that this release writes and reads.
pub const DATA_FORMAT: &str = "annals data 1";

/// Where devices look for the server of the data directory at `place`, if that was ever written down.
#[must_use]
pub fn last_address(place: &Path) -> Option<SocketAddr> {
    read(&place.join("listen")).ok()??.trim().parse().ok()
}

/// Writes down where the server of the data directory at `place`, which runs, listens.
///
/// # Errors
/// [`ServeError::Folder`].
pub fn keep_address(place: &Path, address: SocketAddr) -> Result<(), ServeError> {
    if last_address(place) == Some(address) {
        return Ok(());
    }
    write(&place.join("listen"), &format!("{address}\n"))
}

/// Whether no other process has the data directory at `place` now. What else may be wrong with it is said when it is
/// opened.
///
/// # Errors
/// [`ServeError::Locked`].
pub fn check_free(place: &Path) -> Result<(), ServeError> {
    match File::open(place.join("lock")) {
        Ok(lock) => take(lock, place).map(drop),
        Err(_) => Ok(()),
    }
}

/// A data directory that this process has to itself.
#[derive(Debug)]
pub struct Data {
    place: PathBuf,
    /// The log's id, which is also that of the directory's stream.
    pub id: NamespaceId,
    /// What the server signs with.
    pub key: SigningKey,
    /// What it signed with before, the oldest first.
    pub former: Vec<SigningKey>,
    /// Whether this is a copy of a data directory, or was put back from one.
    pub is_copy: bool,
    /// What the admin shows.
    pub admin_token: String,
    _lock: Option<File>,
}

impl Data {
    /// Opens the data directory at `place`, or begins one there.
    ///
    /// # Errors
    /// [`ServeError`]; nothing in it was changed then.
    pub fn open(place: &Path) -> Result<Self, ServeError> {
        let failed = |why| ServeError::Folder { place: place.to_owned(), why };
        DirBuilder::new().recursive(true).mode(0o700).create(place).map_err(failed)?;
        // What is refused is left without so much as a lock.
        if !is_new(place).map_err(failed)? {
            id_of(place)?;
        }
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(place.join("lock"));
        let lock = take(lock.map_err(failed)?, place)?;
        if !place.join(FORMAT_FILE).exists() {
            begin(place)?;
        }
        Self::read(place, Some(lock))
    }

    /// Opens the data directory at `place` to be looked at: nothing in it is made or changed.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn look(place: &Path) -> Result<Self, ServeError> {
        let lock = match File::open(place.join("lock")) {
            Ok(lock) => Some(take(lock, place)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(ServeError::Folder { place: place.to_owned(), why }),
        };
        Self::read(place, lock)
    }

    fn read(place: &Path, lock: Option<File>) -> Result<Self, ServeError> {
        let id = id_of(place)?;
        let secret = |name: &str| secret_in(&place.join(name));
        let key = SigningKey::from_bytes(&secret("server.key")?.0);
        let mut former = former_keys(&place.join(FORMER_KEYS))?;
        // A crash came between the two files.
        former.retain(|former| *former != key);
        let admin_token = secret("admin.token")?.to_hex();
        let is_copy = super::guard::is_broken(place);
        Ok(Self { place: place.to_owned(), id, key, former, is_copy, admin_token, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// By what it can be noticed later that the directory is no more where it was.
    ///
    /// # Errors
    /// [`ServeError::Folder`] where it is not even now.
    pub fn anchor(&self) -> Result<Anchor, ServeError> {
        let lock = self.place.join("lock");
        let found = file_at(&lock).map_err(|why| ServeError::Folder { place: lock.clone(), why })?;
        Ok(Anchor { lock, found })
    }

    /// The keys, to go on with.
    #[must_use]
    pub fn keys(&self) -> Keys {
        let place = self.place.clone();
        let keep = move |key: &SigningKey, former: &[SigningKey]| keep_keys(&place, key, former);
        Keys::new(self.key.clone(), self.former.clone(), Box::new(keep))
    }

    /// Whether the log that this was once served with is there. Chunks are never stored before there is one, and to
    /// begin another beside them would be to forget everything without a word.
    ///
    /// # Errors
    /// [`ServeError::Damaged`].
    pub fn check_log(&self) -> Result<(), ServeError> {
        if self.packs().exists() && !self.log().exists() {
            return Err(ServeError::Damaged { place: self.log(), what: "the log is gone".into() });
        }
        Ok(())
    }

    /// Where the log is.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.place.join("log")
    }

    /// Where chunks are.
    #[must_use]
    pub fn packs(&self) -> PathBuf {
        self.place.join("packs")
    }

    /// Where checkpoints are.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.place.join(CHECKPOINTS_FOLDER)
    }

    /// Where it stands what devices sent and no event names yet.
    #[must_use]
    pub fn sent(&self) -> PathBuf {
        self.place.join("sent")
    }

    /// Where evidence of equivocation is kept.
    #[must_use]
    pub fn evidence(&self) -> PathBuf {
        self.place.join("equivocations")
    }

    /// Where the certificate is that the server made itself.
    #[must_use]
    pub fn certificate(&self) -> CertificateFiles {
        certificate_in(&self.place)
    }

    /// Where it is written down which chunks nothing needs, and since when.
    #[must_use]
    pub fn garbage(&self) -> PathBuf {
        self.place.join("garbage")
    }

    /// The server as the device that it was at first: whose its packs are.
    #[must_use]
    pub fn server_id(&self) -> DeviceId {
        let first = self.former.first().unwrap_or(&self.key);
        DeviceId::of_key(&PublicKey(first.verifying_key().to_bytes()))
    }
}

/// The lock of a data directory as it was found: where a file is, and which one that is.
#[derive(Debug)]
pub struct Anchor {
    lock: PathBuf,
    found: (u64, u64),
}

impl Anchor {
    /// Whether the directory is still there, under its name. Where that cannot be told it is.
    #[must_use]
    pub fn holds(&self) -> bool {
        match file_at(&self.lock) {
            Ok(found) => found == self.found,
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }
}

fn file_at(place: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(place).map(|meta| (meta.dev(), meta.ino()))
}

/// Where the certificate is that the server on `place` made itself, if it did.
#[must_use]
pub fn certificate_in(place: &Path) -> CertificateFiles {
    CertificateFiles { certificate: place.join("tls.crt"), key: place.join("tls.key") }
}

fn take(lock: File, place: &Path) -> Result<File, ServeError> {
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(ServeError::Locked { place: place.to_owned() }),
        Err(TryLockError::Error(why)) => Err(ServeError::Folder { place: place.to_owned(), why }),
    }
}

fn something_else(place: &Path) -> ServeError {
    ServeError::Format { place: place.to_owned(), found: "it holds something else".into() }
}

/// The log's id, as the format says it. What does not even look like a format is one that was damaged, if there
/// is a log.
fn id_of(place: &Path) -> Result<NamespaceId, ServeError> {
    let file = place.join(FORMAT_FILE);
    let text = read(&file)?.ok_or_else(|| something_else(place))?;
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if first == DATA_FORMAT {
        let id = lines.next().and_then(|line| NamespaceId::from_hex(line.strip_prefix("log ")?));
        return id.ok_or_else(|| ServeError::Damaged { place: file, what: "it does not name a log".into() });
    }
    if !first.starts_with("annals data ") && place.join("log").is_dir() {
        return Err(ServeError::Damaged { place: file, what: "it does not name a format".into() });
    }
    Err(ServeError::Format { place: place.to_owned(), found: first.into() })
}

/// Whether nothing is there yet, or a crash came between the first file of a new directory and the format, which
/// comes last.
fn is_new(place: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(place)? {
        let name = entry?.file_name();
        if !["lock", "server.key", "admin.token", "format.new", "server.new", "admin.new"]
            .iter()
            .any(|known| name == *known)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn begin(place: &Path) -> Result<NamespaceId, ServeError> {
    for name in ["server.key", "admin.token"] {
        if read(&place.join(name))?.is_none() {
            write(&place.join(name), &format!("{}\n", new_secret()))?;
        }
    }
    let id = NamespaceId(random());
    write(&place.join("format"), &format!("{DATA_FORMAT}\nlog {id}\n"))?;
    Ok(id)
}

fn secret_in(place: &Path) -> Result<Hash, ServeError> {
    let damaged = |what: &str| ServeError::Damaged { place: place.to_owned(), what: what.into() };
    let text = read(place)?.ok_or_else(|| damaged("it is missing"))?;
    Hash::from_hex(text.trim()).ok_or_else(|| damaged("it does not hold 64 hex digits"))
}

const FORMER_KEYS: &str = "former.keys";

fn former_keys(place: &Path) -> Result<Vec<SigningKey>, ServeError> {
    let text = read(place)?.unwrap_or_default();
    let key = |line: &str| Hash::from_hex(line.trim()).map(|secret| SigningKey::from_bytes(&secret.0));
    text.lines().map(key).collect::<Option<Vec<_>>>().ok_or_else(|| ServeError::Damaged {
        place: place.to_owned(),
        what: "it does not hold 64 hex digits a line".into(),
    })
}

/// The former keys first: with the new one in place those it replaced are there.
fn keep_keys(place: &Path, key: &SigningKey, former: &[SigningKey]) -> io::Result<()> {
    let line = |key: &SigningKey| format!("{}\n", Hash(key.to_bytes()));
    let lines: String = former.iter().map(line).collect();
    let failed = |error: ServeError| io::Error::other(error.to_string());
    write(&place.join(FORMER_KEYS), &lines).map_err(failed)?;
    write(&place.join("server.key"), &line(key)).map_err(failed)
}

fn read(place: &Path) -> Result<Option<String>, ServeError> {
    match fs::read(place) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(ServeError::Folder { place: place.to_owned(), why }),
    }
}

/// Whole or not at all, and for the owner alone.
pub(super) fn write(place: &Path, text: &str) -> Result<(), ServeError> {
    whole::durable(place, text.as_bytes()).map_err(|why| ServeError::Folder { place: place.to_owned(), why })
}
