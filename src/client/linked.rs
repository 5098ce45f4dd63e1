//! Which folders somebody linked on this machine, for one sentence: that one of them is not there.
//!
//! All that a device knows lies in its folder, and goes with the folder's disk: of an empty mount point nobody could tell
//! what it was. This list, in the user's state folder, can. Nothing else is done by it: it may be missing, old or
//! damaged, and two that write it at once may lose a line of it.

use crate::whole;
use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

/// Where it lies in the user's state folder.
const LIST: &str = "annals/linked.json";

/// `root` is a linked folder from now on.
pub(super) fn note(root: &Path) {
    change(|linked| linked.insert(root.to_owned()));
}

/// And from now on it is none. Whether it was one.
pub fn forget_linked(root: &Path) -> bool {
    change(|linked| linked.remove(root))
}

/// The linked folder that `path` is or lies in, where nothing is: as if its disk were not mounted.
#[must_use]
pub fn linked_and_gone(path: &Path) -> Option<PathBuf> {
    let linked = path_of_list().map(|list| read(&list)).unwrap_or_default();
    let root = path.ancestors().find(|above| linked.contains(*above))?;
    let is_there = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
    (!is_there).then(|| root.to_owned())
}

fn change(change: impl FnOnce(&mut BTreeSet<PathBuf>) -> bool) -> bool {
    let Some(list) = path_of_list() else { return false };
    let mut linked = read(&list);
    if !change(&mut linked) {
        return false;
    }
    let text = serde_json::to_vec_pretty(&linked).unwrap_or_default(); // A path that is no text has no line in it.
    let made = list.parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = made.and_then(|()| whole::cache(&list, &[&text])) {
        tracing::debug!(%error, "the list of linked folders could not be written");
    }
    true
}

fn read(list: &Path) -> BTreeSet<PathBuf> {
    fs::read(list).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn path_of_list() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    Some(state?.join(LIST))
}
