//! How text is spelled where a route or a header has no room for it as it is.

/// A path segment with everything but letters, digits, `.`, `_` and `-` as `%XX`.
#[must_use]
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
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
        }
    }
}
