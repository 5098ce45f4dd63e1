//! What every log must do, as one suite. An implementation gives [`check_all`] a way to make an empty log.
//!
//! Nothing in here knows an implementation, and nothing sleeps: futures are driven by [`block_on`].

pub use super::author::Author;

use super::{EventLog, Head, LogError, Logged, Position, RECORD_BYTES_MAX};
use crate::{
    batch::Batch,
    causality::{Dot, DotSet},
    codec,
    event::{EntryKind, Fact},
    id::{EntryId, NamespaceId, Seq, UserId},
    record::Record,
};
use ed25519_dalek::SigningKey;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// A log under test.
pub trait Subject {
    /// The log; the same one until it is restarted.
    fn log(&self) -> Arc<dyn EventLog>;

    /// Stops it as hard as it can be stopped and brings it up again on the same storage. A log that keeps nothing may
    /// go on as it is.
    fn restart(&mut self);
}

/// Makes empty logs.
pub type Make<'a> = &'a mut dyn FnMut() -> Box<dyn Subject>;

/// Runs every check on a log of its own.
pub fn check_all(make: Make<'_>) {
    what_is_appended_is_read_back(make);
    an_append_at_the_wrong_place_is_a_conflict(make);
    a_stored_dot_is_never_stored_again(make);
    a_record_that_does_not_continue_is_refused(make);
    seqs_have_no_gaps_and_namespaces_do_not_mix(make);
    a_read_gives_at_least_one_record_and_stops_at_its_bytes(make);
    catching_up_and_waiting_misses_nothing_and_repeats_nothing(make);
    of_appends_that_expect_the_same_place_one_succeeds(make);
    dots_entries_and_devices_are_found(make);
    what_was_acknowledged_survives_a_restart(make);
    a_record_over_the_limit_is_refused(make);
    a_wait_that_nobody_polls_any_more_is_forgotten(make);
}

/// Runs a future to its end on this thread, which sleeps until it is woken.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread, AtomicBool);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.store(true, Ordering::Release);
            self.0.unpark();
        }
    }
    let unpark = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(unpark.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !unpark.1.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

/// Runs futures side by side; their outputs in the order given.
pub async fn all_of<T>(futures: Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in &mut futures {
            if let Some(running) = future
                && let Poll::Ready(done) = running.as_mut().poll(context)
            {
                (*future, *output) = (None, Some(done));
            }
        }
        if futures.iter().any(|(running, _)| running.is_some()) {
            return Poll::Pending;
        }
        Poll::Ready(futures.drain(..).filter_map(|(_, output)| output).collect())
    })
    .await
}

/// The author's next record, appended.
fn append(log: &dyn EventLog, author: &mut Author, events: usize) -> Arc<Record> {
    let expected = author.head().seq;
    let record = author.record(events, 10);
    block_on(log.append(expected, record.clone())).expect("it continues");
    record
}

fn records(found: &[Logged]) -> Vec<Arc<Record>> {
    found.iter().map(|logged| logged.record.clone()).collect()
}

/// What is appended is read back, by its namespace and by its place.
pub fn what_is_appended_is_read_back(make: Make<'_>) {
    let subject = make();
    let log = subject.log();
    let mut author = Author::new(1, 1, Head::default());
    assert_eq!(block_on(log.head(author.namespace())), Ok(Head::default()));
    assert_eq!(block_on(log.read(author.namespace(), Seq(0), usize::MAX)), Ok(vec![]));
    let written: Vec<_> = (1..=5).map(|events| append(&*log, &mut author, events)).collect();
    let found = block_on(log.read(author.namespace(), Seq(0), usize::MAX)).expect("it can be read");
    assert_eq!(records(&found), written);
    assert_eq!(block_on(log.head(author.namespace())), Ok(author.head()));
    assert_eq!(block_on(log.namespaces()), Ok(vec![author.namespace()]));
    // The third record has the events 4 to 6: whoever has seen 4 gets it again, whoever has seen 6 does not.
    for (after, first) in [(0, 0), (1, 1), (3, 2), (4, 2), (5, 2), (6, 3), (15, 5), (99, 5)] {
        let found = block_on(log.read(author.namespace(), Seq(after), usize::MAX)).expect("it can be read");
        assert_eq!(records(&found), written[first..], "after {after}");
    }
    let all = block_on(log.read_all(Position(0), usize::MAX)).expect("it can be read");
    assert_eq!(all, found);
    for (i, logged) in all.iter().enumerate() {
        let rest = block_on(log.read_all(logged.position, usize::MAX)).expect("it can be read");
        assert_eq!(rest, all[i + 1..]);
    }
}

