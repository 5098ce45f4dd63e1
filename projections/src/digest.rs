//! Digests: one SHA-256 a projection, over a walk in the order of dots.
//!
//! Neither the order of arrival nor an index of any table gets in: only dots, ids, names and what follows from
//! the set of events. What the log adds to it (seqs, times of admission, positions) stays out, so that a device
//! with pending batches and a server that has just admitted them agree.

use crate::{
    Projections, Scope,
    batches::{DotIx, What},
    entries::EntryIx,
};
use annals_events::{Dot, DotSet, Hash, Hlc};
use sha2::Digest as _;
use std::collections::BTreeMap;

/// A walk on its way into a hash. Everything of varying length is preceded by its length.
struct Walk(sha2::Sha256);

impl Walk {
    fn new(what: &str) -> Self {
        let mut walk = Self(sha2::Sha256::new());
        walk.text(what);
        walk
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn signed(&mut self, number: Option<i64>) {
        self.flag(number.is_some());
        self.0.update(number.unwrap_or(0).to_be_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.0.update([u8::from(flag)]);
    }

    fn dot(&mut self, dot: Dot) {
        self.0.update(dot.device.0);
        self.number(dot.counter);
    }

    fn dots(&mut self, dots: &[Dot]) {
        self.number(dots.len() as u64);
        dots.iter().for_each(|&dot| self.dot(dot));
    }

    fn order(&mut self, (hlc, device): (Hlc, annals_events::DeviceId)) {
        self.number(hlc.0);
        self.0.update(device.0);
    }

    fn set(&mut self, dots: &DotSet) {
        self.number(dots.range_count() as u64);
        for (device, first, last) in dots.ranges() {
            self.0.update(device.0);
            self.number(first);
            self.number(last);
        }
    }

    fn done(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

impl Projections {
    /// One digest a projection, by its name. Equal for equal sets of events, whatever way they came.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<&'static str, Hash> {
        let mut digests = BTreeMap::from([
            ("access", self.digest_access()),
            ("attributes", self.digest_attributes()),
            ("devices", self.digest_devices()),
            ("events", self.digest_events()),
            ("heads", self.digest_heads()),
            ("history", self.digest_history()),
            ("liveness", self.digest_liveness()),
            ("names", self.digest_names()),
            ("tree", self.digest_tree()),
        ]);
        if self.scope == Scope::Server {
            digests.insert("chunk_refs", self.digest_chunk_refs());
            digests.insert("usage", self.digest_usage());
        }
        digests
    }

    /// Every entry by id.
    fn entries_by_id(&self) -> impl Iterator<Item = EntryIx> + '_ {
        self.devices.all_dots().filter_map(|dot| match self.devices.batches.what(dot) {
            What::Create(entry) => Some(entry),
            _ => None,
        })
    }

    /// Every version by dot.
    fn versions_by_dot(&self) -> impl Iterator<Item = (DotIx, u32)> + '_ {
        self.devices.all_dots().filter_map(|dot| Some((dot, self.version_ix(dot)?)))
    }

    fn digest_events(&self) -> Hash {
        let mut walk = Walk::new("events");
        let batches = &self.devices.batches;
        for &device in &self.devices.sorted {
            for &(first, row) in &batches.by_device[device as usize] {
                let row = &batches.rows[row as usize];
                walk.dot(Dot::new(self.devices.rows[device as usize].id, first));
                walk.number(u64::from(row.count));
                walk.bytes(&row.hash.0);
                let seen = &batches.seens[row.seen as usize];
                walk.dots(&seen.vector.iter().collect::<Vec<Dot>>());
                walk.set(&seen.unseen);
            }
        }
        walk.number(self.unknown);
        walk.done()
    }

    fn digest_tree(&self) -> Hash {
        let mut walk = Walk::new("tree");
        for entry in self.entries_by_id() {
            walk.dot(self.entry_id(entry).0);
            walk.number(self.entries.kind(entry) as u64);
            walk.dot(self.entry_id(self.entries.parent[entry as usize]).0);
            walk.dot(self.devices.dot(self.entries.edge(entry)));
            walk.text(&self.name_of(entry));
            walk.bytes(self.target(entry).unwrap_or_default());
        }
        for op in &self.moves.log {
            walk.dot(self.devices.dot(self.places[op.place as usize].dot));
            walk.flag(op.before == crate::intern::NONE);
        }
        walk.done()
    }

    fn digest_liveness(&self) -> Hash {
        let mut walk = Walk::new("liveness");
        for entry in self.entries_by_id() {
            walk.dot(self.entry_id(entry).0);
            let flags = self.entries.flags[entry as usize];
            walk.number(u64::from(flags & !crate::entries::flag::TOUCHED));
            let Some(rich) = self.entries.rich(entry) else { continue };
            walk.dots(&self.sorted_dots(rich.places.iter().copied()));
            let mut holds: Vec<(Dot, Dot, bool, bool)> = rich
                .holds
                .iter()
                .map(|h| {
                    let delete = self.deletes[h.delete as usize].dot;
                    (self.devices.dot(h.dot), self.devices.dot(delete), h.lifted, h.carried)
                })
                .collect();
            holds.sort_unstable();
            for (dot, delete, lifted, carried) in holds {
                walk.dots(&[dot, delete]);
                walk.flag(lifted);
                walk.flag(carried);
            }
        }
        walk.done()
    }

    fn digest_history(&self) -> Hash {
        let mut walk = Walk::new("history");
        for (dot, version) in self.versions_by_dot() {
            walk.dot(self.devices.dot(dot));
            walk.dot(self.entry_id(self.versions.entry[version as usize]).0);
            walk.number(u64::from(self.versions.flags[version as usize]));
            walk.bytes(&self.versions.content[version as usize]);
            walk.number(self.versions.size[version as usize]);
            walk.signed(self.versions.mtime(version));
            walk.dots(&self.sorted_dots(self.versions.parents(version).iter().copied()));
        }
        walk.done()
    }

    fn digest_heads(&self) -> Hash {
        let mut walk = Walk::new("heads");
        for entry in self.entries_by_id() {
            if let [_, _, ..] = self.entries.versions(entry) {
                walk.dot(self.entry_id(entry).0);
                walk.dots(&self.sorted_dots(self.entries.maximal(entry).iter().copied()));
                walk.dots(&self.sorted_dots(self.human_heads_of(entry)));
                let heads: Vec<Dot> =
                    self.heads_of(entry).into_iter().map(|head| self.devices.dot(head)).collect();
                walk.dots(&heads);
            }
        }
        walk.done()
    }

    fn digest_names(&self) -> Hash {
        let mut walk = Walk::new("names");
        self.walk(|prefix, line| {
            walk.text(prefix);
            walk.text(&line.name);
            let entries: Vec<Dot> = line.entries.iter().map(|&ix| self.entry_id(ix).0).collect();
            walk.dots(&entries);
            let heads: Vec<Dot> = line.head.iter().map(|&head| self.devices.dot(head)).collect();
            walk.dots(&heads);
        });
        walk.done()
    }

    fn digest_attributes(&self) -> Hash {
        let mut walk = Walk::new("attributes");
        for entry in self.entries_by_id() {
            let Some(row) = self.attributes.get(&entry) else { continue };
            walk.dot(self.entry_id(entry).0);
            walk.signed(row.mtime.val);
            walk.order((row.mtime.marker.0, row.mtime.marker.1));
            walk.signed(row.executable.val.map(i64::from));
            walk.order((row.executable.marker.0, row.executable.marker.1));
            walk.number(row.tags.len() as u64);
            for (tag, addings) in &row.tags {
                walk.text(tag);
                walk.dots(&self.sorted_dots(addings.iter().copied()));
            }
            let mut notes: Vec<(Dot, &str)> =
                row.notes.iter().map(|(dot, note)| (self.devices.dot(*dot), note.as_str())).collect();
            notes.sort_unstable();
            for (dot, note) in notes {
                walk.dot(dot);
                walk.text(note);
            }
        }
        walk.done()
    }

    fn digest_access(&self) -> Hash {
        let mut walk = Walk::new("access");
        walk.text(self.access.label());
        walk.bytes(&self.access.owner().unwrap_or_default().0);
        for (user, statements) in &self.access.statements {
            walk.bytes(&user.0);
            let mut statements: Vec<(Dot, Option<u64>)> = statements
                .iter()
                .map(|(dot, role)| (self.devices.dot(*dot), role.map(|r| r as u64)))
                .collect();
            statements.sort_unstable();
            for (dot, role) in statements {
                walk.dot(dot);
                walk.number(role.map_or(0, |role| role + 1));
            }
        }
        for (user, (order, name)) in &self.access.names {
            walk.bytes(&user.0);
            walk.order(*order);
            walk.text(name);
        }
        if let Some((order, (versions, silence))) = self.retention.said {
            walk.order(order);
            for ms in [versions, silence] {
                walk.flag(ms.is_some());
                walk.number(ms.unwrap_or_default());
            }
        }
        walk.done()
    }

    fn digest_devices(&self) -> Hash {
        let mut walk = Walk::new("devices");
        for (device, state) in self.devices.iter() {
            walk.bytes(&device.0);
            walk.bytes(&state.key.0);
            walk.bytes(&state.user.unwrap_or_default().0);
            walk.text(&state.label);
            walk.flag(state.linked);
            walk.flag(state.is_server);
            walk.number(state.retired_last.map_or(0, |last| last + 1));
            walk.number(state.last_counter);
            walk.number(state.last_hlc.0);
            walk.number(state.acknowledged.0);
            walk.bytes(&state.last_batch.unwrap_or_default().0);
            walk.bytes(&state.continues.unwrap_or_default().0);
            walk.dots(&state.seen.iter().collect::<Vec<Dot>>());
        }
        walk.done()
    }

    fn digest_chunk_refs(&self) -> Hash {
        let mut walk = Walk::new("chunk_refs");
        for (dot, version) in self.versions_by_dot().filter(|&(_, version)| self.is_retained(version)) {
            let mut chunks: Vec<_> = self.chunk_refs.of_version(version).collect();
            chunks.sort_unstable();
            chunks.dedup();
            walk.dot(self.devices.dot(dot));
            walk.number(chunks.len() as u64);
            chunks.iter().for_each(|chunk| walk.bytes(&chunk.0));
        }
        walk.done()
    }

    fn digest_usage(&self) -> Hash {
        let mut walk = Walk::new("usage");
        let usage = self.usage();
        walk.number(usage.bytes);
        walk.number(usage.entries);
        walk.done()
    }
}
