//! Small integers for what is large, and tables that waste little.
//!
//! Indexes follow the order of arrival, so they never leave this crate: answers and digests are in dots and
//! names. [`NONE`] stands for "no such row" in columns that would otherwise be options of twice the size.
//! Limits: 2^28 entries, versions or deletes a namespace, 4 GiB of names.

/// A row that is not there.
pub(crate) const NONE: u32 = u32::MAX;

/// Appends with a sixteenth to spare instead of the double: at a million rows the difference is a fifth of all
/// memory, and the allocator moves large tables without copying them.
pub(crate) fn push<T>(table: &mut Vec<T>, value: T) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / 16).max(8));
    }
    table.push(value);
}

/// The next row's index.
pub(crate) fn next_index<T>(table: &[T]) -> u32 {
    u32::try_from(table.len()).ok().filter(|&ix| ix < 1 << 28).expect("fewer than 2^28 rows of a kind")
}

/// All names in one arena: a length, then the bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) bytes: Vec<u8>,
}

impl Names {
    /// Keeps a name of at most 255 bytes; gives its handle.
    pub(crate) fn put(&mut self, name: &str) -> u32 {
        let at =
            u32::try_from(self.bytes.len()).ok().filter(|&at| at != NONE).expect("less than 4 GiB of names");
        let length = u8::try_from(name.len()).expect("a name has at most 255 bytes");
        if self.bytes.capacity() - self.bytes.len() <= name.len() {
            self.bytes.reserve_exact((self.bytes.len() / 16).max(512));
        }
        self.bytes.push(length);
        self.bytes.extend_from_slice(name.as_bytes());
        at
    }

    /// The name behind a handle; none for one that was withheld.
    pub(crate) fn get(&self, at: u32) -> Option<&str> {
        if at == NONE {
            return None;
        }
        let from = at as usize + 1;
        let bytes = &self.bytes[from..from + usize::from(self.bytes[at as usize])];
        Some(std::str::from_utf8(bytes).expect("only text was put in"))
    }
}

/// An index over a column of ids that are themselves hashes: open addressing, linear probing, at most three
/// quarters full. A slot is a row number and four more bits of the id, which spare nearly every look at a
/// wrong row. Its order is never read.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdIndex {
    slots: Vec<u32>,
    used: u32,
}

/// The part of a slot that is the row.
const ROW: u32 = (1 << 28) - 1;

impl IdIndex {
    /// The row whose id is `id`, by the caller's idea of sameness.
    pub(crate) fn find(&self, id: &[u8; 32], same: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let (mut at, tag) = spread(id);
        loop {
            match self.slots[at & mask] {
                NONE => return None,
                slot if slot & !ROW == tag && same(slot & ROW) => return Some(slot & ROW),
                _ => at += 1,
            }
        }
    }

    /// Touches the slots of ids that are about to be looked up, all at once: the processor waits for memory once
    /// for many of them instead of once for each, which is most of what a lookup costs at millions of rows.
    pub(crate) fn warm(&self, ids: impl Iterator<Item = [u8; 32]>) {
        if let Some(mask) = self.slots.len().checked_sub(1) {
            std::hint::black_box(ids.fold(0, |sum, id| sum ^ self.slots[spread(&id).0 & mask]));
        }
    }

    /// Puts in the next row; `id_of` gives the id of any row before it.
    pub(crate) fn insert<'a>(&mut self, id: &[u8; 32], id_of: impl Fn(u32) -> &'a [u8; 32]) {
        let row = self.used;
        if (row as usize + 1) * 4 > self.slots.len() * 3 {
            self.slots = vec![NONE; (self.slots.len() * 2).max(16)];
            (0..row).for_each(|row| self.place(id_of(row), row));
        }
        self.place(id, row);
        self.used += 1;
    }

    fn place(&mut self, id: &[u8; 32], row: u32) {
        let mask = self.slots.len() - 1;
        let (mut at, tag) = spread(id);
        while self.slots[at & mask] != NONE {
            at += 1;
        }
        self.slots[at & mask] = tag | row;
    }
}

/// Where to look first, and the tag. Ids are spread already; any bytes of them do.
fn spread(id: &[u8; 32]) -> (usize, u32) {
    let low = u32::from_le_bytes(id[..4].try_into().expect("an id has 32 bytes"));
    (low as usize, u32::from(id[4]) << 28)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went_in() {
        let mut names = Names::default();
        let handles: Vec<u32> = ["a", "ä b", &"x".repeat(255)].iter().map(|n| names.put(n)).collect();
        assert_eq!(names.get(handles[1]), Some("ä b"));
        assert_eq!(names.get(handles[2]).map(str::len), Some(255));
        assert_eq!(names.get(NONE), None);
    }

    #[test]
    fn an_index_finds_every_row_and_no_other() {
        // Many ids that fall into one slot, so that probing is what finds them.
        let ids: Vec<[u8; 32]> = (0..500u16)
            .map(|i| {
                let mut id = [0; 32];
                id[0] = (i % 3) as u8;
                id[30..].copy_from_slice(&i.to_be_bytes());
                id
            })
            .collect();
        let mut index = IdIndex::default();
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(index.find(id, |r| ids[r as usize] == *id), None);
            index.insert(id, |r| &ids[r as usize]);
            assert_eq!(index.used as usize, row + 1);
        }
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(index.find(id, |r| ids[r as usize] == *id), Some(row as u32));
        }
    }
}
