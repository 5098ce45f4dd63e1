//! Bytes that a release has written are read by every later one, and bytes that are not canonical by none.
//!
//! `golden/` holds a batch of every kind of event, a record, a segment and its witness as hex, each with what it says as text.
//! Files there are added, never edited: `golden/SHA256` lists them, and what differs from it fails here. A new kind
//! gets its sample by `ANNALS_GOLDEN=add cargo test -p annals-events --features contract --test golden`, which writes
//! what is missing and touches nothing that is there.

#![allow(clippy::unwrap_used, reason = "a test may stop there")]

use annals_events::{
    Batch, Body, ChunkId, ChunkRef, Content, Cut, DeviceId, Dot, DotSet, Draft, EntryId, EntryKind, Fact,
    Hash, Hlc, Name, NamespaceId, Policy, PublicKey, Record, Role, Seq, UserId, VersionVector,
    segment::{ForgetfulDisk, SegmentConfig, SegmentDisk, SegmentKind, Segments, WITNESS_NAME, Witness},
};
use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;
use serde_bytes::Bytes;
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// One fact of every kind, every field of it filled, with the body that goes with it.
fn facts() -> Vec<(Fact, Option<Body>)> {
    let (user, namespace, hash) = (UserId([2; 16]), NamespaceId([3; 16]), Hash([4; 32]));
    let other = DeviceId([5; 16]);
    let dot = |counter| Dot::new(other, counter);
    let entry = EntryId(dot(1));
    let dots: DotSet = [dot(1), dot(2), dot(3), dot(7), Dot::new(DeviceId([6; 16]), 1)].into_iter().collect();
    let salt = [9; 16];
    let body = Body { salt, ..Body::default() };
    let some = |text: &str| Some(text.to_owned());
    let chunks = vec![ChunkRef { bytes: 5, id: ChunkId::of(b"hello") }];
    let (content, _) = Content::new(Cut::SMALL, chunks);
    let large = (0..65_u32).map(|i| ChunkRef { bytes: 4096, id: ChunkId::of(&i.to_be_bytes()) }).collect();
    let (large, _) = Content::new(Cut::SMALL, large);
    let file = Body {
        name: Some(Name::new("notes.txt").unwrap()),
        content: Some(content.clone()),
        mtime: Some(-1_500_000_000),
        executable: Some(true),
        ..body.clone()
    };
    let version = Body { content: Some(large), mtime: Some(1_700_000_000_123_456_789), ..body.clone() };
    let named = Body { name: Some(Name::new("Ünïcode ✓").unwrap()), ..body.clone() };
    let attributes = Body {
        tags_added: vec!["red".into()],
        tags_removed: vec!["blue".into(), "green".into()],
        note: some("a\nnote"),
        executable: Some(false),
        ..body.clone()
    };
    let account =
        Body {
            user_name: some("ada"), password: some("$argon2id$…"), quota: Some(15 << 30), ..body.clone()
        };
    let linked = Body { label: some("laptop"), user_name: some("ada"), ..body.clone() };
    vec![
        (
            Fact::NamespaceCreated { owner: user, server: public(&key()) },
            Some(Body { label: some("home"), ..body.clone() }),
        ),
        (Fact::DeviceLinked { key: PublicKey([7; 32]), user, continues: Some(other) }, Some(linked)),
        (Fact::DeviceRetired { device: other, last: 1 << 40 }, None),
        (Fact::Acknowledged { seq: Seq(70_000) }, None),
        (Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File }, Some(file)),
        (Fact::VersionUploaded { entry, parents: dots.clone() }, Some(version)),
        (
            Fact::VersionsMerged { entry, inputs: dots.clone(), algorithm: "text/1".into() },
            Some(Body { content: Some(content), ..body.clone() }),
        ),
        (Fact::EntryMoved { entry, parent: EntryId(dot(2)) }, Some(named.clone())),
        (Fact::AttributesChanged { entry }, Some(attributes)),
        (Fact::EntryDeleted { entries: dots.clone(), hides: dots.clone() }, None),
        (
            Fact::EntryRestored {
                entry,
                place: Some(EntryId::ROOT),
                lifts: dots.clone(),
                shows: dots.clone(),
            },
            Some(named),
        ),
        (Fact::ConflictResolved { entry, over: dots.clone(), keep: DotSet::new() }, None),
        (Fact::PolicySet { policy: Policy::Chunks }, Some(Body { pattern: some("*.psd"), ..body.clone() })),
        (Fact::RetentionSet { versions: Some(90 * 24 * 60 * 60 * 1000), silence: Some(1 << 40) }, None),
        (
            Fact::MemberGranted { user, role: Role::Editor },
            Some(Body { user_name: some("bob"), ..body.clone() }),
        ),
        (Fact::MemberRevoked { user }, None),
        (Fact::EntryPurged { entries: dots.clone() }, None),
        (Fact::VersionsExpired { versions: dots }, None),
        (Fact::AccountCreated { user }, Some(account.clone())),
        (Fact::AccountChanged { user }, Some(Body { quota: None, ..account })),
        (Fact::NamespaceOpened { namespace, owner: user }, None),
        (Fact::TicketIssued { ticket: hash, user, namespace, expires: 1_700_000_900_000 }, None),
        (Fact::TicketRedeemed { ticket: hash }, None),
        (Fact::TicketEnded { ticket: hash }, None),
        (Fact::TokenIssued { token: hash, user, device: other, expires: 0 }, None),
        (Fact::TokenRevoked { token: hash }, None),
        (annals_events::epoch::open(&SigningKey::from_bytes(&[8; 32]), namespace, public(&key())), None),
    ]
}

