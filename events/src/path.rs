//! Names of siblings, as given.
//!
//! A name is 1 to 255 bytes of UTF-8 without `/` or NUL and is not `.` or `..`. Nobody's name is ever
//! changed in the log; how a collision is shown is a projection's business. What a platform cannot hold
//! is the business of the device that has that platform.

use serde::{Deserialize, Deserializer, Serialize};
use std::{borrow::Borrow, fmt};
use unicode_normalization::UnicodeNormalization;

/// The name of an entry in its folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// Why a text cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing in it.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than file systems hold.
    #[error("a name has at most {max} bytes, this one has {bytes}", max = Name::BYTES_MAX)]
    TooLong {
        /// The length that was given.
        bytes: usize,
    },
    /// `.` or `..`.
    #[error("{0:?} means a folder itself or the one above it, it cannot be a name")]
    Dots(String),
    /// A separator or NUL inside.
    #[error("a name cannot contain {character:?}")]
    Character {
        /// The first of them.
        character: char,
    },
}

impl Name {
    /// What file systems hold.
    pub const BYTES_MAX: usize = 255;

    /// Checks and keeps `text` as it is.
    ///
    /// # Errors
    /// [`NameError`] says which rule it breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// As given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` may be a name.
///
/// # Errors
/// [`NameError`] says which rule it breaks.
pub fn check(text: &str) -> Result<(), NameError> {
    match text {
        "" => Err(NameError::Empty),
        "." | ".." => Err(NameError::Dots(text.into())),
        _ if text.len() > Name::BYTES_MAX => Err(NameError::TooLong { bytes: text.len() }),
        _ => match text.chars().find(|c| matches!(c, '/' | '\0')) {
            Some(character) => Err(NameError::Character { character }),
            None => Ok(()),
        },
    }
}

/// Another name made of `name`: its stem, `suffix`, its extension and `marks`, the stem cut so that all of it is
/// a name. A leading dot begins no extension, and neither does one that would leave nothing of the stem.
#[must_use]
pub fn suffixed(name: &str, suffix: &str, marks: &str) -> String {
    let after_first = name.chars().next().map_or(0, char::len_utf8);
    let dot = name[after_first..].rfind('.').map(|at| at + after_first);
    let room = |ext: &str| {
        Name::BYTES_MAX.checked_sub(suffix.len() + ext.len() + marks.len()).filter(|&room| room > 0)
    };
    // An extension is what follows the dot; a name that ends in one has none, and its dot is dropped.
    let (stem, ext) = match dot {
        Some(at) if at + 1 == name.len() => (&name[..at], ""),
        Some(at) if room(&name[at..]).is_some() => name.split_at(at),
        _ => (name, ""),
    };
    format!("{}{suffix}{ext}{marks}", cut(stem, room(ext).unwrap_or(0)))
}

/// At most `bytes` bytes of `text`, whole characters.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether a name at the top of a namespace folds to `.annals`, the folder where a device keeps its own
/// state: by case, compatibility form (NFKC), ignorable characters and trailing dots and spaces. Such a
/// name is refused at admission and never written.
#[must_use]
pub fn is_reserved(text: &str) -> bool {
    let folded: String = text
        .nfkc()
        .filter(|c| !is_ignorable(*c))
        .flat_map(char::to_lowercase)
        .nfkc()
        .filter(|c| !is_ignorable(*c))
        .collect();
    folded.trim_end_matches(['.', ' ']) == ".annals"
}

/// Characters that some file systems drop when they compare names (Unicode's `Default_Ignorable_Code_Point`,
/// those that HFS+ ignores among them).
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_a_file_system_can_hold() {
        let (fits, too_long) = ("x".repeat(255), "x".repeat(256));
        for good in ["a", "...", " ", "a\nb", "ä", "CON", fits.as_str()] {
            assert!(Name::new(good).is_ok(), "{good:?}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            (".", NameError::Dots(".".into())),
            ("..", NameError::Dots("..".into())),
            ("a/b", NameError::Character { character: '/' }),
            ("a\0", NameError::Character { character: '\0' }),
            (too_long.as_str(), NameError::TooLong { bytes: 256 }),
        ] {
            assert_eq!(Name::new(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_suffix_stands_before_the_extension_and_fits() {
        let suffix = " (conflict laptop 01234567)";
        for (name, expected) in [
            ("a.txt", "a (conflict laptop 01234567).txt"),
            ("a", "a (conflict laptop 01234567)"),
            (".bashrc", ".bashrc (conflict laptop 01234567)"),
            (".a.b", ".a (conflict laptop 01234567).b"),
            ("a.tar.gz", "a.tar (conflict laptop 01234567).gz"),
            ("ä.", "ä (conflict laptop 01234567)"),
        ] {
            assert_eq!(suffixed(name, suffix, ""), expected);
        }
        for name in ["ä".repeat(127), format!("{}.txt", "€".repeat(83)), format!("a.{}", "x".repeat(253))]
        {
            let found = suffixed(&name, suffix, "~~");
            assert!(found.len() <= 255 && found.contains(suffix) && found.ends_with("~~"), "{found}");
        }
    }

    #[test]
    fn every_spelling_of_the_state_folder_is_recognised() {
        for reserved in [
            ".annals",
            ".ANNALS",
            ".Annals",
            ".annals.",
            ".annals. .",
            ".ann\u{200b}als",
            "．ａｎｎａｌｓ",
            ".ANNAL\u{17f}",
        ] {
            assert!(is_reserved(reserved), "{reserved:?}");
        }
        for free in ["annals", ".annal", ".annals2", ".annals/x", "..annals"] {
            assert!(!is_reserved(free), "{free:?}");
        }
    }
}
