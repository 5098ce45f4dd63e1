//! One node of a synced tree in few bytes: what most have in common is a bit, numbers are as long as they are large,
//! devices are numbered.
//!
//! ```text
//! flags u16 | kind u8 | number of the file: dev, ino | size | mtime, i64 | ctime - mtime, zigzag
//! | with bit 2 of the kind: ctime - birth, zigzag | what the flags announce
//! ```
//!
//! Integers are LEB128 unless said otherwise, fixed ones little-endian. What must always hold: a node that was put in
//! comes out again as it was. The bytes are read by the release that wrote them, and by nobody else.

use super::SyncedNode;
use crate::disk::{Identity, Node};
use annals_events::{ContentId, DeviceId, Dot, EntryId, EntryKind};
use std::collections::BTreeMap;

/// Two bits for the kind.
const KIND: u16 = 0b11;
const EXECUTABLE: u16 = 1 << 2;
const DISK_EXECUTABLE: u16 = 1 << 3;
const COPY: u16 = 1 << 4;
const SETTLED: u16 = 1 << 5;
const ASIDE: u16 = 1 << 6;
const TARGET: u16 = 1 << 7;
const CONTENT: u16 = 1 << 8;
/// The log's time is there; and it is not the disk's, but follows.
const MTIME: u16 = 1 << 9;
const OTHER_MTIME: u16 = 1 << 10;
/// There is one entry, and not a list of them.
const ONE_ENTRY: u16 = 1 << 11;
/// A version is shown; and it is not the one that came with the entry, but follows.
const HEAD: u16 = 1 << 12;
const OTHER_HEAD: u16 = 1 << 13;
/// The versions behind are not just the one that is shown, or none where none is; they follow.
const OTHER_HEADS: u16 = 1 << 14;
const PROVEN: u16 = 1 << 15;
/// Of the disk's kind.
const BORN: u16 = 1 << 2;

/// Devices by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    ids: Vec<DeviceId>,
    by_id: BTreeMap<DeviceId, u32>,
}

impl Devices {
    fn number(&mut self, id: DeviceId) -> u32 {
        *self.by_id.entry(id).or_insert_with(|| {
            self.ids.push(id);
            u32::try_from(self.ids.len() - 1).expect("there are fewer devices")
        })
    }

    pub(super) fn all(&self) -> &[DeviceId] {
        &self.ids
    }
}

impl FromIterator<DeviceId> for Devices {
    fn from_iter<I: IntoIterator<Item = DeviceId>>(ids: I) -> Self {
        let mut devices = Self::default();
        for id in ids {
            devices.number(id);
        }
        devices
    }
}

/// What a look at the disk is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// By what it is known on the disk.
    pub identity: Identity,
    /// As in [`SyncedNode`].
    pub settled: bool,
    /// As in [`SyncedNode`].
    pub aside: bool,
}

impl Glimpse {
    /// Whether what is on the disk is this, so that nothing follows from it.
    #[must_use]
    pub fn is_still(&self, now: &Node) -> bool {
        !self.aside
            && (self.settled || self.identity.kind == EntryKind::Folder)
            && self.identity.is(&now.identity())
    }

    pub(super) fn of(row: &[u8]) -> Self {
        let (flags, identity, _) = begin(row);
        Self { identity, settled: flags & SETTLED != 0, aside: flags & ASIDE != 0 }
    }
}