/// Expectation and conflict.
pub fn an_append_at_the_wrong_place_is_a_conflict(make: Make<'_>) {
    let subject = make();
    let log = subject.log();
    let mut author = Author::new(1, 1, Head::default());
    let mut other = Author::new(2, 1, Head::default());
    let late = other.record(1, 1);
    append(&*log, &mut author, 3);
    let conflict = LogError::Conflict { namespace: author.namespace(), expected: Seq(0), actual: Seq(3) };
    assert_eq!(block_on(log.append(Seq(0), late)), Err(conflict));
    let early = other.record(1, 1);
    let conflict = LogError::Conflict { namespace: author.namespace(), expected: Seq(9), actual: Seq(3) };
    assert_eq!(block_on(log.append(Seq(9), early)), Err(conflict));
    assert_eq!(block_on(log.head(author.namespace())), Ok(author.head()), "nothing was stored");
    append(&*log, &mut author, 1);
}

/// Idempotence by dot (I6).
pub fn a_stored_dot_is_never_stored_again(make: Make<'_>) {
    let mut subject = make();
    let mut author = Author::new(1, 1, Head::default());
    let first = append(&*subject.log(), &mut author, 3);
    append(&*subject.log(), &mut author, 2);
    for _ in 0..2 {
        let log = subject.log();
        // The same append again, whatever place it expects.
        let duplicate = LogError::Duplicate { dot: Dot::new(author.device(), 1), seq: Seq(1) };
        assert_eq!(block_on(log.append(Seq(0), first.clone())), Err(duplicate.clone()));
        assert_eq!(block_on(log.append(author.head().seq, first.clone())), Err(duplicate));
        // Other content under used dots, half of them used.
        let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
        let overlapping = author.record_at(author.head(), 5, vec![(fact, 1); 4]);
        let duplicate = LogError::Duplicate { dot: Dot::new(author.device(), 5), seq: Seq(5) };
        assert_eq!(block_on(log.append(author.head().seq, overlapping)), Err(duplicate));
        // The same dots in another namespace are other dots.
        let elsewhere = Author::new(1, 9, Head::default());
        let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
        let expected = block_on(log.head(elsewhere.namespace())).expect("it can be asked");
        if expected == Head::default() {
            let record = elsewhere.record_at(expected, 1, vec![(fact, 1)]);
            block_on(log.append(Seq(0), record)).expect("dots are of a namespace");
        }
        subject.restart();
    }
    assert_eq!(block_on(subject.log().head(author.namespace())), Ok(author.head()));
}

/// Wrong seq, wrong chain, an epoch that is over.
pub fn a_record_that_does_not_continue_is_refused(make: Make<'_>) {
    let subject = make();
    let log = subject.log();
    let mut author = Author::new(1, 1, Head::default());
    append(&*log, &mut author, 3);
    let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
    let good = author.head();
    let bad = [
        Head { seq: Seq(good.seq.0 + 1), ..good },
        Head { seq: Seq(good.seq.0 - 1), ..good },
        Head { chain: crate::Hash([1; 32]), ..good },
    ];
    for head in bad {
        let record = author.record_at(head, 4, vec![(fact.clone(), 1)]);
        let answer = block_on(log.append(good.seq, record));
        assert!(matches!(answer, Err(LogError::NotNext { .. })), "{answer:?}");
    }
    let raised = Head { epoch: 1, ..good };
    let record = author.record_at(raised, 4, vec![(fact.clone(), 1)]);
    block_on(log.append(good.seq, record.clone())).expect("an epoch may be raised");
    let back = Head { epoch: 0, ..super::head_after(&record) };
    let record = author.record_at(back, 5, vec![(fact, 1)]);
    let answer = block_on(log.append(back.seq, record));
    assert!(matches!(answer, Err(LogError::NotNext { .. })), "{answer:?}");
}

