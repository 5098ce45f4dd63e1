//! The contract on a real folder, and what only a real folder can do wrong.

#![allow(clippy::unwrap_used, reason = "a test may stop there")]

use super::*;
use crate::{
    log::contract::{self, Author, Subject, block_on},
    segment::{Witness, file_name},
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

fn open(path: &Path) -> Result<(EmbeddedLog, Opened), OpenError> {
    let options = Options { roll_bytes: 5000, ..Options::new([4; 16]) };
    EmbeddedLog::open(path, &options, &mut |_, _| {})
}

/// Restarts are kills: the files as they are at that moment, while the log is still open, are what the next one
/// finds.
struct OnFolder {
    folder: TempDir,
    lives: u32,
    log: Arc<EmbeddedLog>,
}

impl OnFolder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(open(&folder.path().join("0")).unwrap().0);
        Self { folder, lives: 0, log }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(self.lives.to_string())
    }
}

impl Subject for OnFolder {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    fn restart(&mut self) {
        let killed = self.path();
        self.lives += 1;
        copy(&killed, &self.path());
        self.log = Arc::new(open(&self.path()).unwrap().0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to)
        } else {
            // The index writes beside what it reads and renames: such a file goes while the folder is copied.
            match fs::copy(entry.path(), to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

#[test]
fn the_embedded_log_keeps_the_contract() {
    contract::check_all(&mut || Box::new(OnFolder::new()));
}

/// A closed log with these many records, its folder, and what `read_all` answers.
fn filled(records: usize) -> (TempDir, Vec<Logged>) {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path()).unwrap();
    let mut author = Author::new(1, 1, Head::default());
    for _ in 0..records {
        let expected = author.head().seq;
        block_on(log.append(expected, author.record(2, 300))).unwrap();
    }
    let all = block_on(log.read_all(Position(0), usize::MAX)).unwrap();
    (folder, all)
}

#[test]
fn the_index_is_written_in_lots_and_when_the_log_is_closed_and_nobody_notices() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path()).unwrap();
    let mut author = Author::new(1, 1, Head::default());
    let mut appended = 0;
    let mut append = || {
        let (expected, record) = (author.head().seq, author.record(2, 300));
        let bytes = record.bytes().len();
        block_on(log.append(expected, record)).unwrap();
        appended += 1;
        bytes
    };
    let mut bytes = 0;
    while bytes < LOT_BYTES / 2 {
        bytes += append();
    }
    assert_eq!(log.log.bytes_to_index(), bytes, "not enough for a lot");
    while bytes < LOT_BYTES {
        bytes += append();
    }
    while log.log.bytes_to_index() > 0 {
        thread::yield_now();
    }
    append();
    let all = block_on(log.read(NamespaceId([1; 16]), Seq(0), usize::MAX)).unwrap();
    assert_eq!(all.len(), appended);
    drop(log);
    let (log, opened) = open(folder.path()).unwrap();
    assert_eq!((opened.indexed, opened.rebuilt), (0, None));
    assert_eq!(block_on(log.read(NamespaceId([1; 16]), Seq(0), usize::MAX)).unwrap(), all);
}

#[test]
fn an_index_that_was_deleted_or_overwritten_is_made_anew() {
    let (folder, all) = filled(20);
    let index = folder.path().join("index");
    let (_, opened) = open(folder.path()).unwrap();
    assert_eq!((opened.indexed, &opened.rebuilt), (0, &None), "a log that was closed is complete");
    for damage in ["deleted", "overwritten", "cut", "not a folder"] {
        match damage {
            "deleted" => fs::remove_dir_all(&index).unwrap(),
            "overwritten" => {
                let db = index.join("db");
                let bytes = fs::read(&db).unwrap();
                fs::write(
                    &db,
                    bytes.iter().enumerate().map(|(i, b)| b ^ (i % 7 == 0) as u8).collect::<Vec<_>>(),
                )
                .unwrap();
            }
            "cut" => fs::OpenOptions::new().write(true).open(index.join("db")).unwrap().set_len(100).unwrap(),
            _ => {
                fs::remove_dir_all(&index).unwrap();
                fs::write(&index, b"what is this").unwrap();
            }
        }
        let (log, opened) = open(folder.path()).unwrap();
        assert_eq!(opened.indexed, 20, "{damage}");
        assert!(opened.rebuilt.is_some(), "{damage}");
        assert_eq!(block_on(log.read_all(Position(0), usize::MAX)).unwrap(), all);
        assert_eq!(block_on(log.read(NamespaceId([1; 16]), Seq(0), usize::MAX)).unwrap(), all);
        assert_eq!(log.verify_index(), Ok(20), "{damage}");
    }
}

