//! Names of things: fixed-width byte strings with a hex spelling, and places in a stream.
//!
//! Ids are never bare integers or strings, so that one cannot be taken for another. A device's id is
//! derived from its public key; every other id that is drawn at random is drawn by the shell.

use crate::causality::Dot;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Declares an id of `$bytes` bytes: hex in text, a byte string in CBOR.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Its width in bytes.
            pub const BYTES: usize = $bytes;

            /// From lower- or upper-case hex of exactly the right length.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                hex_to_bytes(text).map(Self)
            }

            /// Lower-case hex.
            #[must_use]
            pub fn to_hex(&self) -> String {
                self.to_string()
            }

            /// From a slice of exactly the right length.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.to_string()[..8])
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct IdVisitor;
                impl serde::de::Visitor<'_> for IdVisitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a {} of {} bytes", stringify!($name), $bytes)
                    }
                    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        $name::from_slice(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::from_hex(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(IdVisitor)
                } else {
                    deserializer.deserialize_bytes(IdVisitor)
                }
            }
        }
    };
}

id_type!(
    /// One synced tree and its stream of records. Drawn at random when it is created.
    NamespaceId,
    16
);
id_type!(
    /// A linked installation (or a server, which is a device of every namespace it serves): the first
    /// 16 bytes of SHA-256 over `annals device\0` and its public key.
    DeviceId,
    16
);
id_type!(
    /// An account on a server. Drawn at random; the name people see stands in the directory.
    UserId,
    16
);
id_type!(
    /// SHA-256 of a chunk's plain bytes.
    ChunkId,
    32
);
id_type!(
    /// SHA-256 over the ordered (length, chunk id) pairs of a file: equal contents cut with equal sizes
    /// have equal content ids.
    ContentId,
    32
);
id_type!(
    /// Any other SHA-256: of a batch, a body, a token.
    Hash,
    32
);
id_type!(
    /// An ed25519 public key.
    PublicKey,
    32
);

impl DeviceId {
    /// The device that holds the secret half of `key`.
    #[must_use]
    pub fn of_key(key: &PublicKey) -> Self {
        let digest = Hash::of(b"annals device\0", &[&key.0]);
        Self(digest.0[..16].try_into().expect("a digest has 32 bytes"))
    }
}

impl Hash {
    /// SHA-256 over `domain` and then `parts`, one after the other.
    #[must_use]
    pub fn of(domain: &[u8], parts: &[&[u8]]) -> Self {
        use sha2::Digest;
        let mut digest = sha2::Sha256::new();
        digest.update(domain);
        parts.iter().for_each(|part| digest.update(part));
        Self(digest.finalize().into())
    }
}

impl ChunkId {
    /// The name of these bytes.
    #[must_use]
    pub fn of(plain: &[u8]) -> Self {
        Self(Hash::of(b"", &[plain]).0)
    }
}

/// A file, folder or symlink by identity, not by path: the dot of the event that created it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(pub Dot);

impl EntryId {
    /// The top folder of every namespace. No event creates it.
    pub const ROOT: Self = Self(Dot { device: DeviceId([0; 16]), counter: 0 });
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROOT { f.write_str("ROOT") } else { write!(f, "entry {:?}", self.0) }
    }
}

/// The place of an event in its namespace's stream: 1 for the first, no gaps. 0 stands for "before all".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}

/// The bytes that `text` spells in hex, if it spells exactly `N` of them.
fn hex_to_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_back_and_anything_else_refused() {
        let id = UserId([7; 16]);
        assert_eq!(UserId::from_hex(&id.to_hex()), Some(id));
        for bad in ["", "07", &"+7".repeat(16), &"0g".repeat(16), &"ä".repeat(16), &id.to_hex()[1..]] {
            assert_eq!(UserId::from_hex(bad), None, "{bad}");
        }
    }
}
