//! Which files programs of this person have open, as far as the system tells: Linux does, in `/proc`.
//!
//! What must always hold: it is a hint that costs little. It is looked for only among so many processes and files, what
//! cannot be read is passed by, and this program itself is left out. Elsewhere than on Linux nothing is known.

use std::{collections::BTreeSet, fs, os::unix::ffi::OsStrExt, path::Path};

/// At most so many open files are looked at.
const LINKS_MAX: usize = 20_000;

/// Files below `root` that are open, as paths from there.
pub(super) fn below(root: &Path) -> BTreeSet<String> {
    let mut prefix = root.as_os_str().as_bytes().to_vec();
    prefix.push(b'/');
    let own = std::process::id().to_string();
    let is_process = |name: &str| name != own && name.bytes().all(|byte| byte.is_ascii_digit());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter(|entry| entry.file_name().to_str().is_some_and(is_process));
    let opened = processes.flat_map(|process| fs::read_dir(process.path().join("fd")).into_iter().flatten());
    let links = opened.flatten().take(LINKS_MAX).filter_map(|entry| fs::read_link(entry.path()).ok());
    let path_of = |link: &Path| {
        let path = link.as_os_str().as_bytes().strip_prefix(prefix.as_slice())?;
        Some(String::from_utf8_lossy(path).into_owned())
    };
    links.filter_map(|link| path_of(&link)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn what_another_process_has_open_is_seen_and_what_this_one_has_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("a")).unwrap();
        for name in ["a/theirs", "ours", "nobodys"] {
            fs::write(root.join(name), name).unwrap();
        }
        let _ours = fs::File::open(root.join("ours")).unwrap();
        let theirs = fs::File::open(root.join("a/theirs")).unwrap();
        let mut other =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::from(theirs)).spawn().unwrap();
        assert_eq!(below(&root), BTreeSet::from(["a/theirs".to_owned()]));
        drop(other.stdin.take());
        other.wait().unwrap();
        assert_eq!(below(&root), BTreeSet::new());
    }
}
