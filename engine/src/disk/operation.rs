//! What is to be done to the folder, what each operation expects to find, and what became of it.

use super::{Identity, Node};
use annals_events::ContentId;
use serde::{Deserialize, Serialize};

/// What an operation finds if the folder still is what was planned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Nothing is there.
    Absent,
    /// This is there, unchanged.
    Is(Identity),
}

/// One change to the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// A folder, in a folder that is there. Content with one that is there already.
    MakeFolder {
        /// Where.
        path: String,
    },
    /// A new file, or new content for one (or for a symlink). Mode bits other than the owner's executable
    /// bit stay as they were.
    WriteFile {
        /// Where.
        path: String,
        /// What to ask [`Contents`] for.
        content: ContentId,
        /// How many bytes that is.
        size: u64,
        /// The modification time it gets; none: the time of writing.
        mtime_ns: Option<i64>,
        /// Whether it can be executed.
        executable: bool,
        /// What is there now.
        expect: Expect,
        /// What the file that is there holds, where its times do not vouch for that: it is read once it is out of the
        /// folder, and another content is a change as another time is.
        holds: Option<ContentId>,
    },
    /// A new symlink, or another target for one. What it says is kept as it is and never followed.
    WriteSymlink {
        /// Where.
        path: String,
        /// What it says.
        target: Vec<u8>,
        /// What is there now.
        expect: Expect,
        /// As for a [file](Self::WriteFile).
        holds: Option<ContentId>,
    },
    /// Modification time and executable bit of a file, in place.
    SetAttributes {
        /// Which.
        path: String,
        /// The new modification time, if it changes.
        mtime_ns: Option<i64>,
        /// The new executable bit, if it changes.
        executable: Option<bool>,
        /// What is there now.
        expect: Identity,
    },
    /// Another name, in the same folder or another; nothing is at `to`.
    Rename {
        /// Where it is.
        from: String,
        /// Where it goes.
        to: String,
        /// What is at `from` now.
        expect: Identity,
    },
    /// Two things change places, neither of which is inside the other: a ring of n names is n - 1 exchanges.
    Exchange {
        /// One of them.
        one: String,
        /// The other.
        other: String,
        /// What is at `one` now.
        expect_one: Identity,
        /// What is at `other` now.
        expect_other: Identity,
    },
    /// Takes something out of the way, for an [`DiskOp::Unpark`] later in the same call. Without one, or if that
    /// is blocked, it returns to its place and this is blocked too.
    Park {
        /// Where it is.
        path: String,
        /// A number of the caller's choice, unused at this time.
        slot: u32,
        /// What is there now.
        expect: Identity,
    },
    /// Puts what was parked to its place; nothing is there.
    Unpark {
        /// What [`DiskOp::Park`] called it.
        slot: u32,
        /// Where it goes.
        path: String,
    },
    /// A file or symlink that goes, or a folder that goes if it is empty. Content with nothing being there.
    Remove {
        /// Which.
        path: String,
        /// What is there now.
        expect: Identity,
        /// As for a [file](Self::WriteFile).
        holds: Option<ContentId>,
    },
}

impl DiskOp {
    /// The path that shows the result; what is parked or removed is named by where it was.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::MakeFolder { path }
            | Self::WriteFile { path, .. }
            | Self::WriteSymlink { path, .. }
            | Self::SetAttributes { path, .. }
            | Self::Park { path, .. }
            | Self::Unpark { path, .. }
            | Self::Remove { path, .. } => path,
            Self::Rename { to, .. } => to,
            Self::Exchange { one, .. } => one,
        }
    }
}

/// How an operation went.
pub type Outcome = Result<Done, Blocked>;

/// The operation is done, and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What is at [`DiskOp::path`] now; none after [`DiskOp::Remove`] and [`DiskOp::Park`].
    ///
    /// Where the content was not proven after the last change ([`DiskOp::SetAttributes`] works in place and
    /// cannot win every race), `ctime_ns` is `i64::MIN`, so that the next scan takes the file for touched
    /// and reads it.
    pub node: Option<Node>,
    /// After [`DiskOp::Exchange`]: what is at `other`.
    pub other: Option<Node>,
}

/// The operation was not done, and nothing was lost by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// Not what was expected: a local change first.
    #[error("{path:?} changed in the meantime")]
    Changed {
        /// Where.
        path: String,
        /// What is there.
        found: Option<Identity>,
    },
    /// A race that could not be undone: the file that came in between lies in `.annals/kept`.
    #[error("{path:?} changed while it was replaced; what it held is kept as {kept:?}")]
    Kept {
        /// Where it was.
        path: String,
        /// Its name in `.annals/kept`.
        kept: String,
    },
    /// A folder on the way is missing, or is a file or a symlink.
    #[error("the folder of {path:?} is not there")]
    NoFolder {
        /// What it was the way to.
        path: String,
    },
    /// The folder to be removed holds something, or a folder is where a file should go.
    #[error("{path:?} is a folder that is not empty")]
    NotEmpty {
        /// Which.
        path: String,
    },
    /// This file system cannot hold the name, or it is the device's own.
    #[error("{path:?} cannot be a name here: {why}")]
    Name {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The folder, or one in it, may not be written.
    #[error("{path:?} cannot be written: {why}")]
    ReadOnly {
        /// Where.
        path: String,
        /// What the system said.
        why: String,
    },
    /// No room left on the disk (or in a quota of the file system).
    #[error("no space left on the disk for {path:?}")]
    Full {
        /// Where.
        path: String,
    },
    /// Its turn has not come: something else goes first, or nobody can be asked for now.
    #[error("{path:?} has to wait for its turn")]
    Later {
        /// Where.
        path: String,
    },
    /// The content could not be had.
    #[error("the content of {path:?} could not be had: {why}")]
    Content {
        /// Where.
        path: String,
        /// What [`Contents`] said, or how its size was wrong.
        why: String,
    },
    /// Anything else.
    #[error("{path:?}: {why}")]
    Other {
        /// Where.
        path: String,
        /// What the system said.
        why: String,
    },
}

impl Blocked {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Changed { path, .. }
            | Self::Kept { path, .. }
            | Self::NoFolder { path }
            | Self::NotEmpty { path }
            | Self::Name { path, .. }
            | Self::ReadOnly { path, .. }
            | Self::Full { path }
            | Self::Later { path }
            | Self::Content { path, .. }
            | Self::Other { path, .. } => path,
        }
    }
}

/// What [`Disk::sweep`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many files of our own were left half written, or were done with.
    pub removed: usize,
    /// What a crash caught in our hands and is back in the folder.
    pub put_back: Vec<String>,
    /// What could not be put back, and under which name it lies in `.annals/kept`: (path, name).
    pub kept: Vec<(String, String)>,
}