#[test]
fn a_flipped_byte_is_refused_with_its_position() {
    let (folder, all) = filled(20);
    let last = all.last().unwrap().position;
    let segments = fs::read_dir(folder.path().join("segments")).unwrap().count();
    assert!(segments > 2, "there are sealed ones");
    for number in 1..=segments as u32 {
        let file = folder.path().join("segments").join(file_name(number));
        let good = fs::read(&file).unwrap();
        for at in [20, 130, 200, good.len() / 2, good.len() - 70, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            fs::write(&file, bytes).unwrap();
            let outcome =
                open(folder.path()).and_then(|(log, _)| Ok(log.verify().collect::<Result<Vec<_>, _>>()?));
            let Err(OpenError::Log(LogError::Damaged { position, .. })) = outcome else {
                panic!("byte {at} of {number}: {outcome:?}")
            };
            assert!(position.0 >> 32 == u64::from(number) && position.0 & 0xffff_ffff <= at as u64);
        }
        fs::write(&file, good).unwrap();
    }
    let (log, _) = open(folder.path()).unwrap();
    assert_eq!(log.verify().last().unwrap().unwrap().position, last);
}

#[test]
fn a_log_that_was_cut_after_a_clean_close_is_refused_without_its_index_too() {
    let (folder, all) = filled(3);
    let file = folder.path().join("segments").join(file_name(1));
    let whole = fs::read(&file).unwrap();
    // Two groups of three: the third begins where its header stands, before its only frame.
    let third = (all[2].position.0 & 0xffff_ffff) as usize - 32;
    fs::write(&file, &whole[..third]).unwrap();
    for index in ["kept", "deleted"] {
        if index == "deleted" {
            fs::remove_dir_all(folder.path().join("index")).unwrap();
        }
        let outcome = open(folder.path()).map(|_| ());
        let Err(OpenError::Log(LogError::Damaged { position, .. })) = outcome else {
            panic!("index {index}: {outcome:?}")
        };
        assert_eq!(position.0 & 0xffff_ffff, third as u64, "index {index}");
        let looked = look(folder.path(), [4; 16], tempfile::tempdir().unwrap().path()).map(|_| ());
        assert!(matches!(looked, Err(OpenError::Log(LogError::Damaged { .. }))), "index {index}");
    }
    // Segments that are gone altogether, likewise.
    fs::remove_file(&file).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Log(LogError::Damaged { .. }))));
    // As before there was a witness: what is there is all that there ever was.
    fs::write(&file, &whole[..third]).unwrap();
    fs::remove_file(folder.path().join("end")).unwrap();
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let (log, _) = open(folder.path()).unwrap();
    assert_eq!(block_on(log.read_all(Position(0), usize::MAX)).unwrap(), all[..2]);
    assert!(folder.path().join("end").exists(), "from now on there is one");
}

#[test]
fn a_witness_is_written_while_the_log_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path()).unwrap();
    let mut author = Author::new(1, 1, Head::default());
    block_on(log.append(Seq(0), author.record(2, 300))).unwrap();
    let disk = FolderDisk::to_read(folder.path());
    // As long as it takes: the thread that does it was told before the append was answered.
    while Witness::read(&disk, log.id()) != Ok(Witness::At(log.end())) {
        thread::yield_now();
    }
}

/// Every file below a folder, with what it holds.
fn bytes_of(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => files.extend(bytes_of(&path)),
            path => files.push((path.clone(), fs::read(path).unwrap())),
        }
    }
    files.sort();
    files
}

