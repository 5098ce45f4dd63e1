//! Doing to the folder what a plan says: what somebody waits for first, some hundred operations at a time.
//!
//! What must always hold: what was done is handed in, and so written down, before anything else follows, also where the
//! rest failed. Left out: what is to be done ([`plan`](crate::plan)), and how it is made durable (the disk's).

use super::{Fetcher, Files, Host, Look, Round, RoundError, Step};
use crate::{
    disk::{Blocked, Disk, DiskOp, Outcome},
    flow,
    priority::{Rank, Waiting},
    replica::{Effect, Input},
};
use std::collections::{BTreeMap, BTreeSet};

/// So few files are done before anybody finds out which of them are open.
const FEW: usize = 8;
/// Operations handed to the disk together, which makes them durable together.
const OPS_PER_GROUP: usize = 2048;

impl<H: Host> Round<'_, H> {
    /// The operations of a plan, those that write in the order in which somebody waits for them.
    pub(super) fn arranged(&mut self, ops: Vec<DiskOp>) -> Vec<DiskOp> {
        let files = ops.iter().filter(|op| matches!(op, DiskOp::WriteFile { .. })).count();
        if files < 2 {
            return ops;
        }
        let ranking = self.ranking(files);
        let rank = |op: &DiskOp| match op {
            DiskOp::WriteFile { path, size, mtime_ns, .. } => {
                (ranking.of(path, *size, mtime_ns.unwrap_or(0)), *size)
            }
            // Nothing has to be fetched for it.
            op => (ranking.of(op.path(), 0, 0), 0),
        };
        self.replica.arrange(rank).map_or(ops, <[DiskOp]>::to_vec)
    }

    /// By what files are put in order, `files` of them.
    pub(super) fn ranking(&mut self, files: usize) -> Ranking {
        let open = if files > FEW { self.host.open_now() } else { BTreeSet::new() };
        Ranking { now_ms: self.host.now_ms(), open, asked: self.wish.first.clone() }
    }

    /// Does what a plan says, some hundred operations at a time, and hands in how it went. What gave way, or could not be
    /// fetched for now, is planned again.
    pub(super) fn materialise(&mut self, ops: &[DiskOp], together: usize) -> Result<(), RoundError> {
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut failed = None;
        let ops = if self.shut_out { &[] } else { ops };
        let (first, rest) = ops.split_at(together.min(ops.len()));
        let window = self.window();
        // What takes long keeps nothing waiting that stands before it.
        let in_parts = rest.chunk_by(|one, next| !takes_long(one, window) && !takes_long(next, window));
        let in_groups = in_parts.flat_map(|part| groups_of(part, flow::group(window)));
        let groups = std::iter::once(first).chain(in_groups).filter(|group| !group.is_empty());
        let mut files = Files { of: ops.len() as u64, of_bytes: written_by(ops), ..Files::default() };
        let mut ends = false;
        let unsaid = self.is_looking && self.replica.pending().next().is_some();
        let little_goes_first = self.gave_way || self.little_waits || unsaid;
        self.turn_to(self.sends_later || !self.later.is_empty());
        for group in groups {
            if ends || little_goes_first && takes_long(&group[0], window) {
                ends = true;
                outcomes.extend(group.iter().map(later));
                continue;
            }
            let path = group.iter().find(|op| matches!(op, DiskOp::WriteFile { .. })).or(group.first());
            files.path = path.map(|op| op.path().to_owned());
            let bytes = files.bytes + self.written_of(group);
            self.host.progress(Step::Writing(Files { bytes, ..files.clone() }));
            match self.apply(group, &mut ends) {
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
                (failed, ends) = (Some(stopped), true);
            }
        }
        self.receives_later = ends;
        self.report.ops += outcomes.iter().filter(|outcome| !is_later(outcome)).count() as u64;
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

    /// How much of what these write was written before something else went first.
    fn written_of(&mut self, ops: &[DiskOp]) -> u64 {
        let written = self.host.begun().written();
        let of = |op: &DiskOp| match op {
            DiskOp::WriteFile { content, .. } => written.get(content).copied().unwrap_or(0),
            _ => 0,
        };
        ops.iter().map(of).sum()
    }

    /// Has operations done. Where one was interrupted, or the server is not to be asked, it `ends` there.
    fn apply(&mut self, ops: &[DiskOp], ends: &mut bool) -> Result<Vec<Outcome>, RoundError> {
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
        let written = std::mem::take(self.host.begun().written());
        let parts = self.host.parts();
        let ways = (parts.transport, parts.outbox, parts.lists);
        let fetcher = Fetcher::new(namespace, ways, contents, &order, sources);
        let mut fetcher = fetcher.taking_turns(parts.turns, written);
        let outcomes = parts.disk.apply(ops, &mut fetcher);
        let written = fetcher.take_written();
        let (chunks, trouble) = fetcher.finish();
        *self.host.begun().written() = written;
        self.report.chunks_received += chunks;
        match (outcomes, trouble) {
            // Without its content a file is blocked; the reason is the round's.
            (Ok(outcomes), None) => Ok(outcomes),
            (Ok(outcomes), Some(why)) if why == RoundError::GaveWay || why.is_passing() => {
                *ends = true;
                match why {
                    // That it was told to stop is said by whoever goes on.
                    RoundError::GaveWay if self.host.is_stopped() => {}
                    RoundError::GaveWay => self.give_way()?,
                    why => self.trouble(why),
                }
                Ok(ops.iter().zip(outcomes).map(|(op, outcome)| not_had(op, outcome)).collect())
            }
            (Ok(outcomes), Some(trouble)) => {
                // What was just saved here can be fetched once its event is in the log.
                if trouble.is_unknown_chunk() && self.replica.pending().next().is_some() {
                    self.rescan = Some(Look::Whole);
                // It was stored before its event was admitted (I4), so it is lost, whether an epoch tells of that or not.
                } else if trouble.is_unknown_chunk() {
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

fn takes_long(op: &DiskOp, window: u64) -> bool {
    matches!(op, DiskOp::WriteFile { size, .. } if flow::is_long(*size, window))
}

fn later(op: &DiskOp) -> Outcome {
    Err(Blocked::Later { path: op.path().to_owned() })
}

fn is_later(outcome: &Outcome) -> bool {
    matches!(outcome, Err(Blocked::Later { .. }))
}

/// What could not be had is asked for again.
fn not_had(op: &DiskOp, outcome: Outcome) -> Outcome {
    if matches!(outcome, Err(Blocked::Content { .. })) { later(op) } else { outcome }
}

/// Operations in groups: what is done before the next word of how far it is.
fn groups_of(ops: &[DiskOp], bytes_max: u64) -> impl Iterator<Item = &[DiskOp]> {
    let (mut count, mut bytes) = (0, written_by(&ops[..ops.len().min(1)]));
    ops.chunk_by(move |_, next| {
        (count, bytes) = (count + 1, bytes + written_by(std::slice::from_ref(next)));
        let goes_on = count < OPS_PER_GROUP && bytes <= bytes_max;
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
