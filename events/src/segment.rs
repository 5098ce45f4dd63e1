//! Append-only, checksummed, synced files: the one place that writes truth. The log, the chunk packs and a
//! client's journal are all kept in them.
//!
//! [`Segments`] is the one writer: [`append`](Segments::append) writes a group of frames and answers when it is
//! durable. [`SegmentReader`] reads beside it. What must always hold: what was acknowledged is there after any
//! crash, byte by byte, or is reported as damaged with its place (I1); nothing is skipped and nothing that
//! was read from a disk is thrown away (a torn tail is moved aside); after a sync that failed nothing is written
//! any more, because nobody knows what the disk holds. The bytes are described in `layout.rs` and in
//! `docs/format.md`; where a row ends and what becomes of what follows, in `ending.rs`; how a torn tail is told from
//! damage, in `tail.rs`.
//!
//! Left out: what frames mean, who locks the folder against a second process, and threads.

pub mod disk;
mod ending;
#[cfg(feature = "embedded")]
mod folder;
#[cfg(feature = "contract")]
mod forgetful;
mod layout;
mod reader;
mod tail;
mod witness;

pub use disk::{DiskError, SegmentDisk, SegmentFile};
#[cfg(feature = "embedded")]
pub use folder::FolderDisk;
#[cfg(feature = "embedded")]
pub(crate) use folder::make_folder;
#[cfg(feature = "contract")]
pub use forgetful::ForgetfulDisk;
pub use layout::{FRAME_BYTES_MAX, GROUP_BYTES_MAX, SEGMENT_FORMAT};
pub use reader::{Frame, Frames, SegmentReader};
pub use witness::{WITNESS_NAME, Witness};

use crate::id::Hash;
use ending::{End, Left};
use layout::{FILE_HEADER, FileHeader, SEGMENT_FORMAT as FORMAT};
use std::{fmt, sync::Arc};

/// What a row of segments holds. The number stands in every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum SegmentKind {
    /// A server's records.
    Log = 1,
    /// Chunks.
    Chunks = 2,
    /// A device's journal.
    Journal = 3,
}

/// What is the same for all segments of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentConfig {
    /// What they hold.
    pub kind: SegmentKind,
    /// Whose they are: a file of another owner is refused.
    pub owner: [u8; 16],
    /// A segment that has this many bytes is followed by another.
    pub roll_bytes: u64,
    /// Whether segments may have been removed ([`Segments::remove`]).
    pub gaps: bool,
}

impl SegmentConfig {
    /// 64 MiB a segment, none ever removed.
    #[must_use]
    pub fn new(kind: SegmentKind, owner: [u8; 16]) -> Self {
        Self { kind, owner, roll_bytes: 64 << 20, gaps: false }
    }
}

/// Where a frame or the end of a group stands: the segment's number in the upper half, the offset in its file
/// in the lower. Rises along the row; 0 is before everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place(pub u64);

impl Place {
    /// Offset `offset` of segment `number`.
    #[must_use]
    pub fn new(number: u32, offset: u64) -> Self {
        assert!(offset <= u64::from(u32::MAX), "segments roll long before 4 GiB");
        Self(u64::from(number) << 32 | offset)
    }

    /// Which segment.
    #[must_use]
    pub fn number(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Where in its file.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    fn plus(self, bytes: u64) -> Self {
        Self::new(self.number(), self.offset() + bytes)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", file_name(self.number()), self.offset())
    }
}

/// The end of a group: where, and the running hash there. Whoever keeps one can tell later whether anything
/// before it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark {
    /// Past the group's last byte.
    pub place: Place,
    /// The running hash over all groups up to there.
    pub chain: Hash,
}

/// Why segments could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Stored bytes are not what was written.
    #[error("damaged: {place}: {what}")]
    Damaged {
        /// Where.
        place: Place,
        /// What is wrong.
        what: String,
    },
    /// A file of another format, kind or owner.
    #[error("{file} cannot be used here: {what}")]
    Foreign {
        /// Which.
        file: String,
        /// Why not.
        what: String,
    },
    /// A frame or a group over its limit, or an empty one. Nothing was written.
    #[error("a {what} of {bytes} bytes cannot be stored, the limit is {max}")]
    Size {
        /// Frame or group.
        what: &'static str,
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// No room. Nothing was stored; appending goes on once there is room.
    #[error("no space left in {place}")]
    Full {
        /// Where.
        place: String,
    },
    /// A write may or may not be durable, so nothing is written any more. Opening again shows what is there.
    #[error("writing has stopped: {what}")]
    Stopped {
        /// What failed.
        what: String,
    },
    /// The disk could not be asked. Nothing was written.
    #[error("{0}")]
    Disk(DiskError),
}

