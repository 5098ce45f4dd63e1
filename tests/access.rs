//! Who gets in: accounts, tickets, tokens, roles; and that nobody learns what they may not.

use crate::support::*;
use annals_engine::protocol::{
    BatchOutcome, Code, Credential, DeviceInfo, Linked, Member, NamespaceInfo, NewAccount, NewNamespace,
    Quota, Records, TicketRequest,
};
use annals_events::{Body, Fact, Role, Seq, UserId};
use reqwest::Method;

#[test]
fn a_wrong_password_and_a_wrong_name_are_one_answer() {
    let server = TestServer::new();
    server.add_user("ana");
    let wrong = |user: &str, password: &str| {
        let credential = Credential::Password { user: user.into(), password: password.into() };
        code(server.link(credential).map(|device| device.id()))
    };
    assert_eq!(wrong("ana", "incorrect horse"), Code::WrongPassword);
    assert_eq!(wrong("bob", PASSWORD), Code::WrongPassword);
    assert_eq!(server.link_as("ana").linked.account.name, "ana");
}

#[test]
fn only_the_admin_adds_accounts_and_their_names_and_passwords_are_checked() {
    let server = TestServer::new();
    let new = |name: &str, password: &str| NewAccount {
        name: name.into(),
        password: Some(password.into()),
        quota: Quota::Default,
    };
    assert_eq!(code(server.post::<()>("accounts", &new("ana", PASSWORD))), Code::AdminToken);
    assert_eq!(code(server.admin::<()>("accounts", &new("Ana Banana", PASSWORD))), Code::BadName);
    assert_eq!(code(server.admin::<()>("accounts", &new("ana", "short"))), Code::BadPassword);
    server.add_user("ana");
    assert_eq!(code(server.admin::<()>("accounts", &new("ana", PASSWORD))), Code::AccountExists);
}

#[test]
fn a_ticket_links_one_device_and_any_other_code_none() {
    let server = TestServer::new();
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let ticket = laptop.ticket(&server).unwrap();
    let phone = server.link(Credential::Ticket(ticket.code.to_lowercase().replace('-', " "))).unwrap();
    assert_eq!(phone.namespace, laptop.namespace);
    assert_eq!(phone.linked.account, laptop.linked.account);
    let again = server.link(Credential::Ticket(ticket.code));
    assert_eq!(code(again.map(|device| device.id())), Code::TicketUsed);
    for unknown in ["", "hello", "00000-00000-00000-00000-000000"] {
        let refused = server.link(Credential::Ticket(unknown.into()));
        assert_eq!(code(refused.map(|device| device.id())), Code::TicketUnknown, "{unknown}");
    }
}

#[test]
fn tickets_last_fifteen_minutes_and_challenges_five() {
    let clock = StillClock::default();
    clock.set(NOW_MS);
    let server = TestServer::by(&clock);
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let (one, two) = (laptop.ticket(&server).unwrap(), laptop.ticket(&server).unwrap());
    assert_eq!(one.expires, NOW_MS + 15 * 60 * 1000);
    clock.set(one.expires - 1);
    server.link(Credential::Ticket(one.code)).unwrap();
    clock.set(two.expires);
    let late = server.link(Credential::Ticket(two.code));
    assert_eq!(code(late.map(|device| device.id())), Code::TicketExpired);
    let (_, request) = server.link_request(password("ana"));
    clock.set(two.expires + 5 * 60 * 1000);
    assert_eq!(code(server.post::<Linked>("link", &request)), Code::Challenge);
}

#[test]
fn the_admin_hands_out_a_first_ticket_for_an_account_without_a_password() {
    let server = TestServer::new();
    let new = NewAccount { name: "me".into(), password: None, quota: Quota::Unlimited };
    server.admin::<serde_json::Value>("accounts", &new).unwrap();
    let request = TicketRequest { user: Some("me".into()), ..TicketRequest::default() };
    assert_eq!(code(server.post::<()>("tickets", &request)), Code::AdminToken);
    let ticket: annals_engine::protocol::Ticket = server.admin("tickets", &request).unwrap();
    let device = server.link(Credential::Ticket(ticket.code)).unwrap();
    assert_eq!(device.linked.namespace.label, "home");
    let login = Credential::Password { user: "me".into(), password: String::new() };
    assert_eq!(code(server.link(login).map(|device| device.id())), Code::WrongPassword);
}