pub(super) fn encode(node: &SyncedNode, devices: &mut Devices) -> Vec<u8> {
    let SyncedNode { entries, kind, head, heads, content, mtime, executable, copy, disk, .. } = node;
    let first = entries.first().map(|entry| entry.0);
    let mut flags = kind_bits(*kind);
    for (flag, is_set) in [
        (EXECUTABLE, *executable),
        (DISK_EXECUTABLE, disk.executable),
        (COPY, *copy),
        (SETTLED, node.settled),
        (PROVEN, node.proven),
        (ASIDE, node.aside),
        (TARGET, disk.target.is_some()),
        (CONTENT, content.is_some()),
        (MTIME, mtime.is_some()),
        (OTHER_MTIME, mtime.is_some_and(|mtime| mtime != disk.mtime_ns)),
        (ONE_ENTRY, entries.len() == 1),
        (HEAD, head.is_some()),
        (OTHER_HEAD, head.is_some() && *head != first),
        (OTHER_HEADS, heads.as_slice() != head.as_slice()),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    // The disk's kind is the node's own but where something is badly wrong; it has two bits of its own then.
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(&flags.to_le_bytes());
    let born = if disk.born_ns.is_some() { BORN } else { 0 };
    out.push(u8::try_from(kind_bits(disk.kind) | born).expect("three bits"));
    put(&mut out, disk.dev);
    put(&mut out, disk.ino);
    put(&mut out, disk.size);
    out.extend_from_slice(&disk.mtime_ns.to_le_bytes());
    put(&mut out, zigzag(disk.ctime_ns.wrapping_sub(disk.mtime_ns)));
    disk.born_ns.iter().for_each(|born| put(&mut out, zigzag(disk.ctime_ns.wrapping_sub(*born))));
    let dots = |out: &mut Vec<u8>, dots: &[Dot], devices: &mut Devices| {
        put(out, dots.len() as u64);
        dots.iter().for_each(|dot| put_dot(out, *dot, devices));
    };
    if flags & ONE_ENTRY == 0 {
        let entries: Vec<Dot> = entries.iter().map(|entry| entry.0).collect();
        dots(&mut out, &entries, devices);
    } else {
        first.into_iter().for_each(|dot| put_dot(&mut out, dot, devices));
    }
    if flags & OTHER_HEAD != 0 {
        head.iter().for_each(|dot| put_dot(&mut out, *dot, devices));
    }
    if flags & OTHER_HEADS != 0 {
        dots(&mut out, heads, devices);
    }
    if flags & OTHER_MTIME != 0 {
        mtime.iter().for_each(|mtime| out.extend_from_slice(&mtime.to_le_bytes()));
    }
    content.iter().for_each(|content| out.extend_from_slice(&content.0));
    disk.target.iter().for_each(|target| out.extend_from_slice(target));
    out
}

pub(super) fn decode(row: &[u8], devices: &Devices) -> SyncedNode {
    let (flags, identity, mut rest) = begin(row);
    let is = |flag: u16| flags & flag != 0;
    let dots = |rest: &mut Bytes<'_>| -> Vec<Dot> {
        let count = rest.number();
        (0..count).map(|_| rest.dot(devices)).collect()
    };
    let entries: Vec<EntryId> = if is(ONE_ENTRY) {
        vec![EntryId(rest.dot(devices))]
    } else {
        dots(&mut rest).into_iter().map(EntryId).collect()
    };
    let head = match (is(HEAD), is(OTHER_HEAD)) {
        (false, _) => None,
        (true, false) => entries.first().map(|entry| entry.0),
        (true, true) => Some(rest.dot(devices)),
    };
    let heads = if is(OTHER_HEADS) { dots(&mut rest) } else { head.into_iter().collect() };
    let mtime = match (is(MTIME), is(OTHER_MTIME)) {
        (false, _) => None,
        (true, false) => Some(identity.mtime_ns),
        (true, true) => Some(rest.fixed()),
    };
    let content = is(CONTENT).then(|| ContentId(rest.array()));
    let Identity { kind, dev, ino, born_ns, size, mtime_ns, ctime_ns } = identity;
    let target = is(TARGET).then(|| rest.0.to_vec());
    let executable = is(DISK_EXECUTABLE);
    SyncedNode {
        entries,
        kind: kind_of(flags),
        head,
        heads,
        content,
        mtime,
        executable: is(EXECUTABLE),
        copy: is(COPY),
        disk: Node { kind, size, mtime_ns, ctime_ns, dev, ino, born_ns, executable, target },
        settled: is(SETTLED),
        proven: is(PROVEN),
        aside: is(ASIDE),
    }
}

/// What every row has.
fn begin(row: &[u8]) -> (u16, Identity, Bytes<'_>) {
    let mut rest = Bytes(row);
    let flags = u16::from_le_bytes(rest.array());
    let [kind] = rest.array();
    let (dev, ino, size, mtime_ns) = (rest.number(), rest.number(), rest.number(), rest.fixed());
    let ctime_ns = mtime_ns.wrapping_add(unzigzag(rest.number()));
    let kind = u16::from(kind);
    let born_ns = (kind & BORN != 0).then(|| ctime_ns.wrapping_sub(unzigzag(rest.number())));
    (flags, Identity { kind: kind_of(kind), dev, ino, born_ns, size, mtime_ns, ctime_ns }, rest)
}

fn kind_bits(kind: EntryKind) -> u16 {
    match kind {
        EntryKind::File => 0,
        EntryKind::Folder => 1,
        EntryKind::Symlink => 2,
    }
}

fn kind_of(bits: u16) -> EntryKind {
    match bits & KIND {
        0 => EntryKind::File,
        1 => EntryKind::Folder,
        _ => EntryKind::Symlink,
    }
}

/// Bytes that this module wrote.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let [byte] = self.array();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }

    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("as many as were asked for")
    }

    fn fixed(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }

    fn dot(&mut self, devices: &Devices) -> Dot {
        let device = usize::try_from(self.number()).expect("it was counted");
        Dot::new(devices.ids[device], self.number())
    }
}

pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(0x80 | u8::try_from(number & 0x7f).expect("seven bits"));
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

fn put_dot(out: &mut Vec<u8>, dot: Dot, devices: &mut Devices) {
    put(out, u64::from(devices.number(dot.device)));
    put(out, dot.counter);
}

/// Small numbers of either sign as small ones without.
fn zigzag(number: i64) -> u64 {
    (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}
