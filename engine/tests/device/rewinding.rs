//! The law of bringing a tree back: afterwards it shows what it showed then, and everything that it showed before is
//! still shown somewhere.

use crate::{
    laws::{Act, Step, cases, play, step},
    world::{NAMESPACE, World},
};
use annals_engine::{
    author::{Deed, Said},
    observed::RemoteTree,
    replica::Input,
    rewind::{self, Sight},
};
use annals_events::{Body, Dot, Fact};
use annals_projections::{Projections, Scope};
use proptest::prelude::*;

fn fold(world: &World, records: usize) -> Projections {
    let mut log = Projections::new(NAMESPACE, Scope::Device);
    for logged in &world.server.log[..records] {
        log.apply(logged.record.batch(), Some(logged.record.admission()), logged.position.0).unwrap();
    }
    log
}

fn body_of(world: &World, version: Dot) -> Body {
    let batches = world.server.log.iter().map(|logged| logged.record.batch());
    let found = batches.flat_map(|batch| (0..batch.events().len()).map(move |nth| (batch, nth)));
    let (batch, nth) = { found }.find(|(batch, nth)| batch.dot(*nth) == version).unwrap();
    batch.body(nth).unwrap().unwrap()
}

/// Says what a rewind answers with, by the first device, and waits until everybody is at rest.
fn bring_back(world: &mut World, at: &str, then: Sight<'_>) -> bool {
    let now = fold(world, world.server.log.len());
    let shown = RemoteTree::of(&now);
    let Some(found) = rewind::rewind(at, then, Sight { log: &now, shown: &shown }) else { return false };
    let said = found.steps.into_iter().map(|step| match step {
        rewind::Step::Say(said) => *said,
        rewind::Step::Again { entry, version, over, mtime, executable } => {
            let content = body_of(world, version).content;
            let body = Body { content, mtime, executable: Some(executable), ..Body::default() };
            Said {
                fact: Fact::VersionUploaded { entry, parents: over.into_iter().collect() },
                body: Some(body),
            }
        }
    });
    let deeds: Vec<Deed> = said.map(|said| Deed(vec![said])).collect();
    if !deeds.is_empty() {
        world.step(0, Input::Asked { deeds });
    }
    world.heal();
    world.assert_equal();
    true
}

/// Two histories, the tree after the first brought back after the second: what the law says of that. False where it says
/// nothing.
fn hold(devices: usize, before: &[Step], since: &[Step], at: impl Fn(&RemoteTree) -> String) -> bool {
    let mut world = World::new(devices);
    play(&mut world, before);
    let log = fold(&world, world.server.log.len());
    let then = RemoteTree::of(&log);
    play(&mut world, since);
    // What somebody did and did not say yet happens beside it, and is not undone by it.
    world.heal();
    // Which of several of one name is shown plain depends on when they were named: left out.
    let plain = |tree: &RemoteTree| tree.nodes.values().all(|node| !node.copy && node.entries.len() == 1);
    let log_before = fold(&world, world.server.log.len());
    let tree_before = RemoteTree::of(&log_before);
    if !plain(&then) || !plain(&tree_before) {
        return false;
    }
    // A folder that was removed is shown only as long as something is in it.
    let mut shown_before = tree_before.entries();
    shown_before.retain(|entry| log_before.entry(*entry).is_some_and(|view| view.alive));
    let at = at(&then);
    assert!(bring_back(&mut world, &at, Sight { log: &log, shown: &then }), "nothing was there");
    let now = RemoteTree::of(&fold(&world, world.server.log.len()));
    assert!(shown_before.is_subset(&now.entries()), "something is not shown any more");
    if at.is_empty() {
        for (path, was) in &then.nodes {
            let is = now.nodes.get(path);
            let same = is.is_some_and(|is| {
                // What somebody put there since that holds the same may be of another time.
                let other = is.entries != was.entries;
                (is.kind, is.content, &is.target) == (was.kind, was.content, &was.target)
                    && (other || (is.executable, is.mtime) == (was.executable, was.mtime))
            });
            assert!(same, "{path}: {was:?} is {is:?}");
        }
    }
    // Doing it again says nothing.
    let events = world.events();
    bring_back(&mut world, &at, Sight { log: &log, shown: &then });
    assert_eq!(world.events(), events, "again it says something else");
    true
}

