//! Who may issue what, and where.

use super::*;

#[test]
fn each_role_may_what_the_ones_before_it_may_and_its_own() {
    let mut world = World::new();
    let entry = world.does(1, vec![file("file")]);
    let user = UserId([77; 16]);
    let grant = || {
        (
            Fact::MemberGranted { user, role: Role::Viewer },
            Some(Body { user_name: Some("x".into()), ..Body::default() }),
        )
    };
    let policy = || {
        (
            Fact::PolicySet { policy: Policy::Both },
            Some(Body { pattern: Some("*.txt".into()), ..Body::default() }),
        )
    };
    let tag = || {
        (
            Fact::AttributesChanged { entry: EntryId(entry) },
            Some(Body { tags_added: vec!["t".into()], ..Body::default() }),
        )
    };
    type Event<'a> = Box<dyn Fn() -> (Fact, Option<Body>) + 'a>;
    let entry_id = EntryId(entry);
    let one = move || dots(&[entry]);
    let name = || Some(named("b"));
    let table: [(Event<'_>, Role); 12] = [
        (Box::new(|| (Fact::RetentionSet { versions: Some(1), silence: None }, None)), Role::Owner),
        (
            Box::new(move || (Fact::EntryMoved { entry: entry_id, parent: EntryId::ROOT }, name())),
            Role::Editor,
        ),
        (
            Box::new(move || {
                let upload = Fact::VersionUploaded { entry: entry_id, parents: one() };
                (upload, Some(Body { content: Some(content(2)), ..Body::default() }))
            }),
            Role::Editor,
        ),
        (
            Box::new(move || {
                let (lifts, shows) = (DotSet::new(), one());
                (Fact::EntryRestored { entry: entry_id, place: None, lifts, shows }, None)
            }),
            Role::Editor,
        ),
        (
            Box::new(move || (Fact::ConflictResolved { entry: entry_id, over: one(), keep: one() }, None)),
            Role::Editor,
        ),
        (Box::new(|| (Fact::Acknowledged { seq: Seq(1) }, None)), Role::Viewer),
        (Box::new(|| folder("a")), Role::Editor),
        (Box::new(tag), Role::Editor),
        (
            Box::new(move || (Fact::EntryDeleted { entries: dots(&[entry]), hides: dots(&[entry]) }, None)),
            Role::Editor,
        ),
        (Box::new(grant), Role::Owner),
        (Box::new(move || (Fact::MemberRevoked { user }, None)), Role::Owner),
        (Box::new(policy), Role::Owner),
    ];
    for (event, needed) in table {
        assert_eq!(needed_role(&event().0), Some(needed));
        for (n, role) in [(4, Role::Viewer), (3, Role::Editor), (2, Role::Owner)] {
            let batch = world.device(n).sign(vec![event()]);
            let verdict = world.judge(&batch).map_err(|refusal| refusal.code());
            let expected = if role >= needed { Ok(Verdict::Admit) } else { Err(Code::Forbidden) };
            assert_eq!(verdict, expected, "{:?} by {role:?}", batch.events()[0].fact);
        }
    }
    // By log order: what was true when it was written does not matter.
    let late = world.device(3).sign(vec![folder("late")]);
    world.does(1, vec![(Fact::MemberRevoked { user: EDITOR }, None)]);
    world.refuses(&late, Code::Forbidden);
    let (revoke, lower) =
        (Fact::MemberRevoked { user: OWNER }, Fact::MemberGranted { user: OWNER, role: Role::Viewer });
    let name = Some(Body { user_name: Some("x".into()), ..Body::default() });
    world.refuses(&world.device(1).sign(vec![(revoke, None)]), Code::Forbidden);
    world.refuses(&world.device(1).sign(vec![(lower, name)]), Code::Forbidden);
}

#[test]
fn servers_and_devices_issue_kinds_of_their_own_and_the_directorys_belong_elsewhere() {
    let mut world = World::new();
    let a_file = world.does(1, vec![file("file")]);
    let body = || Some(Body { label: Some("l".into()), user_name: Some("n".into()), ..with_content("x", 3) });
    let (user, key, device) = (OWNER, PublicKey([5; 32]), id(&signing_key(2)));
    let servers = [
        Fact::NamespaceCreated { owner: user, server: key },
        Fact::DeviceLinked { key, user, continues: None },
        Fact::DeviceRetired { device, last: 0 },
        Fact::VersionsMerged { entry: EntryId(a_file), inputs: dots(&[a_file]), algorithm: "x".into() },
    ];
    for fact in servers {
        assert_eq!(needed_role(&fact), None);
        world.refuses(&world.device(1).sign(vec![(fact, body())]), Code::ServerOnly);
    }
    let elsewhere = [
        Fact::AccountCreated { user },
        Fact::TokenRevoked { token: Hash([0; 32]) },
        Fact::NamespaceOpened { namespace: NAMESPACE, owner: user },
    ];
    for fact in elsewhere {
        assert_eq!(needed_role(&fact), None);
        world.refuses(&world.device(1).sign(vec![(fact, body())]), Code::NotHere);
    }
    let issued = |fact: Fact| {
        let body = body().filter(|_| event::has_body(&fact));
        issue(&world.projections, &world.server, NOW_MS, vec![Issued { fact, body }])
    };
    world.refuses(&issued(create(EntryId::ROOT, EntryKind::Folder)), Code::ServerOnly);
    world.refuses(&issued(Fact::NamespaceCreated { owner: user, server: key }), Code::NotHere);
    // A server does not contradict its own log.
    world.refuses(&issued(Fact::DeviceRetired { device, last: 7 }), Code::Internal);
    world.refuses(
        &issued(Fact::DeviceLinked { key: public(&signing_key(1)), user, continues: None }),
        Code::Internal,
    );
}

#[test]
fn a_kind_of_a_later_release_is_refused() {
    let world = World::new();
    let good = world.device(1).sign(vec![(Fact::Acknowledged { seq: Seq(1) }, None)]);
    // A word of the same length, signed as such.
    let signed = {
        let text = b"acknowledged";
        let mut bytes = good.bytes().to_vec();
        let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
        bytes[at..at + text.len()].copy_from_slice(b"acknowledgee");
        Batch::decode(bytes).unwrap()
    };
    assert!(matches!(&signed.events()[0].fact, Fact::Unknown { kind } if kind == "acknowledgee"));
    // Its signature does not hold any more: what the check of kinds says is asked of it directly.
    let author = Author::of(&signed, &world.projections).unwrap();
    let refused = event::check_all(&signed, &author, &Seen::default(), &world.projections).unwrap_err();
    assert_eq!(refused.code(), Code::KindUnknown);
}

#[test]
fn a_namespace_begins_with_its_server_and_nothing_else() {
    let empty = Projections::new(NAMESPACE, Scope::Server);
    let key = signing_key(100);
    let begun = |server: PublicKey| Issued {
        fact: Fact::NamespaceCreated { owner: OWNER, server },
        body: Some(Body { label: Some("home".into()), ..Body::default() }),
    };
    let good = first_batch(NAMESPACE, &key, NOW_MS, vec![begun(public(&key))]);
    assert_eq!(judge(&good, &empty, &Facts::default()), Ok(Verdict::Admit));
    let stolen = first_batch(NAMESPACE, &key, NOW_MS, vec![begun(public(&signing_key(1)))]);
    assert_eq!(judge(&stolen, &empty, &Facts::default()).unwrap_err().code(), Code::DeviceUnlinked);
    let link = Fact::DeviceLinked { key: public(&signing_key(1)), user: OWNER, continues: None };
    let other = first_batch(NAMESPACE, &key, NOW_MS, vec![Issued { fact: link, body: None }]);
    assert_eq!(judge(&other, &empty, &Facts::default()).unwrap_err().code(), Code::DeviceUnlinked);
}
