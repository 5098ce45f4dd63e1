//! Laws: whatever people do and in whichever order devices meet, they end with the same folders and lose nothing.

use crate::{
    folder::{Folder, Picture},
    world::{Device, World, user},
};
use annals_engine::{author::Removals, replica::Input};
use annals_events::{EntryId, EntryKind, Role};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Something that happens. Numbers are taken modulo what there is, so that every sequence is possible.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Act(u8, Act, u8, u8),
    Scan(u8),
    Push(u8),
    Pull(u8, u8),
    Restart(u8),
    /// The power goes after so many effects.
    Crash(u8, u8),
    /// What is pending has that much to send, and goes in the order that is better.
    Order(u8, u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Write,
    Save,
    WriteCommon,
    Mkdir,
    Symlink,
    Rename,
    RenameOver,
    Swap,
    Remove,
    Touch,
    Chmod,
    Replace,
    Store,
}

const NAMES: [&str; 5] = ["a", "A", "b", "c.txt", "d"];

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        4 => Just(Act::Write), 2 => Just(Act::Save), 1 => Just(Act::WriteCommon), 3 => Just(Act::Mkdir),
        1 => Just(Act::Symlink), 4 => Just(Act::Rename), 1 => Just(Act::RenameOver), 2 => Just(Act::Swap),
        2 => Just(Act::Remove), 1 => Just(Act::Touch), 1 => Just(Act::Chmod), 1 => Just(Act::Replace),
        3 => Just(Act::Store),
    ];
    prop_oneof![
        8 => (any::<u8>(), act, any::<u8>(), any::<u8>()).prop_map(|(d, act, a, b)| Step::Act(d, act, a, b)),
        5 => any::<u8>().prop_map(Step::Scan),
        3 => any::<u8>().prop_map(Step::Push),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(d, n)| Step::Pull(d, n)),
        1 => any::<u8>().prop_map(Step::Restart),
        1 => (any::<u8>(), 0u8..6).prop_map(|(d, n)| Step::Crash(d, n)),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(d, n)| Step::Order(d, n)),
    ]
}

/// What people wrote, and what they removed or replaced where it stood.
#[derive(Default)]
struct Memory {
    written: BTreeSet<String>,
    removed: BTreeSet<String>,
}

impl Memory {
    fn about_to_lose(&mut self, folder: &Folder, path: &str) {
        for path in folder.below(path) {
            if folder.inodes[&folder.names[&path]].kind == EntryKind::File {
                self.removed.insert(folder.text(&path).to_owned());
            }
        }
    }
}

fn pick(from: &[String], n: u8) -> Option<&String> {
    (!from.is_empty()).then(|| &from[n as usize % from.len()])
}

fn act(folder: &mut Folder, memory: &mut Memory, d: usize, n: usize, act: Act, a: u8, b: u8) {
    act_below(folder, "", memory, d, n, act, a, b);
}