#[test]
fn a_device_proves_its_key_over_a_fresh_challenge() {
    let server = TestServer::new();
    server.add_user("ana");
    let (_, mut request) = server.link_request(password("ana"));
    request.proof = "00".repeat(64);
    assert_eq!(code(server.post::<Linked>("link", &request)), Code::Proof);
    let (_, request) = server.link_request(password("ana"));
    server.post::<Linked>("link", &request).unwrap();
    assert_eq!(code(server.post::<Linked>("link", &request)), Code::Challenge);
    let (_, mut other) = server.link_request(password("ana"));
    other.device = request.device;
    assert_eq!(code(server.post::<Linked>("link", &other)), Code::Proof);
}

#[test]
fn no_unknown_or_revoked_token_opens_anything() {
    let server = TestServer::new();
    server.add_user("ana");
    let (laptop, mut phone) = (server.link_as("ana"), server.link_as("ana"));
    let url = server.url("namespaces");
    let with = |token: &str| code(server.web.json::<()>(|client| client.get(&url).bearer_auth(token)));
    assert_eq!(with(&"0".repeat(64)), Code::TokenUnknown);
    assert_eq!(code(server.web.json::<()>(|client| client.get(&url))), Code::LoginMissing);

    let before = phone.sign(vec![folder("kept on the phone")]);
    let route = format!("devices/{}/retire", phone.id());
    server.web.bytes(|client| laptop.request(client, &server, Method::POST, &route)).unwrap();
    assert_eq!(with(&phone.linked.token), Code::TokenRevoked);
    assert_eq!(code(phone.submit(&server, &before)), Code::TokenRevoked);
    let devices: Vec<DeviceInfo> = laptop.get_json(&server, "devices").unwrap();
    let retired: Vec<_> = devices.iter().filter(|info| info.retired).map(|info| info.device).collect();
    assert_eq!(retired, [phone.id()]);
    // Somebody else's token does not help either: the log has the retirement.
    phone.linked.token = laptop.linked.token.clone();
    assert_eq!(phone.refused(&server, before.bytes().to_vec()).code, Code::BatchSignature);
}

#[test]
fn nobody_learns_of_a_namespace_that_they_may_not_read() {
    let server = TestServer::new();
    server.add_user("ana");
    server.add_user("bob");
    let (ana, mut bob) = (server.link_as("ana"), server.link_as("bob"));
    assert_eq!(code(server.link_to(password("bob"), Some("photos")).map(|d| d.id())), Code::UnknownNamespace);
    let hers = ana.namespace.to_hex();
    assert_eq!(code(server.link_to(password("bob"), Some(&hers)).map(|d| d.id())), Code::UnknownNamespace);
    bob.namespace = ana.namespace;
    assert_eq!(code(bob.get_cbor::<Records>(&server, "records?after=0")), Code::UnknownNamespace);
    assert_eq!(code(bob.get_json::<Vec<Member>>(&server, "members")), Code::UnknownNamespace);
    assert_eq!(bob.refused(&server, bob.sign(vec![folder("a")]).bytes().to_vec()).code, Code::DeviceUnlinked);
    bob.namespace = annals_events::NamespaceId([7; 16]);
    assert_eq!(code(bob.get_cbor::<Records>(&server, "records?after=0")), Code::UnknownNamespace);
    assert_eq!(code(bob.submit(&server, &bob.sign(vec![folder("a")]))), Code::UnknownNamespace);
}

