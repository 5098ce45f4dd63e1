//! `annals cat`: the content of a file, as it is or as it was.

use super::{
    arguments::AtVersion,
    failure::{Exit, Failure},
    moment, place,
    talk::Talk,
};
use crate::client::{Folder, When};
use annals_engine::clock::Clock;
use std::path::Path;

pub(super) fn run(
    cat: &AtVersion,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_in(folder.root(), &cat.path, directory)?;
    let version = folder.version_at(&path, &when(cat)?)?;
    let content = folder.content_of(version)?;
    if !talk.output.json {
        folder.write_content(version, &content, talk.sink())?;
        return Ok(Exit::Done);
    }
    let mut bytes = Vec::new();
    folder.write_content(version, &content, &mut bytes)?;
    let size = bytes.len();
    let (text, base64) = match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(binary) => (None, Some(base64(binary.as_bytes()))),
    };
    let version = version.to_string();
    talk.json(&serde_json::json!({ "path": path, "version": version, "bytes": size, "text": text, "base64": base64 }))?;
    Ok(Exit::Done)
}

/// As RFC 4648 has it, padded.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().chain(&[0, 0]).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * place) & 63];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Which version `--version` and `--at` ask for.
pub(super) fn when(asked: &AtVersion) -> Result<When, Failure> {
    match (&asked.version, &asked.at) {
        (Some(version), _) => Ok(When::Version(version.clone())),
        (None, Some(at)) => moment::parse(at, now()).map(When::At),
        (None, None) => Ok(When::Now),
    }
}

/// This moment.
pub(super) fn now() -> jiff::Timestamp {
    let ms = i64::try_from(crate::clock::SystemClock.now_ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_spelled_as_rfc_4648_has_them() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(super::base64(bytes.as_bytes()), text);
        }
        assert_eq!(super::base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
