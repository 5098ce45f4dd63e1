//! Which of the shown names this disk can hold, and what it shows in place of the others.
//!
//! What must always hold: nobody's name in the log changes; what is shown here is unique in its folder by the
//! disk's own comparison; and it depends only on the set of siblings, so that a device shows the same names
//! after every restart. Of names that the disk takes for one, the earliest named keeps its own. Ext4 and its
//! kin hold every name: for them the tree is handed on as it is.

use crate::observed::{RemoteNode, RemoteTree};
use annals_events::{Hash, path};
use std::collections::{BTreeMap, BTreeSet};
use unicode_normalization::UnicodeNormalization;

/// What a file system does with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NameRules {
    /// Takes `A` and `a` for one name.
    pub folds_case: bool,
    /// Takes composed and decomposed characters for one name.
    pub folds_form: bool,
    /// Holds no `<>:"\|?*`, control characters, trailing dots and spaces, and no names of DOS devices.
    pub windows: bool,
}

impl NameRules {
    /// Whether every name can be held as it is.
    #[must_use]
    pub fn hold_all(&self) -> bool {
        *self == Self::default()
    }

    /// What two names have in common if this disk takes them for one.
    #[must_use]
    pub fn fold(&self, name: &str) -> String {
        match (self.folds_case, self.folds_form) {
            (false, false) => name.into(),
            (false, true) => name.nfc().collect(),
            (true, false) => name.chars().flat_map(char::to_lowercase).collect(),
            (true, true) => name.nfc().flat_map(char::to_lowercase).nfc().collect(),
        }
    }

    /// `name` with what this disk cannot hold at all written as `%XX`, and `%` as `%25`, so that it can be read
    /// back; most names stay as they are.
    #[must_use]
    pub fn escape(&self, name: &str) -> String {
        if !self.windows || !is_trouble(name) {
            return name.into();
        }
        let last = name.chars().count() - 1;
        let mut out = String::new();
        for (at, c) in name.chars().enumerate() {
            let device = at == 0 && is_dos_device(name);
            let trailing = at == last && matches!(c, '.' | ' ');
            if device || trailing || c == '%' || is_held_nowhere(c) {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| out += &format!("%{byte:02X}"));
            } else {
                out.push(c);
            }
        }
        out
    }
}

fn is_held_nowhere(c: char) -> bool {
    c.is_control() || matches!(c, '<' | '>' | ':' | '"' | '\\' | '|' | '?' | '*')
}

/// A name that has to be escaped, or that reads like an escaped one.
fn is_trouble(name: &str) -> bool {
    name.chars().any(is_held_nowhere)
        || name.ends_with(['.', ' '])
        || is_dos_device(name)
        || name.contains('%')
}

fn is_dos_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered =
        |word: &str| stem.strip_prefix(word).is_some_and(|n| matches!(n.as_bytes(), [b'1'..=b'9']));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

/// `remote` under the names that this disk can hold.
#[must_use]
pub fn held(remote: RemoteTree, rules: NameRules) -> RemoteTree {
    if rules.hold_all() {
        return remote;
    }
    let mut folders: BTreeMap<&str, Vec<(&str, &RemoteNode)>> = BTreeMap::new();
    for (path, node) in &remote.nodes {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        folders.entry(above).or_default().push((name, node));
    }
    // In the order of strings a folder comes before what is in it, so its own new name is known by then.
    let mut here: BTreeMap<String, String> = BTreeMap::new();
    for (above, siblings) in folders {
        let prefix = if above.is_empty() { String::new() } else { format!("{}/", here[above]) };
        for (name, shown) in held_names(siblings, rules) {
            let path = if above.is_empty() { name.into() } else { format!("{above}/{name}") };
            here.insert(path, format!("{prefix}{shown}"));
        }
    }
    let nodes = remote.nodes.into_iter().map(|(path, node)| (here[&path].clone(), node)).collect();
    RemoteTree { nodes }
}

/// Each sibling's name here. The plain ones come first, so that a suffix never takes a name from one of them.
fn held_names<'a>(mut siblings: Vec<(&'a str, &RemoteNode)>, rules: NameRules) -> Vec<(&'a str, String)> {
    siblings.sort_by_key(|(name, node)| (node.copy, node.named, *name));
    let (mut taken, mut out, mut later) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (name, node) in siblings {
        let shown = rules.escape(name);
        if taken.insert(rules.fold(&shown)) {
            out.push((name, shown));
        } else {
            later.push((name, node));
        }
    }
    for (name, node) in later {
        let mut salt = 0;
        let shown = std::iter::from_fn(|| {
            salt += 1;
            Some(suffixed(&rules.escape(name), node, salt))
        })
        .find(|shown| !taken.contains(&rules.fold(shown)))
        .expect("only so many names are taken");
        taken.insert(rules.fold(&shown));
        out.push((name, shown));
    }
    out
}

