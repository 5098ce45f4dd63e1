//! The bytes of a new file on their way to the disk.
//!
//! What must always hold: no more bytes than the file is to have, each where it belongs; the disk's own failures are
//! told from those of the bytes' source. Runs of zeros become holes, so that a sparse file stays one.

use annals_engine::disk::NewFile;
use rustix::{
    fs::{self, FallocateFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
};

/// From this size on, room is asked for before the first byte is written.
const RESERVE_BYTES_MIN: u64 = 8 << 20;
/// Beyond this size a file may well be sparse and need less room than it has bytes: the disk says when it is full.
const RESERVE_BYTES_MAX: u64 = 4 << 30;
/// So many zeros become a hole, where they begin at a multiple of it.
const HOLE_BYTES: usize = 64 << 10;

/// A file that is written from its beginning to its end.
pub(super) struct Sink<'a> {
    file: &'a File,
    size: u64,
    at: u64,
    /// How many bytes an earlier try left.
    begun: u64,
    reserved: bool,
    /// Whether its last bytes may be a hole.
    holed: bool,
    failed: Option<Errno>,
}

impl<'a> Sink<'a> {
    /// A file that is to have `size` bytes, and has `begun` of an earlier try.
    pub(super) fn new(file: &'a File, size: u64, begun: u64) -> Self {
        Self { file, size, at: 0, begun, reserved: false, holed: false, failed: None }
    }

    /// Asks for room.
    pub(super) fn reserve(&mut self) -> Result<(), Errno> {
        if !(RESERVE_BYTES_MIN..=RESERVE_BYTES_MAX).contains(&self.size) {
            return Ok(());
        }
        match fs::fallocate(self.file, FallocateFlags::empty(), 0, self.size) {
            Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => Err(errno),
            answer => {
                self.reserved = answer.is_ok();
                Ok(())
            }
        }
    }

    /// How many bytes are missing; or what the disk said.
    pub(super) fn end(self) -> Result<u64, Errno> {
        if let Some(errno) = self.failed {
            return Err(errno);
        }
        if self.at == self.size && (self.holed || self.begun > 0) {
            // A hole at the end, or more than there should be from an earlier try.
            let length = self.file.metadata().map_err(|error| errno_of(&error))?.len();
            if length != self.size {
                fs::ftruncate(self.file, self.size)?;
            }
        }
        Ok(self.size - self.at)
    }

    fn write_at(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let here = &bytes[written..];
            let hole = hole_in(self.at, here);
            // Up to the next hole it is one write.
            let (length, is_hole) = match hole {
                Some((0, length)) => (length, true),
                Some((before, _)) => (before, false),
                None => (here.len(), false),
            };
            let left_out = is_hole && self.leave_out(length as u64);
            if !left_out {
                self.file.write_all_at(&here[..length], self.at)?;
            }
            self.holed |= left_out;
            self.at += length as u64;
            written += length;
        }
        Ok(())
    }

    /// Leaves the next bytes out; false where that cannot be.
    fn leave_out(&self, length: u64) -> bool {
        if !self.reserved && self.begun <= self.at {
            return true;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fs::fallocate(self.file, flags, self.at, length).is_ok()
    }
}

/// Where in bytes that go to `at` the first hole is, and how long.
fn hole_in(at: u64, bytes: &[u8]) -> Option<(usize, usize)> {
    static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
    let first = (at.next_multiple_of(HOLE_BYTES as u64) - at) as usize;
    let mut blocks = bytes.get(first..)?.chunks_exact(HOLE_BYTES).map(|block| block == ZEROS);
    let before = blocks.by_ref().take_while(|zero| !zero).count();
    let from = first + before * HOLE_BYTES;
    // The iterator has eaten the first block of zeros, if there was one.
    if from + HOLE_BYTES > bytes.len() {
        return None;
    }
    let more = blocks.take_while(|zero| *zero).count();
    Some((from, (1 + more) * HOLE_BYTES))
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.size - self.at {
            return Err(io::Error::other("more bytes than its size says"));
        }
        match self.write_at(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(errno_of(&error));
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for Sink<'_> {
    fn left_before(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        if self.begun < self.at + length as u64 {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        // What cannot be read is written again.
        Ok(self.file.read_exact_at(&mut bytes, self.at).is_ok().then_some(bytes))
    }

    fn skip(&mut self, length: usize) -> io::Result<bool> {
        let is_there = self.begun >= self.at + length as u64;
        self.at += if is_there { length as u64 } else { 0 };
        Ok(is_there)
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt as _;

    fn written(size: u64, begun: &[u8], pieces: &[Vec<u8>]) -> (Vec<u8>, u64) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(begun, 0).unwrap();
        let mut sink = Sink::new(&file, size, begun.len() as u64);
        sink.reserve().unwrap();
        pieces.iter().for_each(|piece| sink.write_all(piece).unwrap());
        assert_eq!(sink.end(), Ok(0));
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (bytes, file.metadata().unwrap().blocks() * 512)
    }

    proptest! {
        #[test]
        fn a_file_has_the_bytes_that_were_written_whatever_stood_there(
            pieces in prop::collection::vec((0_usize..200_000, prop_oneof![Just(0_u8), any::<u8>()]), 0..6),
            begun in 0_usize..300_000,
        ) {
            let pieces: Vec<Vec<u8>> = pieces.into_iter().map(|(length, byte)| vec![byte; length]).collect();
            let all = pieces.concat();
            let begun = vec![9; begun];
            prop_assert!(written(all.len() as u64, &begun, &pieces).0 == all);
        }
    }

    #[test]
    fn zeros_take_no_room() {
        let mut bytes = vec![0; 20 << 20];
        (bytes[5 << 20], bytes[12_345_678]) = (1, 2);
        for begun in [0, 20 << 20] {
            let (read, room) =
                written(20 << 20, &vec![7; begun], &[bytes[..3 << 20].to_vec(), bytes[3 << 20..].to_vec()]);
            assert!(read == bytes);
            assert!(room <= 256 << 10, "{room} bytes on the disk");
        }
    }

    #[test]
    fn more_than_there_should_be_is_no_failure_of_the_disk() {
        let file = tempfile::tempfile().unwrap();
        let mut sink = Sink::new(&file, 3, 0);
        sink.write_all(b"ab").unwrap();
        sink.write_all(b"cd").unwrap_err();
        assert_eq!(sink.end(), Ok(1));
    }
}
