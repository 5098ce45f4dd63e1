//! How a row of segments ends: where its last whole group is, what follows that, and what becomes of it.
//!
//! What must always hold: a row that does not hang together, or ends before what is known to have been stored, is damaged
//! (I1); what a crash left behind the end is moved aside, never thrown away, and before anything is put there. How a torn
//! tail is told from damage says `tail`.

use super::{
    Mark, Place, SegmentError, Segments, Torn, damaged, file_name,
    layout::{self, FILE_HEADER},
    tail::{self, Tail},
};

/// How the last segment ends.
pub(super) enum End {
    Whole(Mark),
    /// Whole up to the mark; so many bytes follow.
    TornTail(Mark, u64),
    /// The file of this number has not even a header; the row ends at the mark before it.
    TornFile(Mark, u32),
}

impl End {
    pub(super) fn mark(&self) -> Mark {
        match self {
            Self::Whole(mark) | Self::TornTail(mark, _) | Self::TornFile(mark, _) => *mark,
        }
    }

    pub(super) fn left(&self) -> Option<Left> {
        match self {
            Self::Whole(_) => None,
            Self::TornTail(..) => Some(Left::Tail),
            Self::TornFile(_, number) => Some(Left::File(*number)),
        }
    }
}

/// What a crash left behind the end of a row.
#[derive(Clone, Copy)]
pub(super) enum Left {
    /// Bytes, in the last file.
    Tail,
    /// The file of this number, without a header.
    File(u32),
}

