//! How each table's rows become bytes: integers little-endian, lists and texts behind their length, fields in
//! the order of their declaration here.

use crate::{
    Access, DeviceState, Devices, Head, Retention,
    attributes::AttributeRow,
    batches::{BatchRow, Batches},
    devices::DeviceRow,
    entries::{DeleteRow, Entries, FolderRow, Hold, PlaceRow, ResolutionRow, Rich},
    history::Versions,
    move_tree::Op,
};
use annals_events::{
    DeviceId, Dot, DotSet, Hash, Hlc, NamespaceId, PublicKey, Role, Seen, Seq, UserId, VersionVector,
};
use crdts::LWWReg;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes not read yet.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (read, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(read)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// A length; each item takes a byte at least, so that no damaged one asks for more than there is.
    fn length(&mut self) -> Option<usize> {
        usize::try_from(u64::take(self)?).ok().filter(|&length| length <= self.0.len())
    }
}

/// Something that a checkpoint holds.
pub(super) trait Stored: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut Reader<'_>) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty),*) => { $(
        impl Stored for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(from: &mut Reader<'_>) -> Option<Self> {
                from.array().map(Self::from_le_bytes)
            }
        }
    )* };
}
integers!(u8, u32, u64, i64);

macro_rules! wrappers {
    ($($type:ident),*) => { $(
        impl Stored for $type {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(from: &mut Reader<'_>) -> Option<Self> {
                Stored::take(from).map(Self)
            }
        }
    )* };
}
wrappers!(NamespaceId, DeviceId, UserId, Hash, PublicKey, Hlc, Seq);

macro_rules! structs {
    ($($type:ident { $($field:ident),* })*) => { $(
        impl Stored for $type {
            fn put(&self, out: &mut Vec<u8>) {
                $( self.$field.put(out); )*
            }
            fn take(from: &mut Reader<'_>) -> Option<Self> {
                $( let $field = Stored::take(from)?; )*
                Some(Self { $($field),* })
            }
        }
    )* };
}
structs! {
    Head { seq, chain, epoch }
    Dot { device, counter }
    Seen { vector, unseen }
    Devices { rows, sorted, batches }
    DeviceRow { id, state, link_order }
    DeviceState { key, user, label, linked, linked_at, retired_last, last_counter, last_batch, seen, last_hlc,
        acknowledged, continues, is_server, last_admitted_at }
    Batches { rows, by_device, hlc, what, seens, row_by_run }
    BatchRow { device, count, first, base, seen, position, seq, admitted_at, hash }
    Access { owner, label, statements, names }
    Retention { said }
    Entries { born, parent, name, rich, inner, next, prev, flags, folders, targets, riches }
    FolderRow { first_child, shown_children }
    Rich { edge, born_parent, places, touches, versions, maximal, holds, resolutions }
    Hold { dot, delete, lifted, carried }
    PlaceRow { dot, entry, parent, name }
    DeleteRow { dot, hides }
    ResolutionRow { dot, entry, over, keep }
    Versions { dot, entry, content, size, mtime, flags, lineage, parents }
    Op { hlc, device, place, before }
    AttributeRow { mtime, executable, tags, notes }
}

impl<V: Stored, M: Stored> Stored for LWWReg<V, M> {
    fn put(&self, out: &mut Vec<u8>) {
        self.val.put(out);
        self.marker.put(out);
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { val: V::take(from)?, marker: M::take(from)? })
    }
}

impl Stored for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<const N: usize> Stored for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        from.array()
    }
}

impl Stored for Role {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        [Self::Viewer, Self::Editor, Self::Owner].get(usize::from(u8::take(from)?)).copied()
    }
}

impl<T: Stored> Stored for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(if bool::take(from)? { Some(T::take(from)?) } else { None })
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        // Exactly as many: what the tables save when they grow must not be lost when they are read.
        let length = from.length()?;
        let mut items = Self::with_capacity(length);
        for _ in 0..length {
            items.push(T::take(from)?);
        }
        Some(items)
    }
}

impl Stored for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let length = from.length()?;
        Self::from_utf8(from.bytes(length)?.to_vec()).ok()
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl<A: Stored, B: Stored, C: Stored> Stored for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?, C::take(from)?))
    }
}

impl<K: Stored + Ord, V: Stored> Stored for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let length = from.length()?;
        (0..length).map(|_| Some((K::take(from)?, V::take(from)?))).collect()
    }
}

impl<T: Stored + Ord> Stored for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let length = from.length()?;
        (0..length).map(|_| T::take(from)).collect()
    }
}

impl Stored for VersionVector {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().collect::<Vec<Dot>>().put(out);
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Vec::<Dot>::take(from).map(|dots| dots.into_iter().collect())
    }
}

impl Stored for DotSet {
    fn put(&self, out: &mut Vec<u8>) {
        let ranges: Vec<(DeviceId, u64, u64)> = self.ranges().collect();
        ranges.put(out);
    }
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let ranges = Vec::<(DeviceId, u64, u64)>::take(from)?;
        Some(
            ranges.into_iter().flat_map(|(device, a, b)| (a..=b).map(move |c| Dot::new(device, c))).collect(),
        )
    }
}
