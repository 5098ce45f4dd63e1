//! What a fold takes from a body, without copying it.
//!
//! Nearly every body of a long history is one of a few shapes: a name, a content with its chunks, a time, a bit.
//! Those are read in place, each byte once. Whatever else a body may hold, and everything that looks odd, is left
//! to [`Body::decode`], whose word is the last: this reader takes nothing that it would refuse, and takes it as
//! it would.

use annals_events::{Body, ChunkId, ContentId, path};
use std::borrow::Cow;

/// A body as the folds use it.
#[derive(Debug, Default)]
pub(crate) struct Heard<'a> {
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) content: Option<HeardContent<'a>>,
    pub(crate) target: Option<Cow<'a, [u8]>>,
    pub(crate) mtime: Option<i64>,
    pub(crate) executable: Option<bool>,
    /// All of it, where it holds more than the above.
    pub(crate) more: Option<Box<Body>>,
}

/// A content as the folds use it.
#[derive(Debug)]
pub(crate) struct HeardContent<'a> {
    pub(crate) id: ContentId,
    pub(crate) size: u64,
    pub(crate) manifest: bool,
    roots: Roots<'a>,
}

/// The chunks that an event itself names.
#[derive(Debug)]
enum Roots<'a> {
    /// `[length, id]` after `[length, id]`, checked.
    Bytes(&'a [u8]),
    Listed(Vec<ChunkId>),
}

impl<'a> Heard<'a> {
    /// Reads a body; none where its bytes are none.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        reader.body().filter(|_| reader.0.is_empty()).or_else(|| Body::decode(bytes).ok().map(Self::of_body))
    }

    fn of_body(mut body: Body) -> Self {
        let content = body.content.as_ref().map(|content| HeardContent {
            id: content.id,
            size: content.size,
            manifest: content.manifest.is_some(),
            roots: Roots::Listed(content.roots().map(|chunk| chunk.id).collect()),
        });
        Self {
            name: body.name.take().map(|name| Cow::Owned(name.as_str().to_owned())),
            content,
            target: body.target.take().map(Cow::Owned),
            mtime: body.mtime,
            executable: body.executable,
            more: Some(Box::new(body)),
        }
    }
}

impl HeardContent<'_> {
    /// The chunks listed, or the manifest.
    pub(crate) fn roots(&self) -> impl Iterator<Item = ChunkId> + '_ {
        let (bytes, listed) = match &self.roots {
            Roots::Bytes(bytes) => (*bytes, &[][..]),
            Roots::Listed(chunks) => (&[][..], chunks.as_slice()),
        };
        let mut reader = Reader(bytes);
        std::iter::from_fn(move || reader.chunk()).chain(listed.iter().copied())
    }
}

