//! Plans over random pairs of trees: they come to an end, show what the log says, and remove nothing else.

use crate::{folder::Folder, world::content};
use annals_engine::{
    disk::DiskOp,
    observed::{RemoteNode, RemoteTree, SyncedChange, SyncedTree},
    plan::{after, in_the_way, pending, plan},
};
use annals_events::{ContentId, DeviceId, Dot, EntryId, EntryKind, Hlc};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// An entry as one side has it: the folder it is in (by number), a name, and which content.
#[derive(Clone, Debug)]
struct Thing {
    folder: u8,
    name: u8,
    kind: u8,
    content: u8,
    there: bool,
}

fn thing() -> impl Strategy<Value = Thing> {
    (any::<u8>(), 0u8..5, 0u8..5, any::<u8>(), prop::bool::weighted(0.8))
        .prop_map(|(folder, name, kind, content, there)| Thing { folder, name, kind, content, there })
}

fn dot(n: usize) -> Dot {
    Dot::new(DeviceId([1; 16]), n as u64 + 1)
}

fn kind_of(thing: &Thing) -> EntryKind {
    match thing.kind {
        0 | 1 => EntryKind::Folder,
        2 => EntryKind::Symlink,
        _ => EntryKind::File,
    }
}

/// The tree of the things that have a place in it: no cycles, one thing a name.
fn tree(things: &[Thing], contents: &mut BTreeMap<ContentId, String>) -> RemoteTree {
    let mut paths: BTreeMap<usize, String> = BTreeMap::new();
    let mut nodes: BTreeMap<String, RemoteNode> = BTreeMap::new();
    for _ in 0..things.len() {
        for (n, thing) in things.iter().enumerate().filter(|(_, thing)| thing.there) {
            // 0 is the top; else a folder that has its place already.
            let folder = match thing.folder as usize % (things.len() + 1) {
                0 => Some(String::new()),
                above => paths.get(&(above - 1)).map(|path| format!("{path}/")),
            };
            let Some(path) =
                folder.map(|above| format!("{above}{}", ["a", "b", "c", "d", "e"][thing.name as usize]))
            else {
                continue;
            };
            if paths.contains_key(&n) || nodes.contains_key(&path) {
                continue;
            }
            let kind = kind_of(thing);
            if kind == EntryKind::Folder {
                paths.insert(n, path.clone());
            }
            let text = format!("{n} {}", thing.content % 3);
            let file = (kind == EntryKind::File).then(|| content(&text));
            let head = file.as_ref().map(|_| Dot::new(DeviceId([2 + thing.content % 3; 16]), n as u64 + 1));
            contents.extend(file.as_ref().map(|content| (content.id, text.clone())));
            let node = RemoteNode {
                entries: vec![EntryId(dot(n))],
                kind,
                head,
                heads: head.into_iter().collect(),
                content: file.as_ref().map(|content| content.id),
                size: file.as_ref().map_or(0, |content| content.size),
                mtime: file.as_ref().map(|_| i64::from(thing.content % 2)),
                executable: kind == EntryKind::File && thing.content % 5 == 0,
                target: (kind == EntryKind::Symlink).then(|| text.into_bytes()),
                copy: false,
                named: (Hlc(n as u64), DeviceId([1; 16])),
            };
            paths.insert(n, path.clone());
            if kind != EntryKind::Folder {
                paths.remove(&n);
                // Remember that it has a place without letting others into it.
                paths.insert(n + 1000, path.clone());
            }
            nodes.insert(path, node);
        }
        // What has a place keeps it.
        let placed: BTreeSet<Dot> = nodes.values().map(|node| node.entries[0].0).collect();
        if placed.len() == things.iter().filter(|thing| thing.there).count() {
            break;
        }
    }
    dedup(nodes)
}

/// One path an entry: a file is placed again in every round.
fn dedup(nodes: BTreeMap<String, RemoteNode>) -> RemoteTree {
    let mut met = BTreeSet::new();
    RemoteTree { nodes: nodes.into_iter().filter(|(_, node)| met.insert(node.entries[0])).collect() }
}