fn batch_of(fact: Fact, body: Option<Body>) -> Batch {
    let draft = Draft { hlc: Hlc::at_ms(1_700_000_000_000), at: 1_700_000_000_001, fact, body };
    let before: VersionVector =
        [Dot::new(DeviceId([5; 16]), 6), Dot::new(DeviceId([8; 16]), 2)].into_iter().collect();
    let seen: VersionVector = [Dot::new(DeviceId([5; 16]), 300)].into_iter().collect();
    let unseen = [Dot::new(DeviceId([5; 16]), 299), Dot::new(DeviceId([5; 16]), 300)].into_iter().collect();
    let prev = Some(Hash([0xaa; 32]));
    Batch::sign(&key(), NamespaceId([3; 16]), 24, prev, &before, &seen, unseen, vec![draft]).unwrap()
}

/// All of a batch, in words.
fn batch_in_words(batch: &Batch) -> String {
    let mut words = format!(
        "hash {}\nnamespace {}\ndevice {}\n",
        batch.hash(),
        batch.header().namespace,
        batch.header().device
    );
    words += &format!("{:#?}\n", batch.header());
    for index in 0..batch.events().len() {
        let body =
            batch.body_bytes(index).map(|bytes| (Body::hash_of(bytes).to_hex(), batch.body(index).unwrap()));
        words += &format!("{} {body:#?}\n", batch.dot(index));
    }
    words
}

fn record() -> Record {
    let (fact, body) = facts().remove(4);
    Record::admit(
        batch_of(fact, body),
        &SigningKey::from_bytes(&[2; 32]),
        3,
        Seq(41),
        Hash([0xcc; 32]),
        1_700_000_000_002,
    )
}

fn record_in_words(record: &Record) -> String {
    format!(
        "chain {}\n{:#?}\n{}",
        record.admission().chain,
        record.admission(),
        batch_in_words(record.batch())
    )
}

fn segment_config() -> SegmentConfig {
    SegmentConfig::new(SegmentKind::Log, [0x1d; 16])
}

/// A segment of three groups: with padding, with a run of zeros over some sectors, with two frames.
fn segment() -> Vec<u8> {
    let disk = ForgetfulDisk::new();
    let (mut segments, _) = Segments::open(Arc::new(disk.clone()), segment_config(), &[]).unwrap();
    segments.append(&[record().bytes()]).unwrap();
    segments.append(&[&[0; 1600]]).unwrap();
    segments.append(&[b"one", b"another"]).unwrap();
    disk.contents("00000001.segment").unwrap()
}

fn segment_in_words(bytes: &[u8]) -> String {
    let disk = ForgetfulDisk::new();
    disk.create("00000001.segment").unwrap().append(bytes).unwrap();
    let (segments, torn) = Segments::open(Arc::new(disk), segment_config(), &[]).unwrap();
    assert_eq!(torn, None);
    let mut words = format!("end {:?} chain {}\n", segments.end().place, segments.end().chain);
    for frame in segments.reader().frames(segments.end()) {
        let frame = frame.unwrap();
        words +=
            &format!("{} {} bytes, sha256 {}\n", frame.place, frame.bytes.len(), ChunkId::of(&frame.bytes));
    }
    words
}

/// The witness of where that segment ends.
fn end() -> Vec<u8> {
    let disk = ForgetfulDisk::new();
    disk.create("00000001.segment").unwrap().append(&segment()).unwrap();
    let (segments, _) = Segments::open(Arc::new(disk.clone()), segment_config(), &[]).unwrap();
    Witness::write(&disk, segment_config().owner, segments.end()).unwrap();
    disk.contents(WITNESS_NAME).unwrap()
}

