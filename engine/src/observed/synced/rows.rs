//! A run of nodes under rising paths, as one piece of memory: of each path only what it does not share with the one
//! before.
//!
//! ```text
//! for each row: bytes shared with the path before, bytes of the rest, the rest, bytes of the node, the node
//! ```
//!
//! What must always hold: paths rise strictly, and the first shares nothing.

use super::row::{Bytes, put};
use std::cmp::Ordering;

/// The nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) bytes: Vec<u8>,
    pub(super) count: usize,
}

/// One row where it lies.
struct Row<'a> {
    shared: usize,
    rest: &'a str,
    node: &'a [u8],
    end: usize,
}

/// Where a path is, or belongs.
struct Found {
    /// The path of the row before.
    before: String,
    start: usize,
    /// Where the row ends that has this path, if there is one.
    end: Option<usize>,
}

impl Rows {
    fn row(&self, start: usize) -> Option<Row<'_>> {
        row_at(&self.bytes, start)
    }

    fn find(&self, path: &str) -> Found {
        let (mut before, mut start) = (String::new(), 0);
        while let Some(row) = self.row(start) {
            let (above, rest) = path.as_bytes().split_at(row.shared.min(path.len()));
            let order =
                before.as_bytes()[..row.shared].cmp(above).then_with(|| row.rest.as_bytes().cmp(rest));
            match order {
                Ordering::Less => {
                    before.truncate(row.shared);
                    before.push_str(row.rest);
                    start = row.end;
                }
                Ordering::Equal => return Found { before, start, end: Some(row.end) },
                Ordering::Greater => break,
            }
        }
        Found { before, start, end: None }
    }

    pub(super) fn get(&self, path: &str) -> Option<&[u8]> {
        let found = self.find(path);
        found.end.and_then(|_| self.row(found.start)).map(|row| row.node)
    }

    /// Puts a node in, or another one in its place.
    pub(super) fn put(&mut self, path: &str, node: &[u8]) {
        self.change(path, Some(node));
    }

    /// Takes a node out.
    pub(super) fn take(&mut self, path: &str) -> Option<Vec<u8>> {
        let node = self.get(path)?.to_vec();
        self.change(path, None);
        Some(node)
    }

    fn change(&mut self, path: &str, node: Option<&[u8]>) {
        let Found { before, start, end } = self.find(path);
        let mut new = Vec::new();
        if let Some(node) = node {
            write(&mut new, &before, path, node);
        }
        // What follows shares another path's beginning now.
        let mut past = end.unwrap_or(start);
        if let Some(next) = self.row(past) {
            let shared = if end.is_some() { &path[..next.shared] } else { &before[..next.shared] };
            let next_path = format!("{shared}{}", next.rest);
            write(&mut new, if node.is_some() { path } else { &before }, &next_path, next.node);
            past = next.end;
        }
        self.count = self.count + usize::from(node.is_some()) - usize::from(end.is_some());
        let needed = (self.bytes.len() + new.len()).saturating_sub(past - start);
        if needed > self.bytes.capacity() {
            self.bytes.reserve_exact(needed - self.bytes.len() + 512);
        }
        self.bytes.splice(start..past, new);
    }

    /// Cuts off the second half: where it begins, and what it is.
    pub(super) fn split(&mut self) -> (String, Self) {
        let mut walk = self.walk();
        let mut at = 0;
        for _ in 0..=self.count / 2 {
            at = walk.at;
            walk.step();
        }
        let (path, node, rest) = (walk.path.clone(), walk.node, &self.bytes[walk.at..]);
        let mut bytes = Vec::with_capacity(rest.len() + path.len() + node.len() + 8);
        write(&mut bytes, "", &path, node);
        bytes.extend_from_slice(rest);
        let second = Self { bytes, count: self.count - self.count / 2 };
        self.count /= 2;
        self.bytes.truncate(at);
        self.bytes.shrink_to_fit();
        (path, second)
    }

    /// Puts rows behind these, whose paths are greater.
    pub(super) fn append(&mut self, other: &Self) {
        let mut walk = self.walk();
        while walk.step() {}
        let (last, Some(first)) = (walk.path, other.row(0)) else { return };
        let mut new = Vec::with_capacity(other.bytes.len());
        write(&mut new, &last, first.rest, first.node);
        new.extend_from_slice(&other.bytes[first.end..]);
        self.bytes.extend_from_slice(&new);
        self.count += other.count;
    }

    /// Whether nothing here has a path as great as this one.
    pub(super) fn ends_before(&self, path: &str) -> bool {
        self.find(path).start == self.bytes.len()
    }

    pub(super) fn walk(&self) -> Walk<'_> {
        Walk { bytes: &self.bytes, at: 0, path: String::new(), node: &[] }
    }
}

/// Goes from row to row.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The path of the row where it is.
    pub(super) path: String,
    /// Its node.
    pub(super) node: &'a [u8],
}

impl Walk<'_> {
    /// Goes to the next row, if there is one.
    pub(super) fn step(&mut self) -> bool {
        let Some(row) = row_at(self.bytes, self.at) else { return false };
        self.path.truncate(row.shared);
        self.path.push_str(row.rest);
        (self.node, self.at) = (row.node, row.end);
        true
    }
}

fn row_at(bytes: &[u8], start: usize) -> Option<Row<'_>> {
    if start == bytes.len() {
        return None;
    }
    let mut from = Bytes(&bytes[start..]);
    let length = |number: u64| usize::try_from(number).expect("it lies in memory");
    let shared = length(from.number());
    let rest = length(from.number());
    let rest = std::str::from_utf8(from.take(rest)).expect("paths are cut between characters");
    let node = length(from.number());
    let node = from.take(node);
    Some(Row { shared, rest, node, end: bytes.len() - from.0.len() })
}

fn write(out: &mut Vec<u8>, before: &str, path: &str, node: &[u8]) {
    let mut shared = before.bytes().zip(path.bytes()).take_while(|(one, other)| one == other).count();
    while !path.is_char_boundary(shared) {
        shared -= 1;
    }
    let rest = &path[shared..];
    put(out, shared as u64);
    put(out, rest.len() as u64);
    out.extend_from_slice(rest.as_bytes());
    put(out, node.len() as u64);
    out.extend_from_slice(node);
}