#[test]
fn a_second_namespace_is_made_by_name_and_linked_by_name() {
    let server = TestServer::new();
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let token = &laptop.linked.token;
    let make = |label: &str| {
        let new = NewNamespace { label: label.into() };
        server.web.json::<NamespaceInfo>(|client| {
            client.post(server.url("namespaces")).bearer_auth(token).json(&new)
        })
    };
    let photos = make("photos").unwrap();
    assert_eq!(photos.role, Role::Owner);
    assert_eq!(code(make("photos")), Code::NamespaceExists);
    assert_eq!(code(make("")), Code::BadName);
    let linked = server.link_to(password("ana"), Some("photos")).unwrap();
    assert_eq!(linked.namespace, photos.id);
    let (_, mut request) = server.link_request(password("ana"));
    (request.namespace, request.create) = (Some("music".into()), true);
    let music: Linked = server.post("link", &request).unwrap();
    assert_eq!(music.namespace.label, "music");
    let labels: Vec<String> =
        laptop.namespaces(&server).unwrap().into_iter().map(|info| info.label).collect();
    assert_eq!(labels.len(), 3);
    let by_password = server.web.json::<Vec<NamespaceInfo>>(|client| {
        client.get(server.url("namespaces")).basic_auth("ana", Some(PASSWORD))
    });
    assert_eq!(by_password.unwrap().len(), 3);
}

#[test]
fn roles_are_judged_in_the_order_of_the_log() {
    let server = TestServer::new();
    server.add_user("ana");
    let bob = server.add_user("bob");
    let mut ana = server.link_as("ana");
    let grant = |user: UserId, role: Role| {
        (Fact::MemberGranted { user, role }, Some(Body { user_name: Some("bob".into()), ..Body::default() }))
    };
    ana.issue(&server, vec![grant(bob.user, Role::Viewer)]);
    let home = ana.namespace.to_hex();
    let mut guest = server.link_to(password("bob"), Some("ana/home")).unwrap();
    assert_eq!((guest.namespace.to_hex(), guest.linked.namespace.role), (home, Role::Viewer));
    guest.pull(&server);
    let edit = guest.sign(vec![folder("by bob")]);
    assert_eq!(guest.refused(&server, edit.bytes().to_vec()).code, Code::Forbidden);
    assert_eq!(code(guest.missing(&server, &[], 1)), Code::Forbidden);
    let seen = guest.sign(vec![(Fact::Acknowledged { seq: Seq(1) }, None)]);
    assert!(matches!(guest.submit(&server, &seen).unwrap(), BatchOutcome::Admitted { .. }));

    ana.issue(&server, vec![grant(bob.user, Role::Editor)]);
    guest.issue(&server, vec![folder("by bob")]);
    let greedy = guest.sign(vec![grant(bob.user, Role::Owner)]);
    assert_eq!(guest.refused(&server, greedy.bytes().to_vec()).code, Code::Forbidden);

    ana.issue(&server, vec![(Fact::MemberRevoked { user: bob.user }, None)]);
    let late = guest.sign(vec![folder("before he knew")]);
    assert_eq!(guest.refused(&server, late.bytes().to_vec()).code, Code::Forbidden);
    assert_eq!(code(guest.get_cbor::<Records>(&server, "records?after=0")), Code::UnknownNamespace);
    let members: Vec<Member> = ana.get_json(&server, "members").unwrap();
    assert_eq!(members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["ana"]);
}

#[test]
fn one_retires_ones_own_devices_and_an_owner_everybodys() {
    let server = TestServer::new();
    server.add_user("ana");
    let bob = server.add_user("bob");
    let mut ana = server.link_as("ana");
    let body = Body { user_name: Some("bob".into()), ..Body::default() };
    ana.issue(&server, vec![(Fact::MemberGranted { user: bob.user, role: Role::Editor }, Some(body))]);
    let guest = server.link_to(password("bob"), Some("ana/home")).unwrap();
    let retire = |by: &Device, which: annals_events::DeviceId| {
        let route = format!("devices/{which}/retire");
        server.web.bytes(|client| by.request(client, &server, Method::POST, &route)).map(drop)
    };
    assert_eq!(code(retire(&guest, ana.id())), Code::Forbidden);
    assert_eq!(code(retire(&ana, annals_events::DeviceId([9; 16]))), Code::UnknownDevice);
    let theirs: Vec<DeviceInfo> = guest.get_json(&server, "devices").unwrap();
    assert_eq!(theirs.iter().map(|info| info.device).collect::<Vec<_>>(), [guest.id()]);
    retire(&ana, guest.id()).unwrap();
    retire(&ana, guest.id()).unwrap();
    assert_eq!(code(guest.namespaces(&server)), Code::TokenRevoked);
}
