//! After a crash: our own leftovers go, and what was in our hands goes back.

use super::{
    calls::{self as fs, AtFlags, RenameFlags},
    folder::{Folder, TMP, check, rename_into_free},
    held::{self, Intent, NOTE, NOTE_NEW, Note},
    node::{identity_at, stat_at},
    part::is_part,
    proof::still_holds,
};
use annals_engine::disk::{DiskError, Identity, Swept};
use annals_events::EntryKind;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
};
use std::collections::BTreeMap;

/// Clears `.annals/tmp`.
pub(super) fn sweep(folder: &Folder) -> Result<Swept, DiskError> {
    let failed = |errno| folder.failed(errno);
    let names = held::names_in_state(folder, TMP).map_err(failed)?;
    if names.is_empty() {
        return Ok(Swept::default());
    }
    let tmp = folder.state_folder(TMP).map_err(failed)?;
    let note = held::read_note(tmp.as_fd()).map_err(failed)?;
    let mut sweep = Sweep { folder, tmp, touched: Vec::new(), swept: Swept::default() };
    for name in names.iter().filter(|name| ![NOTE, NOTE_NEW].contains(&name.as_str())) {
        sweep.one(name, &note).map_err(failed)?;
    }
    sweep.finish().map_err(|errno| folder.not_durable(errno))
}

struct Sweep<'a> {
    folder: &'a Folder,
    tmp: OwnedFd,
    touched: Vec<OwnedFd>,
    swept: Swept,
}

impl Sweep<'_> {
    fn tmp(&self) -> BorrowedFd<'_> {
        self.tmp.as_fd()
    }

    fn one(&mut self, name: &str, note: &Note) -> Result<(), Errno> {
        let Some(now) = identity_at(self.tmp(), name)? else { return self.aside(name, name) };
        let intents = match note {
            Note::Unreadable => return self.aside(name, name),
            Note::None => &[][..],
            Note::Says(intents) => intents,
        };
        let intents: BTreeMap<&str, &Intent> =
            intents.iter().map(|intent| (intent.name.as_str(), intent)).collect();
        match intents.get(name) {
            // A folder is never ours: only what is noted is taken out.
            None if now.kind == EntryKind::Folder => self.aside(name, name),
            // What was begun is gone on with.
            None if is_part(name) && now.kind == EntryKind::File => Ok(()),
            None => self.remove(name),
            Some(intent) if intent.ours == Some((now.dev, now.ino)) => self.remove(name),
            Some(intent) => self.not_ours(name, intent, &now),
        }
    }

    fn remove(&mut self, name: &str) -> Result<(), Errno> {
        fs::unlinkat(&self.tmp, name, AtFlags::empty())?;
        self.swept.removed += 1;
        Ok(())
    }

    /// Somebody's file, or what was expected and is done with.
    fn not_ours(&mut self, name: &str, intent: &Intent, now: &Identity) -> Result<(), Errno> {
        for path in [Some(&intent.path), intent.onward.as_ref()].into_iter().flatten() {
            if self.put_back(name, path, now)? {
                return Ok(());
            }
        }
        if intent.expect.is_but_moved(now)
            && now.kind != EntryKind::Folder
            && still_holds(self.tmp(), name, intent.holds.as_ref())
        {
            return self.remove(name);
        }
        if self.exchange_back(name, intent)? {
            return Ok(());
        }
        self.aside(name, &intent.path)
    }

    /// Puts it back to `path` if nothing is there.
    fn put_back(&mut self, name: &str, path: &str, now: &Identity) -> Result<bool, Errno> {
        let Some(place) = check(path).ok().and_then(|()| self.folder.place(path).ok()) else {
            return Ok(false);
        };
        let is_folder = now.kind == EntryKind::Folder;
        match rename_into_free((self.tmp(), name), (place.folder.as_fd(), place.name), is_folder) {
            Ok(()) => {
                self.touched.push(place.folder);
                self.swept.put_back.push(path.to_owned());
                Ok(true)
            }
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO)) => Err(errno),
            Err(_) => Ok(false),
        }
    }

    /// Our file got the name although something else came out: the other way round.
    fn exchange_back(&mut self, name: &str, intent: &Intent) -> Result<bool, Errno> {
        let Some(ours) = intent.ours else { return Ok(false) };
        let Ok(place) = self.folder.place(&intent.path) else { return Ok(false) };
        let at = |stat: fs::Stat| (stat.st_dev, stat.st_ino);
        if stat_at(place.folder.as_fd(), place.name)?.map(at) != Some(ours)
            || fs::renameat_with(&self.tmp, name, &place.folder, place.name, RenameFlags::EXCHANGE).is_err()
        {
            return Ok(false);
        }
        self.touched.push(place.folder);
        self.swept.put_back.push(intent.path.clone());
        if stat_at(self.tmp(), name)?.map(at) == Some(ours) {
            self.remove(name)?;
        } else {
            self.aside(name, &intent.path)?;
        }
        Ok(true)
    }

    fn aside(&mut self, name: &str, path: &str) -> Result<(), Errno> {
        let kept = held::keep_aside(self.folder, self.tmp.as_fd(), name, path)?;
        self.swept.kept.push((path.to_owned(), kept));
        Ok(())
    }

    /// The note goes last, once all that it speaks of is durably elsewhere.
    fn finish(self) -> Result<Swept, Errno> {
        let Self { tmp, touched, swept, .. } = self;
        touched.iter().try_for_each(fs::fsync)?;
        fs::fsync(&tmp)?;
        held::drop_note(tmp.as_fd())?;
        match fs::unlinkat(&tmp, NOTE_NEW, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(swept),
            Err(errno) => Err(errno),
        }
    }
}
