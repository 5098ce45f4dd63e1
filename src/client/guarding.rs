//! Whether a device's state is where it was made, or a copy of it: elsewhere, or put back from a backup.
//!
//! Two that act as one device would name different events alike (I7), and one that was put back would take what it
//! forgot for seen (I3). So a copy is noticed before anything is looked at or said, and becomes a device of its own,
//! which continues the old one and knows nothing: what is in the folder and what the log says are merged, and nothing
//! is deleted. What the copy knew is moved aside within `.annals/`, and the original is left alone.
//!
//! One that is put back in place, or removed, while a process is at work with it is noticed before anything is written
//! to it ([`Written`]): what was put back beside it is no person's doing.

use super::{
    ClientError, Folder, STATE_FOLDER,
    binding::{Address, Binding, write_private},
    layout::{self, GUARD, GUARD_NOTE, WAS, WRITTEN},
    linking::{self, LinkWish},
};
use crate::{
    disk::{self, Guard},
    transport::{Http, Pin},
};
use annals_engine::{
    protocol::{Credential, TicketRequest},
    round::StoreError,
    transport::TransportError,
};
use annals_events::DeviceId;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What is written there of a copy: no guard.
const A_COPY: &[u8] = b"a copy";

/// The files that hold what a device knows, as the process that has them left them last.
#[derive(Debug)]
pub(super) struct Written {
    state: PathBuf,
    numbers_last: bool,
    files: BTreeMap<PathBuf, (u64, u64)>,
}

impl Written {
    /// What is in `state` (`.annals/`) now.
    pub(super) fn of(state: &Path) -> Self {
        let root = state.parent().unwrap_or(state);
        let numbers_last = disk::Folder::open(root).is_ok_and(|folder| folder.numbers_last());
        let mut written = Self { state: state.to_owned(), numbers_last, files: BTreeMap::new() };
        written.note();
        written
    }

    /// Somebody who has it wrote to it.
    pub(super) fn note(&mut self) {
        self.files = self.found();
    }

    /// Whether nobody else did: the same files, and as long as they were.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.state.is_dir() && self.found() == self.files {
            return Ok(());
        }
        Err(StoreError::Replaced { place: self.state.display().to_string() })
    }

    fn found(&self) -> BTreeMap<PathBuf, (u64, u64)> {
        let entries = WRITTEN.iter().flat_map(|row| fs::read_dir(self.state.join(row)).into_iter().flatten());
        let found = entries.flatten().filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((entry.path(), (if self.numbers_last { meta.ino() } else { 0 }, meta.len())))
        });
        found.collect()
    }
}

/// From the next start on the state in `root` is a copy, whatever its guard says: it was put back while somebody was at
/// work with it.
pub(super) fn mark_copy(root: &Path, device: DeviceId) {
    let is_linked = Binding::read(root).is_ok_and(|(binding, _)| binding.device == device);
    if !is_linked {
        return;
    }
    // Nothing new is put there, not for a moment: it may be that somebody is about to remove all of it. Half of it is no
    // guard either.
    let note = fs::File::options().write(true).truncate(true).open(layout::at(root, GUARD_NOTE));
    let marked = note.and_then(|mut note| note.write_all(A_COPY).and_then(|()| note.sync_all()));
    if let Err(error) = marked {
        tracing::debug!(%error, "it could not be noted that this is a copy");
    }
}

/// Writes down where the state of the linked folder `root` is.
pub(super) fn plant(root: &Path) -> Result<(), ClientError> {
    let folder = disk::Folder::open(root)?;
    if !folder.numbers_last() {
        return Ok(());
    }
    let guard = folder.plant_guard(GUARD)?;
    let text = serde_json::to_vec(&guard).expect("plain data with text keys");
    Ok(write_private(&layout::at(root, GUARD_NOTE), &text)?)
}

/// Whether the state in `root` is a copy of that of the device which it says it is. One that was linked before there
/// were guards gets its own now.
///
/// # Errors
/// [`ClientError::Disk`], [`ClientError::Folder`] where that cannot be told.
pub(super) fn is_copy(root: &Path) -> Result<bool, ClientError> {
    let note = layout::at(root, GUARD_NOTE);
    let text = match fs::read(&note) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return plant(root).map(|()| false),
        Err(source) => return Err(ClientError::Folder { folder: note, source }),
    };
    let folder = disk::Folder::open(root)?;
    let Ok(noted) = serde_json::from_slice::<Guard>(&text) else { return Ok(true) };
    let now = folder.guard_of(GUARD)?;
    Ok(folder.numbers_last() && !now.is_some_and(|now| noted.is(&now)))
}

