//! The streams in sled 0.34: a cache of what the segments say, never more.
//!
//! sled is not durable when it says so, and may fail to open after a crash. Neither matters here: an index that
//! cannot be opened or read is set aside, and everything is made anew from the segments.

use super::folder::OpenError;
use crate::log::segmented::{IndexError, LogIndex, Pair, Pairs, Tree, Write};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// sled takes a few times as much.
const CACHE_BYTES: u64 = 32 << 20;
/// How often sled writes out what it has: what it loses with the power is read again from the segments, and a server at rest
/// shall rest.
const FLUSH_MS: u64 = 30_000;

/// The index in a folder.
pub struct SledIndex {
    db: sled::Db,
    trees: [sled::Tree; Tree::ALL.len()],
    /// Made when the index has failed: the next opening sets it aside.
    failed: PathBuf,
}

impl SledIndex {
    /// Opens the index in `path`, or makes an empty one; if it is there and can't be used, why it was set aside (as
    /// `path.damaged`).
    ///
    /// # Errors
    /// [`OpenError::Folder`] where there can't be one. One that is there and only lacks room stays where it is.
    pub fn open(path: &Path) -> Result<(Self, Option<String>), OpenError> {
        let reason = match Self::try_open(path) {
            Ok(index) => return Ok((index, None)),
            Err(Trouble::Full(reason)) => {
                return Err(OpenError::Folder(format!("{}: {reason}", path.display())));
            }
            Err(Trouble::Unusable(reason)) => reason,
        };
        let aside = path.with_extension("damaged");
        let set_aside = || -> std::io::Result<()> {
            if aside.exists() {
                fs::remove_dir_all(&aside)?;
            }
            fs::rename(path, &aside)
        };
        set_aside().map_err(|error| OpenError::Folder(format!("{}: {error}", path.display())))?;
        let index = Self::try_open(path).map_err(|trouble| OpenError::Folder(trouble.into_text()))?;
        Ok((index, Some(reason)))
    }

    fn try_open(path: &Path) -> Result<Self, Trouble> {
        let failed = path.join("failed");
        if failed.exists() {
            return Err(Trouble::Unusable("it had failed when it was last used".into()));
        }
        wait_for_last_user(path);
        // Damaged files make sled panic as well as fail.
        let open = || {
            sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_MS)).open()
        };
        let db = guarded(open)?;
        let open = |tree: Tree| guarded(|| db.open_tree(name(tree)));
        let trees = [
            open(Tree::ALL[0])?,
            open(Tree::ALL[1])?,
            open(Tree::ALL[2])?,
            open(Tree::ALL[3])?,
            open(Tree::ALL[4])?,
            open(Tree::ALL[5])?,
        ];
        Ok(Self { db, trees, failed })
    }

    /// Brings what was written to the disk, as far as sled does that.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn flush(&self) -> Result<(), IndexError> {
        Ok(guarded(|| self.db.flush()).map(drop)?)
    }

    fn tree(&self, tree: Tree) -> &sled::Tree {
        &self.trees[tree as usize]
    }

    /// Runs `ask`; if it fails, the index will be set aside.
    fn ask<T>(&self, ask: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
        Ok(guarded(ask).inspect_err(|_| drop(fs::write(&self.failed, b"")))?)
    }
}

impl LogIndex for SledIndex {
    fn range(&self, tree: Tree, from: &[u8], to: &[u8], count_max: usize) -> Result<Pairs, IndexError> {
        self.ask(|| {
            let pairs = self.tree(tree).range(from..=to).take(count_max);
            pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    fn last(&self, tree: Tree, from: &[u8], to: &[u8]) -> Result<Option<Pair>, IndexError> {
        self.ask(|| {
            let pair = self.tree(tree).range(from..=to).next_back().transpose()?;
            Ok(pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
        })
    }

    fn count(&self, tree: Tree) -> Result<u64, IndexError> {
        self.ask(|| Ok(self.tree(tree).len() as u64))
    }

    fn write(&self, writes: &[Write]) -> Result<(), IndexError> {
        self.ask(|| {
            // The mark is the last of all.
            for tree in Tree::ALL {
                let mut batch = sled::Batch::default();
                let of_tree = writes.iter().filter(|write| write.tree == tree);
                of_tree.for_each(|write| batch.insert(&write.key[..], &write.value[..]));
                self.tree(tree).apply_batch(batch)?;
            }
            Ok(())
        })
    }

    fn clear(&self) -> Result<(), IndexError> {
        // The mark is the first to go.
        self.ask(|| Tree::ALL.iter().rev().try_for_each(|tree| self.tree(*tree).clear()))
    }
}

/// sled's threads keep its file locked for a moment after it was closed, and opening it then fails as if it were
/// damaged. The log's own lock keeps everybody else out, so this wait ends.
pub(super) fn wait_for_last_user(path: &Path) {
    if let Ok(db) = fs::File::open(path.join("db")) {
        drop(db.lock());
    }
}

/// What keeps sled from doing what it is asked.
enum Trouble {
    /// Its disk has no room; what is there may be good.
    Full(String),
    /// What is there is no good.
    Unusable(String),
}

impl Trouble {
    fn into_text(self) -> String {
        match self {
            Self::Full(text) | Self::Unusable(text) => text,
        }
    }
}

impl From<sled::Error> for Trouble {
    fn from(error: sled::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match &error {
            sled::Error::Io(why) if matches!(why.kind(), StorageFull | QuotaExceeded) => {
                Self::Full(error.to_string())
            }
            _ => Self::Unusable(error.to_string()),
        }
    }
}

impl From<Trouble> for IndexError {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.into_text())
    }
}

fn guarded<T>(run: impl FnOnce() -> sled::Result<T>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Trouble::Unusable("sled panicked over its files".into())),
    }
}

fn name(tree: Tree) -> &'static str {
    match tree {
        Tree::Namespace => "namespace",
        Tree::Entry => "entry",
        Tree::Device => "device",
        Tree::Dot => "dot",
        Tree::Head => "head",
        Tree::Mark => "mark",
    }
}
