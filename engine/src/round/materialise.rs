//! Doing to the folder what a plan says: what somebody waits for first, some hundred operations at a time.
//!
//! What must always hold: what was done is handed in, and so written down, before anything else follows, also where the
//! rest failed. Left out: what is to be done ([`plan`](crate::plan)), and how it is made durable (the disk's).

use super::{Fetcher, Files, Host, Look, Round, RoundError, Step};
use crate::{
    disk::{Disk, DiskOp, Outcome},
    priority::{Rank, Waiting, is_long},
    replica::{Effect, Input},
};
use std::collections::{BTreeMap, BTreeSet};

/// So few files are done before anybody finds out which of them are open.
const FEW: usize = 8;
/// Operations handed to the disk together, which makes them durable together.
const OPS_PER_GROUP: usize = 2048;
/// The bytes that they write, unless one alone writes more: what is done before the next word of how far it is.
const OPS_BYTES: u64 = 32 << 20;

impl<H: Host> Round<'_, H> {
    /// The operations of a plan, those that write in the order in which somebody waits for them.
    pub(super) fn arranged(&mut self, ops: Vec<DiskOp>) -> Vec<DiskOp> {
        let files = ops.iter().filter(|op| matches!(op, DiskOp::WriteFile { .. })).count();
        if files < 2 {
            return ops;
        }
        let ranking = self.ranking(files);
        let rank = |op: &DiskOp| match op {
            DiskOp::WriteFile { path, size, mtime_ns, .. } => ranking.of(path, *size, mtime_ns.unwrap_or(0)),
            // Nothing has to be fetched for it.
            op => ranking.of(op.path(), 0, 0),
        };
        self.replica.arrange(rank).map_or(ops, <[DiskOp]>::to_vec)
    }

    /// By what files are put in order, `files` of them.
    pub(super) fn ranking(&mut self, files: usize) -> Ranking {
        let open = if files > FEW { self.host.open_now() } else { BTreeSet::new() };
        Ranking { now_ms: self.host.now_ms(), open, asked: self.wish.first.clone() }
    }

    /// Does what a plan says, some hundred operations at a time, and hands in how it went.
    pub(super) fn materialise(&mut self, ops: &[DiskOp], together: usize) -> Result<(), RoundError> {
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut failed = None;
        let ops = if self.shut_out { &[] } else { ops };
        let (first, rest) = ops.split_at(together.min(ops.len()));
        // What takes long keeps nothing waiting that stands before it.
        let in_parts = rest.chunk_by(|one, next| !takes_long(one) && !takes_long(next));
        let in_groups = in_parts.flat_map(groups_of);
        let groups = std::iter::once(first).chain(in_groups).filter(|group| !group.is_empty());
        let mut files = Files { of: ops.len() as u64, of_bytes: written_by(ops), ..Files::default() };
        for group in groups {
            let path = group.iter().find(|op| matches!(op, DiskOp::WriteFile { .. })).or(group.first());
            files.path = path.map(|op| op.path().to_owned());
            self.host.progress(Step::Writing(files.clone()));
            match self.apply(group) {
                Ok(done) => outcomes.extend(done),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            (files.done, files.path) = (outcomes.len() as u64, None);
            files.bytes += written_by(group);
            if let Err(stopped) = self.go_on(Step::Writing(files.clone()))
                && outcomes.len() < ops.len()
            {
                failed = Some(stopped);
                break;
            }
        }
        self.report.ops += outcomes.len() as u64;
        let effects = self.replica.step(self.host.now_ms(), Input::Materialised { outcomes });
        if let Some(error) = failed {
            // What was done is taken down first; plans that follow would meet the same disk.
            let persisted: Vec<Effect> =
                effects.into_iter().take_while(|e| !matches!(e, Effect::Materialise(_))).collect();
            self.perform(persisted)?;
            return Err(error);
        }
        self.perform(effects)
    }

    fn apply(&mut self, ops: &[DiskOp]) -> Result<Vec<Outcome>, RoundError> {
        let mut contents = BTreeMap::new();
        let mut order = Vec::new();
        let sources = self.sources_of(ops);
        for op in ops {
            let DiskOp::WriteFile { path, content, .. } = op else { continue };
            if !contents.contains_key(content) {
                let head = self.replica.at_work_on(path).and_then(|node| node.head);
                let whole = head.map(|head| self.content_of(head)).transpose()?.flatten();
                contents.extend(whole.filter(|whole| whole.id == *content).map(|whole| (*content, whole)));
            }
            order.push(*content);
        }
        let namespace = self.replica.namespace();
        let parts = self.host.parts();
        let ways = (parts.transport, parts.outbox, parts.lists);
        let mut fetcher = Fetcher::new(namespace, ways, contents, &order, sources);
        let outcomes = parts.disk.apply(ops, &mut fetcher);
        let (chunks, trouble) = fetcher.finish();
        self.report.chunks_received += chunks;
        match (outcomes, trouble) {
            // Without its content a file is blocked; the reason is the round's.
            (Ok(outcomes), None) => Ok(outcomes),
            (Ok(outcomes), Some(trouble)) => {
                // What was just saved here can be fetched once its event is in the log.
                if trouble.is_unknown_chunk() && self.replica.pending().next().is_some() {
                    self.rescan = Some(Look::Whole);
                // No epoch tells of a server that lost no record of its own.
                } else if trouble.is_unknown_chunk()
                    && (self.replica.cursor().epoch > 0 || self.report.server_put_back)
                {
                    self.content_lost = true;
                } else {
                    self.trouble(trouble);
                }
                Ok(outcomes)
            }
            (Err(error), _) => Err(RoundError::Disk(error)),
        }
    }
}

/// By what files are put in order.
pub(super) struct Ranking {
    now_ms: u64,
    open: BTreeSet<String>,
    asked: Vec<String>,
}

impl Ranking {
    pub(super) fn of(&self, path: &str, size: u64, touched_ns: i64) -> Rank {
        let touched_ms = u64::try_from(touched_ns / 1_000_000).unwrap_or(0);
        let file = Waiting { path, size, touched_ms, open: self.open.contains(path) };
        Rank::of(file, self.now_ms, &self.asked)
    }
}

fn takes_long(op: &DiskOp) -> bool {
    matches!(op, DiskOp::WriteFile { size, .. } if is_long(*size))
}

/// Operations in groups.
fn groups_of(ops: &[DiskOp]) -> impl Iterator<Item = &[DiskOp]> {
    let (mut count, mut bytes) = (0, written_by(&ops[..ops.len().min(1)]));
    ops.chunk_by(move |_, next| {
        (count, bytes) = (count + 1, bytes + written_by(std::slice::from_ref(next)));
        let goes_on = count < OPS_PER_GROUP && bytes <= OPS_BYTES;
        if !goes_on {
            (count, bytes) = (0, written_by(std::slice::from_ref(next)));
        }
        goes_on
    })
}

/// What operations write, in bytes.
fn written_by(ops: &[DiskOp]) -> u64 {
    ops.iter().map(|op| if let DiskOp::WriteFile { size, .. } = op { *size } else { 0 }).sum()
}
