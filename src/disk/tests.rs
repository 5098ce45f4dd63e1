//! The tests of the synced folder, on real folders: a fixture, and the claims by subject.

mod changes;
mod crashes;
mod power;
mod races;
mod rules;
mod scans;
pub(super) mod tape;

use super::{FolderDisk, Step, Watch};
use annals_engine::disk::{
    Blocked, Contents, Disk, DiskOp, Done, Expect, Identity, NewFile, Node, OldFiles, Outcome,
};
use annals_events::{ChunkId, ChunkRef, Content, ContentId, Cut};
use rustix::io::Errno;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

/// A time in the past, with a fraction.
const MTIME_NS: i64 = 1_234_567_890_123_456_789;

/// A synced folder `in/` and a folder `out/` beside it that nothing may ever touch.
struct Fixture {
    top: TempDir,
    disk: FolderDisk,
    contents: Texts,
}

/// The contents that were asked to be written, found by their number.
#[derive(Default)]
struct Texts(Vec<Vec<u8>>);

impl Contents for Texts {
    fn write_to(
        &mut self,
        content: &ContentId,
        _: &mut dyn OldFiles,
        sink: &mut dyn NewFile,
    ) -> io::Result<()> {
        let number = u64::from_be_bytes(content.0[..8].try_into().unwrap());
        let text =
            self.0.get(usize::try_from(number).unwrap()).ok_or_else(|| io::Error::other("no such text"))?;
        text.chunks(7).try_for_each(|piece| sink.write_all(piece))
    }
}

impl Fixture {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(top: TempDir) -> Self {
        fs::create_dir(top.path().join("in")).unwrap();
        fs::create_dir(top.path().join("out")).unwrap();
        let disk = FolderDisk::open(&top.path().join("in")).unwrap();
        Self { top, disk, contents: Texts::default() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.top.path().join("in").join(path)
    }

    fn outside(&self) -> PathBuf {
        self.top.path().join("out")
    }

    /// A file made by the user.
    fn given(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| format!("<{error}>"))
    }

    fn node(&mut self, path: &str) -> Node {
        self.disk.look(path).unwrap().unwrap()
    }

    fn now(&mut self, path: &str) -> Identity {
        self.node(path).identity()
    }

    fn content(&mut self, text: &[u8]) -> ContentId {
        let mut id = ContentId::default();
        id.0[..8].copy_from_slice(&(self.contents.0.len() as u64).to_be_bytes());
        self.contents.0.push(text.to_vec());
        id
    }

    fn write(&mut self, path: &str, text: &str, expect: Expect) -> DiskOp {
        let content = self.content(text.as_bytes());
        let (size, mtime_ns) = (text.len() as u64, Some(MTIME_NS));
        DiskOp::WriteFile {
            path: path.into(),
            content,
            size,
            mtime_ns,
            executable: false,
            expect,
            holds: None,
        }
    }

    fn over(&mut self, path: &str, text: &str) -> DiskOp {
        let expect = Expect::Is(self.now(path));
        self.write(path, text, expect)
    }

    fn remove(&mut self, path: &str) -> DiskOp {
        DiskOp::Remove { path: path.into(), expect: self.now(path), holds: None }
    }

    fn rename(&mut self, from: &str, to: &str) -> DiskOp {
        DiskOp::Rename { from: from.into(), to: to.into(), expect: self.now(from) }
    }

    fn apply(&mut self, ops: &[DiskOp]) -> Vec<Outcome> {
        self.disk.apply(ops, &mut self.contents).unwrap()
    }

    fn one(&mut self, op: DiskOp) -> Outcome {
        self.apply(&[op]).pop().unwrap()
    }

    /// Calls `watch` at every step of what follows.
    fn watch(&mut self, watch: impl FnMut(&Step) -> Result<(), Errno> + Send + 'static) {
        self.disk.steps.watch = Some(Box::new(watch) as Watch);
    }

    /// The steps of what follows, in the order in which they are reached.
    fn trace(&mut self) -> Arc<Mutex<Vec<Step>>> {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let trace = Arc::clone(&steps);
        self.watch(move |step| {
            trace.lock().unwrap().push(step.clone());
            Ok(())
        });
        steps
    }

    /// Does `change` once, when `step` is reached.
    fn when(&mut self, step: Step, change: impl FnOnce(&Path) + Send + 'static) {
        let (folder, mut change) = (self.path(""), Some(change));
        self.watch(move |now| {
            if *now == step
                && let Some(change) = change.take()
            {
                change(&folder);
            }
            Ok(())
        });
    }

    /// A new process on the same folder.
    fn reopened(self) -> Self {
        let disk = FolderDisk::open(&self.path("")).unwrap();
        Self { disk, ..self }
    }

    /// What lies in a folder of `.annals`.
    fn state(&self, name: &str) -> Vec<String> {
        names(&self.path(".annals").join(name))
    }

    fn assert_clean(&self) {
        assert_eq!(self.state("tmp"), Vec::<String>::new(), "left in .annals/tmp");
        assert_eq!(self.state("kept"), Vec::<String>::new(), "left in .annals/kept");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn make_folder(path: &str) -> DiskOp {
    DiskOp::MakeFolder { path: path.into() }
}

fn is_changed(outcome: &Outcome) -> bool {
    matches!(outcome, Err(Blocked::Changed { .. }))
}

fn node(outcome: &Outcome) -> Node {
    match outcome {
        Ok(Done { node: Some(node), .. }) => node.clone(),
        other => panic!("not done with a node: {other:?}"),
    }
}

/// What a short text is called as a content.
fn content_of(text: &str) -> ContentId {
    let bytes = u32::try_from(text.len()).unwrap();
    Content::new(Cut::SMALL, vec![ChunkRef { bytes, id: ChunkId::of(text.as_bytes()) }]).0.id
}
