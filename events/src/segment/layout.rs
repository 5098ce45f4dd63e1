//! The bytes of a segment: file header, groups of frames, trailers. All integers are big-endian.
//!
//! ```text
//! file    = file header (128), groups…
//! group   = header (32), frames…, padding, trailer (64)         starts and ends at a multiple of 64
//! header  = "ANGB", place u64, length u32, frames u32, empty sectors u32, 0 u32, crc32c u32
//! frame   = length u32, crc32c u32, seal u8, bytes               the checksum is over seal and bytes
//! trailer = "ANGT", place u64, length u32, crc32c of header, frames and padding u32, chain 32 bytes,
//!           0 u32, crc32c u32, "DONE"
//! ```
//!
//! `length` counts frames and padding. Padding is zeros, none or at least four of them, so that the four
//! bytes after a frame say what comes: a length, 0 for padding, or the trailer's mark. Headers and trailers
//! are aligned so that neither ever lies in two sectors, which [`super::tail`] relies on.

use super::{Place, disk::SECTOR_BYTES};
use crate::id::Hash;

/// The format that this release writes and reads.
pub const SEGMENT_FORMAT: u16 = 1;
/// Most bytes in a frame.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Most bytes in a group, all frames together.
pub const GROUP_BYTES_MAX: usize = 64 << 20;

pub(super) const FILE_HEADER: usize = 128;
pub(super) const GROUP_HEADER: usize = 32;
pub(super) const FRAME_HEADER: usize = 9;
pub(super) const TRAILER: usize = 64;

const MAGIC: &[u8; 8] = b"ANNALSEG";
const GROUP_MARK: &[u8; 4] = b"ANGB";
const TRAILER_MARK: &[u8; 4] = b"ANGT";
const TRAILER_END: &[u8; 4] = b"DONE";
const CHAIN: &[u8] = b"annals group\0";

/// What a segment's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) format: u16,
    pub(super) kind: u16,
    pub(super) owner: [u8; 16],
    pub(super) number: u32,
    /// The chain before its first group.
    pub(super) chain: Hash,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&self.format.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.kind.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.owner);
        bytes[32..64].copy_from_slice(&self.chain.0);
        let sum = crc32c::crc32c(&bytes[..FILE_HEADER - 4]);
        bytes[FILE_HEADER - 4..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The header in these bytes; what is wrong with them otherwise. The format is left to the caller.
    pub(super) fn decode(bytes: &[u8; FILE_HEADER]) -> Result<Self, &'static str> {
        if crc32c::crc32c(&bytes[..FILE_HEADER - 4]) != u32_at(bytes, FILE_HEADER - 4) {
            return Err("the file header does not match its checksum");
        }
        if &bytes[0..8] != MAGIC {
            return Err("this is not a segment");
        }
        Ok(Self {
            format: u16::from_be_bytes([bytes[8], bytes[9]]),
            kind: u16::from_be_bytes([bytes[10], bytes[11]]),
            number: u32_at(bytes, 12),
            owner: bytes[16..32].try_into().expect("16 bytes"),
            chain: Hash(bytes[32..64].try_into().expect("32 bytes")),
        })
    }
}

/// A group's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) place: Place,
    pub(super) length: u32,
    pub(super) frames: u32,
    /// How many whole sectors between header and trailer hold nothing but zeros: as many as in the caller's
    /// bytes, so that one more is a sector that was never written.
    pub(super) empty_sectors: u32,
}

