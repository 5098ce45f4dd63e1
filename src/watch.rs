//! The kernel's hints that something changed in a folder: inotify, by way of `notify`.
//!
//! What must always hold: whatever changes in a folder after [`Watch::cover`] returned for it is hinted at, or it is said
//! that hints were lost; what happens in `.annals/` at the top is never hinted at; no symlink is followed, no other file system entered.
//! Each folder is watched for itself, so that it is known when: what came into a new folder before has to be looked at
//! after it is covered. A hint is no truth, and may be one too many. Left out: when to look (`annals_engine::watch`).

use annals_engine::watch::Hint;
use notify::{
    Config, ErrorKind, Event, EventKind, INotifyWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What the device keeps for itself, at the top.
const STATE: &str = ".annals";
/// How many folders may be watched, as people set it.
pub const LIMIT_SYSCTL: &str = "fs.inotify.max_user_watches";

/// Why a folder is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system lets this user watch no more folders.
    #[error("the system lets one watch no more folders ({LIMIT_SYSCTL}, or max_user_instances)")]
    Limit,
    /// Anything else.
    #[error("the folder cannot be watched: {0}")]
    Failed(String),
}

impl From<notify::Error> for WatchError {
    fn from(error: notify::Error) -> Self {
        match &error.kind {
            ErrorKind::MaxFilesWatch => Self::Limit,
            // EMFILE: too many instances.
            ErrorKind::Io(io) if io.raw_os_error() == Some(24) => Self::Limit,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What is told of a folder that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// That something may have happened.
    pub hint: Hint,
    /// A folder may have come to this path, which is to be covered.
    pub came: Option<String>,
}

/// A folder that is watched.
pub struct Watch {
    root: PathBuf,
    dev: u64,
    inner: INotifyWatcher,
}

impl Watch {
    /// Watches nothing in `root` yet. `tell` is called from a thread of its own, and must not wait for this.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn new(root: &Path, mut tell: impl FnMut(Told) + Send + 'static) -> Result<Self, WatchError> {
        let dev = fs::metadata(root).map_err(|error| WatchError::Failed(error.to_string()))?.dev();
        let top = root.to_owned();
        let heard = move |event: notify::Result<Event>| hints_of(&top, event, &mut tell);
        let inner = INotifyWatcher::new(heard, Config::default().with_follow_symlinks(false))?;
        Ok(Self { root: root.to_owned(), dev, inner })
    }

    /// Watches the folder at `path` (empty: the top) and all below it, if it is one, but for what `passed_by` says. What is
    /// in there by then is to be looked at afterwards.
    ///
    /// # Errors
    /// [`WatchError::Limit`]; then not everything is watched. What vanished meanwhile, or cannot be read, is no error.
    pub fn cover(&mut self, path: &str, passed_by: impl Fn(&str) -> bool) -> Result<(), WatchError> {
        let mut folders = vec![self.root.join(path)];
        while let Some(folder) = folders.pop() {
            let is_ours = |meta: &fs::Metadata| meta.is_dir() && meta.dev() == self.dev;
            let inside = folder.strip_prefix(&self.root).ok().and_then(Path::to_str);
            let passed_by = inside.is_some_and(|inside| !inside.is_empty() && passed_by(inside));
            if passed_by || !folder.symlink_metadata().is_ok_and(|meta| is_ours(&meta)) {
                continue;
            }
            match self.inner.watch(&folder, RecursiveMode::NonRecursive).map_err(WatchError::from) {
                Ok(()) => {}
                Err(WatchError::Limit) => return Err(WatchError::Limit),
                // Gone, or not to be read: then there is nothing to look at either.
                Err(WatchError::Failed(why)) => {
                    tracing::debug!(folder = %folder.display(), %why, "not watched");
                    continue;
                }
            }
            // Watched first and listed then: what comes in between is in the one or in the other.
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let at_top = folder == self.root;
            folders.extend(below.filter(|entry| !(at_top && entry.file_name() == STATE)).map(|e| e.path()));
        }
        Ok(())
    }
}

/// Says what an event hints at.
fn hints_of(root: &Path, event: notify::Result<Event>, tell: &mut impl FnMut(Told)) {
    let anywhere = || Told { hint: Hint::Anywhere, came: None };
    let event = match event {
        Ok(event) if event.need_rescan() => return tell(anywhere()),
        Ok(event) => event,
        Err(error) => {
            tracing::warn!(%error, "hints were lost");
            return tell(anywhere());
        }
    };
    for path in &event.paths {
        let Ok(inside) = path.strip_prefix(root) else { continue };
        if inside.starts_with(STATE) {
            // What happens in there is the device's own doing; that it came or went is not.
            let by_name = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
            if by_name && inside == Path::new(STATE) {
                tell(anywhere());
            }
            continue;
        }
        // The scanner names what has no name in UTF-8; to find it, its folder is looked at.
        let name = inside.ancestors().find_map(Path::to_str).unwrap_or_default().to_owned();
        let at = |hint: fn(String) -> Hint| if name.is_empty() { Hint::Anywhere } else { hint(name.clone()) };
        let came = |came: bool| came.then(|| name.clone());
        let told = match event.kind {
            EventKind::Create(CreateKind::File) if is_being_written(path) => {
                Told { hint: at(Hint::Writing), came: None }
            }
            EventKind::Create(kind) => {
                Told { hint: at(Hint::Changed), came: came(kind == CreateKind::Folder) }
            }
            EventKind::Modify(ModifyKind::Data(_)) => Told { hint: at(Hint::Writing), came: None },
            // Both halves are told for themselves.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => continue,
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                Told { hint: at(Hint::Changed), came: came(true) }
            }
            EventKind::Modify(_) | EventKind::Remove(_) => Told { hint: at(Hint::Changed), came: None },
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                Told { hint: at(Hint::Closed), came: None }
            }
            // Somebody read.
            EventKind::Access(_) => continue,
            EventKind::Any | EventKind::Other => anywhere(),
        };
        tell(told);
    }
}

