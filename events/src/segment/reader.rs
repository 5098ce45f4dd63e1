//! Reading segments: one frame by its place, or all of them in order. Whatever is read is checked first.

use super::{
    Mark, Place, SegmentConfig, SegmentError, damaged,
    disk::{SegmentDisk, SegmentFile},
    file_name, file_number,
    layout::{self, FILE_HEADER, FRAME_HEADER, FileHeader, GROUP_HEADER, GroupHeader, SEGMENT_FORMAT},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// How much of a frame is fetched before its length is known.
const FIRST_READ: usize = 4096;

/// Reads what is durable, beside the one writer. Cheap to clone.
#[derive(Clone)]
pub struct SegmentReader {
    disk: Arc<dyn SegmentDisk>,
    config: SegmentConfig,
    files: Arc<Mutex<BTreeMap<u32, Arc<dyn SegmentFile>>>>,
}

/// A frame and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its place, by which it can be read again.
    pub place: Place,
    /// What was appended.
    pub bytes: Vec<u8>,
}

impl SegmentReader {
    pub(super) fn new(disk: Arc<dyn SegmentDisk>, config: SegmentConfig) -> Self {
        Self { disk, config, files: Arc::default() }
    }

    /// The frame at `place`, which an append or a [`Frame`] has named.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`] where the bytes are not what was written.
    pub fn read(&self, place: Place) -> Result<Vec<u8>, SegmentError> {
        let file = self.file(place.number())?;
        let mut first = vec![0; FIRST_READ];
        let got = file.read_at(place.offset(), &mut first)?;
        first.truncate(got);
        let missing = || damaged(place, "there is no frame here");
        let header: [u8; FRAME_HEADER] =
            first.get(..FRAME_HEADER).ok_or_else(missing)?.try_into().expect("FRAME_HEADER bytes");
        let length = layout::frame_length(header[..4].try_into().expect("4 bytes"))
            .map_err(|what| damaged(place, what))?
            .ok_or_else(missing)?;
        first.drain(..FRAME_HEADER);
        let mut payload = first;
        let had = payload.len().min(length);
        payload.resize(length, 0);
        if had < length {
            let rest = file.read_at(place.offset() + (FRAME_HEADER + had) as u64, &mut payload[had..])?;
            if had + rest < length {
                return Err(damaged(place, "a frame runs past the end of its segment"));
            }
        }
        layout::check_frame(&header, &payload).map_err(|what| damaged(place, what))?;
        Ok(payload)
    }

    /// All frames up to `end`, with every checksum and the chain checked.
    pub fn frames(&self, end: Mark) -> Frames {
        Frames::new(self.clone(), end, None)
    }

    /// The frames that follow the group that ends at `mark`, up to `end`.
    ///
    /// # Errors
    /// [`SegmentError::Damaged`] where no group with that chain ends.
    pub fn frames_past(&self, mark: Mark, end: Mark) -> Result<Frames, SegmentError> {
        self.check_mark(mark)?;
        Ok(Frames::new(self.clone(), end, Some(mark)))
    }

    /// The frames after the one at `place`, up to `end`.
    ///
    /// # Errors
    /// [`SegmentError`] where the rest of its group cannot be read.
    pub fn frames_after(&self, place: Place, end: Mark) -> Result<Frames, SegmentError> {
        if place.0 == 0 {
            return Ok(self.frames(end));
        }
        let mut rest = VecDeque::new();
        let mut at = place;
        let mut length = self.read(place)?.len();
        loop {
            at = at.plus((FRAME_HEADER + length) as u64);
            let mut next = [0; 4];
            self.read_exact(at, &mut next)?;
            if layout::frame_length(next).map_err(|what| damaged(at, what))?.is_none() {
                break;
            }
            let bytes = self.read(at)?;
            length = bytes.len();
            rest.push_back(Frame { place: at, bytes });
        }
        let trailer_at = Place::new(at.number(), layout::trailer_after(at.offset()));
        let mut bytes = [0; layout::TRAILER];
        self.read_exact(trailer_at, &mut bytes)?;
        let trailer = layout::Trailer::decode(&bytes)
            .ok_or_else(|| damaged(trailer_at, "a trailer does not match its checksum"))?;
        let mark = Mark { place: trailer_at.plus(layout::TRAILER as u64), chain: trailer.chain };
        let mut frames = Frames::new(self.clone(), end, Some(mark));
        frames.ready = rest;
        Ok(frames)
    }