impl GroupHeader {
    fn encode(&self) -> [u8; GROUP_HEADER] {
        let mut bytes = [0; GROUP_HEADER];
        bytes[0..4].copy_from_slice(GROUP_MARK);
        bytes[4..12].copy_from_slice(&self.place.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.frames.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.empty_sectors.to_be_bytes());
        let sum = crc32c::crc32c(&bytes[..GROUP_HEADER - 4]);
        bytes[GROUP_HEADER - 4..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The header of the group at `place`, if these are its bytes.
    pub(super) fn decode(bytes: &[u8], place: Place) -> Option<Self> {
        let bytes = bytes.get(..GROUP_HEADER)?;
        let header = Self {
            place: Place(u64_at(bytes, 4)),
            length: u32_at(bytes, 12),
            frames: u32_at(bytes, 16),
            empty_sectors: u32_at(bytes, 20),
        };
        let sum = crc32c::crc32c(&bytes[..GROUP_HEADER - 4]);
        (&bytes[..4] == GROUP_MARK && header.place == place && u32_at(bytes, GROUP_HEADER - 4) == sum)
            .then_some(header)
    }

    /// Bytes from the group's first to its last.
    pub(super) fn group_bytes(&self) -> u64 {
        (GROUP_HEADER + TRAILER) as u64 + u64::from(self.length)
    }
}

/// A group's last bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) place: Place,
    pub(super) length: u32,
    pub(super) checksum: u32,
    pub(super) chain: Hash,
}

impl Trailer {
    fn encode(&self) -> [u8; TRAILER] {
        let mut bytes = [0; TRAILER];
        bytes[0..4].copy_from_slice(TRAILER_MARK);
        bytes[4..12].copy_from_slice(&self.place.0.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.checksum.to_be_bytes());
        bytes[20..52].copy_from_slice(&self.chain.0);
        let sum = crc32c::crc32c(&bytes[..56]);
        bytes[56..60].copy_from_slice(&sum.to_be_bytes());
        bytes[60..].copy_from_slice(TRAILER_END);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..TRAILER)?;
        let whole = &bytes[..4] == TRAILER_MARK
            && &bytes[60..] == TRAILER_END
            && crc32c::crc32c(&bytes[..56]) == u32_at(bytes, 56);
        whole.then(|| Self {
            place: Place(u64_at(bytes, 4)),
            length: u32_at(bytes, 12),
            checksum: u32_at(bytes, 16),
            chain: Hash(bytes[20..52].try_into().expect("32 bytes")),
        })
    }
}

/// A group ready to be written.
pub(super) struct EncodedGroup {
    pub(super) bytes: Vec<u8>,
    pub(super) places: Vec<Place>,
    pub(super) chain: Hash,
}

/// The group of `frames` at `place`, after `previous`.
pub(super) fn encode_group(place: Place, previous: Hash, frames: &[&[u8]]) -> EncodedGroup {
    let payload: usize = frames.iter().map(|frame| FRAME_HEADER + frame.len()).sum();
    // The group itself starts at a multiple of 64.
    let body =
        usize::try_from(trailer_after((GROUP_HEADER + payload) as u64)).expect("below GROUP_BYTES_MAX");
    let padding = body - GROUP_HEADER - payload;
    let mut bytes = Vec::with_capacity(GROUP_HEADER + payload + padding + TRAILER);
    bytes.extend_from_slice(&[0; GROUP_HEADER]);
    let mut places = Vec::with_capacity(frames.len());
    for frame in frames {
        places.push(place.plus(bytes.len() as u64));
        let length = u32::try_from(frame.len()).expect("frames are below FRAME_BYTES_MAX");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&frame_checksum(0, frame).to_be_bytes());
        bytes.push(0);
        bytes.extend_from_slice(frame);
    }
    bytes.resize(GROUP_HEADER + payload + padding, 0);
    let header = GroupHeader {
        place,
        length: u32::try_from(payload + padding).expect("groups are below GROUP_BYTES_MAX"),
        frames: u32::try_from(frames.len()).expect("a frame has bytes, so there are fewer than bytes"),
        empty_sectors: empty_sectors(place, &bytes, bytes.len() + TRAILER),
    };
    bytes[..GROUP_HEADER].copy_from_slice(&header.encode());
    let chain = chain_after(previous, &bytes);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&Trailer { place, length: header.length, checksum, chain }.encode());
    EncodedGroup { bytes, places, chain }
}

