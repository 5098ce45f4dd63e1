//! How text is spelled where a route or a header has no room for it as it is.

/// A path segment with everything but letters, digits, `.`, `_` and `-` as `%XX`.
#[must_use]
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The bytes that a spelled text stands for, which may be no text. A `%` without two hex digits stands for itself.
#[must_use]
pub fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        match after {
            [high, low, behind @ ..] if first == b'%' && is_hex(*high) && is_hex(*low) => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = behind;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_letter_is_spelled_byte_by_byte() {
        for (text, spelled) in
            [("", ""), ("Az09._-", "Az09._-"), ("a b/c", "a%20b%2Fc"), ("ä%\"~\n", "%C3%A4%25%22%7E%0A")]
        {
            assert_eq!(encoded(text), spelled);
            assert_eq!(decoded(spelled), text.as_bytes());
        }
    }

    #[test]
    fn what_is_spelled_otherwise_stands_for_itself() {
        for (spelled, bytes) in [
            ("caf%e9", &b"caf\xe9"[..]),
            ("100%", b"100%"),
            ("%4", b"%4"),
            ("%zz%41", b"%zzA"),
            ("%+1", b"%+1"),
            ("%%41", b"%A"),
        ] {
            assert_eq!(decoded(spelled), bytes, "{spelled}");
        }
    }
}