    /// Whether a group with this chain ends at this mark.
    pub(super) fn check_mark(&self, mark: Mark) -> Result<(), SegmentError> {
        let lost = |what| damaged(mark.place, what);
        if !self.numbers()?.contains(&mark.place.number()) {
            return Err(lost("this segment is known to have been there and is gone"));
        }
        let chain = if mark.place.offset() == FILE_HEADER as u64 {
            self.header(mark.place.number())?.chain
        } else {
            let Some(start) = mark.place.offset().checked_sub(layout::TRAILER as u64) else {
                return Err(lost("no group can end here"));
            };
            let mut bytes = [0; layout::TRAILER];
            let file = self.file(mark.place.number())?;
            if file.read_at(start, &mut bytes)? < bytes.len() {
                return Err(lost("groups are known to have been stored up to here and are gone"));
            }
            layout::Trailer::decode(&bytes)
                .ok_or_else(|| lost("a group is known to end here and does not"))?
                .chain
        };
        if chain == mark.chain {
            Ok(())
        } else {
            Err(lost("another history stands here than the one that is known"))
        }
    }

    /// The header of segment `number`, if it is one of this log's.
    pub(super) fn header(&self, number: u32) -> Result<FileHeader, SegmentError> {
        let place = Place::new(number, 0);
        let mut bytes = [0; FILE_HEADER];
        if self.file(number)?.read_at(0, &mut bytes)? < FILE_HEADER {
            return Err(damaged(place, "the file header is cut short"));
        }
        let header = FileHeader::decode(&bytes).map_err(|what| damaged(place, what))?;
        let foreign = |what: String| SegmentError::Foreign { file: file_name(number), what };
        if header.format != SEGMENT_FORMAT {
            return Err(foreign(format!(
                "it has format {}, this release reads {SEGMENT_FORMAT}",
                header.format
            )));
        }
        if header.kind != self.config.kind as u16 || header.owner != self.config.owner {
            return Err(foreign("it belongs to another log".into()));
        }
        if header.number != number {
            return Err(foreign(format!("it was written as {}", file_name(header.number))));
        }
        Ok(header)
    }

    /// The numbers of all segments, sorted.
    pub(super) fn numbers(&self) -> Result<Vec<u32>, SegmentError> {
        Ok(self.disk.list()?.iter().filter_map(|name| file_number(name)).collect())
    }

    pub(super) fn file(&self, number: u32) -> Result<Arc<dyn SegmentFile>, SegmentError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&number) {
            return Ok(file.clone());
        }
        let file: Arc<dyn SegmentFile> = self.disk.open(&file_name(number))?.into();
        // File handles are a limited good; the lowest numbers are the least likely to be read again.
        if files.len() >= 128 {
            files.pop_first();
        }
        files.insert(number, file.clone());
        Ok(file)
    }

    pub(super) fn forget(&self, number: u32) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn read_exact(&self, place: Place, buffer: &mut [u8]) -> Result<(), SegmentError> {
        let file = self.file(place.number())?;
        if file.read_at(place.offset(), buffer)? < buffer.len() {
            return Err(damaged(place, "the segment ends too early"));
        }
        Ok(())
    }
}

/// All frames between two marks. Ends after the first error.
pub struct Frames {
    reader: SegmentReader,
    end: Mark,
    at: At,
    ready: VecDeque<Frame>,
}

/// Where the next group is looked for.
enum At {
    /// The first segment is yet to be found.
    Start,
    /// After a group.
    After(Mark),
    /// Nothing more comes.
    Done,
}

