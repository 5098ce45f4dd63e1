//! What follows the last whole group of a log's last segment: left by a crash, or damaged later?
//!
//! A crash must never be refused and damage never be taken for a crash, with nothing but this file to
//! judge by and with one `fdatasync` a group. What makes it decidable:
//!
//! 1. One writer appends a group, syncs it, acknowledges it, and only then begins the next. So whatever
//!    *follows* a group proves that it was durable: if it is not whole now, it is damaged. (Bytes of a write
//!    that failed, and torn tails, are cut away and the cut is synced before anything else is appended.)
//! 2. A crash in the middle of an unsynced write keeps each sector of 512 bytes or does not, and any length
//!    of the file. A sector that was not kept reads as zeros, or is past the end. It never reads as anything else.
//! 3. Header and trailer are each in one sector and begin and end with marks that are not zero; a header says
//!    how many whole sectors between the two are zeros because the caller's bytes are.
//!
//! So the last group is *torn* if and only if a part of it is missing: past the end of the file, or a sector of
//! zeros that should not be one. If every sector is there and it is still not whole, nobody's crash did that:
//! a byte flipped in the last acknowledged group is damage. What this cannot see is an acknowledged group that is
//! gone without a trace (a file cut short): for that the caller passes a [`Mark`](super::Mark) that it knows of.

use super::{
    Place,
    layout::{self, GROUP_HEADER, GroupHeader, TRAILER, Trailer},
};

/// What a tail turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// A write that a crash cut off: it was never acknowledged.
    Torn,
    /// Bytes that were durable once and are something else now.
    Damaged(&'static str),
}

/// Judges the bytes from `place`, where the next group should begin, to the end of the file.
pub(super) fn judge(place: Place, tail: &[u8]) -> Tail {
    if holds_later_group(place, tail) {
        return Tail::Damaged("a group is not whole although others follow it");
    }
    if tail.len() < GROUP_HEADER || is_zero(&tail[..GROUP_HEADER]) {
        return Tail::Torn;
    }
    let Some(header) = GroupHeader::decode(tail, place) else {
        return Tail::Damaged("the last group's header does not match its checksum");
    };
    match header.group_bytes().cmp(&(tail.len() as u64)) {
        std::cmp::Ordering::Greater => Tail::Torn,
        std::cmp::Ordering::Less => Tail::Damaged("a group is not whole although bytes follow it"),
        std::cmp::Ordering::Equal => judge_full_length(place, tail, header),
    }
}

/// The group has all its bytes; is one of its sectors missing?
fn judge_full_length(place: Place, group: &[u8], header: GroupHeader) -> Tail {
    let trailer = &group[group.len() - TRAILER..];
    if is_zero(trailer) || layout::empty_sectors(place, group, group.len()) > header.empty_sectors {
        return Tail::Torn;
    }
    Tail::Damaged(match Trailer::decode(trailer) {
        Some(_) => "the last group does not match its checksum",
        None => "the last group's trailer does not match its checksum",
    })
}

/// Whether a group begins anywhere after `place`: its header names its own place, so no content looks like one
/// by accident.
fn holds_later_group(place: Place, tail: &[u8]) -> bool {
    // Of the last one there may be no more than its header.
    (TRAILER..(tail.len() + 1).saturating_sub(GROUP_HEADER))
        .step_by(TRAILER)
        .any(|at| GroupHeader::decode(&tail[at..], place.plus(at as u64)).is_some())
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Hash;

    #[test]
    fn a_tail_of_exactly_a_header_or_less_is_torn_unless_something_else_stands_there() {
        let place = Place::new(1, 192);
        let group = layout::encode_group(place, Hash([0; 32]), &[&[7; 900]]).bytes;
        for length in 0..group.len() {
            assert_eq!(judge(place, &group[..length]), Tail::Torn, "the first {length} bytes of it");
            assert_eq!(judge(place, &vec![0; length]), Tail::Torn, "{length} bytes that were never written");
        }
        for at in 0..GROUP_HEADER {
            let mut header = group[..GROUP_HEADER].to_vec();
            header[at] ^= 1;
            assert!(matches!(judge(place, &header), Tail::Damaged(_)), "byte {at} of a whole header");
            assert_eq!(judge(place, &header[..GROUP_HEADER - 1]), Tail::Torn, "of which one is missing");
        }
    }

    #[test]
    fn the_header_of_a_later_group_proves_that_what_stands_before_it_was_durable() {
        let place = Place::new(1, 512);
        let group = layout::encode_group(place, Hash([0; 32]), &[&[7; 900]]);
        let next = place.plus(group.bytes.len() as u64);
        let later = layout::encode_group(next, group.chain, &[&[8; 900]]).bytes;
        let mut lost = group.bytes;
        lost[..512].fill(0);
        assert_eq!(judge(place, &lost), Tail::Torn, "nothing says that its first sector was ever there");
        for length in GROUP_HEADER..later.len() {
            let tail = [&lost, &later[..length]].concat();
            assert!(matches!(judge(place, &tail), Tail::Damaged(_)), "{length} bytes of the next follow");
        }
    }
}
