//! What must hold when a world has healed: one function each, whose first line says what it checks and what not.

use crate::{device::content_of, disk::Visible, world::World};
use annals_engine::{
    chunk_store::ChunkStore,
    observed::{RemoteNode, RemoteTree},
};
use annals_events::{ChunkId, ContentId, Dot, EntryId, EntryKind, Record};
use annals_projections::{Projections, Scope};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Runs all of them.
pub fn check_all(world: &World) {
    folders_agree(world);
    projections_agree(world);
    replay_agrees(world);
    acknowledged_is_logged(world);
    named_chunks_are_stored(world);
    nothing_written_is_lost(world);
    nothing_kept_vanishes(world);
}

/// I2: all folders show the same, and what the log says. Not checked: whether the log says the right thing.
fn folders_agree(world: &World) {
    let mut visible = world.visible();
    let said = RemoteTree::of(world.server.borrow().projections());
    let lost = lost_versions(world);
    // Whoever had an older version of it shows that.
    for shown in &mut visible {
        shown.retain(|path, node| {
            let node = said.nodes.get(path).map(|said| (said, node));
            node.is_none_or(|(said, node)| !is_lost(said, &lost) || !is_version_of(world, said, node))
        });
    }
    for (n, other) in visible.iter().enumerate().skip(1) {
        if *other != visible[0] {
            world.find("folders agree", format!("device 0 and {n}: {}", difference(&visible[0], other)));
            return;
        }
    }
    let paths: BTreeSet<&String> = said.nodes.keys().chain(visible[0].keys()).collect();
    for path in paths {
        let agrees = match (said.nodes.get(path), visible[0].get(path)) {
            (Some(said), None) if is_lost(said, &lost) => true,
            (Some(said), Some(Visible::Folder)) => said.kind == EntryKind::Folder,
            (Some(said), Some(Visible::Symlink(target))) => said.target.as_ref() == Some(target),
            (Some(said), Some(Visible::File { bytes, mtime_ns, executable })) => {
                said.content == Some(content_of(bytes).id)
                    && said.mtime.is_none_or(|mtime| mtime == *mtime_ns)
                    && said.executable == *executable
            }
            _ => false,
        };
        if !agrees {
            let (said, shown) = (said.nodes.get(path), visible[0].get(path));
            world.find("folders agree", format!("{path:?}: the log says {said:?}, folders show {shown:?}"));
            return;
        }
    }
}

/// Versions whose chunks a server that was put back lost, and that no folder had any more to give them back: they stay
/// in the history, and nothing shows them.
fn lost_versions(world: &World) -> BTreeSet<Dot> {
    let server = world.server.borrow();
    let roots = server.projections().roots().filter(|_| server.times_put_back() > 0);
    let is_lost = |chunks: &[ChunkId]| !server.chunks().missing(chunks).expect("it is in memory").is_empty();
    roots.filter(|(_, chunks, _)| is_lost(chunks)).map(|(dot, ..)| dot).collect()
}

fn is_lost(said: &RemoteNode, lost: &BTreeSet<Dot>) -> bool {
    said.head.is_some_and(|head| lost.contains(&head))
}

fn is_version_of(world: &World, said: &RemoteNode, shown: &Visible) -> bool {
    let Visible::File { bytes, .. } = shown else { return false };
    let (server, content) = (world.server.borrow(), Some(content_of(bytes).id));
    let log = server.projections();
    let versions = said.entries.iter().flat_map(|entry| log.versions(*entry));
    let mut contents = versions.filter_map(|dot| log.version(dot));
    contents.any(|version| version.content == content)
}

/// Whether a server that was put back lost a version for good that is a head of something shown. Nobody can have seen
/// it, so nobody can remove or replace it: what stands beside it comes back however often it is removed.
#[must_use]
pub fn is_a_head_lost(world: &World) -> bool {
    let lost = lost_versions(world);
    let server = world.server.borrow();
    let log = server.projections();
    let shown = RemoteTree::of(log).entries();
    !lost.is_empty()
        && shown.iter().flat_map(|entry| log.human_heads(*entry)).any(|head| lost.contains(&head))
}