impl From<DiskError> for SegmentError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Full { place } => Self::Full { place },
            failed @ DiskError::Failed { .. } => Self::Disk(failed),
        }
    }
}

/// Bytes of a write that a crash cut off, moved aside when the segments were opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where they stood.
    pub place: Place,
    /// How many.
    pub bytes: u64,
    /// The file that keeps them.
    pub file: String,
}

/// Bytes of a write that a crash cut off, where it left them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Where they stand.
    pub place: Place,
    /// How many.
    pub bytes: u64,
}

/// The writer of a row of segments.
pub struct Segments {
    disk: Arc<dyn SegmentDisk>,
    config: SegmentConfig,
    reader: SegmentReader,
    end: Mark,
    /// The last segment; none until the first append makes the first.
    file: Option<Arc<dyn SegmentFile>>,
    stopped: Option<String>,
    /// What a crash left behind the end, where there was no room to move it aside.
    left: Option<Left>,
}

impl Segments {
    /// Opens the segments in `disk`, or begins there if it has none. Reads the last segment in full and of the
    /// others how they hang together. Ends of groups that the caller knows to have been stored (`known`) must
    /// still be there. What a crash cut off is moved aside; without room for that it stays where it is, in nobody's way,
    /// until an append finds some.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`] and [`SegmentError::Foreign`]; nothing has been changed then.
    pub fn open(
        disk: Arc<dyn SegmentDisk>,
        config: SegmentConfig,
        known: &[Mark],
    ) -> Result<(Self, Option<Torn>), SegmentError> {
        let (mut segments, end) = Self::find(disk, config, known)?;
        let Some(end) = end else { return Ok((segments, None)) };
        segments.left = end.left();
        let torn = match segments.move_left_aside() {
            Err(SegmentError::Full { .. }) => None,
            moved => moved?,
        };
        segments.make_durable()?;
        Ok((segments, torn))
    }

