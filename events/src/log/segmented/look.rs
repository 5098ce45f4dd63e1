//! Looking at a log without changing anything: no tail is moved aside, no index made, no witness written.

use super::{Verify, catch_up::believable, damage, index::LogIndex, verify};
use crate::{
    log::LogError,
    segment::{Mark, SegmentConfig, SegmentDisk, SegmentReader, Segments, Unfinished, Witness},
};
use std::sync::Arc;

/// A log that was found whole so far, and is left as it was.
pub struct Look {
    reader: SegmentReader,
    /// The end of its last whole group.
    pub end: Mark,
    /// What a crash cut off behind that: never acknowledged, and moved aside when the log is next opened.
    pub unfinished: Option<Unfinished>,
    /// What the witness of its end says.
    pub witness: Witness,
    /// Up to where the index says that it is complete, or why it is not believed.
    index: Result<(Mark, u64), String>,
}

/// Looks at the log in `disk`, with its witness in `witness`. `index` may be a copy; it is only read.
///
/// # Errors
/// As for [`SegmentLog::open`](super::SegmentLog::open).
pub fn look(
    disk: Arc<dyn SegmentDisk>,
    witness: &dyn SegmentDisk,
    config: SegmentConfig,
    index: Option<&dyn LogIndex>,
) -> Result<Look, LogError> {
    let witness = Witness::read(witness, config.owner).map_err(|error| damage(error.into()))?;
    let index = match index.map(|index| believable(index, config.owner)) {
        Some((Some(complete), _)) => Ok((complete.mark, complete.records)),
        Some((None, why)) => Err(why.unwrap_or_default()),
        None => Err("there was no index".into()),
    };
    let complete = index.as_ref().ok().map(|(mark, _)| *mark);
    let known: Vec<Mark> = witness.mark().into_iter().chain(complete).collect();
    let (segments, unfinished) = Segments::look(disk, config, &known).map_err(damage)?;
    Ok(Look { reader: segments.reader(), end: segments.end(), unfinished, witness, index })
}

impl Look {
    /// Every record in log order, everything about it checked but signatures. Ends with the first damage.
    #[must_use]
    pub fn verify(&self) -> Verify {
        Verify::new(self.reader.frames(self.end))
    }

    /// Whether `index` says what it should of every record that it says it knows. One that is missing, behind or not
    /// to be believed says nothing false: it is made up for when the log is opened.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where the log is, [`LogError::Unavailable`] where the index differs.
    pub fn verify_index(&self, index: &dyn LogIndex) -> Result<(), LogError> {
        let Ok((mark, records)) = self.index else { return Ok(()) };
        if mark.place.0 == 0 {
            return Ok(());
        }
        let known = Verify::new(self.reader.frames(mark));
        if verify::compare_index(index, known, mark == self.end)? == records {
            Ok(())
        } else {
            Err(LogError::Unavailable { what: "the index counts other records than the log has".into() })
        }
    }
}
