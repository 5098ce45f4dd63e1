//! Durable appends in groups of 256 events of 400 bytes: the embedded log beside SQLite (WAL, synchronous=FULL).
//!
//! `annals bench append [--entries GROUPS]`, in the folder for temporary files (TMPDIR).
//!
//! Four rows: the log with one batch of 256 events a group, as devices send them; the log with 256 batches of one event
//! that wait side by side, which only group commit makes bearable; the same bytes written to a bare file with one fdatasync a group, which
//! no log can beat by much; SQLite with one transaction of 256 rows.
//! Records are made and signed beforehand; what is measured is from the first append to the last answer, all of it on
//! disk. The log's time includes its index wherever that gets in its way, and how long the index is busy after the
//! last answer is said too.

#![allow(clippy::print_stdout, reason = "a measurement is printed")]

use annals_events::{
    EntryKind, Fact,
    id::{EntryId, Seq},
    log::{
        EventLog, Head,
        author::Author,
        contract::{all_of, block_on},
        embedded::{EmbeddedLog, Options},
    },
    record::Record,
};
use std::{io::Write, path::Path, sync::Arc, time::Duration};

const GROUP: usize = 256;
const EVENT_BYTES: usize = 400;

/// Appends this many groups (a thousand unless said otherwise), each way.
///
/// # Panics
/// Where the disk does not take them.
pub fn run(groups: Option<usize>) {
    let groups = groups.unwrap_or(1000).max(10);
    let folder = tempfile::tempdir().expect("a folder to write in");
    println!(
        "{groups} groups of {GROUP} events of {EVENT_BYTES} bytes, each durable, in {}",
        folder.path().display()
    );
    batches(&folder.path().join("batches"), groups);
    bare(&folder.path().join("bare"), groups);
    sqlite(&folder.path().join("rows.sqlite"), groups);
    singles(&folder.path().join("singles"), groups / 10);
}

/// One batch of 256 events a group, one after the other.
fn batches(path: &Path, groups: usize) {
    let mut author = Author::new(1, 1, Head::default());
    let body = body_bytes();
    let records: Vec<Arc<Record>> = (0..groups).map(|_| author.record(GROUP, body)).collect();
    let log = open(path);
    let (took, ()) = timed(|| {
        for record in &records {
            block_on(log.append(Seq(record.seq().0 - 1), record.clone())).expect("it continues");
        }
    });
    report("log, one batch of 256 a group", groups * GROUP, took, "");
    let (closing, ()) = timed(|| drop(log));
    println!("{:>46}closing took {closing:.1?}", "");
    check(path, groups);
}

/// 256 batches of one event, waiting side by side.
fn singles(path: &Path, groups: usize) {
    let mut author = Author::new(1, 1, Head::default());
    let body = body_bytes();
    let records: Vec<Arc<Record>> = (0..groups * GROUP).map(|_| author.record(1, body)).collect();
    let log = open(path);
    let (took, ()) = timed(|| {
        for group in records.chunks(GROUP) {
            let appends = group.iter().map(|r| log.append(Seq(r.seq().0 - 1), r.clone())).collect();
            assert!(block_on(all_of(appends)).iter().all(Result::is_ok));
        }
    });
    report("log, 256 batches of one event side by side", groups * GROUP, took, "");
    drop(log);
    check(path, groups * GROUP);
}

/// What the disk itself takes.
fn bare(path: &Path, groups: usize) {
    let mut file = std::fs::File::create(path).expect("a file");
    let bytes: Vec<u8> = (0..GROUP * EVENT_BYTES).map(|i| i as u8 | 1).collect();
    let (took, ()) = timed(|| {
        for _ in 0..groups {
            file.write_all(&bytes).expect("there is room");
            file.sync_data().expect("the disk works");
        }
    });
    report("bare file, one write and fdatasync a group", groups * GROUP, took, "no checks at all");
}

fn sqlite(path: &Path, groups: usize) {
    let mut db = rusqlite::Connection::open(path).expect("a database");
    db.pragma_update(None, "journal_mode", "WAL").expect("it has WAL");
    db.pragma_update(None, "synchronous", "FULL").expect("it can be durable");
    db.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL)", ()).expect("a table");
    let bytes: Vec<u8> = (0..EVENT_BYTES).map(|i| i as u8).collect();
    let (took, ()) = timed(|| {
        for group in 0..groups {
            let transaction = db.transaction().expect("a transaction");
            let mut insert =
                transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2)").expect("a statement");
            for event in 0..GROUP {
                insert.execute(((group * GROUP + event) as i64, &bytes)).expect("a row");
            }
            drop(insert);
            transaction.commit().expect("it is durable");
        }
    });
    report("SQLite WAL FULL, one transaction a group", groups * GROUP, took, "no signatures, no streams");
}

fn open(path: &Path) -> EmbeddedLog {
    EmbeddedLog::open(path, &Options::new([1; 16]), &mut |_, _| {}).expect("a new log").0
}

/// Everything is there.
fn check(path: &Path, records: usize) {
    let log = open(path);
    assert_eq!(log.verify().filter(Result::is_ok).count(), records);
    assert_eq!(log.verify_index(), Ok(records as u64));
}

/// How large a body makes an event of [`EVENT_BYTES`], its share of everything included.
fn body_bytes() -> usize {
    let fact = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::Folder };
    let record = Author::new(1, 1, Head::default()).record_at(Head::default(), 1, vec![(fact, 200); GROUP]);
    200 + EVENT_BYTES - record.bytes().len() / GROUP
}

fn report(what: &str, events: usize, took: Duration, note: &str) {
    println!("{what:<44}{:>10.0} events/s  ({took:.2?}) {note}", events as f64 / took.as_secs_f64());
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let start = std::time::Instant::now();
    let output = run();
    (start.elapsed(), output)
}
