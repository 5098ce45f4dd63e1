//! A row of segments, and beside them a witness of how far it has got.
//!
//! What a crash cuts off was never durable; what somebody cut away, or put back, was. At the end of a group it leaves no
//! trace, and the device would give its next events names that it gave before, and take an old state of its folder for
//! what was agreed on. So now and then the row's end is written down ([`Witness`]), and a row that ends before it is
//! refused. If it is whole in itself it is an old copy of what the device knew, and treated as one.
//!
//! Left out: what was appended since the witness was written, a few groups. Where it was heard of, the log tells.

use super::store_error;
use annals_engine::round::StoreError;
use annals_events::{
    DeviceId,
    segment::{
        Mark, Place, SegmentConfig, SegmentDisk, SegmentError, SegmentKind, SegmentReader, Segments,
        Unfinished, Witness,
    },
};
use std::sync::Arc;

/// So many groups go by before the witness is written again: its syncs are not to be felt.
const GROUPS_PER_WITNESS: u32 = 32;

/// The one writer of a row.
pub(super) struct Row {
    disk: Arc<dyn SegmentDisk>,
    owner: [u8; 16],
    segments: Segments,
    /// What the witness says.
    said: Option<Mark>,
    /// Groups since it was written.
    groups: u32,
}

impl Row {
    /// Opens the row in `disk`, or begins it. What a crash left half written is moved aside. `gaps`: its segments may have
    /// been removed.
    pub(super) fn open(disk: Arc<dyn SegmentDisk>, device: DeviceId, gaps: bool) -> Result<Self, StoreError> {
        let said = witness(&*disk, device)?;
        let known: Vec<Mark> = said.into_iter().collect();
        let (segments, torn) =
            Segments::open(disk.clone(), config_of(device, gaps), &known).map_err(at(&*disk))?;
        if let Some(torn) = torn {
            tracing::info!(place = %torn.place, bytes = torn.bytes, file = torn.file, "a write that a crash cut off was moved aside");
        }
        let mut row = Self { disk, owner: device.0, segments, said, groups: 0 };
        // Where it cannot be written, the one that is there vouches for less.
        drop(row.vouch());
        Ok(row)
    }

    /// As [`open`](Self::open), to be looked at: nothing is changed. With what a crash cut off.
    pub(super) fn look(
        disk: Arc<dyn SegmentDisk>,
        device: DeviceId,
        gaps: bool,
    ) -> Result<(Self, Option<Unfinished>), StoreError> {
        let said = witness(&*disk, device)?;
        let known: Vec<Mark> = said.into_iter().collect();
        let (segments, cut_off) =
            Segments::look(disk.clone(), config_of(device, gaps), &known).map_err(at(&*disk))?;
        Ok((Self { disk, owner: device.0, segments, said, groups: 0 }, cut_off))
    }

    /// Appends frames in groups of about `group_bytes`; each group is durable as one.
    pub(super) fn append(
        &mut self,
        frames: impl IntoIterator<Item = Vec<u8>>,
        group_bytes: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let (mut places, mut group, mut bytes) = (Vec::new(), Vec::<Vec<u8>>::new(), 0);
        for frame in frames {
            if bytes + frame.len() > group_bytes && !group.is_empty() {
                places.extend(self.append_group(&std::mem::take(&mut group))?);
                bytes = 0;
            }
            bytes += frame.len() + 64;
            group.push(frame);
        }
        if !group.is_empty() {
            places.extend(self.append_group(&group)?);
        }
        Ok(places)
    }

    fn append_group(&mut self, group: &[Vec<u8>]) -> Result<Vec<Place>, StoreError> {
        let frames: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
        self.groups += 1;
        self.segments.append(&frames).map_err(at(&*self.disk))
    }

    /// Writes down how far it has got, if it has got further.
    pub(super) fn vouch(&mut self) -> Result<(), StoreError> {
        let end = self.segments.end();
        if end.place.0 == 0 || self.said == Some(end) {
            return Ok(());
        }
        Witness::write(&*self.disk, self.owner, end).map_err(|error| at(&*self.disk)(error.into()))?;
        (self.said, self.groups) = (Some(end), 0);
        Ok(())
    }

    /// The same, unless that was done a moment ago.
    pub(super) fn vouch_if_due(&mut self) -> Result<(), StoreError> {
        if self.groups < GROUPS_PER_WITNESS { Ok(()) } else { self.vouch() }
    }

    /// Begins another segment with the next group.
    pub(super) fn roll(&mut self) {
        self.segments.roll();
    }

    /// Removes segments that nobody needs any more, the last one aside.
    pub(super) fn remove(&mut self, numbers: &[u32]) -> Result<(), StoreError> {
        // Nothing that the witness speaks of may go.
        self.vouch()?;
        numbers.iter().try_for_each(|number| self.segments.remove(*number).map_err(at(&*self.disk)))
    }

    pub(super) fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        self.segments.numbers().map_err(at(&*self.disk))
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        self.disk.place()
    }

    pub(super) fn end(&self) -> Mark {
        self.segments.end()
    }

    pub(super) fn reader(&self) -> SegmentReader {
        self.segments.reader()
    }
}

/// Whether the row in `disk` is whole in itself, whatever its witness says.
pub(super) fn is_whole(disk: Arc<dyn SegmentDisk>, device: DeviceId, gaps: bool) -> bool {
    Segments::look(disk, config_of(device, gaps), &[]).is_ok()
}

/// What the witness says, if there is one to be believed.
fn witness(disk: &dyn SegmentDisk, device: DeviceId) -> Result<Option<Mark>, StoreError> {
    let witness = Witness::read(disk, device.0).map_err(|error| at(disk)(error.into()))?;
    if let Witness::Unusable(what) = &witness {
        tracing::warn!(place = disk.place(), what, "the witness of how far a row has got cannot be believed");
    }
    Ok(witness.mark())
}

fn at(disk: &dyn SegmentDisk) -> impl Fn(SegmentError) -> StoreError {
    move |error| store_error(&disk.place(), error)
}

fn config_of(device: DeviceId, gaps: bool) -> SegmentConfig {
    SegmentConfig { gaps, ..SegmentConfig::new(SegmentKind::Journal, device.0) }
}