/// I2: the projections of all devices and of the server have one digest each. Not checked: folds that only a server
/// has.
fn projections_agree(world: &World) {
    let server = world.server.borrow().digests();
    let lost = lost_versions(world);
    world.each_device(|n, device| {
        let Some(replica) = device.replica_mut() else { return };
        let settled = replica.is_settled();
        for (name, digest) in replica.log().digests() {
            if server.get(name).is_some_and(|other| *other != digest) {
                world.find("projections agree", format!("{name} of device {n}"));
            }
        }
        if !settled {
            let (synced, signed) = (replica.synced().clone(), replica.pending().count());
            let differ = |(path, there): (&String, &RemoteNode)| match synced.get(path) {
                Some(here) if here.agrees(there) && !here.aside => None,
                None if is_lost(there, &lost) => None,
                Some(here) if is_lost(there, &lost) && here.entries == there.entries => None,
                here => Some(format!("{path:?}: the log says {there:?}, the disk agreed on {here:?}")),
            };
            let mut words: Vec<String> = replica.remote().nodes.iter().filter_map(differ).collect();
            let left = synced.iter().filter(|(path, _)| !replica.remote().nodes.contains_key(path));
            words.extend(left.map(|(path, here)| format!("{path:?}: the disk agreed on {here:?}")));
            if signed > 0 || !words.is_empty() {
                let what = format!("device {n} is not settled: {signed} batches wait, {}", words.join("; "));
                world.find("projections agree", what);
            }
        }
    });
}

/// I5: replaying the log gives what living through it gave. Not checked: checkpoints.
fn replay_agrees(world: &World) {
    let server = world.server.borrow();
    let mut again = Projections::new(server.id(), Scope::Server);
    for logged in server.records_all() {
        let folded = again.apply(logged.record.batch(), Some(logged.record.admission()), logged.position.0);
        if let Err(error) = folded {
            world.find("replay", error.to_string());
            return;
        }
    }
    if again.digests() != server.digests() {
        world.find("replay", "other digests".into());
    }
}

/// I1, I7: every record that a device was given is in the log as it was given, and nobody signed two batches under
/// one dot. Not checked: acknowledgements that a device lost before it could keep them.
fn acknowledged_is_logged(world: &World) {
    let log: Vec<Arc<Record>> =
        world.server.borrow().records_all().into_iter().map(|logged| logged.record).collect();
    world.each_device(|n, device| {
        let kept = device.machine.records();
        if kept.len() != log.len()
            || kept.iter().zip(&log).any(|(kept, logged)| kept.bytes() != logged.bytes())
        {
            world.find("acknowledged", format!("device {n} keeps {} records of {}", kept.len(), log.len()));
        }
    });
    let evidence = world.server.borrow().evidence();
    if evidence > 0 {
        world.find("acknowledged", format!("{evidence} dots were used twice"));
    }
}

/// I4: every chunk that a version in the log names is stored; of a server that was put back, those of what a folder
/// shows. Not checked: what manifests list.
fn named_chunks_are_stored(world: &World) {
    let server = world.server.borrow();
    let in_folders: BTreeSet<ChunkId> = world
        .visible()
        .iter()
        .flat_map(contents)
        .flat_map(|bytes| content_of(&bytes).roots().map(|chunk| chunk.id).collect::<Vec<_>>())
        .collect();
    let may_be_lost = |chunk: &ChunkId| server.times_put_back() > 0 && !in_folders.contains(chunk);
    for (dot, mut chunks, _) in server.projections().roots() {
        chunks.retain(|chunk| !may_be_lost(chunk));
        let missing = server.chunks().missing(&chunks).expect("it is in memory");
        if !missing.is_empty() {
            world.find("chunks", format!("version {dot} lacks {missing:?}"));
        }
    }
}

/// I3: what a person wrote is in a folder, in the history, or was overwritten or removed by a person. Not checked:
/// whether it can be seen.
fn nothing_written_is_lost(world: &World) {
    let known = history(world);
    let shown = shown(world);
    let let_go = let_go(world);
    for bytes in world.diary.borrow().contents() {
        let kept = shown.contains(bytes) || known.contains(&content_of(bytes).id) || let_go.contains(bytes);
        if !kept {
            world.find("nothing lost", format!("{}", String::from_utf8_lossy(bytes)));
        }
    }
}