fn perform(
    folder: &mut Folder,
    synced: &mut SyncedTree,
    remote: &RemoteTree,
    contents: &BTreeMap<ContentId, String>,
) -> (usize, usize) {
    let (mut written, mut rounds) = (0, 0);
    loop {
        let plan = plan(synced, remote, &BTreeSet::new(), true);
        if plan.is_empty() {
            return (written, rounds);
        }
        rounds += 1;
        assert!(rounds < 6, "no end: {plan:#?}");
        plan.labels.iter().for_each(|change| synced.apply(change.clone()));
        let outcomes = folder.apply(&plan.ops, contents);
        for (op, outcome) in plan.ops.iter().zip(outcomes) {
            written += usize::from(matches!(op, DiskOp::WriteFile { .. }));
            let done = outcome.unwrap_or_else(|why| panic!("{op:?}: {why}\n{plan:#?}"));
            for change in after(op, done, synced, remote) {
                synced.apply(change);
            }
        }
    }
}

fn shows(folder: &Folder, remote: &RemoteTree, contents: &BTreeMap<ContentId, String>) {
    let here: Vec<&String> = folder.names.keys().collect();
    assert_eq!(here, remote.nodes.keys().collect::<Vec<_>>());
    for (path, (kind, text, mtime, executable)) in folder.picture() {
        let there = &remote.nodes[&path];
        let wanted = there.content.map(|content| contents[&content].clone());
        let wanted = wanted.or_else(|| there.target.clone().map(|target| String::from_utf8(target).unwrap()));
        assert_eq!(
            (kind, text, executable),
            (there.kind, wanted.unwrap_or_default(), there.executable),
            "{path}"
        );
        if kind == EntryKind::File {
            assert_eq!(Some(mtime), there.mtime, "{path}");
        }
    }
}

/// What was there with some of it changed, and what is new.
fn later_than(before: &[Thing], changed: &[Option<Thing>], new: Vec<Thing>) -> Vec<Thing> {
    let changed = before.iter().zip(changed).map(|(old, new)| match new {
        // An entry stays what it is.
        Some(new) => Thing { kind: old.kind, ..new.clone() },
        None => old.clone(),
    });
    changed.chain(new).collect()
}