/// Something that a person does somewhere in the folder `top`.
#[expect(clippy::too_many_arguments, reason = "a person, a place, and what they do there")]
fn act_below(
    folder: &mut Folder,
    top: &str,
    memory: &mut Memory,
    d: usize,
    n: usize,
    act: Act,
    a: u8,
    b: u8,
) {
    let is_below = |path: &&String| top.is_empty() || path.starts_with(&format!("{top}/"));
    let all: Vec<String> = folder.names.keys().filter(is_below).cloned().collect();
    let mut folders: Vec<String> = all.iter().filter(|p| folder.is_folder(p)).cloned().collect();
    folders.insert(0, top.to_owned());
    let files: Vec<String> =
        all.iter().filter(|p| folder.inodes[&folder.names[*p]].kind == EntryKind::File).cloned().collect();
    let above = pick(&folders, b).unwrap();
    let name = NAMES[a as usize % NAMES.len()];
    let new = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
    if new.split('/').count() > 4 {
        return;
    }
    let text = format!("device {d} step {n}");
    match act {
        Act::Write | Act::Save | Act::WriteCommon => {
            // Half of the time over something that is there.
            let path = pick(&files, b).filter(|_| a.is_multiple_of(2)).unwrap_or(&new);
            if folder.is_folder(path) {
                return;
            }
            memory.about_to_lose(folder, path);
            let text = if matches!(act, Act::WriteCommon) { "the same everywhere".into() } else { text };
            let link = folder.names.get(path).is_some_and(|i| folder.inodes[i].kind == EntryKind::Symlink);
            match act {
                Act::Write if !link => folder.write(path, &text),
                _ => folder.save(path, &text),
            }
            memory.written.insert(text);
        }
        Act::Mkdir if !folder.names.contains_key(&new) => folder.mkdir(&new),
        Act::Symlink if !folder.names.contains_key(&new) => folder.put(&new, EntryKind::Symlink, &text),
        Act::Rename | Act::RenameOver => {
            let Some(from) = pick(&all, a) else { return };
            let to = format!("{}{}", if above.is_empty() { String::new() } else { format!("{above}/") }, {
                if b.is_multiple_of(3) {
                    from.rsplit('/').next().unwrap()
                } else {
                    NAMES[b as usize % NAMES.len()]
                }
            });
            let over = folder.names.contains_key(&to);
            let both_files = !folder.is_folder(from) && !folder.is_folder(&to);
            if to == *from || to.starts_with(&format!("{from}/")) || from.starts_with(&format!("{to}/")) {
                return;
            }
            if over && (matches!(act, Act::Rename) || !both_files) {
                return;
            }
            memory.about_to_lose(folder, &to);
            folder.rename(from, &to);
        }
        Act::Swap => {
            let (Some(one), Some(other)) = (pick(&all, a), pick(&all, b)) else { return };
            let inside = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
            if !inside(one, other) && !inside(other, one) {
                folder.swap(one, other);
            }
        }
        Act::Remove => {
            if let Some(path) = pick(&all, a) {
                memory.about_to_lose(folder, path);
                folder.remove(path);
            }
        }
        Act::Touch => {
            if let Some(path) = pick(&files, a) {
                folder.touch(path);
            }
        }
        Act::Chmod => {
            if let Some(path) = pick(&files, a) {
                folder.chmod(path);
            }
        }
        // A file where a folder was, and the other way round.
        Act::Replace => {
            let Some(path) = pick(&all, a) else { return };
            memory.about_to_lose(folder, path);
            let was_folder = folder.is_folder(path);
            folder.remove(path);
            if was_folder {
                folder.write(path, &text);
                memory.written.insert(text);
            } else {
                folder.mkdir(path);
            }
        }
        // Through a memory map, mostly one that was stored to before.
        Act::Store => {
            let mapped: Vec<String> = folder.mapped().into_iter().filter(|path| is_below(&path)).collect();
            let Some(path) = pick(&mapped, a).filter(|_| !b.is_multiple_of(4)).or(pick(&files, a)) else {
                return;
            };
            let length = folder.text(path).len();
            memory.about_to_lose(folder, path);
            let text = format!("{:.length$}", format!("stored {d} {n}{:60}", ""));
            folder.store(path, &text);
            memory.written.insert(text);
        }
        Act::Mkdir | Act::Symlink => {}
    }
}

/// Every text that a folder shows.
fn texts(folder: &Folder) -> BTreeSet<String> {
    folder.picture().into_values().map(|(_, text, ..)| text).collect()
}

/// Every text that a device shows, and those of the twins behind a file: the model lets a file of the same
/// name, made without knowing of it, stand for them if its history holds them.
fn shown(world: &mut World, d: usize) -> BTreeSet<String> {
    let mut texts = texts(&world.devices[d].folder);
    let remote = world.devices[d].replica.remote().clone();
    let log = world.devices[d].replica.log();
    let twins = remote.nodes.values().flat_map(|node| node.entries.iter().skip(1));
    for head in twins.flat_map(|twin| log.human_heads(*twin)) {
        let content = log.version(head).and_then(|version| version.content).unwrap();
        texts.insert(world.contents[&content].clone());
    }
    texts
}

fn run(devices: usize, steps: &[Step]) -> World {
    let mut world = World::new(devices);
    play(&mut world, steps);
    world
}

