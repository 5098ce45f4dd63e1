//! What was replaced or removed too long ago is forgotten, by the server, once every device knows.

use crate::support::{Device, NOW_MS, StillClock, TestServer, file};
use annals::actors::{forgetting::Forgotten, upkeep};
use annals_engine::protocol::{Code, HeadInfo, OwnAccount, Records, VersionInfo};
use annals_events::{Body, Content, Cut, Dot, DotSet, EntryId, Fact, Seq};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A server whose clock is moved by hand, and two devices of ada's.
struct Years {
    clock: StillClock,
    server: TestServer,
    laptop: Device,
    phone: Device,
}

fn years() -> Years {
    let clock = StillClock::default();
    clock.set(NOW_MS);
    let server = TestServer::by(&clock);
    server.add_user("ada");
    let [laptop, phone] = [0; 2].map(|_| server.link_as("ada"));
    Years { clock, server, laptop, phone }
}

fn forget(server: &TestServer) -> Forgotten {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(upkeep::forget(server.serving().node(), false)).unwrap()
}

/// It has everything, and says so.
fn acknowledge(device: &mut Device, server: &TestServer) {
    let seq = device.pull(server).last().unwrap().last_seq();
    device.issue(server, vec![(Fact::Acknowledged { seq }, None)]);
}

fn used(device: &Device, server: &TestServer) -> u64 {
    let token = &device.linked.token;
    let own = server.web.json::<OwnAccount>(|client| client.get(server.url("account")).bearer_auth(token));
    own.unwrap().used
}

/// A file of 10 bytes with a later version of 7.
fn edited(years: &mut Years) -> (Dot, Dot) {
    let (laptop, server) = (&mut years.laptop, &years.server);
    laptop.pull(server);
    let (create, body, first) = file("a", &[1; 10]);
    let (_, _, second) = file("a", &[2; 7]);
    laptop.send_chunks(server, &[first.clone(), second.clone()]).unwrap();
    let created = laptop.issue(server, vec![(create, body)]);
    let (content, _) = Content::new(Cut::SMALL, vec![second.to_ref()]);
    let upload = Fact::VersionUploaded { entry: EntryId(created), parents: DotSet::from_iter([created]) };
    let body = Body { content: Some(content), ..Body::default() };
    let edit = laptop.issue(server, vec![(upload, Some(body))]);
    (created, edit)
}

#[test]
fn a_replaced_version_expires_after_its_retention_once_every_device_knows() {
    let mut years = years();
    let (created, edit) = edited(&mut years);
    acknowledge(&mut years.laptop, &years.server);
    years.clock.set(NOW_MS + 91 * DAY_MS);
    years.phone.pull(&years.server);
    assert_eq!(forget(&years.server), Forgotten::default(), "the phone has not said that it knows");
    acknowledge(&mut years.phone, &years.server);
    years.clock.set(NOW_MS + 89 * DAY_MS);
    assert_eq!(forget(&years.server), Forgotten::default(), "it was replaced a day less than 90 days ago");
    years.clock.set(NOW_MS + 90 * DAY_MS);
    assert_eq!(used(&years.laptop, &years.server), 17);
    assert_eq!(forget(&years.server).versions, 1);
    // What it took counts no more, and the rest is as it was.
    assert_eq!(used(&years.laptop, &years.server), 7);
    assert_eq!(forget(&years.server), Forgotten::default());
    let versions: Vec<VersionInfo> =
        years.laptop.get_json(&years.server, &format!("entries/{created}/versions")).unwrap();
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [created, edit]);
    let (_, _, first) = file("a", &[1; 10]);
    let gone = years.phone.get_chunks(&years.server, &[first.to_ref()]).unwrap_err();
    assert_eq!(gone.code, Code::ChunkUnknown);
}

#[test]
fn what_was_removed_is_purged_after_its_retention_which_an_owner_sets() {
    let mut years = years();
    let (created, edit) = edited(&mut years);
    let dots = DotSet::from_iter([created, edit]);
    let delete = Fact::EntryDeleted { entries: DotSet::from_iter([created]), hides: dots };
    years.laptop.issue(&years.server, vec![(delete, None)]);
    let set = Fact::RetentionSet { versions: Some(DAY_MS), silence: None };
    years.laptop.issue(&years.server, vec![(set, None)]);
    acknowledge(&mut years.laptop, &years.server);
    acknowledge(&mut years.phone, &years.server);
    assert_eq!(forget(&years.server), Forgotten::default());
    years.clock.set(NOW_MS + DAY_MS);
    let forgotten = forget(&years.server);
    assert_eq!((forgotten.versions, forgotten.entries), (1, 1));
    assert_eq!(used(&years.laptop, &years.server), 0);
}

#[test]
fn a_device_that_was_silent_too_long_is_retired_and_told_so_when_it_returns() {
    let mut years = years();
    edited(&mut years);
    acknowledge(&mut years.laptop, &years.server);
    years.clock.set(NOW_MS + 91 * DAY_MS);
    // The laptop listens, the phone was last seen when it was linked.
    acknowledge(&mut years.laptop, &years.server);
    let forgotten = forget(&years.server);
    assert_eq!((&forgotten.devices[..], forgotten.versions), (&[years.phone.id()][..], 1));
    // Nothing is open to it, whether a device is asked for or a person.
    for route in ["files/a", "files/", "members", "devices"] {
        let refused = years.phone.get_json::<serde::de::IgnoredAny>(&years.server, route).unwrap_err();
        assert_eq!(refused.code, Code::TokenRevoked, "{route}");
    }
    let refused = years.phone.get_cbor::<Records>(&years.server, "records?after=0").unwrap_err();
    assert_eq!(refused.code, Code::TokenRevoked);
    assert!(refused.hint.contains("link the folder again"), "{}", refused.hint);
    assert_eq!(years.phone.ticket(&years.server).unwrap_err().code, Code::TokenRevoked);
    // The laptop is at work still.
    years.laptop.get_json::<serde::de::IgnoredAny>(&years.server, "members").unwrap();
    // Linked anew it is another device, and begins with everything.
    let phone = years.server.link_as("ada");
    let records: Records = phone.get_cbor(&years.server, "records?after=0").unwrap();
    assert!(records.head.seq > Seq(0) && records.head != HeadInfo::default());
}