proptest! {
    #![proptest_config(crate::laws::cases(500))]

    #[test]
    fn plans_come_to_an_end_and_the_folder_shows_what_the_log_says(
        before in prop::collection::vec(thing(), 1..14),
        changed in prop::collection::vec(prop::option::weighted(0.5, thing()), 14),
        new in prop::collection::vec(thing(), 0..4),
    ) {
        let mut contents = BTreeMap::new();
        let later = later_than(&before, &changed, new);
        let (first, second) = (tree(&before, &mut contents), tree(&later, &mut contents));
        let (mut folder, mut synced) = (Folder::default(), SyncedTree::default());
        perform(&mut folder, &mut synced, &first, &contents);
        shows(&folder, &first, &contents);
        let (written, _) = perform(&mut folder, &mut synced, &second, &contents);
        shows(&folder, &second, &contents);
        prop_assert!(pending(&synced, &second).is_empty());
        // What only moved is not written again.
        let held: BTreeSet<(EntryId, Option<ContentId>)> =
            first.nodes.values().map(|node| (node.entries[0], node.content)).collect();
        let new = second.nodes.values().filter(|node| node.kind == EntryKind::File);
        let new = new.filter(|node| !held.contains(&(node.entries[0], node.content))).count();
        prop_assert!(written <= new, "{written} files were written, {new} are new");
        // And back.
        perform(&mut folder, &mut synced, &first, &contents);
        shows(&folder, &first, &contents);
    }

    #[test]
    fn a_plan_goes_around_what_cannot_be_touched(
        before in prop::collection::vec(thing(), 1..14),
        changed in prop::collection::vec(prop::option::weighted(0.5, thing()), 14),
        new in prop::collection::vec(thing(), 0..4),
        untouchable in prop::collection::vec((any::<u8>(), any::<bool>()), 1..4),
    ) {
        let mut contents = BTreeMap::new();
        let later = later_than(&before, &changed, new);
        let (first, second) = (tree(&before, &mut contents), tree(&later, &mut contents));
        let (mut folder, mut synced) = (Folder::default(), SyncedTree::default());
        perform(&mut folder, &mut synced, &first, &contents);
        let (here, there): (Vec<String>, Vec<String>) =
            (first.nodes.keys().cloned().collect(), second.nodes.keys().cloned().collect());
        let mut blocked = BTreeSet::new();
        for (n, known) in untouchable {
            let from = if known { &here } else { &there };
            let Some(path) = from.get(n as usize % (from.len() + 1)) else { continue };
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            // A thing of the folder that cannot be read, or something else where a thing is to come.
            if folder.names.contains_key(path) {
                blocked.insert(path.clone());
            } else if folder.is_folder(above) {
                folder.write(path, "not ours");
                blocked.insert(path.clone());
            }
        }
        let stays = |folder: &Folder| -> Vec<u64> {
            let below = blocked.iter().flat_map(|path| folder.below(path));
            below.map(|path| folder.names[&path]).collect()
        };
        let kept: Vec<(u64, String)> =
            stays(&folder).into_iter().map(|ino| (ino, folder.inodes[&ino].text.clone())).collect();
        let plan = plan(&synced, &second, &blocked, true);
        for (op, outcome) in plan.ops.iter().zip(folder.apply(&plan.ops, &contents)) {
            prop_assert!(outcome.is_ok(), "{op:?}: {outcome:?}, blocked {blocked:?}\n{plan:#?}");
        }
        for (ino, text) in kept {
            let inode = folder.inodes.get(&ino);
            prop_assert_eq!(inode.map(|inode| &inode.text), Some(&text), "blocked {:?}\n{:#?}", blocked, plan);
        }
    }

    #[test]
    fn a_plan_never_touches_what_it_does_not_expect(
        before in prop::collection::vec(thing(), 1..10),
        later in prop::collection::vec(thing(), 1..10),
        touched in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let mut contents = BTreeMap::new();
        let later: Vec<Thing> = later.iter().enumerate().map(|(n, thing)| Thing {
            kind: before.get(n).map_or(thing.kind, |old| old.kind),
            ..thing.clone()
        }).collect();
        let (first, second) = (tree(&before, &mut contents), tree(&later, &mut contents));
        let (mut folder, mut synced) = (Folder::default(), SyncedTree::default());
        perform(&mut folder, &mut synced, &first, &contents);
        // People write while the device does not look.
        let files: Vec<String> = folder.names.keys().filter(|path| !folder.is_folder(path)).cloned().collect();
        let mut own = BTreeSet::new();
        for (n, at) in touched.iter().enumerate() {
            let text = format!("own {n}");
            let path = match files.get(*at as usize % (files.len() + 2)) {
                Some(path) => path.clone(),
                None => format!("new {n}"),
            };
            own.retain(|(old, _)| *old != path);
            folder.save(&path, &text);
            own.insert((path, text));
        }
        let mut blocked = BTreeSet::new();
        for round in 0.. {
            let plan = plan(&synced, &second, &blocked, true);
            if plan.is_empty() {
                break;
            }
            prop_assert!(round < 40, "no end: {plan:#?}");
            plan.labels.iter().for_each(|change| synced.apply(change.clone()));
            let outcomes = folder.apply(&plan.ops, &contents);
            for (op, outcome) in plan.ops.iter().zip(outcomes) {
                match outcome {
                    Ok(done) => after(op, done, &synced, &second).into_iter().for_each(|c| synced.apply(c)),
                    Err(_) => {
                        blocked.insert(op.path().to_owned());
                        if let DiskOp::Rename { from, .. } = op {
                            blocked.insert(from.clone());
                        }
                    }
                }
            }
        }
        let texts: BTreeSet<String> = folder.picture().into_values().map(|(_, text, ..)| text).collect();
        for (path, text) in own {
            prop_assert!(texts.contains(&text), "{path}: {text} is lost");
        }
    }
}