/// What happens, and what follows until everybody is at rest.
pub(crate) fn play(world: &mut World, steps: &[Step]) {
    let devices = world.devices.len();
    let mut memory = Memory::default();
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Act(d, what, a, b) => {
                let d = *d as usize % devices;
                act(&mut world.devices[d].folder, &mut memory, d, n, *what, *a, *b);
            }
            Step::Scan(d) => {
                let d = *d as usize % devices;
                // Before it is linked, a device does not look at its folder.
                if world.devices[d].records.is_empty() {
                    world.pull(d, usize::MAX);
                }
                world.scan(d);
            }
            Step::Push(d) => world.push(*d as usize % devices),
            Step::Pull(d, most) => world.pull(*d as usize % devices, 1 + *most as usize % 8),
            Step::Restart(d) => world.restart(*d as usize % devices),
            Step::Crash(d, n) => world.devices[*d as usize % devices].power = Some(u32::from(*n)),
            Step::Order(d, n) => world.order(*d as usize % devices, *n),
        }
    }
    (0..devices).for_each(|d| world.pull(d, usize::MAX));
    world.heal();
    world.assert_equal();
    let shown = shown(world, 0);
    for text in memory.written.difference(&memory.removed) {
        assert!(shown.contains(text), "{text:?} is lost");
    }
}

/// What `folder` shows of what is person `d`'s own.
fn own(folder: &Folder, d: usize) -> Picture {
    let mut picture = folder.picture();
    picture.retain(|path, _| path.starts_with(&format!("own {d}")));
    picture
}

/// Each person at work in a folder of their own: whatever the devices do meanwhile, it ends as they left it.
fn run_apart(devices: usize, steps: &[Step]) {
    let mut world = World::new(devices);
    (0..devices).for_each(|d| world.pull(d, usize::MAX));
    (0..devices).for_each(|d| world.devices[d].folder.mkdir(&format!("own {d}")));
    world.heal();
    let mut memory = Memory::default();
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Act(d, what, a, b) => {
                let d = *d as usize % devices;
                let (folder, top) = (&mut world.devices[d].folder, format!("own {d}"));
                act_below(folder, &top, &mut memory, d, n, *what, *a, *b);
            }
            Step::Scan(d) => world.scan(*d as usize % devices),
            Step::Push(d) => world.push(*d as usize % devices),
            Step::Pull(d, most) => world.pull(*d as usize % devices, 1 + *most as usize % 8),
            Step::Restart(d) => world.restart(*d as usize % devices),
            Step::Crash(d, n) => world.devices[*d as usize % devices].power = Some(u32::from(*n)),
            Step::Order(d, n) => world.order(*d as usize % devices, *n),
        }
    }
    let left: Vec<Picture> = (0..devices).map(|d| own(&world.devices[d].folder, d)).collect();
    (0..devices).for_each(|d| world.pull(d, usize::MAX));
    world.heal();
    world.assert_equal();
    for (d, left) in left.iter().enumerate() {
        assert_eq!(own(&world.devices[d].folder, d), *left, "person {d} left something else");
    }
}

/// One person at work on device 0, whose daemon looks as it pleases and waits with what vanished: it does nothing to that
/// folder, and the other device ends with what the person left.
fn run_alone(steps: &[Step]) {
    let mut world = World::new(2);
    (0..2).for_each(|d| world.pull(d, usize::MAX));
    let mut memory = Memory::default();
    world.devices[0].removals = Removals::AskAtRest;
    for (n, step) in steps.iter().enumerate() {
        if let Step::Act(_, what, a, b) = step {
            act(&mut world.devices[0].folder, &mut memory, 0, n, *what, *a, *b);
        }
        let left = world.devices[0].folder.picture();
        match step {
            Step::Act(d, ..) if d.is_multiple_of(2) => {}
            Step::Act(..) | Step::Scan(_) => world.scan(0),
            Step::Push(_) => world.push(0),
            Step::Pull(d, _) => world.pull(*d as usize % 2, usize::MAX),
            Step::Restart(_) | Step::Crash(..) => world.restart(0),
            // So long that whatever vanished did.
            Step::Order(..) => world.devices[0].now_ms += 3_000,
        }
        assert_eq!(world.devices[0].folder.picture(), left, "after step {n}, {step:?}");
    }
    world.devices[0].removals = Removals::Accept;
    let left = world.devices[0].folder.picture();
    world.heal();
    world.assert_equal();
    assert_eq!(world.devices[0].folder.picture(), left);
}

/// What device 0 loses by an accident: some of it has names that people use.
const LOST: [&str; 4] = ["many", "d", "b", "many/c.txt"];

