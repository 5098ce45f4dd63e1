//! Which chunks are missing (I4), by what the namespace has, what the author holds, and what is stored.

use super::*;
use crate::namespace::Possession;

const ONE: ChunkId = ChunkId([1; 32]);

fn facts(world: &World, possession: &Possession, batch: &Batch, looked: &Looked) -> (Vec<ChunkId>, bool) {
    let facts = Facts::of(batch, &world.projections, possession, looked);
    (facts.missing.into_iter().collect(), !facts.broken.is_empty())
}

#[test]
fn a_chunk_is_there_if_it_is_stored_and_named_here_or_held_by_its_author() {
    let mut world = World::new();
    let none = Possession::default();
    let (held, absent) = (BTreeSet::from([ONE]), BTreeSet::from([ONE]));
    let looked = |held: &BTreeSet<ChunkId>, absent: &BTreeSet<ChunkId>| Looked {
        held: held.clone(),
        absent: absent.clone(),
        ..Looked::default()
    };
    let nothing = BTreeSet::new();
    let first = world.device(1).sign(vec![file("file")]);
    assert_eq!(Facts::of(&first, &world.projections, &none, &looked(&held, &nothing)).adds, 10);
    let rows = |named_here: bool| {
        [
            (&nothing, &nothing, !named_here, "nobody holds it"),
            (&held, &nothing, false, "its author holds it"),
            (&held, &absent, true, "its author held it, and it is not stored"),
            (&nothing, &absent, true, "it is not stored"),
        ]
    };
    for (held, absent, is_missing, why) in rows(false) {
        let missing = facts(&world, &none, &first, &looked(held, absent)).0;
        assert_eq!(missing, if is_missing { vec![ONE] } else { vec![] }, "{why}");
    }
    world.admit(&first);
    let second = world.device(1).sign(vec![file("copy")]);
    assert_eq!(Facts::of(&second, &world.projections, &none, &looked(&nothing, &nothing)).adds, 0);
    for (held, absent, is_missing, why) in rows(true) {
        let missing = facts(&world, &none, &second, &looked(held, absent)).0;
        assert_eq!(missing, if is_missing { vec![ONE] } else { vec![] }, "named here, {why}");
    }
}

#[test]
fn what_a_manifest_lists_is_there_as_well_and_only_stored_where_the_content_is_known() {
    let mut world = World::new();
    let chunks: Vec<ChunkRef> = (0..=Content::CHUNKS_INLINE_MAX as u32)
        .map(|n| ChunkRef { bytes: 10, id: ChunkId([n.to_be_bytes(); 8].concat().try_into().unwrap()) })
        .collect();
    let ids: BTreeSet<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
    let (content, bytes) = Content::new(Cut::SMALL, chunks.clone());
    let (manifest, last) = (content.manifest.unwrap().id, *ids.last().unwrap());
    let all: BTreeSet<ChunkId> = ids.iter().copied().chain([manifest]).collect();
    let body = Body { content: Some(content.clone()), ..named("large") };
    let large = (create(EntryId::ROOT, EntryKind::File), Some(body));
    let listed = BTreeMap::from([(content.id, ids.iter().copied().collect::<Vec<_>>())]);
    let whole = Looked { held: all.clone(), listed, ..Looked::default() };
    let without = |chunk: ChunkId| all.iter().copied().filter(|id| *id != chunk).collect::<BTreeSet<_>>();
    let first = world.device(1).sign(vec![large.clone()]);
    let none = Possession::default();
    let table = [
        (whole.clone(), vec![], "all is there"),
        (Looked { held: without(last), ..whole.clone() }, vec![last], "one of those listed is not held"),
        (Looked { absent: [last].into(), ..whole.clone() }, vec![last], "one of those listed is not stored"),
        (Looked { listed: BTreeMap::new(), ..whole.clone() }, vec![manifest], "nobody could read it"),
    ];
    for (looked, missing, why) in table {
        assert_eq!(facts(&world, &none, &first, &looked), (missing, false), "{why}");
    }
    let broken = Looked { broken: [content.id].into(), ..whole.clone() };
    assert_eq!(facts(&world, &none, &first, &broken), (vec![], true));
    // Whoever names again what is known whole need not hold any of it; but it has to be stored.
    world.admit(&first);
    let mut known = Possession::of(vec![content.clone()]);
    known.read(&content, &bytes.unwrap()).unwrap();
    let again =
        world.device(1).sign(vec![(large.0, Some(Body { name: named("b").name, ..large.1.unwrap() }))]);
    let unheld = Looked { held: BTreeSet::new(), ..whole };
    assert_eq!(facts(&world, &known, &again, &unheld), (vec![], false));
    let gone = Looked { absent: [last].into(), ..unheld };
    assert_eq!(facts(&world, &known, &again, &gone), (vec![last], false));
}