/// As [`is_copy`], and whoever has no guard yet gets none.
pub(super) fn is_known_copy(root: &Path) -> Result<bool, ClientError> {
    Ok(layout::at(root, GUARD_NOTE).exists() && is_copy(root)?)
}

/// Opens a linked folder; a copy of a device becomes one of its own first, for which its server, at another address if it `moved`,
/// has to be asked. True: it did.
///
/// # Errors
/// As [`Folder::open`]; [`ClientError::Copied`] where the server does not let it.
pub fn open_or_renew(root: &Path, moved: Option<&Address>) -> Result<(Folder, bool), ClientError> {
    match Folder::open(root) {
        Err(ClientError::Copied { .. }) => {
            renew(root, moved)?;
            Ok((Folder::open(root)?, true))
        }
        opened => opened.map(|folder| (folder, false)),
    }
}

/// Makes the copy in `root` a device of its own. Cut off at any point it is a copy still, until the very end.
fn renew(root: &Path, moved: Option<&Address>) -> Result<(), ClientError> {
    let _lock = super::folder::lock(&root.join(STATE_FOLDER), root)?;
    renew_held(root, moved)
}

/// The same, by whoever has locked it; also where no guard tells that it is a copy.
pub(super) fn renew_held(root: &Path, moved: Option<&Address>) -> Result<(), ClientError> {
    let state = root.join(STATE_FOLDER);
    let (old, _) = Binding::read(root)?;
    let Address { url: server, certificate } = moved.cloned().unwrap_or_else(|| old.address());
    let pin = certificate.map(Pin::Whole);
    let request = TicketRequest { namespace: Some(old.namespace), ..TicketRequest::default() };
    let ticket = match Http::pinned(&server, pin.clone(), Some(old.token.clone()))?.ticket(&request) {
        Err(TransportError::Refused(_)) => {
            return Err(Binding { server, ..old }.copied(root));
        }
        answer => answer?,
    };
    let wish = LinkWish {
        url: server.clone(),
        certificate,
        credential: Credential::Ticket(ticket.code),
        label: old.device_label.clone(),
        namespace: None,
        continues: Some(old.device),
    };
    // From here on it is one, whatever its guard says.
    write_private(&state.join(GUARD_NOTE), A_COPY)?;
    linking::introduce(root, &Http::pinned(&server, pin, None)?, wish)?;
    let aside = state.join(format!("{WAS}{}", &old.device.to_hex()[..8]));
    put_aside(&state, &aside).map_err(|source| ClientError::Folder { folder: root.to_owned(), source })?;
    plant(root)
}

/// Moves what the copy knew to where nothing looks for it.
fn put_aside(state: &Path, aside: &Path) -> io::Result<()> {
    let free = (1..).map(|n| aside.with_extension(n.to_string())).find(|path| !path.exists());
    let aside = free.expect("there are only so many");
    fs::create_dir(&aside)?;
    for name in layout::set_aside() {
        match fs::rename(state.join(name), aside.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::File::open(state)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copy_knew_is_set_aside_also_where_a_crash_left_it_between_two_names() {
        let state = tempfile::tempdir().unwrap();
        let names = ["records", "records.new", "state", "checkpoint", "device.key", "forget.json", "kept"];
        for name in names {
            fs::create_dir(state.path().join(name)).unwrap();
        }
        let aside = state.path().join("was-01234567");
        put_aside(state.path(), &aside).unwrap();
        let names_in = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            entries.map(|name| name.into_string().unwrap()).collect::<std::collections::BTreeSet<_>>()
        };
        let known = ["checkpoint", "records", "records.new", "state"].map(String::from);
        assert_eq!(names_in(&aside.with_extension("1")), known.into());
        let left = ["device.key", "forget.json", "kept", "was-01234567.1"].map(String::from);
        assert_eq!(names_in(state.path()), left.into());
    }
}