/// Something that device 0 lost.
struct Lost {
    path: String,
    entries: Vec<EntryId>,
    kind: EntryKind,
    text: String,
}

impl Lost {
    /// Whether a folder shows it under any name; what somebody made elsewhere of the same text is another thing.
    fn is_in(&self, device: &Device) -> bool {
        device.folder.names.keys().any(|path| {
            device.folder.text(path) == self.text
                && device.replica.synced().get(path).is_some_and(|node| node.entries == self.entries)
        })
    }
}

/// Device 0 loses most of its folder, and nobody says that this is meant; people go on on both devices.
/// If it `grew`, so much comes from the other device meanwhile that what is gone is less than half of it, and the device
/// that was asked starts again.
fn run_with_a_held_guard(emptied: bool, grew: bool, steps: &[Step]) -> (World, Memory, Vec<Lost>) {
    let mut world = World::new(2);
    (0..2).for_each(|d| world.pull(d, usize::MAX));
    let (mut memory, folder) = (Memory::default(), &mut world.devices[0].folder);
    for above in ["many", "d", "many/c.txt", "rest"] {
        folder.mkdir(above);
        (0..20).for_each(|n| folder.write(&format!("{above}/{n}"), &format!("of old: {above} {n}")));
    }
    folder.write("b", "of old: b");
    world.heal();
    let Device { replica, folder, .. } = &mut world.devices[0];
    let paths: BTreeSet<String> = LOST.iter().flat_map(|top| folder.below(top)).collect();
    let lost = paths.into_iter().map(|path| {
        let inode = &folder.inodes[&folder.names[&path]];
        let entries = replica.synced().get(&path).unwrap().entries;
        Lost { entries, kind: inode.kind, text: inode.text.clone(), path }
    });
    let mut lost: Vec<Lost> = lost.collect();
    match emptied {
        // The folders are still there.
        true => {
            lost.retain(|lost| lost.kind == EntryKind::File);
            lost.iter().for_each(|lost| folder.remove(&lost.path));
        }
        false => LOST.iter().for_each(|top| folder.remove(top)),
    }
    world.devices[0].removals = Removals::Ask;
    if grew {
        world.scan(0);
        let folder = &mut world.devices[1].folder;
        folder.mkdir("more");
        (0..80).for_each(|n| folder.write(&format!("more/{n}"), &format!("of late: {n}")));
        world.scan(1);
        world.push(1);
        world.pull(0, usize::MAX);
        world.restart(0);
    }
    for (n, step) in steps.iter().enumerate() {
        match step {
            // The other device takes nothing away, for else there is less to ask about.
            Step::Act(d, Act::Remove | Act::RenameOver | Act::Replace, ..) if d % 2 == 1 => {}
            Step::Act(d, what, a, b) => {
                let d = *d as usize % 2;
                act(&mut world.devices[d].folder, &mut memory, d, n, *what, *a, *b);
            }
            Step::Scan(d) => world.scan(*d as usize % 2),
            Step::Push(d) => world.push(*d as usize % 2),
            Step::Pull(d, most) => world.pull(*d as usize % 2, 1 + *most as usize % 8),
            Step::Restart(d) | Step::Crash(d, _) => world.restart(*d as usize % 2),
            Step::Order(d, n) => world.order(*d as usize % 2, *n),
        }
        // Somebody put something else in its place.
        let folder = &world.devices[0].folder;
        let again = lost.iter().filter(|lost| folder.names.contains_key(&lost.path));
        memory.removed.extend(again.map(|lost| lost.text.clone()));
    }
    (0..2).for_each(|d| world.close_maps(d));
    for _ in 0..4 {
        for d in [0, 1] {
            world.scan(d);
            world.push(d);
            world.pull(d, usize::MAX);
        }
    }
    (world, memory, lost)
}