/// I3: what a person wrote and nobody, anywhere, overwrote or removed is shown in every folder, or was set aside before
/// the eyes of its author (a file kept beside the folder after a race). Where two files held the
/// same and one went on, the other may stand unshown behind it, and go with it (model.md, twins): then it is in the
/// history. Not checked: where, and what was let go of and should still be shown because somebody else went on with
/// it.
fn nothing_kept_vanishes(world: &World) {
    let let_go = let_go(world);
    let volumes: Vec<BTreeSet<Vec<u8>>> = world.visible().into_iter().map(|tree| contents(&tree)).collect();
    let kept: BTreeSet<Vec<u8>> = kept(world);
    let went_on = went_on_elsewhere(world);
    let whole = |bytes: &&Vec<u8>| {
        !let_go.contains(*bytes) && !kept.contains(*bytes) && !went_on.contains(&content_of(bytes).id)
    };
    for bytes in world.diary.borrow().contents().filter(whole) {
        for (n, shown) in volumes.iter().enumerate() {
            if !shown.contains(bytes) {
                world.find("nothing vanishes", format!("device {n}: {}", String::from_utf8_lossy(bytes)));
                return;
            }
        }
    }
}

/// What several files held of which one went on.
fn went_on_elsewhere(world: &World) -> BTreeSet<ContentId> {
    let server = world.server.borrow();
    let projections = server.projections();
    let mut holders: BTreeMap<ContentId, (BTreeSet<EntryId>, bool)> = BTreeMap::new();
    for entry in projections.entries() {
        let heads = projections.human_heads(entry);
        for dot in projections.versions(entry) {
            if let Some(content) = projections.version(dot).and_then(|version| version.content) {
                let (files, went_on) = holders.entry(content).or_default();
                files.insert(entry);
                *went_on |= !heads.contains(&dot);
            }
        }
    }
    holders.retain(|_, (files, went_on)| files.len() > 1 && *went_on);
    holders.into_keys().collect()
}

fn history(world: &World) -> BTreeSet<ContentId> {
    let server = world.server.borrow();
    let projections = server.projections();
    let versions = projections.entries().flat_map(|entry| projections.versions(entry)).collect::<Vec<_>>();
    versions.into_iter().filter_map(|dot| projections.version(dot)?.content).collect()
}

fn let_go(world: &World) -> BTreeSet<Vec<u8>> {
    world.volumes().iter().flat_map(|volume| volume.borrow().let_go().clone()).collect()
}

/// What is in any folder, or kept beside it.
fn shown(world: &World) -> BTreeSet<Vec<u8>> {
    let mut shown: BTreeSet<Vec<u8>> = world.visible().iter().flat_map(contents).collect();
    shown.extend(kept(world));
    shown
}

/// What is kept beside any folder.
fn kept(world: &World) -> BTreeSet<Vec<u8>> {
    let volumes = world.volumes().iter();
    volumes.flat_map(|volume| volume.borrow().kept().map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

fn contents(tree: &BTreeMap<String, Visible>) -> BTreeSet<Vec<u8>> {
    let bytes = tree.values().filter_map(|node| match node {
        Visible::File { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    bytes.collect()
}

/// Where two folders differ, in a few words.
#[must_use]
pub fn difference(one: &BTreeMap<String, Visible>, other: &BTreeMap<String, Visible>) -> String {
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = paths.into_iter().filter(|path| one.get(*path) != other.get(*path));
    let words = differing
        .map(|path| format!("{path:?}: {} and {}", in_words(one.get(path)), in_words(other.get(path))));
    words.take(4).collect::<Vec<_>>().join("; ")
}

fn in_words(node: Option<&Visible>) -> String {
    match node {
        None => "nothing".into(),
        Some(Visible::Folder) => "a folder".into(),
        Some(Visible::Symlink(target)) => format!("a link to {:?}", String::from_utf8_lossy(target)),
        Some(Visible::File { bytes, mtime_ns, executable }) => {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(48)]).into_owned();
            format!("{text:?} of {mtime_ns}{}", if *executable { ", executable" } else { "" })
        }
    }
}