/// Whether a file that came will be closed by whoever made it: one that has another name, or is no file, will not.
fn is_being_written(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag, RemoveKind};
    use std::sync::mpsc;

    fn told_of(event: notify::Result<Event>) -> Vec<Told> {
        let mut told = Vec::new();
        hints_of(Path::new("/top"), event, &mut |one| told.push(one));
        told
    }

    #[test]
    fn each_event_hints_at_what_it_is_about() {
        let at = |kind, path: &str| Ok(Event::new(kind).add_path(path.into()));
        let changed = |path: &str| Hint::Changed(path.into());
        let name = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = |mode| EventKind::Access(AccessKind::Close(mode));
        for (event, hint, came) in [
            (at(data, "/top/a/b"), Hint::Writing("a/b".into()), None),
            (at(closed(AccessMode::Write), "/top/a/b"), Hint::Closed("a/b".into()), None),
            (at(EventKind::Create(CreateKind::Folder), "/top/a"), changed("a"), Some("a")),
            // Gone already: whoever looks finds out.
            (at(EventKind::Create(CreateKind::File), "/top/a"), changed("a"), None),
            (at(name(RenameMode::From), "/top/a"), changed("a"), None),
            (at(name(RenameMode::To), "/top/b"), changed("b"), Some("b")),
            (at(EventKind::Remove(RemoveKind::File), "/top/b"), changed("b"), None),
            // The folder itself.
            (at(EventKind::Remove(RemoveKind::Folder), "/top"), Hint::Anywhere, None),
            // Hints were lost.
            (Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), Hint::Anywhere, None),
            (Err(notify::Error::generic("what")), Hint::Anywhere, None),
            (at(EventKind::Remove(RemoveKind::Folder), "/top/.annals"), Hint::Anywhere, None),
            // Only the top's is the device's own.
            (at(data, "/top/a/.annals"), Hint::Writing("a/.annals".into()), None),
        ] {
            let what = format!("{event:?}");
            assert_eq!(told_of(event), [Told { hint, came: came.map(str::to_owned) }], "{what}");
        }
        for event in [
            at(data, "/top/.annals"),
            at(data, "/top/.annals/journal/1"),
            at(closed(AccessMode::Read), "/top/a"),
            at(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/top/a"),
        ] {
            assert_eq!(told_of(event), []);
        }
    }

    #[test]
    fn what_happens_after_a_folder_is_covered_is_hinted_at_and_nothing_elsewhere_is() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        for folder in ["root/.annals", "root/sub/deep", "root/passed/by", "outside"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        std::os::unix::fs::symlink(at("outside"), at("root/link")).unwrap();
        let (tell, hear) = mpsc::channel();
        let mut watch = Watch::new(&at("root"), move |told| drop(tell.send(told))).unwrap();
        watch.cover("", |path| path == "passed/by").unwrap();
        for file in ["outside/file", "root/.annals/file", "root/passed/by/file", "root/sub/deep/file"] {
            fs::write(at(file), "text").unwrap();
        }
        fs::create_dir_all(at("root/new/deeper")).unwrap();
        watch.cover("new", |_| false).unwrap();
        fs::write(at("root/new/deeper/file"), "text").unwrap();
        fs::remove_dir_all(at("root/sub")).unwrap();
        let mut hinted = Vec::new();
        while !hinted.contains(&Hint::Changed("sub".into())) {
            hinted.push(hear.recv().unwrap().hint);
        }
        for file in ["sub/deep/file", "new/deeper/file"] {
            assert!(hinted.contains(&Hint::Closed(file.into())), "{file}: {hinted:?}");
        }
        let elsewhere = |hint: &Hint| match hint {
            Hint::Changed(path) | Hint::Closed(path) | Hint::Writing(path) => {
                ["annals", "link", "passed"].iter().any(|elsewhere| path.contains(elsewhere))
            }
            Hint::Anywhere => true,
        };
        assert!(!hinted.iter().any(elsewhere), "{hinted:?}");
        // What is gone, or no folder, can be covered.
        for path in ["sub", "new/deeper/file"] {
            assert!(watch.cover(path, |_| false).is_ok());
        }
    }
}
