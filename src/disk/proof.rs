//! What a file that came out of the folder holds, where its times do not vouch for that.
//!
//! A store through a memory map stamps a file when it is the first to its page, and then not again until that was
//! written back. So what was read soon after a stamp may be other than what is there now under the same stamp. What must
//! always hold: a file that cannot be read holds something else. Left out: when its times do
//! ([`Node::is_proven`](annals_engine::disk::Node::is_proven)), and what is stored while or after it is read here: who
//! has it open goes on writing into a file that was replaced.

use super::calls::{self as fs, Mode, OFlags};
use annals_engine::content::is_content;
use annals_events::ContentId;
use rustix::fd::BorrowedFd;
use std::{fs::File, io};

/// Whether the file called `name` in `folder` still holds `content`; a content that is none stands for whatever it holds.
pub(super) fn still_holds(folder: BorrowedFd<'_>, name: &str, content: Option<&ContentId>) -> bool {
    let Some(content) = content else { return true };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = || -> io::Result<File> { Ok(File::from(fs::openat(folder, name, flags, Mode::empty())?)) };
    let holds = || is_content(content, open()?.metadata()?.len(), open);
    holds().unwrap_or(false)
}
