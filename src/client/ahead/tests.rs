//! Groups of real files, of which most has to be sent, or little.

use super::*;

struct Case {
    folder: tempfile::TempDir,
    open: Arc<Folder>,
    ahead: Ahead,
    bytes: BTreeMap<String, Vec<u8>>,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = Arc::new(Folder::open(folder.path()).unwrap());
        Self { folder, open, ahead: Ahead::default(), bytes: BTreeMap::new() }
    }

    /// Files of these bytes.
    fn files(&mut self, group: &str, contents: &[Vec<u8>]) -> Vec<FileToRead> {
        let mut files = Vec::new();
        for (nth, bytes) in contents.iter().enumerate() {
            let path = format!("{group}{nth}");
            std::fs::write(self.folder.path().join(&path), bytes).unwrap();
            self.bytes.insert(path.clone(), bytes.clone());
            files.push(FileToRead { path, size: bytes.len() as u64, replaced: None, first: None });
        }
        files
    }

    fn named(&mut self, group: &[FileToRead]) -> Vec<CutFile> {
        let found = self.ahead.named(&self.open, group, flow::WINDOW_BYTES_MAX, &()).unwrap();
        found.into_iter().map(Result::unwrap).collect()
    }

    fn take(&mut self, file: &FileToRead) -> Option<FileToCut<OpenFile>> {
        self.ahead.take(&self.open, file, flow::WINDOW_BYTES_MAX)
    }

    /// Three groups; all of the last is sealed while it is read, for it was with those before.
    fn sealed(&mut self) -> Vec<Vec<FileToRead>> {
        let groups: Vec<_> = (0..3).map(|nth| self.files(&format!("g{nth}-"), &contents(nth))).collect();
        self.name(&groups[0], &groups[1], 100);
        self.name(&groups[1], &groups[2], 100);
        groups
    }

    /// Names a group while the next one is begun, and says how many of its chunks had to be sent.
    fn name(&mut self, group: &[FileToRead], next: &[FileToRead], sent: usize) -> Vec<CutFile> {
        let named = self.named(group);
        self.ahead.begin(&self.open, next);
        self.ahead.sent(sent);
        named
    }
}

fn contents(seed: u8) -> Vec<Vec<u8>> {
    let noise =
        |count: u32| (0..count).flat_map(|n| ChunkId::of(&[&[seed][..], &n.to_be_bytes()].concat()).0);
    vec![vec![seed; 100], noise(9000).collect(), vec![seed; 100], Vec::new(), vec![seed; 300_000]]
}

#[test]
fn where_most_had_to_be_sent_the_group_after_next_is_sealed_while_it_is_read_and_else_kept_as_it_is() {
    for (sent, is_sealed) in [(100, true), (0, false)] {
        let mut case = Case::new();
        let groups: Vec<_> = (0..3).map(|nth| case.files(&format!("g{nth}-"), &contents(nth))).collect();
        case.name(&groups[0], &groups[1], sent);
        case.name(&groups[1], &groups[2], sent);
        let named = case.name(&groups[2], &[], 0);
        // With nothing to come everything is let go of.
        assert!(case.ahead.take_sealed(&groups[2][0], |_| true, &mut BTreeSet::new()).is_none());
        assert!(case.take(&groups[2][0]).is_none());

        case.name(&groups[0], &groups[1], sent);
        case.name(&groups[1], &groups[2], sent);
        assert_eq!(case.named(&groups[2]), named);
        let (mut given, mut chunks) = (BTreeSet::new(), BTreeMap::new());
        for (file, named) in groups[2].iter().zip(&named) {
            let sealed = case.ahead.take_sealed(file, |_| true, &mut given);
            assert_eq!((sealed.is_some(), case.take(file).is_some()), (is_sealed, !is_sealed));
            let Some((found, sealed)) = sealed else { continue };
            assert_eq!(&found, named);
            for chunk in sealed {
                assert!(chunks.insert(chunk.id, chunk.open().unwrap()).is_none(), "given twice");
            }
            let plain: Vec<u8> =
                found.content.chunks.iter().flat_map(|chunk| chunks[&chunk.id].clone()).collect();
            assert!(plain == case.bytes[&file.path], "{}", file.path);
        }
    }
}