/// The frames of the group whose bytes these are, all checked: offset in the group, and payload range.
pub(super) fn check_group(
    bytes: &[u8],
    place: Place,
    previous: Hash,
) -> Result<(Vec<std::ops::Range<usize>>, Hash), &'static str> {
    let header = GroupHeader::decode(bytes, place).ok_or("a group header does not match its checksum")?;
    let body = GROUP_HEADER + header.length as usize;
    if bytes.len() != body + TRAILER {
        return Err("a group is not as long as its header says");
    }
    let trailer = Trailer::decode(&bytes[body..]).ok_or("a trailer does not match its checksum")?;
    if trailer.place != place || trailer.length != header.length {
        return Err("a trailer belongs to another group");
    }
    if crc32c::crc32c(&bytes[..body]) != trailer.checksum {
        return Err("a group does not match its checksum");
    }
    let mut frames = Vec::with_capacity(header.frames as usize);
    let mut at = GROUP_HEADER;
    for _ in 0..header.frames {
        let range = frame_at(&bytes[..body], at)?.ok_or("a group has fewer frames than its header says")?;
        at = range.end;
        frames.push(range);
    }
    if bytes[at..body].iter().any(|byte| *byte != 0) || !matches!(body - at, 0 | 4..=67) {
        return Err("something stands where padding should be");
    }
    if trailer.chain != chain_after(previous, &bytes[..body]) {
        return Err("a group does not continue the chain");
    }
    Ok((frames, trailer.chain))
}

/// The payload of the frame at `at`, checked; none where padding or a trailer begins.
pub(super) fn frame_at(bytes: &[u8], at: usize) -> Result<Option<std::ops::Range<usize>>, &'static str> {
    let Some(length) = bytes.get(at..at + 4) else { return Ok(None) };
    let Some(length) = frame_length(length.try_into().expect("4 bytes"))? else { return Ok(None) };
    let range = at + FRAME_HEADER..at + FRAME_HEADER + length;
    let payload = bytes.get(range.clone()).ok_or("a frame runs past its group")?;
    check_frame(&bytes[at..at + FRAME_HEADER], payload)?;
    Ok(Some(range))
}

/// What the four bytes after a frame announce: a frame of that many bytes, or none.
pub(super) fn frame_length(bytes: [u8; 4]) -> Result<Option<usize>, &'static str> {
    let length = u32::from_be_bytes(bytes) as usize;
    if length == 0 || &bytes == TRAILER_MARK {
        return Ok(None);
    }
    if length > FRAME_BYTES_MAX { Err("a frame has an impossible length") } else { Ok(Some(length)) }
}

/// Whether `payload` is what the frame header says.
pub(super) fn check_frame(header: &[u8], payload: &[u8]) -> Result<(), &'static str> {
    if frame_checksum(header[8], payload) != u32_at(header, 4) {
        return Err("a frame does not match its checksum");
    }
    if header[8] != 0 { Err("a frame is sealed with a key, which this release cannot read") } else { Ok(()) }
}

/// How many whole sectors that lie between header and trailer hold only zeros. `bytes` begin at `place`;
/// the group has `group` bytes.
pub(super) fn empty_sectors(place: Place, bytes: &[u8], group: usize) -> u32 {
    let sector = SECTOR_BYTES as usize;
    // Header and trailer vouch for the sectors that they are in.
    let first = (place.offset() as usize + GROUP_HEADER - 1) / sector + 1;
    let end = (place.offset() as usize + group - TRAILER) / sector;
    let range = |s: usize| s * sector - place.offset() as usize..(s + 1) * sector - place.offset() as usize;
    let empty = (first..end).filter(|s| bytes[range(*s)].iter().all(|byte| *byte == 0)).count();
    u32::try_from(empty).expect("groups are below GROUP_BYTES_MAX")
}

/// Where the trailer starts when frames end at `offset`: at a multiple of 64, with no padding or at least 4 bytes.
pub(super) fn trailer_after(offset: u64) -> u64 {
    let trailer = TRAILER as u64;
    let next = offset.next_multiple_of(trailer);
    if matches!(next - offset, 1..=3) { next + trailer } else { next }
}

/// SHA-256 over the previous chain, the group's header and every frame's header: lengths and checksums
/// stand for the bytes, whose own hashes are the business of what they mean.
fn chain_after(previous: Hash, body: &[u8]) -> Hash {
    let mut parts = vec![&previous.0[..], &body[..GROUP_HEADER]];
    let mut at = GROUP_HEADER;
    while at + FRAME_HEADER < body.len() {
        let length = u32_at(body, at) as usize;
        if length == 0 {
            break;
        }
        parts.push(&body[at..at + FRAME_HEADER]);
        at += FRAME_HEADER + length;
    }
    Hash::of(CHAIN, &parts)
}

fn frame_checksum(seal: u8, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[seal]), payload)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
