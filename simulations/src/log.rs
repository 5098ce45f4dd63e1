//! The twin of the log: the production segment log over a disk that forgets what was not synced.
//!
//! What was acknowledged survives [`TwinLog::crash`]; of an append whose power was cut it is not known. Its futures
//! are ready when they are polled, so nobody waits in here.

use crate::random::Random;
use annals_events::{
    log::segmented::{MemoryIndex, SegmentLog},
    segment::{ForgetfulDisk, SegmentConfig, SegmentKind},
};
use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A server's log and the disk under it.
pub struct TwinLog {
    disk: ForgetfulDisk,
    id: [u8; 16],
    log: Arc<SegmentLog>,
}

impl TwinLog {
    /// An empty log of this owner.
    #[must_use]
    pub fn new(id: [u8; 16]) -> Self {
        let disk = ForgetfulDisk::new();
        let log = open(&disk, id);
        Self { disk, id, log }
    }

    /// The production log.
    #[must_use]
    pub fn log(&self) -> &Arc<SegmentLog> {
        &self.log
    }

    /// The machine loses its power within the next few steps of the disk.
    pub fn cut_power_soon(&self, random: &mut Random) {
        self.disk.cut_power_after(random.below(4));
    }

    /// The machine goes down and comes up: what is in memory is gone, of what was not synced any part may be. So is
    /// the index, which is made anew.
    pub fn crash(&mut self, random: &mut Random) {
        self.disk.crash(|n| random.below(n));
        self.log = open(&self.disk, self.id);
    }
}

fn open(disk: &ForgetfulDisk, id: [u8; 16]) -> Arc<SegmentLog> {
    let config = SegmentConfig::new(SegmentKind::Log, id);
    let index = Arc::new(MemoryIndex::default());
    let disk = Arc::new(disk.clone());
    let opened = SegmentLog::open(disk.clone(), disk, config, index, &mut |_, _| ());
    Arc::new(opened.expect("a crash is no damage").0)
}

/// The answer of a future that waits for nothing.
///
/// # Panics
/// If it waits.
pub fn now<T>(answer: impl Future<Output = T>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the log of a simulation does not wait"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Seed;
    use annals_events::log::{
        EventLog,
        contract::{self, Subject},
    };

    struct Twin(TwinLog);

    impl Subject for Twin {
        fn log(&self) -> Arc<dyn EventLog> {
            self.0.log().clone()
        }

        fn restart(&mut self) {
            self.0.crash(&mut Seed(1).stream());
        }
    }

    #[test]
    fn the_twin_keeps_the_contract() {
        contract::check_all(&mut || Box::new(Twin(TwinLog::new([7; 16]))));
    }
}