#[test]
fn looking_at_a_folder_leaves_every_byte_and_finds_what_opening_would() {
    let (folder, all) = filled(20);
    let scratch = || tempfile::tempdir().unwrap();
    let before = bytes_of(folder.path());
    {
        let scratch = scratch();
        let looked = look(folder.path(), [4; 16], scratch.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::Locked { .. })), "nobody else has it meanwhile");
        assert_eq!(looked.verify().map(Result::unwrap).collect::<Vec<_>>(), all);
        assert_eq!((looked.verify_index(), looked.unfinished()), (Ok(()), None));
        assert_eq!(looked.witness().mark(), Some(looked.end()));
    }
    assert_eq!(bytes_of(folder.path()), before);
    // An index that is another's, or none: nothing false is said.
    fs::write(folder.path().join("index/db"), b"what is this").unwrap();
    assert_eq!(look(folder.path(), [4; 16], scratch().path()).unwrap().verify_index(), Ok(()));
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    assert_eq!(look(folder.path(), [4; 16], scratch().path()).unwrap().verify_index(), Ok(()));
    assert!(look(scratch().path(), [4; 16], scratch().path()).is_err(), "no log begins by being looked at");
}

#[test]
fn small_files_that_were_damaged_are_named() {
    for (name, bytes) in [
        ("format", &b"annals lug 1\n"[..]),
        ("format", b""),
        ("format", b"\0\0\0\0"),
        ("id", b""),
        ("id", b"no hex\n"),
    ] {
        let (folder, _) = filled(1);
        fs::write(folder.path().join(name), bytes).unwrap();
        for outcome in [
            open(folder.path()).map(|_| ()),
            look(folder.path(), [4; 16], tempfile::tempdir().unwrap().path()).map(|_| ()),
        ] {
            let Err(OpenError::Damaged { file, .. }) = outcome else { panic!("{name}: {outcome:?}") };
            assert_eq!(Path::new(&file), folder.path().join(name));
        }
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), bytes, "it was left as it was");
        fs::remove_file(folder.path().join(name)).unwrap();
        assert!(matches!(open(folder.path()), Err(OpenError::Damaged { .. })), "{name} is missing");
    }
}

#[test]
fn bytes_of_a_write_that_was_cut_off_are_moved_aside() {
    let (folder, all) = filled(3);
    let file = folder.path().join("segments").join(file_name(1));
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes.extend([0; 700]);
    fs::write(&file, bytes).unwrap();
    let (log, opened) = open(folder.path()).unwrap();
    let torn = opened.torn.unwrap();
    assert_eq!((torn.place.offset(), torn.bytes), (end as u64, 700));
    assert_eq!(fs::read(folder.path().join("segments").join(torn.file)).unwrap(), [0; 700]);
    assert_eq!(block_on(log.read_all(Position(0), usize::MAX)).unwrap(), all);
}

#[test]
fn another_format_another_process_and_no_folder_are_refused() {
    let (folder, _) = filled(1);
    let (log, _) = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Locked { .. })));
    drop(log);
    fs::write(folder.path().join("format"), "annals log 2\n").unwrap();
    let refused = open(folder.path()).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, OpenError::Format { found, .. } if found == "annals log 2"), "{refused}");
    fs::write(folder.path().join("format"), "annals log 1\n").unwrap();
    fs::write(folder.path().join("id"), format!("{}\n", "ab".repeat(16))).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Log(LogError::Unavailable { .. }))));
    let file = folder.path().join("id");
    assert!(matches!(open(&file), Err(OpenError::Folder(_))));
}

#[test]
fn appends_beyond_the_queue_wait_and_all_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path()).unwrap();
    let mut author = Author::new(1, 1, Head::default());
    let appends = (0..3 * QUEUE_MAX)
        .map(|_| {
            let expected = author.head().seq;
            log.append(expected, author.record(1, 1))
        })
        .collect();
    let answers = block_on(contract::all_of(appends));
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(block_on(log.head(NamespaceId([1; 16]))).unwrap(), author.head());
    let pending = log.append(Seq(0), author.record(1, 1));
    drop(log.append(Seq(0), author.record(1, 1)));
    drop(pending);
}
