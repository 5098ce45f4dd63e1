//! The log as a list: nothing survives the process, and nothing can be simpler. What the others are held against.

use super::{
    EventLog, Head, Later, LogError, Logged, Position, check_next, entries_touched, head_after, heads::Heads,
};
use crate::{
    causality::Dot,
    id::{DeviceId, EntryId, NamespaceId, Seq},
    record::Record,
};
use std::{
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A log in memory. Clones are the same log.
#[derive(Clone, Default)]
pub struct MemoryLog {
    records: Arc<Mutex<Vec<Arc<Record>>>>,
    heads: Heads,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, Vec<Arc<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_now(&self, expected: Seq, record: Arc<Record>) -> Result<Position, LogError> {
        let mut records = self.records();
        let namespace = record.admission().namespace;
        for (_, dot, _) in record.events() {
            let stored = records.iter().filter(|r| r.admission().namespace == namespace);
            if let Some((seq, dot, _)) = stored.flat_map(|r| r.events()).find(|(_, other, _)| *other == dot) {
                return Err(LogError::Duplicate { dot, seq });
            }
        }
        check_next(&self.heads.get(namespace), expected, &record)?;
        records.push(record.clone());
        self.heads.raise([(namespace, head_after(&record))]);
        Ok(Position(records.len() as u64))
    }

    /// The records for which `fits`, in order.
    fn select(&self, fits: impl Fn(&Logged) -> bool) -> Vec<Logged> {
        let records = self.records();
        let logged = |(i, record): (usize, &Arc<Record>)| Logged {
            position: Position(i as u64 + 1),
            record: record.clone(),
        };
        records.iter().enumerate().map(logged).filter(fits).collect()
    }
}

impl EventLog for MemoryLog {
    fn append(&self, expected: Seq, record: Arc<Record>) -> Later<'_, Position> {
        Box::pin(async move { self.append_now(expected, record) })
    }

    fn head(&self, namespace: NamespaceId) -> Later<'_, Head> {
        Box::pin(ready(Ok(self.heads.get(namespace))))
    }

    fn read(&self, namespace: NamespaceId, after: Seq, bytes_max: usize) -> Later<'_, Vec<Logged>> {
        let found =
            self.select(|l| l.record.admission().namespace == namespace && l.record.last_seq() > after);
        Box::pin(ready(Ok(up_to(found, bytes_max))))
    }

    fn read_all(&self, after: Position, bytes_max: usize) -> Later<'_, Vec<Logged>> {
        Box::pin(ready(Ok(up_to(self.select(|l| l.position > after), bytes_max))))
    }

    fn find(&self, namespace: NamespaceId, dot: Dot) -> Later<'_, Option<Logged>> {
        let holds = |l: &Logged| {
            l.record.admission().namespace == namespace && l.record.events().any(|(_, other, _)| other == dot)
        };
        Box::pin(ready(Ok(self.select(holds).pop())))
    }

    fn read_entry(
        &self,
        namespace: NamespaceId,
        entry: EntryId,
        after: Seq,
        count_max: usize,
    ) -> Later<'_, Vec<Logged>> {
        let mut found = self.select(|l| {
            l.record.admission().namespace == namespace
                && l.record.last_seq() > after
                && (entries_touched(&l.record).contains(&entry)
                    || l.record.events().any(|(_, dot, _)| dot == entry.0))
        });
        found.truncate(count_max);
        Box::pin(ready(Ok(found)))
    }

    fn read_device(
        &self,
        namespace: NamespaceId,
        device: DeviceId,
        after: Seq,
        count_max: usize,
    ) -> Later<'_, Vec<Logged>> {
        let mut found = self.select(|l| {
            l.record.admission().namespace == namespace
                && l.record.last_seq() > after
                && l.record.batch().header().device == device
        });
        found.truncate(count_max);
        Box::pin(ready(Ok(found)))
    }

    fn namespaces(&self) -> Later<'_, Vec<NamespaceId>> {
        Box::pin(ready(Ok(self.heads.namespaces())))
    }

    fn wait_past(&self, namespace: NamespaceId, after: Seq) -> Later<'_, Head> {
        self.heads.wait_past(namespace, after)
    }
}

/// The first of `found` whose bytes reach `bytes_max`; at least one.
fn up_to(mut found: Vec<Logged>, bytes_max: usize) -> Vec<Logged> {
    let mut bytes = 0;
    let enough = found.iter().position(|logged| {
        bytes += logged.record.bytes().len();
        bytes >= bytes_max
    });
    found.truncate(enough.map_or(found.len(), |last| last + 1));
    found
}

#[cfg(all(test, feature = "contract"))]
mod tests {
    use super::*;
    use crate::log::contract::{self, Subject};

    struct Memory(MemoryLog);

    impl Subject for Memory {
        fn log(&self) -> Arc<dyn EventLog> {
            Arc::new(self.0.clone())
        }

        fn restart(&mut self) {
            // It keeps nothing; what survives a restart is not its business.
        }
    }

    #[test]
    fn the_log_in_memory_keeps_the_contract() {
        contract::check_all(&mut || Box::new(Memory(MemoryLog::new())));
    }
}