/// A held guard, answered in the end: what the law says of that.
fn hold_the_guard(emptied: bool, grew: bool, accepted: bool, steps: &[Step]) {
    let (mut world, mut memory, lost) = run_with_a_held_guard(emptied, grew, steps);
    assert!(world.devices[0].replica.unconfirmed().is_some());
    let here = texts(&world.devices[0].folder);
    let elsewhere = shown(&mut world, 1);
    for text in &here {
        // Unless somebody replaced it there, and that has to wait.
        let is_said = elsewhere.contains(text) || memory.removed.contains(text);
        assert!(is_said, "{text:?} was not said");
    }
    for lost in lost.iter().filter(|lost| lost.kind == EntryKind::File) {
        assert!(!lost.is_in(&world.devices[0]), "{} came again", lost.path);
        let stays = elsewhere.contains(&lost.text) || memory.removed.contains(&lost.text);
        assert!(stays, "{} was removed", lost.path);
    }
    if accepted {
        world.devices[0].removals = Removals::Accept;
        memory.removed.extend(lost.into_iter().map(|lost| lost.text));
    } else {
        // It is there again, as far as there is room for it.
        for Lost { path, kind, text, .. } in lost {
            let folder = &mut world.devices[0].folder;
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            if !folder.names.contains_key(&path) && folder.is_folder(above) {
                folder.put(&path, kind, &text);
                memory.written.insert(text);
            } else {
                memory.removed.insert(text);
            }
        }
        world.scan(0);
        if world.devices[0].replica.unconfirmed().is_some() {
            // There was no room for most of it.
            world.devices[0].removals = Removals::Accept;
        }
    }
    world.heal();
    world.assert_equal();
    let shown = shown(&mut world, 0);
    for text in memory.written.difference(&memory.removed) {
        assert!(shown.contains(text), "{text:?} is lost");
    }
}

/// Pulls, and says again what may be said by now and looks at the folder, as a round does.
fn pull_and_retry(world: &mut World, d: usize, most: usize) {
    world.pull(d, most);
    if world.devices[d].replica.is_retry_due() {
        world.scan(d);
        world.step(d, Input::RetryAside);
        world.scan(d);
    }
}

/// Device 1 is that of somebody who may write now and then, and in the end.
fn run_with_rights(steps: &[(Step, Option<bool>)]) {
    let mut world = World::new(1);
    let mut memory = Memory::default();
    world.pull(0, usize::MAX);
    world.grant(0, user(1), Some(Role::Editor));
    world.link(1, user(1));
    world.pull(1, usize::MAX);
    for (n, (step, right)) in steps.iter().enumerate() {
        if let Some(may_write) = right {
            world.pull(0, usize::MAX);
            let role = if *may_write { Role::Editor } else { Role::Viewer };
            world.grant(0, user(1), Some(role));
        }
        match step {
            Step::Act(d, what, a, b) => {
                let d = *d as usize % 2;
                act(&mut world.devices[d].folder, &mut memory, d, n, *what, *a, *b);
            }
            Step::Scan(d) => world.scan(*d as usize % 2),
            Step::Push(d) => world.push(*d as usize % 2),
            Step::Pull(d, most) => pull_and_retry(&mut world, *d as usize % 2, 1 + *most as usize % 8),
            Step::Restart(d) | Step::Crash(d, _) => world.restart(*d as usize % 2),
            Step::Order(d, n) => world.order(*d as usize % 2, *n),
        }
    }
    // What is under way is looked at before the right comes back.
    for d in [0, 1] {
        world.scan(d);
        world.push(d);
        pull_and_retry(&mut world, d, usize::MAX);
    }
    world.grant(0, user(1), Some(Role::Editor));
    pull_and_retry(&mut world, 1, usize::MAX);
    world.heal();
    world.assert_equal();
    assert_eq!(world.devices[1].replica.aside(), [], "everything was said again, or is wanted no more");
    let shown = shown(&mut world, 0);
    for text in memory.written.difference(&memory.removed) {
        assert!(shown.contains(text), "{text:?} is lost");
    }
}

#[test]
fn what_may_be_where_nobody_could_look_is_not_removed() {
    let mut world = World::new(2);
    world.devices[0].folder.write("a", "a");
    world.devices[0].folder.write("b", "b");
    world.heal();
    // It was moved to where a scan does not get.
    world.devices[0].folder.remove("a");
    world.devices[0].folder.passed_by = true;
    world.devices[0].folder.write("b", "of today");
    for _ in 0..3 {
        world.devices[0].now_ms += 120_000;
        world.scan(0);
        world.push(0);
    }
    world.pull(1, usize::MAX);
    let there = &world.devices[1].folder;
    assert_eq!(texts(there), ["a", "of today"].map(str::to_owned).into());
    // Once everything can be looked at again, it is what it was.
    world.devices[0].folder.passed_by = false;
    world.scan(0);
    world.heal();
    world.assert_equal();
    assert_eq!(texts(&world.devices[1].folder), ["of today"].map(str::to_owned).into());
}

