//! The difference of a chunk to what only its signature is known of, in few bytes: which blocks to copy, and what stands
//! between them as a zstd frame with what is copied as prefix, for that is what both sides have.
//!
//! ```text
//! patch = how many steps; for each: how many literals, the first block, how many blocks; the zstd frame of all literals
//! ```
//!
//! Numbers are unsigned LEB128; without literals there is no frame.

use super::{Signature, Step, Sums, compress_after, decompress_after, range_of};

/// How to make `plain` of what has this signature, by these steps.
pub(super) fn encode(signature: &Signature, steps: &[Step], plain: &[u8]) -> Option<Vec<u8>> {
    let (mut patch, mut copied, mut literals) = (Vec::new(), Vec::new(), Vec::new());
    put(&mut patch, u32::try_from(steps.len()).ok()?);
    let mut rest = plain;
    for step in steps {
        [step.literals, step.block, step.blocks].into_iter().for_each(|number| put(&mut patch, number));
        let (own, behind) = rest.split_at_checked(step.literals as usize)?;
        literals.extend_from_slice(own);
        let (same, behind) = behind.split_at_checked(signature.bytes_of(step.block, step.blocks)?.len())?;
        copied.extend_from_slice(same);
        rest = behind;
    }
    if !literals.is_empty() {
        patch.extend(compress_after(&copied, &literals)?);
    }
    Some(patch)
}

/// Does what a patch says; none where it makes no sense or would be longer than `plain_bytes`.
pub(super) fn apply(base: &[u8], mut patch: &[u8], plain_bytes: u32) -> Option<Vec<u8>> {
    let base_bytes = u32::try_from(base.len()).ok()?;
    let block = Sums::Short.block_bytes(base_bytes);
    let count = take(&mut patch)?;
    if count > 2 + plain_bytes / Sums::BLOCK_BYTES_MIN {
        return None;
    }
    let (mut steps, mut literals_bytes, mut copied_bytes) = (Vec::new(), 0_u32, 0_usize);
    for _ in 0..count {
        let literals = take(&mut patch)?;
        let same = base.get(range_of(base_bytes, block, take(&mut patch)?, take(&mut patch)?)?)?;
        literals_bytes = literals_bytes.checked_add(literals)?;
        copied_bytes += same.len();
        if literals_bytes as usize + copied_bytes > plain_bytes as usize {
            return None;
        }
        steps.push((literals as usize, same));
    }
    let copied: Vec<u8> = steps.iter().flat_map(|(_, same)| same.iter().copied()).collect();
    let literals = match literals_bytes {
        0 => Vec::new(),
        some => decompress_after(&copied, patch, some)?,
    };
    let (mut plain, mut rest) = (Vec::with_capacity(literals_bytes as usize + copied_bytes), &literals[..]);
    for (literals, same) in steps {
        let (own, behind) = rest.split_at_checked(literals)?;
        plain.extend_from_slice(own);
        plain.extend_from_slice(same);
        rest = behind;
    }
    Some(plain)
}

fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u32::from(byte & 0x7F);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_and_no_others_are() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, u32::MAX >> 1, u32::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(take(&mut &bytes[..]), Some(number));
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None, "{number}");
        }
        assert_eq!(take(&mut &[0xFF, 0xFF, 0xFF, 0xFF, 0x1F][..]), None, "more than 32 bits");
        assert_eq!(take(&mut &[0x80; 9][..]), None);
    }
}
