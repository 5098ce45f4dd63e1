//! Names, texts and contents.

use super::*;

#[test]
fn nothing_at_the_top_is_called_annals_in_any_spelling() {
    let mut world = World::new();
    let a_folder = world.does(1, vec![folder("folder")]);
    let delete = Fact::EntryDeleted { entries: dots(&[a_folder]), hides: dots(&[a_folder]) };
    for name in [".annals", ".ANNALS", ".Annals. ", "．annals", ".ann\u{ad}als", "\u{200b}.annals"] {
        let places = |parent: EntryId| {
            [
                create(parent, EntryKind::Folder),
                Fact::EntryMoved { entry: EntryId(a_folder), parent },
                Fact::EntryRestored {
                    entry: EntryId(a_folder),
                    place: Some(parent),
                    lifts: DotSet::new(),
                    shows: DotSet::new(),
                },
            ]
        };
        for fact in places(EntryId::ROOT) {
            world.refuses(&world.device(1).sign(vec![(fact, Some(named(name)))]), Code::ReservedName);
        }
        let below = create(EntryId(a_folder), EntryKind::Folder);
        assert_eq!(world.judge(&world.device(1).sign(vec![(below, Some(named(name)))])), Ok(Verdict::Admit));
    }
    assert_eq!(world.judge(&world.device(1).sign(vec![(delete, None)])), Ok(Verdict::Admit));
}

#[test]
fn names_that_no_file_system_holds_are_no_bodies() {
    let world = World::new();
    let (fact, _) = folder("a");
    for (name, good) in [
        ("a/b", false),
        ("..", false),
        (".", false),
        ("", false),
        ("a\0b", false),
        (&"x".repeat(256), false),
        (&"x".repeat(255), true),
        ("a\nb", true),
        ("...", true),
    ] {
        // Written past the type that would refuse it.
        let mut body = named("PLACEHOLDER");
        body.name = None;
        let bytes = body_with_name(&body, name);
        let batch = assembled(&mut world.device(1), fact.clone(), bytes);
        match world.judge(&batch) {
            Ok(_) => assert!(good, "{name:?}"),
            Err(refusal) => {
                assert!(!good, "{name:?}: {refusal}");
                assert_eq!(refusal.code(), Code::BatchMalformed, "{name:?}");
            }
        }
    }
}

/// A body's CBOR with any text as its name.
fn body_with_name(body: &Body, name: &str) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Raw<'a> {
        name: &'a str,
        #[serde(with = "serde_bytes")]
        salt: [u8; 16],
    }
    serde_ipld_dagcbor::to_vec(&Raw { name, salt: body.salt }).unwrap()
}

/// A signed batch of one event with these bytes as its body.
fn assembled(device: &mut Device, fact: Fact, body: Vec<u8>) -> Batch {
    let template = device.sign(vec![(fact, Some(named("a")))]);
    let mut header = template.header().clone();
    header.events[0].body_hash = Some(Body::hash_of(&body));
    resigned(&device.key, &header, body)
}

#[test]
fn each_kind_has_what_it_needs_and_nothing_is_too_long() {
    let mut world = World::new();
    let a_file = EntryId(world.does(1, vec![file("file")]));
    let long = "x".repeat(Body::TEXT_BYTES_MAX + 1);
    let bad_content = |change: fn(&mut Content)| {
        let mut content = content(3);
        change(&mut content);
        Some(Body { content: Some(content), ..named("x") })
    };
    let upload = || Fact::VersionUploaded { entry: a_file, parents: dots(&[a_file.0]) };
    let change = || Fact::AttributesChanged { entry: a_file };
    let (file, link) =
        (|| create(EntryId::ROOT, EntryKind::File), || create(EntryId::ROOT, EntryKind::Symlink));
    let text = |body: Body| Some(body);
    let none = Body::default;
    let table = [
        (create(EntryId::ROOT, EntryKind::Folder), None, Code::BodyMissing),
        (create(EntryId::ROOT, EntryKind::Folder), text(none()), Code::BodyMissing),
        (file(), text(named("x")), Code::BodyMissing),
        (link(), text(named("x")), Code::BodyMissing),
        (link(), text(Body { target: Some(vec![]), ..named("x") }), Code::BodyMissing),
        (link(), text(Body { target: Some(b"a\0b".to_vec()), ..named("x") }), Code::BodyMissing),
        (link(), text(Body { target: Some(long.clone().into()), ..named("x") }), Code::FieldTooLong),
        (Fact::EntryMoved { entry: a_file, parent: EntryId::ROOT }, None, Code::BodyMissing),
        (upload(), None, Code::BodyMissing),
        (upload(), text(none()), Code::BodyMissing),
        (upload(), bad_content(|c| c.size = 11), Code::ContentInvalid),
        (upload(), bad_content(|c| c.id = ContentId([0; 32])), Code::ContentInvalid),
        (upload(), bad_content(|c| c.cut.avg = 5), Code::ContentInvalid),
        (upload(), bad_content(|c| c.chunks.clear()), Code::ContentInvalid),
        (change(), None, Code::BodyMissing),
        (change(), text(none()), Code::BodyMissing),
        (change(), text(Body { tags_added: vec![String::new()], ..none() }), Code::BodyMissing),
        (change(), text(Body { tags_added: vec![long.clone()], ..none() }), Code::FieldTooLong),
        (change(), text(Body { tags_removed: vec![long.clone()], ..none() }), Code::FieldTooLong),
        (change(), text(Body { note: Some(long.clone()), ..none() }), Code::FieldTooLong),
        (Fact::PolicySet { policy: Policy::Both }, text(none()), Code::BodyMissing),
        (
            Fact::PolicySet { policy: Policy::Both },
            text(Body { pattern: Some(long), ..none() }),
            Code::FieldTooLong,
        ),
        (Fact::MemberGranted { user: EDITOR, role: Role::Viewer }, None, Code::BodyMissing),
        (Fact::EntryDeleted { entries: DotSet::new(), hides: DotSet::new() }, None, Code::BodyMissing),
        (Fact::Acknowledged { seq: Seq(1) }, text(none()), Code::BatchMalformed),
        (Fact::MemberRevoked { user: EDITOR }, text(none()), Code::BatchMalformed),
        (
            Fact::EntryRestored { entry: a_file, place: None, lifts: DotSet::new(), shows: DotSet::new() },
            text(named("x")),
            Code::BatchMalformed,
        ),
    ];
    for (fact, body, code) in table {
        let batch = world.device(1).sign(vec![(fact.clone(), body)]);
        match world.judge(&batch) {
            Err(refusal) => assert_eq!(refusal.code(), code, "{fact:?}: {refusal}"),
            Ok(_) => panic!("{fact:?} was let in"),
        }
    }
}