fn end_in_words(bytes: &[u8]) -> String {
    let disk = ForgetfulDisk::new();
    disk.create(WITNESS_NAME).unwrap().append(bytes).unwrap();
    let mark = Witness::read(&disk, segment_config().owner).unwrap().mark().unwrap();
    format!("end {:?} chain {}\n", mark.place, mark.chain)
}

/// The name, the bytes that this release would write, and how it reads any.
type Sample = (String, Vec<u8>, fn(Vec<u8>) -> String);

fn samples() -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for (fact, body) in facts() {
        let read = |bytes: Vec<u8>| {
            let batch = Batch::decode(bytes).unwrap();
            batch.verify(&public(&key())).unwrap();
            batch_in_words(&batch)
        };
        samples.push((fact.kind().into(), batch_of(fact, body).bytes().to_vec(), read));
    }
    let read = |bytes| record_in_words(&Record::decode(bytes).unwrap());
    samples.push(("record".into(), record().bytes().to_vec(), read));
    samples.push(("segment".into(), segment(), |bytes| segment_in_words(&bytes)));
    samples.push(("end".into(), end(), |bytes| end_in_words(&bytes)));
    samples
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.as_bytes().chunks(96).map(|line| format!("{}\n", std::str::from_utf8(line).unwrap())).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn add_what_is_missing() {
    let mut listed = fs::read_to_string(folder().join("SHA256")).unwrap_or_default();
    for (name, bytes, read) in samples() {
        for (file, text) in
            [(format!("{name}.hex"), hex(&bytes)), (format!("{name}.txt"), read(bytes.clone()))]
        {
            if !folder().join(&file).exists() {
                listed += &format!("{}  {file}\n", ChunkId::of(text.as_bytes()));
                fs::write(folder().join(&file), text).unwrap();
            }
        }
    }
    fs::write(folder().join("SHA256"), listed).unwrap();
}

#[test]
fn every_sample_is_read_as_it_was_meant_and_none_was_edited() {
    if std::env::var("ANNALS_GOLDEN").is_ok_and(|what| what == "add") {
        add_what_is_missing();
    }
    let listed = fs::read_to_string(folder().join("SHA256")).unwrap();
    let mut listed: BTreeMap<String, String> = listed
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(hash, file)| (file.into(), hash.into()))
        .collect();
    let readers: BTreeMap<String, fn(Vec<u8>) -> String> =
        samples().into_iter().map(|(name, _, read)| (name, read)).collect();
    for kind in Fact::KINDS {
        assert!(listed.contains_key(&format!("{kind}.hex")), "{kind} has no sample");
    }
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    for file in files.filter(|file| file != "SHA256") {
        let text = fs::read_to_string(folder().join(&file)).unwrap();
        let hash = listed.remove(&file).unwrap_or_else(|| panic!("{file} is not listed in SHA256"));
        assert_eq!(ChunkId::of(text.as_bytes()).to_hex(), hash, "{file} was edited");
        if let Some(name) = file.strip_suffix(".hex") {
            // Samples of an older form of a kind are named `kind.2.hex` and so on, and are read like the kind.
            let read = readers[name.split('.').next().unwrap()];
            let expected = fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
            assert_eq!(read(from_hex(&text)), expected, "{file} is read as something else");
        }
    }
    assert!(listed.is_empty(), "gone: {listed:?}");
}

#[test]
fn this_release_writes_the_bytes_of_its_samples() {
    // While a kind keeps its form; one that changes gets a second sample, and its first stands here as an exception.
    for (name, bytes, _) in samples() {
        let stored = fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap();
        assert_eq!(from_hex(&stored), bytes, "{name}");
    }
}

// What a later release, or somebody careless, might write.

/// An event as a map, in canonical order whatever the order here.
#[derive(Serialize)]
struct WireEvent {
    at: u64,
    hlc: u64,
    kind: String,
    structure: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mood: Option<String>,
}

#[derive(Serialize)]
struct WireHeader {
    format: u64,
    namespace: NamespaceId,
    device: DeviceId,
    first: u64,
    seen: Vec<Dot>,
    unseen: DotSet,
    events: Vec<WireEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weather: Option<String>,
}

fn header(kind: &str, structure: &[(&str, u64)], later: Option<&str>) -> WireHeader {
    let structure = structure.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let event = WireEvent { at: 1, hlc: 2, kind: kind.into(), structure, mood: later.map(Into::into) };
    WireHeader {
        format: 1,
        namespace: NamespaceId([3; 16]),
        device: DeviceId::of_key(&public(&key())),
        first: 1,
        seen: Vec::new(),
        unseen: DotSet::new(),
        events: vec![event],
        weather: later.map(Into::into),
    }
}

