//! A namespace's turn to forget: what its retention says, asked of the engine, said by the server as a device of the
//! namespace, and judged like everything else.

use super::{
    namespace::{NamespaceActor, go_on, judged, submit},
    node::{Node, blocking},
};
use actix::{AtomicResponse, Context, Handler, Message};
use annals_engine::{
    admission::Facts,
    namespace::{Issued, Namespace},
    protocol::Problem,
    retention::{Ripe, due, waiting},
};
use annals_events::DeviceId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

/// How long a namespace remembers what it forgot, for devices that were told before that they need not send it: an hour.
/// One that comes later is asked to send it after all.
const REMEMBERED_MS: u64 = 60 * 60 * 1000;

/// Forget what may be forgotten by now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Forgotten, Problem>")]
pub struct Forget {
    /// When each device was last here; none where that is not known yet, and then no device is retired.
    pub heard: Option<Arc<BTreeMap<DeviceId, u64>>>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What a namespace forgot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Devices that are no longer waited for.
    pub devices: Vec<DeviceId>,
    /// How many versions expired.
    pub versions: u64,
    /// How many entries of the trash were purged.
    pub entries: u64,
    /// Where it was only asked: how many versions, and how many entries of the trash, go once all know of it.
    pub waiting: (u64, u64),
    /// What the devices are called that do not.
    pub waits_for: BTreeSet<String>,
}

impl Forgotten {
    pub(super) fn add(&mut self, more: Self) {
        self.devices.extend(more.devices);
        self.versions += more.versions;
        self.entries += more.entries;
        self.waiting = (self.waiting.0 + more.waiting.0, self.waiting.1 + more.waiting.1);
        self.waits_for.extend(more.waits_for);
    }
}

impl Handler<Forget> for NamespaceActor {
    type Result = AtomicResponse<Self, Result<Forgotten, Problem>>;

    fn handle(&mut self, Forget { heard, dry_run }: Forget, context: &mut Context<Self>) -> Self::Result {
        let stays_until = Arc::clone(&self.stays_until);
        self.lend(context, move |mut namespace, node| async move {
            let mut forgotten = Forgotten::default();
            if dry_run {
                let (back, waits) = match wait(namespace, node.now_ms()).await {
                    Ok(waits) => waits,
                    Err(problem) => panic!("{problem}"),
                };
                namespace = back;
                forgotten.add(waits);
            }
            loop {
                let (back, found) = match look(namespace, node.now_ms(), heard.clone()).await {
                    Ok(found) => found,
                    // It went with whatever panicked: nothing is left to bring back.
                    Err(problem) => panic!("{problem}"),
                };
                namespace = back;
                let retirements = found.retirements(namespace.projections());
                if retirements.is_empty() || dry_run {
                    forgotten.devices.extend(&found.devices);
                    forgotten.versions += found.versions.len() as u64;
                    forgotten.entries += found.entries.len() as u64;
                    let events = if dry_run { Vec::new() } else { found.events() };
                    if !events.is_empty() {
                        stays_until.store(node.now_ms() + REMEMBERED_MS, Ordering::Relaxed);
                    }
                    let answer = say(&mut namespace, &node, events).await;
                    return (namespace, answer.map(|()| forgotten));
                }
                // With them gone more may go.
                forgotten.devices.extend(&found.devices);
                if let Err(problem) = say(&mut namespace, &node, retirements).await {
                    return (namespace, Err(problem));
                }
            }
        })
    }
}

/// Asks the engine where nobody else waits for it.
async fn look(
    namespace: Namespace,
    now_ms: u64,
    heard: Option<Arc<BTreeMap<DeviceId, u64>>>,
) -> Result<(Namespace, Ripe), Problem> {
    blocking(move || {
        let due = due(namespace.projections(), now_ms, heard.as_deref());
        Ok((namespace, due))
    })
    .await
}

/// As [`look`], at what is not known to all yet.
async fn wait(namespace: Namespace, now_ms: u64) -> Result<(Namespace, Forgotten), Problem> {
    blocking(move || {
        let log = namespace.projections();
        let waits = waiting(log, now_ms);
        let label = |device: &DeviceId| log.devices().get(*device).map(|state| state.label.clone());
        let waits_for = waits.devices.iter().filter_map(label).collect();
        let waiting = (waits.versions, waits.entries);
        Ok((namespace, Forgotten { waiting, waits_for, ..Forgotten::default() }))
    })
    .await
}

async fn say(namespace: &mut Namespace, node: &Node, events: Vec<Issued>) -> Result<(), Problem> {
    go_on(namespace, node).await?;
    for issued in events {
        let batch = namespace.issue(node.now_ms(), vec![issued]);
        judged(submit(namespace, node, batch, Facts::default()).await)?;
    }
    Ok(())
}
