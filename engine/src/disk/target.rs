//! What a symlink says, as a device writes it down: text where it is text, as it mostly is, else bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(ByteBuf),
}

pub(super) fn serialize<S: Serializer>(target: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    let written = target.as_ref().map(|bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Written::Text(text.to_owned()),
        Err(_) => Written::Bytes(ByteBuf::from(bytes.as_slice())),
    });
    written.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    let written = Option::<Written>::deserialize(from)?;
    Ok(written.map(|written| match written {
        Written::Text(text) => text.into_bytes(),
        Written::Bytes(bytes) => bytes.into_vec(),
    }))
}