#[test]
fn what_is_in_the_way_is_named_where_the_log_wants_something_else() {
    let mut contents = BTreeMap::new();
    let file = |folder, name| Thing { folder, name, kind: 4, content: 0, there: true };
    let folder_a = Thing { folder: 0, name: 0, kind: 0, content: 0, there: true };
    let first = tree(&[folder_a.clone(), file(1, 1)], &mut contents);
    let (mut folder, mut synced) = (Folder::default(), SyncedTree::default());
    perform(&mut folder, &mut synced, &first, &contents);
    let named = |synced: &SyncedTree, remote: &RemoteTree, path: &str| {
        let obstacles = BTreeMap::from([(path.to_owned(), "a named pipe".to_owned())]);
        in_the_way(synced, remote, &obstacles).into_iter().map(|(path, _)| path).collect::<Vec<String>>()
    };
    let gone = tree(&[], &mut contents);
    let more = tree(&[folder_a, file(1, 1), file(0, 2)], &mut contents);
    for (remote, path, is_named) in [
        (&first, "a/b", false),
        (&first, "c", false),
        (&more, "c", true),
        (&more, "d", false),
        (&gone, "a/pipe", true),
        (&gone, "a/\0no name", true),
        (&gone, "a/b", true),
        (&gone, "c", false),
    ] {
        let expected = if is_named { vec![path.replace('\0', "")] } else { Vec::new() };
        assert_eq!(named(&synced, remote, path), expected, "{path:?}");
    }
}

#[test]
fn a_state_of_the_tree_is_read_back_from_its_changes() {
    let mut contents = BTreeMap::new();
    let thing = Thing { folder: 0, name: 0, kind: 4, content: 0, there: true };
    let remote = tree(&[thing], &mut contents);
    let (mut folder, mut synced) = (Folder::default(), SyncedTree::default());
    perform(&mut folder, &mut synced, &remote, &contents);
    let changes = synced.iter().map(|(path, node)| SyncedChange::Put(path, Box::new(node)));
    assert_eq!(changes.collect::<SyncedTree>(), synced);
}

fn thing_of(name: u8, kind: u8, there: bool) -> Thing {
    Thing { folder: 0, name, kind, content: 0, there }
}

/// What `before` shows, agreed on.
fn agreed(before: &RemoteTree, contents: &BTreeMap<ContentId, String>) -> SyncedTree {
    let (mut folder, mut synced) = (Folder::default(), SyncedTree::default());
    perform(&mut folder, &mut synced, before, contents);
    synced
}

#[test]
fn while_nothing_may_be_removed_nothing_is_also_where_it_is_in_the_way() {
    let (file, folder) = (3, 0);
    for (here, there) in [(file, folder), (folder, file)] {
        let mut contents = BTreeMap::new();
        let before = tree(&[thing_of(0, here, true), thing_of(0, there, false)], &mut contents);
        let after = tree(&[thing_of(0, here, false), thing_of(0, there, true)], &mut contents);
        let synced = agreed(&before, &contents);
        assert!(!plan(&synced, &after, &BTreeSet::new(), true).ops.is_empty());
        assert_eq!(plan(&synced, &after, &BTreeSet::new(), false).ops, []);
    }
}

#[test]
fn a_folder_in_which_something_cannot_be_touched_is_not_removed() {
    let mut contents = BTreeMap::new();
    let before = tree(&[thing_of(0, 0, true)], &mut contents);
    let after = tree(&[thing_of(0, 0, false)], &mut contents);
    let synced = agreed(&before, &contents);
    assert_eq!(plan(&synced, &after, &BTreeSet::new(), true).ops.len(), 1);
    assert_eq!(plan(&synced, &after, &BTreeSet::from(["a/what is not synced".to_owned()]), true).ops, []);
}