fn sign(signed: &[u8]) -> Vec<u8> {
    let signature = key().sign(&[b"annals batch\0", signed].concat()).to_bytes();
    serde_ipld_dagcbor::to_vec(&(Bytes::new(signed), Bytes::new(&signature), [Option::<&Bytes>::None]))
        .unwrap()
}

#[test]
fn kinds_and_fields_of_later_releases_survive_with_their_signature() {
    let cases = [
        header("entry_painted", &[("colour", 7)], None),
        header("acknowledged", &[("seq", 9), ("surely", 1)], None),
        header("acknowledged", &[("seq", 9)], Some("sunny")),
    ];
    for header in cases {
        let bytes = sign(&serde_ipld_dagcbor::to_vec(&header).unwrap());
        let batch = Batch::decode(bytes.clone()).unwrap();
        let expected = match &*header.events[0].kind {
            "acknowledged" => Fact::Acknowledged { seq: Seq(9) },
            kind => Fact::Unknown { kind: kind.into() },
        };
        assert_eq!(batch.events()[0].fact, expected);
        assert_eq!(batch.bytes(), bytes);
        assert_eq!(batch.verify(&public(&key())), Ok(()));
        let record = Record::admit(batch.clone(), &key(), 0, Seq(1), Hash::default(), 1);
        assert_eq!(Record::decode(record.bytes().to_vec()).unwrap().batch().bytes(), bytes);
    }
    let later = WireHeader { format: 2, ..header("acknowledged", &[("seq", 9)], None) };
    let refused = Batch::decode(sign(&serde_ipld_dagcbor::to_vec(&later).unwrap())).unwrap_err();
    assert!(refused.to_string().contains("format 2"), "{refused}");
}

/// `bytes` with the first `from` replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn whatever_is_not_canonical_is_refused() {
    let good = serde_ipld_dagcbor::to_vec(&header("acknowledged", &[("seq", 9)], None)).unwrap();
    assert!(Batch::decode(sign(&good)).is_ok());
    let at_1 = b"\x62at\x01";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an integer in two bytes that fits one", replaced(&good, at_1, b"\x62at\x18\x01")),
        ("an integer in nine bytes", replaced(&good, at_1, b"\x62at\x1b\0\0\0\0\0\0\0\x01")),
        ("a float", replaced(&good, at_1, b"\x62at\xfb\x3f\xf0\0\0\0\0\0\0")),
        ("a length in two bytes that fits one", replaced(&good, b"\x62at", b"\x78\x02at")),
        ("keys in another order", replaced(&good, b"\x62at\x01\x63hlc\x02", b"\x63hlc\x02\x62at\x01")),
        ("a key twice", replaced(&good, b"\xa4\x62at\x01", b"\xa5\x62at\x01\x62at\x01")),
        ("a list of unknown length", replaced(&good, b"\x66events\x81", b"\x66events\x9f")),
        ("a map of unknown length", replaced(&good, b"\xa1\x63seq\x09", b"\xbf\x63seq\x09\xff")),
        ("a tag", replaced(&good, at_1, b"\x62at\xc1\x01")),
        ("bytes after the end", [&good[..], b"\0"].concat()),
        ("bytes missing", good[..good.len() - 1].to_vec()),
        ("undefined", replaced(&good, at_1, b"\x62at\xf7")),
        ("text that is not UTF-8", replaced(&good, b"\x6cacknowledged", b"\x6cacknowledge\xff")),
    ];
    for (what, bytes) in cases {
        assert!(Batch::decode(sign(&bytes)).is_err(), "{what}");
    }
    let good = sign(&good);
    for (what, bytes) in [
        ("bytes after the batch", [&good[..], b"\0"].concat()),
        ("two parts instead of three", replaced(&good, b"\x83", b"\x82")),
        ("a null too many", replaced(&good, b"\x81\xf6", b"\x82\xf6\xf6")),
        ("a body that nobody signed", replaced(&good, b"\x81\xf6", b"\x81\x41\x01")),
        ("a signature that is cut short", replaced(&good, b"\x58\x40", b"\x58\x3f")),
    ] {
        assert!(Batch::decode(bytes).is_err(), "{what}");
    }
    let body = Body { note: Some("x".into()), ..Body::default() }.encode();
    assert!(Body::decode(&body).is_ok());
    let salt = [b"\x64salt\x50", &[0; 16][..]].concat();
    for (what, bytes) in [
        ("keys in another order", [b"\xa2", &salt[..], b"\x64note\x61x"].concat()),
        ("a salt of 15 bytes", replaced(&body, &salt, &[b"\x64salt\x4f", &[0; 15][..]].concat())),
        ("bytes after the end", [&body[..], b"\0"].concat()),
    ] {
        assert!(Body::decode(&bytes).is_err(), "{what}");
    }
}
