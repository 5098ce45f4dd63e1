//! Who of a kind of actors is at work: asks are routed here, and actors come and go behind it.
//!
//! An actor that stopped, because nobody asked or because it panicked, has a closed mailbox: it is forgotten
//! and made anew, from the log, and the ask is repeated. So every message must be safe to repeat; events are,
//! by their dots. An ask that kills its actor again and again is given up.

use actix::{
    Actor, Addr, ArbiterHandle, AsyncContext, Context, Handler, MailboxError, Message,
    dev::{MessageResponse, ToEnvelope},
};
use annals_engine::protocol::{Code, Problem};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How often an ask is repeated when its actor is gone.
const TRIES: u32 = 3;
/// Longest wait for an answer: a namespace of a million entries is rebuilt in a few seconds.
const ANSWER: Duration = Duration::from_secs(60);
/// Messages that may wait for an actor; more make those who ask wait.
pub const MAILBOX: usize = 64;

/// The actors of one kind that are at work.
pub struct Roster<K, A: Actor> {
    arbiters: Vec<ArbiterHandle>,
    next: AtomicUsize,
    live: Mutex<BTreeMap<K, Addr<A>>>,
}

impl<K, A> Roster<K, A>
where
    K: Ord + Clone + std::fmt::Debug,
    A: Actor<Context = Context<A>> + Send,
{
    /// Nobody yet; actors are spread over `arbiters`.
    #[must_use]
    pub fn new(arbiters: Vec<ArbiterHandle>) -> Self {
        Self { arbiters, next: AtomicUsize::new(0), live: Mutex::default() }
    }

    /// Asks the actor of `key`, which `make` makes if it is not at work.
    ///
    /// # Errors
    /// [`Code::Busy`] if no answer comes in time, [`Code::Internal`] if the actor dies over it.
    pub async fn ask<M>(&self, key: &K, make: impl Fn() -> A, message: M) -> Result<M::Result, Problem>
    where
        M: Message + Clone + Send + 'static,
        M::Result: Send + MessageResponse<A, M>,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        for tries in 1..=TRIES {
            let address = self.get_or_start(key, &make);
            match tokio::time::timeout(ANSWER, address.send(message.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(MailboxError::Closed)) => {
                    self.forget(key, &address);
                    tokio::time::sleep(Duration::from_millis(10) * tries).await;
                }
                Ok(Err(MailboxError::Timeout)) | Err(_) => return Err(Problem::plain(Code::Busy)),
            }
        }
        tracing::error!(?key, "an actor died {TRIES} times over one message");
        Err(Problem::plain(Code::Internal))
    }

    /// How many are at work.
    pub fn at_work(&self) -> usize {
        self.live().values().filter(|address| address.connected()).count()
    }

    /// Who is at work.
    pub fn connected(&self) -> Vec<K> {
        let live = self.live();
        live.iter().filter(|(_, address)| address.connected()).map(|(key, _)| key.clone()).collect()
    }

    /// Lets everybody go.
    pub fn clear(&self) {
        std::mem::take(&mut *self.live());
    }

    fn get_or_start(&self, key: &K, make: impl Fn() -> A) -> Addr<A> {
        let mut live = self.live();
        if let Some(address) = live.get(key).filter(|address| address.connected()) {
            return address.clone();
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.arbiters.len();
        let actor = make();
        let address = A::start_in_arbiter(&self.arbiters[turn], move |context| {
            context.set_mailbox_capacity(MAILBOX);
            actor
        });
        // Those that went by themselves are forgotten each time their number may have doubled.
        if live.len().is_power_of_two() {
            live.retain(|_, address| address.connected());
        }
        live.insert(key.clone(), address.clone());
        address
    }

    fn forget(&self, key: &K, address: &Addr<A>) {
        let mut live = self.live();
        if live.get(key) == Some(address) {
            live.remove(key);
        }
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<K, Addr<A>>> {
        self.live.lock().expect("nothing panics while it holds the lock")
    }
}

/// Stops an actor that was not asked for a while. Asks that arrive meanwhile find a closed mailbox and are repeated.
pub struct Passivation {
    asked: bool,
}

/// An actor that goes when nobody asks for it.
pub trait Passivated: Actor<Context = Context<Self>> {
    /// Where it notes that somebody asked.
    fn passivation(&mut self) -> &mut Passivation;

    /// Whether it holds nothing that the log does not.
    fn may_go(&mut self) -> bool {
        true
    }

    /// To be called when it starts.
    fn passivate_when_idle(&self, context: &mut Context<Self>) {
        context.run_interval(Passivation::IDLE, |actor, context| {
            let asked = std::mem::take(&mut actor.passivation().asked);
            if !asked && actor.may_go() {
                actix::ActorContext::stop(context);
            }
        });
    }
}

impl Passivation {
    /// Who was not asked for as long as this, twice at most, goes.
    #[cfg(not(test))]
    const IDLE: Duration = Duration::from_secs(60);
    #[cfg(test)]
    const IDLE: Duration = Duration::from_millis(20);

    /// Asked just now.
    #[must_use]
    pub fn new() -> Self {
        Self { asked: true }
    }

    /// Somebody asked.
    pub fn asked(&mut self) {
        self.asked = true;
    }
}

impl Default for Passivation {
    fn default() -> Self {
        Self::new()
    }
}