/// Gapless per namespace, rising over all.
pub fn seqs_have_no_gaps_and_namespaces_do_not_mix(make: Make<'_>) {
    let subject = make();
    let log = subject.log();
    let mut authors: Vec<Author> = (1..=3).map(|n| Author::new(n, n, Head::default())).collect();
    let mut written = Vec::new();
    for round in 0..20_usize {
        let author = &mut authors[round * 7 % 3];
        written.push(append(&*log, author, 1 + round % 4));
    }
    let all = block_on(log.read_all(Position(0), usize::MAX)).expect("it can be read");
    assert_eq!(records(&all), written);
    assert!(all.windows(2).all(|pair| pair[0].position < pair[1].position));
    for author in &authors {
        let found = block_on(log.read(author.namespace(), Seq(0), usize::MAX)).expect("it can be read");
        let mut next = 1;
        for logged in &found {
            assert_eq!(logged.record.admission().namespace, author.namespace());
            assert_eq!(logged.record.seq(), Seq(next));
            next = logged.record.last_seq().0 + 1;
        }
        assert_eq!(next - 1, author.head().seq.0);
    }
    assert_eq!(
        block_on(log.namespaces()),
        Ok(authors.iter().map(|author| author.namespace()).collect::<Vec<_>>())
    );
}

/// Limits of reads.
pub fn a_read_gives_at_least_one_record_and_stops_at_its_bytes(make: Make<'_>) {
    let subject = make();
    let log = subject.log();
    let mut author = Author::new(1, 1, Head::default());
    let written: Vec<_> = (0..6).map(|_| append(&*log, &mut author, 2)).collect();
    let size = written[0].bytes().len();
    for (bytes_max, count) in [(0, 1), (1, 1), (size, 1), (size + 1, 2), (2 * size, 2), (usize::MAX, 6)] {
        let found = block_on(log.read(author.namespace(), Seq(0), bytes_max)).expect("it can be read");
        assert_eq!(found.len(), count, "{bytes_max} bytes");
        let found = block_on(log.read_all(Position(0), bytes_max)).expect("it can be read");
        assert_eq!(found.len(), count, "{bytes_max} bytes");
    }
}

/// A subscription made of `read` and `wait_past`, while another thread appends.
pub fn catching_up_and_waiting_misses_nothing_and_repeats_nothing(make: Make<'_>) {
    const EVENTS: u64 = 120;
    let subject = make();
    let log = subject.log();
    let namespace = NamespaceId([1; 16]);
    let follow = |log: Arc<dyn EventLog>| {
        move || {
            let (mut seen, mut dots) = (Seq(0), Vec::new());
            while seen.0 < EVENTS {
                let head = block_on(log.wait_past(namespace, seen)).expect("it is waited for");
                assert!(head.seq > seen);
                let found = block_on(log.read(namespace, seen, 3000)).expect("it can be read");
                assert!(!found.is_empty(), "what a head promises can be read");
                for logged in found {
                    assert_eq!(logged.record.seq().0, seen.0 + 1);
                    dots.extend(logged.record.events().map(|(_, dot, _)| dot.counter));
                    seen = logged.record.last_seq();
                }
            }
            assert_eq!(dots, (1..=EVENTS).collect::<Vec<_>>());
        }
    };
    thread::scope(|scope| {
        let followers: Vec<_> = (0..2).map(|_| scope.spawn(follow(log.clone()))).collect();
        let mut author = Author::new(1, 1, Head::default());
        for _ in 0..EVENTS / 3 {
            append(&*log, &mut author, 3);
        }
        followers.into_iter().for_each(|follower| follower.join().expect("it followed to the end"));
    });
}