#[test]
fn what_was_sealed_is_given_where_it_is_wanted_and_for_nothing_that_changed_meanwhile() {
    let mut case = Case::new();
    let groups = case.sealed();
    case.named(&groups[2]);
    let other = FileToRead { size: 7, ..groups[2][0].clone() };
    assert!(case.ahead.take_sealed(&other, |_| true, &mut BTreeSet::new()).is_none());
    let (_, chunks) = case.ahead.take_sealed(&groups[2][1], |_| false, &mut BTreeSet::new()).unwrap();
    assert_eq!(chunks, []);
}

#[test]
fn of_what_was_sealed_and_gave_way_only_what_is_wanted_is_read_once_more() {
    let mut case = Case::new();
    let contents: Vec<_> = (0..4).map(contents).collect();
    let groups: Vec<_> = (0..4).map(|nth| case.files(&format!("g{nth}-"), &contents[nth])).collect();
    wait_for_tick(&case.open, &groups[3].last().unwrap().path);
    case.name(&groups[0], &groups[1], 100);
    case.name(&groups[1], &groups[2], 100);
    let named = case.name(&groups[2], &groups[3], 1);
    let taken = case.ahead.take_sealed(&groups[2][1], |_| true, &mut BTreeSet::new());
    assert!(taken.is_some_and(|(_, chunks)| !chunks.is_empty()));
    case.ahead.interrupted();

    assert_eq!(case.named(&groups[2]), named);
    for (file, named) in groups[2].iter().zip(&named) {
        assert!(case.ahead.take_sealed(file, |_| true, &mut BTreeSet::new()).is_none(), "{}", file.path);
        match case.take(file) {
            Some(FileToCut::Known(known)) => assert_eq!(known.file, *named),
            other => panic!("{}: {other:?}", file.path),
        }
    }
    // That little of it was sent says nothing of what comes.
    case.named(&groups[3]);
    assert!(case.ahead.take_sealed(&groups[3][1], |_| true, &mut BTreeSet::new()).is_some());
}

#[test]
fn what_takes_the_place_of_something_and_what_goes_slowly_is_not_sealed_before_it_is_asked_about() {
    let mut case = Case::new();
    let groups = case.sealed();
    let content = case.named(&groups[2])[1].content.clone();
    case.ahead.sent(100);
    let replacing: Vec<_> =
        groups[1].iter().map(|file| FileToRead { replaced: Some(content.clone()), ..file.clone() }).collect();
    for (group, window) in [(&replacing, flow::WINDOW_BYTES_MAX), (&groups[1], flow::WINDOW_BYTES_MAX - 1)] {
        let found = case.ahead.named(&case.open, group, window, &()).unwrap();
        case.ahead.sent(100);
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(case.ahead.chunks, BTreeMap::new());
    }
    case.named(&groups[1]);
    assert_ne!(case.ahead.chunks, BTreeMap::new());
}

#[test]
fn what_was_closed_by_somebody_who_may_have_written_is_not_believed_any_more() {
    let mut case = Case::new();
    let groups = case.sealed();
    // Read once more, when a change is sure to show.
    case.ahead.next = None;
    wait_for_tick(&case.open, &groups[2].last().unwrap().path);
    case.named(&groups[2]);
    case.ahead.interrupted();
    let is_known =
        |case: &Case| groups[2][..2].iter().map(|f| case.ahead.known.contains_key(&f.path)).collect();
    let before: Vec<bool> = is_known(&case);
    assert_eq!(before, [true, true]);
    case.ahead.doubt(&[groups[2][1].path.clone()].into());
    let after: Vec<bool> = is_known(&case);
    assert_eq!(after, [true, false]);
}
