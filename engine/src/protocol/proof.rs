//! What a device signs to link, and how a ticket is spelled.

use annals_events::{Hash, NamespaceId, PublicKey};

/// Random bytes in a challenge.
pub const LINK_CHALLENGE_BYTES: usize = 32;

/// What a device signs to prove that it holds its key: bound to one challenge of one log, so that nobody
/// can show it elsewhere.
#[must_use]
pub fn link_message(challenge: &Hash, log: &NamespaceId, device: &PublicKey) -> Vec<u8> {
    [b"annals link\0".as_slice(), &challenge.0, &log.0, &device.0].concat()
}

/// Crockford's base 32: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A ticket's 128 bits as people type them: 26 characters in groups (`XXXXX-XXXXX-XXXXX-XXXXX-XXXXXX`).
#[must_use]
pub fn spell_ticket(secret: &[u8; 16]) -> String {
    let number = u128::from_be_bytes(*secret);
    let digits = (0..26).rev().map(|place| (number >> (5 * place)) & 31);
    let mut text = String::with_capacity(30);
    for (at, digit) in digits.enumerate() {
        if at % 5 == 0 && (1..25).contains(&at) {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::try_from(digit).expect("five bits")]));
    }
    text
}

/// The ticket that was meant: upper or lower case, with dashes and spaces anywhere, O for 0, I or L for 1.
#[must_use]
pub fn normal_ticket(typed: &str) -> Option<[u8; 16]> {
    let mut number: u128 = 0;
    let mut count = 0;
    for c in typed.chars().filter(|c| !matches!(c, '-' | ' ')) {
        let c = match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let digit = ALPHABET.iter().position(|known| char::from(*known) == c)?;
        count += 1;
        // 26 digits are 130 bits: the first one has only three.
        if count > 26 || (count == 1 && digit > 7) {
            return None;
        }
        number = number << 5 | digit as u128;
    }
    (count == 26).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_ticket_is_read_as_it_is_spelled(secret in any::<[u8; 16]>()) {
            let code = spell_ticket(&secret);
            prop_assert_eq!(normal_ticket(&code), Some(secret));
            prop_assert_eq!(normal_ticket(&code.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l")), Some(secret));
        }
    }

    #[test]
    fn what_is_no_ticket_is_none() {
        let good = spell_ticket(&[0xff; 16]);
        for bad in ["", "U", &good[1..], &format!("{good}0"), &good.replacen('7', "8", 1)] {
            assert_eq!(normal_ticket(bad), None, "{bad}");
        }
    }
}
