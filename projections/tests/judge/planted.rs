//! Each mistake that can be planted into the folds, and the expectation that must catch it.

use super::{Expectation, Expectation::*, Picture};
use crate::history::History;
use annals_projections::mistakes::{Mistake, Mistake::*, making};

/// By which expectation a mistake is noticed first of all.
pub const CAUGHT_BY: [(Mistake, Expectation); 17] = [
    (PulledIsSeen, MovedFolderKeepsContents),
    (NothingIsCarriedAway, MovedFolderKeepsContents),
    (RenameRevives, DeleteSurvivesRenameAbove),
    (UnseenIsCarriedAway, DeleteHidesWhatWasSeen),
    (DeletedForGood, UnseenContentStays),
    (DeleteIsVoidAsAWhole, NothingElseChanges),
    (RestoreLiftsAll, DeleteThenRestore),
    (RestoreLiftsNothing, DeleteThenRestore),
    (LatestHeadWins, UnseenContentStays),
    (NamesFollowTheLatestEdit, EditChangesOneFile),
    (DropBeatsKeep, ResolutionCanBeUndone),
    (NamesakesAreTwins, UnseenContentStays),
    (NamesakesShareTheName, OnePathOneThing),
    (DeadFoldersVanish, OnePathOneThing),
    (LastArrivalWins, SameEventsSameFolder),
    (TagRemovalWins, AttributesOfOneEntry),
    (LastNoteWins, AttributesOfOneEntry),
];

/// Within how many histories each is caught.
pub const HISTORIES: u64 = 400;

/// The first history in which `mistake` goes against `expectation`; the judge sees nothing but the folds.
pub fn caught(mistake: Mistake, expectation: Expectation) -> Option<(u64, String)> {
    (0..HISTORIES).find_map(|seed| {
        let look = |sight: &crate::history::Sight| making(mistake, || Picture::of_projections(sight));
        let played = History::of_seed(seed).play(&look);
        let failure = played.failures.into_iter().find(|failure| failure.expectation == expectation)?;
        Some((seed, failure.claim))
    })
}