fn suffixed(name: &str, node: &RemoteNode, salt: u32) -> String {
    let entry = node.entries.first().map(|entry| entry.0);
    let hash = Hash::of(b"annals name\0", &[format!("{entry:?} {name} {salt}").as_bytes()]).to_hex();
    path::suffixed(name, &format!(" (name {})", &hash[..8]), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::{DeviceId, Dot, EntryId, EntryKind, Hlc, Name};
    use proptest::prelude::*;

    fn node(counter: u64, kind: EntryKind) -> RemoteNode {
        RemoteNode {
            entries: vec![EntryId(Dot::new(DeviceId([1; 16]), counter))],
            kind,
            head: None,
            heads: Vec::new(),
            content: None,
            size: 0,
            mtime: None,
            executable: false,
            target: None,
            copy: false,
            named: (Hlc(counter), DeviceId([1; 16])),
        }
    }

    fn tree(paths: &[&str]) -> RemoteTree {
        let nodes = paths.iter().enumerate().map(|(at, path)| {
            let kind = if paths.iter().any(|p| p.starts_with(&format!("{path}/"))) {
                EntryKind::Folder
            } else {
                EntryKind::File
            };
            ((*path).to_owned(), node(at as u64 + 1, kind))
        });
        RemoteTree { nodes: nodes.collect() }
    }

    const CASE: NameRules = NameRules { folds_case: true, folds_form: true, windows: false };
    const WINDOWS: NameRules = NameRules { folds_case: true, folds_form: false, windows: true };

    #[test]
    fn a_disk_that_holds_every_name_shows_every_name() {
        let pair = tree(&["xt_TCPMSS.c", "xt_tcpmss.c"]);
        assert_eq!(held(pair.clone(), NameRules::default()), pair);
    }

    #[test]
    fn of_names_that_differ_in_case_the_earlier_is_plain_and_folders_take_their_contents_along() {
        let shown = held(tree(&["b", "B", "b/x", "B/y"]), CASE);
        let paths: Vec<&String> = shown.nodes.keys().collect();
        assert_eq!(paths.len(), 4);
        assert!(shown.nodes.contains_key("b/x"));
        assert!(paths.iter().any(|path| path.starts_with("B (name ") && path.ends_with("/y")), "{paths:?}");
    }

    #[test]
    fn composed_and_decomposed_are_told_apart_where_the_disk_does_not() {
        let shown = held(tree(&["\u{e4}", "a\u{308}"]), CASE);
        let folded: BTreeSet<String> = shown.nodes.keys().map(|path| CASE.fold(path)).collect();
        assert_eq!(folded.len(), 2);
        assert!(shown.nodes.contains_key("\u{e4}"));
    }

    /// What [`escape`](NameRules::escape) was given, as whoever reads the folder could tell.
    fn read_back(rules: NameRules, name: &str) -> String {
        let mut bytes = Vec::with_capacity(name.len());
        let mut rest = name.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
            match (first, after.get(..2).and_then(hex)) {
                (b'%', Some(byte)) => {
                    bytes.push(byte);
                    rest = &after[2..];
                }
                _ => {
                    bytes.push(first);
                    rest = after;
                }
            }
        }
        match String::from_utf8(bytes) {
            Ok(read) if rules.windows && rules.escape(&read) == name => read,
            _ => name.into(),
        }
    }

    proptest! {
        #[test]
        fn an_escaped_name_is_read_back(name in "[a-c%:*. \\x01CONA1]{1,12}") {
            let escaped = WINDOWS.escape(&name);
            prop_assert!(!escaped.chars().any(is_held_nowhere) && !escaped.ends_with(['.', ' ']));
            prop_assert!(!is_dos_device(&escaped), "{escaped:?}");
            prop_assert_eq!(read_back(WINDOWS, &escaped), name);
        }

        #[test]
        fn what_is_shown_is_unique_for_the_disk(names in prop::collection::btree_set("[aAbB\u{e4}.]{1,3}", 1..12)) {
            let names: Vec<&str> = names.iter().map(String::as_str).filter(|n| Name::new(*n).is_ok()).collect();
            let shown = held(tree(&names), CASE);
            prop_assert_eq!(shown.nodes.len(), names.len());
            let folded: BTreeSet<String> = shown.nodes.keys().map(|path| CASE.fold(path)).collect();
            prop_assert_eq!(folded.len(), names.len());
        }
    }
}
