//! The rules of `.annalsignore` as the scanner finds them: read in each folder that it lists, kept for the next look.
//!
//! What must always hold: a folder's own rules are known before anything in it is judged, and those of the folders above
//! since they were listed. Left out: what rules mean (`annals_engine::ignore`), and what is synced in spite of them.

use annals_engine::ignore::{RULES_BYTES_MAX, RULES_FILE, Rules};
use rustix::{
    fd::AsFd,
    fs::{self, FileType, Mode, OFlags},
};
use std::{
    collections::BTreeSet,
    fs::File,
    io::Read,
    path::Path,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

/// What is known of a folder's rules.
#[derive(Debug, Default)]
pub(super) struct Ignoring {
    rules: RwLock<Rules>,
    /// Ignored folders that are looked into, because something in them is synced.
    descended: RwLock<BTreeSet<String>>,
}

impl Ignoring {
    pub(super) fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the rules that lie in the folder at `path`.
    pub(super) fn learn(&self, path: &str, folder: &impl AsFd) {
        let text = text_in(folder);
        if self.rules().text(path) != text.as_deref() {
            self.rules.write().unwrap_or_else(PoisonError::into_inner).set(path, text.as_deref());
        }
    }

    /// Reads the rules that lie in the folder at `path`, and judges what else does.
    pub(super) fn judge(&self, path: &str, folder: &impl AsFd) -> Judge<'_> {
        self.learn(path, folder);
        // Whoever asks for one folder alone may not have been in those around it.
        let inside = (!path.is_empty()).then(|| self.rules().deciding(path, true)).flatten();
        Judge { ignoring: self, inherited: inside.filter(|rule| rule.ignores).map(|rule| rule.pattern) }
    }

    pub(super) fn descend(&self, folders: &BTreeSet<String>) -> bool {
        let mut descended = self.descended.write().unwrap_or_else(PoisonError::into_inner);
        let known = descended.len();
        descended.extend(folders.iter().cloned());
        descended.len() > known
    }

    fn is_descended(&self, path: &str) -> bool {
        self.descended.read().unwrap_or_else(PoisonError::into_inner).contains(path)
    }
}

/// Judges what is directly in one folder.
pub(super) struct Judge<'a> {
    ignoring: &'a Ignoring,
    /// The rule by which the folder itself is ignored.
    inherited: Option<String>,
}

impl Judge<'_> {
    /// The rule by which what is at `path` is ignored.
    pub(super) fn ignored(&self, path: &str, is_folder: bool) -> Option<String> {
        let own = || self.ignoring.rules().about(path, is_folder).filter(|rule| rule.ignores);
        self.inherited.clone().or_else(|| own().map(|rule| rule.pattern))
    }

    /// Whether the folder at `path` is to be looked into although it is ignored.
    pub(super) fn looks_into(&self, path: &str) -> bool {
        self.ignoring.is_descended(path)
    }
}

/// The rules about what is at `path` in the folder at `root`: those that lie in the folders above it.
#[must_use]
pub fn rules_about(root: &Path, path: &str) -> Rules {
    let mut rules = Rules::default();
    let cuts = path.match_indices('/').map(|(cut, _)| &path[..cut]);
    for folder in std::iter::once("").chain(cuts) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = fs::open(root.join(folder), flags, Mode::empty());
        rules.set(folder, opened.ok().and_then(|opened| text_in(&opened)).as_deref());
    }
    rules
}

/// What the file of rules in a folder says. A symlink of that name is none, as for git.
fn text_in(folder: &impl AsFd) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::openat(folder, RULES_FILE, flags, Mode::empty()).ok()?;
    let is_file = |stat: fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    fs::fstat(&file).ok().filter(|stat| is_file(*stat))?;
    let mut text = Vec::new();
    File::from(file).take(RULES_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}