/// Canonical CBOR that was not read yet. Every step answers none for what it does not expect.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn body(&mut self) -> Option<Heard<'a>> {
        let (mut heard, mut salted) = (Heard::default(), false);
        self.map(|reader, key| {
            match key {
                "salt" => salted = reader.bytes()?.len() == 16,
                "name" => {
                    heard.name = Some(Cow::Borrowed(reader.text().filter(|name| path::check(name).is_ok())?))
                }
                "content" => heard.content = Some(reader.content()?),
                "target" => heard.target = Some(Cow::Borrowed(reader.bytes()?)),
                "mtime" => heard.mtime = Some(reader.signed()?),
                "executable" => heard.executable = Some(reader.boolean()?),
                _ => return None,
            }
            Some(())
        })?;
        salted.then_some(heard)
    }

    fn content(&mut self) -> Option<HeardContent<'a>> {
        let (mut id, mut size, mut cut, mut chunks, mut manifest) = (None, None, None, None, None);
        self.map(|reader, key| {
            match key {
                "id" => id = Some(ContentId::from_slice(reader.bytes()?)?),
                "size" => size = Some(reader.head(0)?),
                "cut" => {
                    cut = Some((
                        reader.head(4).filter(|&n| n == 3)?,
                        reader.u32()?,
                        reader.u32()?,
                        reader.u32()?,
                    ))
                }
                "chunks" => chunks = Some(reader.chunks()?),
                "manifest" => {
                    let whole = reader.0;
                    reader.chunk()?;
                    manifest = Some(&whole[..whole.len() - reader.0.len()]);
                }
                _ => return None,
            }
            Some(())
        })?;
        let roots = match (chunks, manifest) {
            (Some(_), Some(_)) => return None,
            (Some(roots), None) | (None, Some(roots)) => roots,
            (None, None) => &[],
        };
        cut?;
        Some(HeardContent { id: id?, size: size?, manifest: manifest.is_some(), roots: Roots::Bytes(roots) })
    }

    /// A map whose keys are texts, in canonical order: shorter ones first, none twice.
    fn map(&mut self, mut field: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        let mut before = "";
        for _ in 0..self.head(5)? {
            let key = self.text()?;
            if (before.len(), before) >= (key.len(), key) {
                return None;
            }
            field(self, key)?;
            before = key;
        }
        Some(())
    }

    fn chunks(&mut self) -> Option<&'a [u8]> {
        let count = self.head(4)?;
        let whole = self.0;
        for _ in 0..count {
            self.chunk()?;
        }
        Some(&whole[..whole.len() - self.0.len()])
    }

    fn chunk(&mut self) -> Option<ChunkId> {
        self.head(4).filter(|&fields| fields == 2)?;
        self.u32()?;
        ChunkId::from_slice(self.bytes()?)
    }

    fn u32(&mut self) -> Option<u32> {
        self.head(0)?.try_into().ok()
    }

    fn signed(&mut self) -> Option<i64> {
        if self.0.first()? >> 5 == 1 {
            // -1 - n
            return i64::try_from(self.head(1)?).ok().map(|n| !n);
        }
        self.head(0)?.try_into().ok()
    }

    fn boolean(&mut self) -> Option<bool> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        match byte {
            0xf4 => Some(false),
            0xf5 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.head(3)?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.head(2)?;
        self.take(length)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// The number in the head of an item of this major type, in its shortest form.
    fn head(&mut self, major: u8) -> Option<u64> {
        let (&byte, rest) = self.0.split_first()?;
        if byte >> 5 != major {
            return None;
        }
        self.0 = rest;
        let (number, least) = match byte & 31 {
            small @ 0..=23 => (u64::from(small), 0),
            24 => (u64::from(self.take(1)?[0]), 24),
            25 => (u64::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.take(4)?.try_into().ok()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.take(8)?.try_into().ok()?), 1 << 32),
            _ => return None,
        };
        (number >= least).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::{ChunkRef, Content, Cut, Name};
    use proptest::prelude::*;

    fn contents() -> impl Strategy<Value = Content> {
        let chunk =
            (1..u32::MAX, any::<u8>()).prop_map(|(bytes, n)| ChunkRef { bytes, id: ChunkId([n; 32]) });
        let lists = (prop::collection::vec(chunk.clone(), 0..30), prop::option::weighted(0.2, chunk));
        (lists, any::<[u8; 32]>(), any::<u64>()).prop_map(|((chunks, manifest), id, size)| Content {
            id: ContentId(id),
            size,
            cut: Cut::SMALL,
            chunks,
            manifest,
        })
    }

    fn bodies() -> impl Strategy<Value = Body> {
        (
            prop::option::of("[a-zä]{1,30}"),
            prop::option::of(contents()),
            prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            prop::option::of(any::<i64>()),
            prop::option::of(any::<bool>()),
            prop::option::weighted(0.1, "[a-z]{0,9}"),
        )
            .prop_map(|(name, content, target, mtime, executable, note)| Body {
                name: name.map(|name| Name::new(name).unwrap()),
                content,
                target,
                mtime,
                executable,
                note,
                ..Body::default()
            })
    }

    fn check(heard: &Heard<'_>, body: &Body) -> Result<(), TestCaseError> {
        prop_assert_eq!(heard.name.as_deref(), body.name.as_ref().map(Name::as_str));
        prop_assert_eq!(heard.target.as_deref(), body.target.as_deref());
        prop_assert_eq!((heard.mtime, heard.executable), (body.mtime, body.executable));
        prop_assert_eq!(heard.content.is_some(), body.content.is_some());
        if let (Some(heard), Some(content)) = (&heard.content, &body.content) {
            let roots: Vec<ChunkId> = content.roots().map(|chunk| chunk.id).collect();
            prop_assert_eq!(heard.roots().collect::<Vec<_>>(), roots);
            prop_assert_eq!((heard.id, heard.size), (content.id, content.size));
            prop_assert_eq!(heard.manifest, content.manifest.is_some());
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_body_is_heard_as_it_is_decoded(body in bodies()) {
            let bytes = body.encode();
            check(&Heard::of(&bytes).unwrap(), &body)?;
            let plain = body.note.is_none()
                && body.content.as_ref().is_none_or(|c| c.manifest.is_none() || c.chunks.is_empty());
            prop_assert_eq!(Heard::of(&bytes).unwrap().more.is_none(), plain, "read in place");
        }

        #[test]
        fn nothing_is_heard_that_would_not_be_decoded(
            body in bodies(),
            flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = body.encode();
            for (at, to) in flips {
                let at = at % bytes.len();
                bytes[at] = to;
            }
            match (Heard::of(&bytes), Body::decode(&bytes)) {
                (Some(heard), Ok(body)) => check(&heard, &body)?,
                (None, Err(_)) => {}
                (heard, decoded) => prop_assert!(false, "{heard:?}, but {decoded:?}"),
            }
        }
    }
}