pub(crate) fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("ANNALS_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn one_device_with_its_server_comes_to_rest_and_loses_nothing(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        run(1, &steps);
    }

    #[test]
    fn two_devices_end_with_one_folder_and_lose_nothing(steps in prop::collection::vec(step(), 0..80)) {
        run(2, &steps);
    }

    #[test]
    fn three_devices_end_with_one_folder_and_lose_nothing(steps in prop::collection::vec(step(), 0..100)) {
        run(3, &steps);
    }

    #[test]
    fn what_only_one_person_touches_ends_as_they_left_it_whatever_loses_power(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        run_apart(2, &steps);
    }

    #[test]
    fn who_may_write_now_and_then_loses_nothing_and_has_it_said_in_the_end(
        steps in prop::collection::vec((step(), prop::option::weighted(0.15, any::<bool>())), 0..60),
    ) {
        run_with_rights(&steps);
    }

    #[test]
    fn a_device_that_is_linked_later_ends_with_the_same_folder(
        steps in prop::collection::vec(step(), 0..60),
        own in prop::collection::vec((any::<u8>(), any::<u8>()), 0..6),
    ) {
        let mut world = run(2, &steps);
        let before = world.devices[0].folder.picture();
        world.link(2, user(0));
        // It holds copies of some files already, and some of its own.
        let mut memory = Memory::default();
        for (path, (kind, text, ..)) in &before {
            let folder = &mut world.devices[2].folder;
            if *kind != EntryKind::Symlink && path.len() % 3 != 0 {
                let above = path.rsplit_once('/').map_or("", |(above, _)| above);
                if folder.is_folder(above) {
                    folder.put(path, *kind, text);
                }
            }
        }
        for (n, (a, b)) in own.into_iter().enumerate() {
            act(&mut world.devices[2].folder, &mut memory, 2, n, Act::Save, a | 1, b);
        }
        world.pull(2, usize::MAX);
        world.heal();
        world.assert_equal();
        let shown = shown(&mut world, 0);
        for (path, (_, text, ..)) in &before {
            prop_assert!(shown.contains(text) || memory.removed.contains(text), "{path} is lost");
        }
        for text in memory.written.difference(&memory.removed) {
            prop_assert!(shown.contains(text), "{text:?} is lost");
        }
    }

    #[test]
    fn while_one_person_acts_alone_their_own_device_does_nothing_to_the_folder(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run_alone(&steps);
    }

    #[test]
    fn while_much_is_missing_all_that_people_do_is_said_and_nothing_is_removed_or_comes_again(
        emptied in any::<bool>(),
        grew in any::<bool>(),
        accepted in any::<bool>(),
        steps in prop::collection::vec(step(), 0..30),
    ) {
        hold_the_guard(emptied, grew, accepted, &steps);
    }
}

#[test]
fn what_the_law_of_the_held_guard_once_found_holds() {
    // A file was moved into what is withheld, and replaced there: that has to wait, and so does the move.
    let moved_and_replaced =
        [Step::Act(1, Act::Rename, 235, 128), Step::Scan(1), Step::Act(1, Act::Write, 183, 183)];
    hold_the_guard(false, false, false, &moved_and_replaced);
    // A copy of what is withheld was made elsewhere: that is another file.
    let copied = [
        Step::Act(1, Act::Swap, 209, 146),
        Step::Act(1, Act::Write, 89, 46),
        Step::Act(1, Act::Swap, 166, 2),
    ];
    hold_the_guard(false, true, false, &copied);
    // A folder went elsewhere with some of it, and that had to be known there as what nobody may touch.
    let went_along = [
        Step::Act(1, Act::Write, 49, 97),
        Step::Scan(1),
        Step::Push(1),
        Step::Act(1, Act::Mkdir, 30, 0),
        Step::Act(0, Act::Write, 5, 1),
        Step::Pull(0, 0),
        Step::Act(0, Act::Swap, 6, 107),
        Step::Act(1, Act::Write, 67, 22),
        Step::Act(1, Act::Swap, 67, 173),
    ];
    hold_the_guard(true, true, false, &went_along);
}