/// Optimistic concurrency.
pub fn of_appends_that_expect_the_same_place_one_succeeds(make: Make<'_>) {
    let subject = make();
    let log = subject.log();
    let namespace = NamespaceId([1; 16]);
    let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
    for round in 1..=20 {
        let head = block_on(log.head(namespace)).expect("it can be asked");
        let racing: Vec<Arc<Record>> = (1..=8)
            .map(|device| Author::new(device, 1, head).record_at(head, round, vec![(fact.clone(), 1)]))
            .collect();
        let appends = racing.iter().map(|record| log.append(head.seq, record.clone())).collect();
        let answers = block_on(all_of(appends));
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert!(answers.iter().all(|a| matches!(a, Ok(_) | Err(LogError::Conflict { .. }))), "{answers:?}");
        let stored = block_on(log.read(namespace, head.seq, usize::MAX)).expect("it can be read");
        let winner = answers.iter().position(Result::is_ok).expect("one succeeded");
        assert_eq!(records(&stored), [racing[winner].clone()]);
    }
}

/// The streams of dots, entries and devices.
pub fn dots_entries_and_devices_are_found(make: Make<'_>) {
    let mut subject = make();
    let log = subject.log();
    let mut one = Author::new(1, 1, Head::default());
    let created = append(&*log, &mut one, 4);
    let file = EntryId(created.batch().dot(2));
    let other = EntryId(created.batch().dot(3));
    let mut two = Author::new(2, 1, one.head());
    let set = |entry: EntryId| -> DotSet { [entry.0].into_iter().collect() };
    let facts: Vec<Fact> = vec![
        Fact::EntryMoved { entry: file, parent: other },
        Fact::EntryMoved { entry: other, parent: file },
        Fact::AttributesChanged { entry: file },
        Fact::VersionUploaded { entry: file, parents: set(file) },
        Fact::EntryDeleted { entries: set(file), hides: set(other) },
        Fact::EntryRestored { entry: file, place: None, lifts: set(other), shows: set(other) },
        Fact::ConflictResolved { entry: file, over: set(other), keep: set(other) },
        Fact::MemberRevoked { user: UserId([1; 16]) },
    ];
    let mut about = vec![created.clone()];
    for fact in facts {
        let is_about = !matches!(&fact, Fact::MemberRevoked { .. })
            && !matches!(&fact, Fact::EntryMoved { entry, .. } if *entry == other);
        let record = two.record_of(vec![(fact, 1)]);
        block_on(log.append(Seq(record.seq().0 - 1), record.clone())).expect("it continues");
        if is_about {
            about.push(record);
        }
    }
    drop(log);
    for _ in 0..2 {
        let log = subject.log();
        let namespace = one.namespace();
        let entry = |after, count| {
            records(&block_on(log.read_entry(namespace, file, Seq(after), count)).expect("it can be read"))
        };
        assert_eq!(entry(0, usize::MAX), about);
        assert_eq!(entry(0, 3), about[..3]);
        assert_eq!(entry(3, 2), about[..2]);
        assert_eq!(entry(4, 2), about[1..3]);
        assert_eq!(entry(0, 0), []);
        let unknown = EntryId(Dot::new(one.device(), 77));
        assert_eq!(block_on(log.read_entry(namespace, unknown, Seq(0), 9)), Ok(vec![]));
        let device = |after, count| {
            let found = block_on(log.read_device(namespace, two.device(), Seq(after), count));
            records(&found.expect("it can be read")).iter().map(|r| r.seq().0).collect::<Vec<_>>()
        };
        assert_eq!(device(0, usize::MAX), (5..=12).collect::<Vec<_>>());
        assert_eq!(device(6, 2), [7, 8]);
        for (dot, holder) in [(1, Some(&created)), (4, Some(&created)), (5, None), (0, None)] {
            let found = block_on(log.find(namespace, Dot::new(one.device(), dot))).expect("it can be asked");
            assert_eq!(found.map(|logged| logged.record), holder.cloned(), "dot {dot}");
        }
        let found = block_on(log.find(NamespaceId([2; 16]), Dot::new(one.device(), 1)));
        assert_eq!(found, Ok(None));
        drop(log);
        subject.restart();
    }
}