impl Frames {
    fn new(reader: SegmentReader, end: Mark, after: Option<Mark>) -> Self {
        Self { reader, end, at: after.map_or(At::Start, At::After), ready: VecDeque::new() }
    }

    /// Where the group ends that was read last.
    fn mark(&self) -> Option<Mark> {
        match self.at {
            At::After(mark) => Some(mark),
            At::Start | At::Done => None,
        }
    }

    /// The frames of the next group (of the rest of this one, after [`SegmentReader::frames_after`]), and where it
    /// ends.
    pub fn next_group(&mut self) -> Option<Result<(Vec<Frame>, Mark), SegmentError>> {
        if self.ready.is_empty() {
            match self.fetch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.at = At::Done;
                    return Some(Err(error));
                }
            }
        }
        let mark = self.mark().expect("a group was just read");
        Some(Ok((self.ready.drain(..).collect(), mark)))
    }

    /// Reads the next group into `ready`; false at the end.
    fn fetch(&mut self) -> Result<bool, SegmentError> {
        let mark = match self.at {
            At::Done => return Ok(false),
            At::Start => match self.reader.numbers()?.first() {
                Some(first) => self.enter(*first, None)?,
                None => return Ok(false),
            },
            At::After(mark) => mark,
        };
        self.at = At::After(mark);
        if mark.place >= self.end.place {
            if mark != self.end {
                return Err(damaged(mark.place, "the log goes past its end, or has another chain there"));
            }
            return Ok(false);
        }
        let file = self.reader.file(mark.place.number())?;
        if mark.place.number() < self.end.place.number() && mark.place.offset() >= file.len()? {
            let next = self.reader.numbers()?.into_iter().find(|n| *n > mark.place.number());
            let next = next.ok_or_else(|| damaged(mark.place, "the next segment is gone"))?;
            self.at = At::After(self.enter(next, Some(mark))?);
            return self.fetch();
        }
        self.at = At::After(self.read_group(mark)?);
        Ok(true)
    }

    /// The mark before the first group of segment `number`, which follows `previous`.
    fn enter(&self, number: u32, previous: Option<Mark>) -> Result<Mark, SegmentError> {
        let header = self.reader.header(number)?;
        let place = Place::new(number, FILE_HEADER as u64);
        match previous {
            Some(mark) if number == mark.place.number() + 1 && header.chain != mark.chain => {
                Err(damaged(mark.place, "the next segment continues another chain: groups are missing here"))
            }
            Some(mark) if number != mark.place.number() + 1 && !self.reader.config.gaps => {
                Err(damaged(mark.place, "the next segment is gone"))
            }
            None if number != 1 && !self.reader.config.gaps => {
                Err(damaged(Place::new(1, 0), "the first segment is gone"))
            }
            _ => Ok(Mark { place, chain: header.chain }),
        }
    }

    fn read_group(&mut self, mark: Mark) -> Result<Mark, SegmentError> {
        let place = mark.place;
        let mut header = [0; GROUP_HEADER];
        self.reader.read_exact(place, &mut header)?;
        let header = GroupHeader::decode(&header, place)
            .ok_or_else(|| damaged(place, "a group header does not match its checksum"))?;
        let length = header.group_bytes();
        if length > self.reader.file(place.number())?.len()?.saturating_sub(place.offset()) {
            return Err(damaged(place, "a group runs past the end of its segment"));
        }
        let mut bytes = vec![0; usize::try_from(length).expect("a file of that length was read")];
        self.reader.read_exact(place, &mut bytes)?;
        let (frames, chain) =
            layout::check_group(&bytes, place, mark.chain).map_err(|what| damaged(place, what))?;
        self.ready.extend(frames.into_iter().map(|range| Frame {
            place: place.plus((range.start - FRAME_HEADER) as u64),
            bytes: bytes[range].to_vec(),
        }));
        Ok(Mark { place: place.plus(length), chain })
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(Ok(frame));
            }
            match self.fetch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.at = At::Done;
                    return Some(Err(error));
                }
            }
        }
    }
}
