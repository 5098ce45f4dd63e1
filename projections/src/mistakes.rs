//! Mistakes that can be planted into the folds, to show that the laws and the expectations in `tests/` catch
//! them: a check that never failed proves nothing.
//!
//! Without the feature `mistakes`, which only this crate's own tests turn on, [`made`] is the constant `false`
//! and nothing of this is left in the program.

use crate::{Projections, entries::EntryIx};

/// A rule got wrong, at the one place that upholds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "mistakes"), expect(unreachable_pub, reason = "public where it can be planted"))]
pub enum Mistake {
    /// What was pulled counts as seen, although the disk did not show it yet.
    PulledIsSeen,
    /// A delete holds what somebody moved away or edited without knowing of it.
    NothingIsCarriedAway,
    /// A rename of a folder carries along what was deleted in it alone.
    RenameRevives,
    /// A move carries along what its author had never seen in the folder.
    UnseenIsCarriedAway,
    /// What is deleted stays deleted, whatever anybody did beside it.
    DeletedForGood,
    /// A delete of a tree is void as soon as one entry of it is edited or moved away.
    DeleteIsVoidAsAWhole,
    /// A restore lifts its deletes from all that they hid.
    RestoreLiftsAll,
    /// A restore lifts nothing.
    RestoreLiftsNothing,
    /// Of concurrent edits the later wins.
    LatestHeadWins,
    /// Which head has the plain name follows from its own time instead of its branch's.
    NamesFollowTheLatestEdit,
    /// What one resolution dropped is gone, although another kept it.
    DropBeatsKeep,
    /// Files of one name count as twins whatever they hold.
    NamesakesAreTwins,
    /// Files of one name get no suffix.
    NamesakesShareTheName,
    /// A deleted folder is not shown, although something in it lives.
    DeadFoldersVanish,
    /// The move that arrives last wins.
    LastArrivalWins,
    /// Removing a tag wins against adding it.
    TagRemovalWins,
    /// A note replaces those that its author never saw.
    LastNoteWins,
}

#[cfg(feature = "mistakes")]
impl Mistake {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::PulledIsSeen,
        Self::NothingIsCarriedAway,
        Self::RenameRevives,
        Self::UnseenIsCarriedAway,
        Self::DeletedForGood,
        Self::DeleteIsVoidAsAWhole,
        Self::RestoreLiftsAll,
        Self::RestoreLiftsNothing,
        Self::LatestHeadWins,
        Self::NamesFollowTheLatestEdit,
        Self::DropBeatsKeep,
        Self::NamesakesAreTwins,
        Self::NamesakesShareTheName,
        Self::DeadFoldersVanish,
        Self::LastArrivalWins,
        Self::TagRemovalWins,
        Self::LastNoteWins,
    ];
}

/// Whether a mistake is planted.
#[cfg(not(feature = "mistakes"))]
pub(crate) const fn made(_: Mistake) -> bool {
    false
}

#[cfg(feature = "mistakes")]
pub(crate) use planted::made;
#[cfg(feature = "mistakes")]
pub use planted::making;

#[cfg(feature = "mistakes")]
mod planted {
    use super::Mistake;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    pub(crate) fn made(mistake: Mistake) -> bool {
        PLANTED.get() == Some(mistake)
    }

    /// Runs `folding` with a mistake planted, on this thread alone.
    pub fn making<R>(mistake: Mistake, folding: impl FnOnce() -> R) -> R {
        struct Uproot;
        impl Drop for Uproot {
            fn drop(&mut self) {
                PLANTED.set(None);
            }
        }
        let _uproot = Uproot;
        PLANTED.set(Some(mistake));
        folding()
    }
}

impl Projections {
    /// [`Mistake::DeleteIsVoidAsAWhole`].
    pub(crate) fn void_delete(&mut self, delete: u32) {
        let hidden = self.deletes[delete as usize].hides.iter().filter_map(|dot| self.devices.index(dot));
        let entries: Vec<EntryIx> = hidden.filter_map(|dot| self.entry_of(dot)).collect();
        for entry in entries {
            let held = self.entries.rich_mut(entry).holds.iter_mut();
            held.filter(|hold| hold.delete == delete).for_each(|hold| hold.carried = true);
            self.review(entry);
        }
    }
}