/// Crash and reopen (I1).
pub fn what_was_acknowledged_survives_a_restart(make: Make<'_>) {
    let mut subject = make();
    let mut author = Author::new(1, 1, Head::default());
    let mut written = Vec::new();
    for _ in 0..4 {
        for events in 1..=3 {
            written.push(append(&*subject.log(), &mut author, events));
        }
        let before = block_on(subject.log().read_all(Position(0), usize::MAX));
        subject.restart();
        assert_eq!(block_on(subject.log().read_all(Position(0), usize::MAX)), before, "positions stay");
        assert_eq!(block_on(subject.log().head(author.namespace())), Ok(author.head()));
        let found = block_on(subject.log().read(author.namespace(), Seq(0), usize::MAX));
        assert_eq!(records(&found.expect("it can be read")), written);
    }
}

/// Largest batches are stored, anything larger is not.
pub fn a_record_over_the_limit_is_refused(make: Make<'_>) {
    let subject = make();
    let log = subject.log();
    let mut author = Author::new(1, 1, Head::default());
    let fact = Fact::AttributesChanged { entry: EntryId::ROOT };
    let large = author.record_of(vec![(fact.clone(), 500_000)]);
    assert!(large.bytes().len() > 500_000);
    block_on(log.append(Seq(0), large.clone())).expect("it is within the limit");
    let found = block_on(log.find(author.namespace(), large.batch().dot(0))).expect("it can be read");
    assert_eq!(found.map(|logged| logged.record), Some(large));
    // Nobody can make such a batch; it has to be put together by hand.
    let small = author.record_at(author.head(), 2, vec![(fact, 10)]);
    let (header, body) = (codec::encode_header(small.batch().header()), vec![b' '; RECORD_BYTES_MAX]);
    let batch = Batch::decode_trusted(codec::encode_batch(&header, &[0; 64], &[Some(body)]));
    let batch = batch.expect("it has the form of a batch");
    let record = Record::admit(batch, &SigningKey::from_bytes(&[255; 32]), 0, Seq(2), author.head().chain, 1);
    let bytes = record.bytes().len();
    assert_eq!(block_on(log.append(Seq(1), Arc::new(record))), Err(LogError::TooLarge { bytes }));
}

/// A wait that was given up leaves nothing behind and disturbs nobody.
pub fn a_wait_that_nobody_polls_any_more_is_forgotten(make: Make<'_>) {
    let subject = make();
    let log = subject.log();
    let mut author = Author::new(1, 1, Head::default());
    let mut given_up = log.wait_past(author.namespace(), Seq(0));
    let mut kept = log.wait_past(author.namespace(), Seq(2));
    let mut context = Context::from_waker(Waker::noop());
    assert!(given_up.as_mut().poll(&mut context).is_pending());
    assert!(kept.as_mut().poll(&mut context).is_pending());
    drop(given_up);
    append(&*log, &mut author, 2);
    assert!(kept.as_mut().poll(&mut context).is_pending(), "seq 2 is not past 2");
    append(&*log, &mut author, 1);
    assert_eq!(block_on(kept), Ok(author.head()));
    assert_eq!(block_on(log.wait_past(author.namespace(), Seq(0))), Ok(author.head()), "at once");
}