    /// As [`open`](Self::open), for whoever wants to know and to change nothing: what a crash cut off stays where it
    /// is, and nothing can be written.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn look(
        disk: Arc<dyn SegmentDisk>,
        config: SegmentConfig,
        known: &[Mark],
    ) -> Result<(Self, Option<Unfinished>), SegmentError> {
        let (mut segments, end) = Self::find(disk, config, known)?;
        segments.stopped = Some("it was opened to be looked at".into());
        let unfinished = match end {
            None | Some(End::Whole(_)) => None,
            Some(End::TornTail(mark, bytes)) => Some(Unfinished { place: mark.place, bytes }),
            Some(End::TornFile(_, number)) => {
                let bytes = segments.reader.file(number)?.len()?;
                Some(Unfinished { place: Place::new(number, 0), bytes })
            }
        };
        Ok((segments, unfinished))
    }

    /// Finds the end of the row; none where there is no row yet. Changes nothing.
    fn find(
        disk: Arc<dyn SegmentDisk>,
        config: SegmentConfig,
        known: &[Mark],
    ) -> Result<(Self, Option<End>), SegmentError> {
        let reader = SegmentReader::new(disk.clone(), config);
        let numbers = reader.numbers()?;
        let mut segments =
            Self { disk, config, reader, end: Mark::default(), file: None, stopped: None, left: None };
        let Some(&last) = numbers.last() else {
            return match known.iter().find(|mark| mark.place.0 > 0) {
                Some(mark) => Err(damaged(mark.place, "all segments are gone")),
                None => Ok((segments, None)),
            };
        };
        segments.check_row(&numbers)?;
        let end = segments.find_end(last)?;
        segments.settle(end.mark(), known)?;
        Ok((segments, Some(end)))
    }

    /// Writes `frames` as one group and makes it durable; answers where each of them stands.
    ///
    /// # Errors
    /// After [`SegmentError::Full`], [`SegmentError::Size`] and [`SegmentError::Disk`] nothing was stored and the
    /// next append may succeed. After [`SegmentError::Stopped`] it is not known, and nothing is accepted any more.
    pub fn append(&mut self, frames: &[&[u8]]) -> Result<Vec<Place>, SegmentError> {
        if let Some(what) = &self.stopped {
            return Err(SegmentError::Stopped { what: what.clone() });
        }
        check_sizes(frames)?;
        let file = self.file_to_write()?;
        let group = layout::encode_group(self.end.place, self.end.chain, frames);
        if let Err(error) = file.append(&group.bytes) {
            self.take_back(&*file)?;
            return Err(error.into());
        }
        if let Err(error) = file.sync() {
            return Err(self.stop(&error));
        }
        self.end = Mark { place: self.end.place.plus(group.bytes.len() as u64), chain: group.chain };
        Ok(group.places)
    }

    /// The end of the last durable group.
    #[must_use]
    pub fn end(&self) -> Mark {
        self.end
    }

    /// Reads beside this writer.
    #[must_use]
    pub fn reader(&self) -> SegmentReader {
        self.reader.clone()
    }

    /// The numbers of all segments, sorted; the last is being written.
    ///
    /// # Errors
    /// [`SegmentError::Disk`].
    pub fn numbers(&self) -> Result<Vec<u32>, SegmentError> {
        self.reader.numbers()
    }

    /// Ends the last segment: the next append begins another.
    pub fn roll(&mut self) {
        self.file = None;
    }

    /// Begins the next segment now, with nothing in it, so that the one that was last can be removed.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub fn begin_next(&mut self) -> Result<(), SegmentError> {
        if let Some(what) = &self.stopped {
            return Err(SegmentError::Stopped { what: what.clone() });
        }
        self.roll();
        self.file_to_write().map(drop)
    }

    /// Removes a segment that nobody needs any more.
    ///
    /// # Errors
    /// [`SegmentError::Disk`].
    ///
    /// # Panics
    /// For a row in which [`SegmentConfig::gaps`] allows no gaps, and for the segment that is being written: mistakes of
    /// the caller.
    pub fn remove(&mut self, number: u32) -> Result<(), SegmentError> {
        assert!(self.config.gaps, "segments of a log are never removed");
        assert!(number != self.end.place.number(), "the segment that is being written stays");
        if let Some(what) = &self.stopped {
            return Err(SegmentError::Stopped { what: what.clone() });
        }
        self.reader.forget(number);
        self.disk.remove(&file_name(number))?;
        Ok(self.disk.sync_names()?)
    }

    /// The last segment, or a new one if that has its size. A new one is durable before anything is put in.
    fn file_to_write(&mut self) -> Result<Arc<dyn SegmentFile>, SegmentError> {
        self.move_left_aside()?;
        if let Some(file) = self.file.clone()
            && self.end.place.offset() < self.config.roll_bytes
        {
            return Ok(file);
        }
        let number = self.end.place.number() + 1;
        let name = file_name(number);
        let header = FileHeader {
            format: FORMAT,
            kind: self.config.kind as u16,
            owner: self.config.owner,
            number,
            chain: self.end.chain,
        };
        let file = self.disk.create(&name)?;
        if let Err(error) = file.append(&header.encode()) {
            if let Err(undo) = self.disk.remove(&name).and_then(|()| self.disk.sync_names()) {
                return Err(self.stop(&undo));
            }
            return Err(error.into());
        }
        if let Err(error) = file.sync().and_then(|()| self.disk.sync_names()) {
            return Err(self.stop(&error));
        }
        drop(file);
        self.reader.forget(number);
        let file = self.reader.file(number)?;
        self.end.place = Place::new(number, FILE_HEADER as u64);
        self.file = Some(file.clone());
        Ok(file)
    }

    /// Cuts away what a failed append left, durably, so that what follows a group always proves it was whole.
    fn take_back(&mut self, file: &dyn SegmentFile) -> Result<(), SegmentError> {
        file.cut(self.end.place.offset()).and_then(|()| file.sync()).map_err(|error| self.stop(&error))
    }

    fn stop(&mut self, error: &DiskError) -> SegmentError {
        let what = error.to_string();
        self.stopped = Some(what.clone());
        SegmentError::Stopped { what }
    }
}

fn check_sizes(frames: &[&[u8]]) -> Result<(), SegmentError> {
    let size = |what, bytes, max| Err(SegmentError::Size { what, bytes, max });
    if let Some(frame) = frames.iter().find(|frame| frame.is_empty() || frame.len() > FRAME_BYTES_MAX) {
        return size("frame", frame.len(), FRAME_BYTES_MAX);
    }
    match frames.iter().map(|frame| frame.len() + layout::FRAME_HEADER).sum() {
        bytes if bytes == 0 || bytes > GROUP_BYTES_MAX => size("group", bytes, GROUP_BYTES_MAX),
        _ => Ok(()),
    }
}

fn damaged(place: Place, what: &str) -> SegmentError {
    SegmentError::Damaged { place, what: what.into() }
}

/// The name of segment `number`.
#[must_use]
pub fn file_name(number: u32) -> String {
    format!("{number:08}.segment")
}

fn file_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".segment")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

#[cfg(all(test, feature = "contract"))]
mod tests;
