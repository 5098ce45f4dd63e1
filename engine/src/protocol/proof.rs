//! What a device signs to link, how a ticket is spelled, and by what a server's certificate is known.

use annals_events::{Hash, NamespaceId, PublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

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

/// The ticket that was meant: upper or lower case, with dashes and spaces anywhere, O for 0, I or L for 1. What
/// [`with_fingerprint`] put behind it is left alone.
#[must_use]
pub fn normal_ticket(typed: &str) -> Option<[u8; 16]> {
    number_in(typed.split_once('.').map_or(typed, |(code, _)| code))
}

/// The ticket `code` of a server that is known by its certificate alone: the first 128 bits of the fingerprint stand
/// behind it, spelled alike. To find another certificate that begins so is as hard as to guess a ticket.
#[must_use]
pub fn with_fingerprint(code: &str, certificate: &Fingerprint) -> String {
    let beginning: [u8; 16] = certificate.0[..16].try_into().expect("a fingerprint has 32 bytes");
    format!("{code}.{}", spell_ticket(&beginning))
}

/// How the fingerprint of the server's certificate begins, by the ticket that was typed: none where it does not say.
///
/// # Errors
/// What stands there, if that is none.
pub fn fingerprint_in(typed: &str) -> Result<Option<[u8; 16]>, String> {
    match typed.split_once('.') {
        None => Ok(None),
        Some((_, beginning)) => number_in(beginning).map(Some).ok_or_else(|| beginning.to_owned()),
    }
}

fn number_in(typed: &str) -> Option<[u8; 16]> {
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

/// The SHA-256 of a server's certificate in DER, as every tool shows it: 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Hash::of(b"", &[certificate]).0)
    }

    /// As it is shown: upper or lower case, with or without colons.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        let digits: String = typed.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
        Hash::from_hex(&digits.to_lowercase()).map(|hash| Self(hash.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a fingerprint has 64 hex digits"))
    }
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

    proptest! {
        #[test]
        fn a_ticket_carries_how_the_certificate_begins(secret in any::<[u8; 16]>(), print in any::<[u8; 32]>()) {
            let code = with_fingerprint(&spell_ticket(&secret), &Fingerprint(print));
            prop_assert_eq!(normal_ticket(&code), Some(secret));
            prop_assert_eq!(&fingerprint_in(&code).unwrap().unwrap()[..], &print[..16]);
            prop_assert_eq!(fingerprint_in(&spell_ticket(&secret)), Ok(None));
            prop_assert!(fingerprint_in(&code[..code.len() - 1]).is_err());
        }

        #[test]
        fn a_fingerprint_is_read_as_any_tool_shows_it(print in any::<[u8; 32]>()) {
            let shown = Fingerprint(print).to_string();
            let pairs: Vec<&str> = (0..32).map(|at| &shown[at * 2..at * 2 + 2]).collect();
            for typed in [shown.clone(), pairs.join(":").to_uppercase()] {
                prop_assert_eq!(Fingerprint::parse(&typed), Some(Fingerprint(print)));
            }
            prop_assert_eq!(Fingerprint::parse(&shown[1..]), None);
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