proptest! {
    // Of a third of all histories the law says nothing.
    #![proptest_config(ProptestConfig { max_global_rejects: u32::MAX, ..cases(100) })]

    #[test]
    fn a_tree_that_is_brought_back_shows_what_it_showed_then_and_hides_nothing(
        devices in 1..3_usize,
        before in prop::collection::vec(step(), 0..50),
        since in prop::collection::vec(step(), 0..50),
        which in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let is_plain = hold(devices, &before, &since, |then| {
            let folders: Vec<&String> = then.nodes.keys().collect();
            if whole || folders.is_empty() { String::new() } else { folders[which.index(folders.len())].clone() }
        });
        prop_assume!(is_plain);
    }
}

/// Two histories, and which path of the first is brought back after the second.
type Row = (usize, Vec<Step>, Vec<Step>, &'static str);

/// Histories after which something else came back.
fn rows() -> [Row; 5] {
    use Act::{Mkdir, Remove, Rename, Replace, Swap, Symlink, Write};
    use Step::{Pull, Push, Scan};
    let act = |d, what, a, b| Step::Act(d, what, a, b);
    [
        // A folder that was shown for what is in it changes its name with a file.
        (
            2,
            vec![
                act(0, Symlink, 5, 0),
                act(0, Mkdir, 103, 0),
                Scan(0),
                act(1, Mkdir, 25, 0),
                Scan(1),
                Push(0),
                act(0, Rename, 0, 100),
                Pull(1, 0),
                act(0, Replace, 35, 0),
                act(1, Symlink, 157, 0),
                act(0, Rename, 49, 91),
                act(1, Replace, 157, 0),
                act(1, Write, 0, 191),
                act(1, Write, 43, 101),
            ],
            vec![act(0, Swap, 21, 180)],
            "",
        ),
        (
            2,
            vec![
                act(0, Write, 0, 0),
                act(0, Mkdir, 45, 0),
                Scan(1),
                act(1, Write, 136, 0),
                act(0, Write, 3, 0),
                Scan(0),
                Push(0),
                Pull(1, 0),
                act(0, Remove, 40, 0),
                act(1, Remove, 245, 0),
                act(0, Mkdir, 0, 7),
            ],
            vec![act(0, Swap, 121, 23)],
            "",
        ),
        // What it was in is in it by now.
        (
            1,
            vec![
                act(0, Mkdir, 11, 0),
                act(0, Mkdir, 12, 0),
                act(0, Mkdir, 43, 0),
                act(0, Write, 0, 48),
                act(0, Remove, 129, 0),
                act(0, Rename, 199, 51),
            ],
            vec![
                act(0, Write, 5, 43),
                Scan(0),
                act(0, Rename, 162, 220),
                act(0, Write, 103, 146),
                Scan(0),
                act(0, Swap, 54, 212),
            ],
            "c.txt/b",
        ),
        (
            1,
            vec![
                act(0, Write, 25, 0),
                act(0, Write, 49, 0),
                act(0, Mkdir, 27, 0),
                act(0, Mkdir, 0, 43),
                act(0, Swap, 90, 52),
                act(0, Mkdir, 0, 169),
                act(0, Replace, 47, 0),
            ],
            vec![
                act(0, Swap, 61, 106),
                Scan(0),
                act(0, Mkdir, 0, 2),
                act(0, Mkdir, 0, 55),
                act(0, Swap, 90, 189),
                act(0, Write, 0, 0),
            ],
            "a/a",
        ),
        // A folder that was made since has its name, and in it the name of what is in it.
        (
            1,
            vec![
                act(0, Write, 170, 0),
                act(0, Replace, 0, 0),
                act(0, Symlink, 38, 71),
                act(0, Write, 104, 47),
                act(0, Symlink, 37, 56),
                act(0, Rename, 211, 115),
                act(0, Write, 87, 89),
                act(0, Write, 211, 84),
                act(0, Write, 231, 31),
            ],
            vec![
                act(0, Swap, 49, 148),
                act(0, Mkdir, 72, 56),
                act(0, Remove, 193, 0),
                act(0, Mkdir, 33, 20),
                act(0, Remove, 65, 0),
                act(0, Mkdir, 12, 219),
                act(0, Swap, 189, 76),
                act(0, Write, 0, 0),
            ],
            "",
        ),
    ]
}

#[test]
fn what_changed_places_since_returns_to_its_own() {
    for (devices, before, since, at) in rows() {
        assert!(hold(devices, &before, &since, |_| at.to_owned()), "{at:?}: nothing was tried");
    }
}