impl Segments {
    /// Numbers without gaps, headers of this row, and each segment begins with the chain that the one before ended
    /// with.
    pub(super) fn check_row(&self, numbers: &[u32]) -> Result<(), SegmentError> {
        let sealed = &numbers[..numbers.len() - 1];
        if !self.config.gaps && numbers[0] != 1 {
            return Err(damaged(Place::new(1, 0), "the first segment is gone"));
        }
        for (&number, &next) in sealed.iter().zip(&numbers[1..]) {
            self.reader.header(number)?;
            if next != number + 1 {
                if self.config.gaps {
                    continue;
                }
                return Err(damaged(Place::new(number + 1, 0), "this segment is gone"));
            }
            let length = self.reader.file(number)?.len()?;
            let end = Place::new(number, length);
            // The last may be a file that a crash left without its header; that is judged later.
            let chain = match self.reader.header(next) {
                Ok(header) => header.chain,
                Err(error) if next == numbers[numbers.len() - 1] && self.is_headless(next)? => {
                    drop(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if self.reader.check_mark(Mark { place: end, chain }).is_err() {
                // Where exactly, a look at the whole of it may tell.
                self.find_end(number)?;
                return Err(damaged(end, "the end of this segment is not what the next one continues"));
            }
        }
        Ok(())
    }

    /// Whether a crash cut off the making of this file: no header, or nothing but zeros.
    fn is_headless(&self, number: u32) -> Result<bool, SegmentError> {
        let mut bytes = vec![0; FILE_HEADER + 1];
        let got = self.reader.file(number)?.read_at(0, &mut bytes)?;
        Ok(got < FILE_HEADER || (got == FILE_HEADER && bytes.iter().all(|byte| *byte == 0)))
    }

    /// Reads the last segment to the end of its last whole group, and judges what follows.
    pub(super) fn find_end(&self, last: u32) -> Result<End, SegmentError> {
        if self.is_headless(last)? {
            return Ok(End::TornFile(self.end_before(last)?, last));
        }
        let header = self.reader.header(last)?;
        let file = self.reader.file(last)?;
        let bytes_len = usize::try_from(file.len()?).expect("segments are below 4 GiB");
        let mut bytes = vec![0; bytes_len];
        let got = file.read_at(0, &mut bytes)?;
        bytes.truncate(got);
        let mut end = Mark { place: Place::new(last, FILE_HEADER as u64), chain: header.chain };
        loop {
            let tail = &bytes[end.place.offset() as usize..];
            if tail.is_empty() {
                return Ok(End::Whole(end));
            }
            let length = layout::GroupHeader::decode(tail, end.place)
                .and_then(|header| usize::try_from(header.group_bytes()).ok())
                .filter(|length| *length <= tail.len());
            match length.map(|length| (length, layout::check_group(&tail[..length], end.place, end.chain))) {
                Some((length, Ok((_, chain)))) => {
                    end = Mark { place: end.place.plus(length as u64), chain };
                }
                _ => match tail::judge(end.place, tail) {
                    Tail::Torn => return Ok(End::TornTail(end, tail.len() as u64)),
                    Tail::Damaged(what) => return Err(damaged(end.place, what)),
                },
            }
        }
    }

    /// The end of the row without segment `last`.
    fn end_before(&self, last: u32) -> Result<Mark, SegmentError> {
        let Some(previous) = self.reader.numbers()?.into_iter().rfind(|number| *number < last) else {
            return Ok(Mark::default());
        };
        match self.find_end(previous)? {
            End::Whole(end) => Ok(end),
            End::TornTail(end, _) | End::TornFile(end, _) => {
                Err(damaged(end.place, "a segment is not whole although another follows it"))
            }
        }
    }

    /// Takes `end` as the end, unless the caller knows of something behind it.
    pub(super) fn settle(&mut self, end: Mark, known: &[Mark]) -> Result<(), SegmentError> {
        for mark in known.iter().filter(|mark| mark.place.0 > 0) {
            if mark.place > end.place {
                return Err(damaged(end.place, "the log ends here and is known to have gone on"));
            }
            self.reader.check_mark(*mark)?;
        }
        self.end = end;
        if end.place.0 > 0 {
            self.file = Some(self.reader.file(end.place.number())?);
        }
        Ok(())
    }

    /// Whoever was killed between writing and syncing left bytes that are whole and not yet on the disk: from here
    /// on they are read and answered for, so they have to be.
    pub(super) fn make_durable(&mut self) -> Result<(), SegmentError> {
        if let Some(file) = self.file.clone()
            && let Err(error) = file.sync()
        {
            return Err(self.stop(&error));
        }
        Ok(self.disk.sync_names()?)
    }

    /// Moves aside what a crash left behind the end: before anything is put there.
    pub(super) fn move_left_aside(&mut self) -> Result<Option<Torn>, SegmentError> {
        let torn = match self.left {
            None => return Ok(None),
            Some(Left::Tail) => self.move_tail_aside()?,
            Some(Left::File(number)) => self.move_file_aside(number)?,
        };
        self.left = None;
        Ok(Some(torn))
    }

    fn move_tail_aside(&mut self) -> Result<Torn, SegmentError> {
        let (number, offset) = (self.end.place.number(), self.end.place.offset());
        let file = self.reader.file(number)?;
        let length = usize::try_from(file.len()? - offset).expect("segments are below 4 GiB");
        let mut bytes = vec![0; length];
        let got = file.read_at(offset, &mut bytes)?;
        bytes.truncate(got);
        let name = self.unused_name(&format!("{}.{offset}", file_name(number)))?;
        let aside = self.disk.create(&name)?;
        if let Err(error) = aside.append(&bytes).and_then(|()| aside.sync()) {
            self.disk.remove(&name)?;
            return Err(error.into());
        }
        self.disk.sync_names()?;
        file.cut(offset)?;
        file.sync()?;
        Ok(Torn { place: self.end.place, bytes: bytes.len() as u64, file: name })
    }

    fn move_file_aside(&mut self, number: u32) -> Result<Torn, SegmentError> {
        let bytes = self.reader.file(number)?.len()?;
        let name = self.unused_name(&file_name(number))?;
        self.reader.forget(number);
        self.disk.rename(&file_name(number), &name)?;
        self.disk.sync_names()?;
        Ok(Torn { place: Place::new(number, 0), bytes, file: name })
    }

    /// `stem.torn`, or the first of `stem.2.torn`, … that no earlier crash has left.
    fn unused_name(&self, stem: &str) -> Result<String, SegmentError> {
        let taken = self.disk.list()?;
        let names = (1_u64..).map(|n| match n {
            1 => format!("{stem}.torn"),
            n => format!("{stem}.{n}.torn"),
        });
        Ok(names.into_iter().find(|name| !taken.contains(name)).expect("there are more numbers than files"))
    }
}
