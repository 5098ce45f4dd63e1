//! A witness of how far a row has got: a small file of its own, so that a row that was cut exactly at the end of
//! a group is noticed.
//!
//! It is written by replace, and only about what is durable already: a crash leaves the old one or the new one,
//! and neither ever says more than the segments hold. It may say less; then it vouches for less. A row without
//! one, or with one that cannot be read, opens as it is. A log keeps it beside the folder of its segments, under a
//! name that sorts before theirs: whoever copies in the order of names while the log is written to copies the
//! witness first.
//!
//! Left out: when to write it (never in the way of an append).

use super::{
    Mark, Place,
    disk::{DiskError, SegmentDisk},
};
use crate::id::Hash;

/// The file's name.
pub const WITNESS_NAME: &str = "end";
const NEW_NAME: &str = "end.new";
const MAGIC: &[u8; 8] = b"ANNALWIT";
const FORMAT: u16 = 1;
const BYTES: usize = 80;

/// What a row's witness says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// There is none, as before it was first written.
    None,
    /// The row had got here.
    At(Mark),
    /// There is one that cannot be believed, and why.
    Unusable(String),
}

impl Witness {
    /// Reads the witness of the row of `owner` in `disk`.
    ///
    /// # Errors
    /// [`DiskError`] where the disk cannot be asked.
    pub fn read(disk: &dyn SegmentDisk, owner: [u8; 16]) -> Result<Self, DiskError> {
        if !disk.list()?.iter().any(|name| name == WITNESS_NAME) {
            return Ok(Self::None);
        }
        let mut bytes = [0; BYTES + 1];
        let got = disk.open(WITNESS_NAME)?.read_at(0, &mut bytes)?;
        Ok(match decode(&bytes[..got], owner) {
            Ok(mark) => Self::At(mark),
            Err(what) => Self::Unusable(what.into()),
        })
    }

    /// Puts a witness of `mark`, which must be durable, in the place of any other, and makes it durable.
    ///
    /// # Errors
    /// [`DiskError`]; there is the old one or the new one then.
    pub fn write(disk: &dyn SegmentDisk, owner: [u8; 16], mark: Mark) -> Result<(), DiskError> {
        // Left by a crash. Usually there is none, and removing it fails.
        drop(disk.remove(NEW_NAME));
        let file = disk.create(NEW_NAME)?;
        file.append(&encode(owner, mark))?;
        file.sync()?;
        drop(file);
        disk.rename(NEW_NAME, WITNESS_NAME)?;
        disk.sync_names()
    }

    /// Up to where the row must be there.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        match self {
            Self::At(mark) => Some(*mark),
            Self::None | Self::Unusable(_) => None,
        }
    }
}

fn encode(owner: [u8; 16], mark: Mark) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_be_bytes());
    bytes[16..32].copy_from_slice(&owner);
    bytes[32..40].copy_from_slice(&mark.place.0.to_be_bytes());
    bytes[40..72].copy_from_slice(&mark.chain.0);
    let crc = crc32c::crc32c(&bytes[..BYTES - 4]);
    bytes[BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8], owner: [u8; 16]) -> Result<Mark, &'static str> {
    let bytes: &[u8; BYTES] = bytes.try_into().map_err(|_| "it does not have 80 bytes")?;
    if crc32c::crc32c(&bytes[..BYTES - 4]).to_be_bytes() != bytes[BYTES - 4..] {
        return Err("it does not match its checksum");
    }
    if bytes[..8] != *MAGIC || bytes[8..10] != FORMAT.to_be_bytes() {
        return Err("it has another format");
    }
    if bytes[16..32] != owner {
        return Err("it is of another row");
    }
    Ok(Mark {
        place: Place(u64::from_be_bytes(bytes[32..40].try_into().expect("8 bytes"))),
        chain: Hash(bytes[40..72].try_into().expect("32 bytes")),
    })
}

#[cfg(all(test, feature = "contract"))]
mod tests {
    use super::*;
    use crate::segment::ForgetfulDisk;

    #[test]
    fn a_witness_is_read_back_and_one_that_was_altered_is_not_believed() {
        let disk = ForgetfulDisk::new();
        assert_eq!(Witness::read(&disk, [1; 16]), Ok(Witness::None));
        let mark = Mark { place: Place::new(3, 448), chain: Hash([7; 32]) };
        Witness::write(&disk, [1; 16], Mark::default()).unwrap();
        Witness::write(&disk, [1; 16], mark).unwrap();
        assert_eq!(Witness::read(&disk, [1; 16]), Ok(Witness::At(mark)));
        assert!(matches!(Witness::read(&disk, [2; 16]), Ok(Witness::Unusable(_))));
        for at in 0..BYTES as u64 {
            disk.flip(WITNESS_NAME, at, 0x10);
            assert!(matches!(Witness::read(&disk, [1; 16]), Ok(Witness::Unusable(_))), "byte {at}");
            disk.flip(WITNESS_NAME, at, 0x10);
        }
        disk.shorten(WITNESS_NAME, BYTES - 1);
        assert!(matches!(Witness::read(&disk, [1; 16]), Ok(Witness::Unusable(_))));
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_old_witness_or_the_new_one() {
        let at = |offset| Mark { place: Place::new(1, offset), chain: Hash([3; 32]) };
        for steps in 0..12 {
            for choice in 0..3 {
                let disk = ForgetfulDisk::new();
                Witness::write(&disk, [1; 16], at(192)).unwrap();
                disk.cut_power_after(steps);
                let written = Witness::write(&disk, [1; 16], at(256)).is_ok();
                disk.crash(|below| choice % below);
                let found = Witness::read(&disk, [1; 16]).unwrap();
                assert!(found == Witness::At(at(256)) || (!written && found == Witness::At(at(192))));
                Witness::write(&disk, [1; 16], at(320)).unwrap();
                assert_eq!(Witness::read(&disk, [1; 16]), Ok(Witness::At(at(320))));
            }
        }
    }
}
