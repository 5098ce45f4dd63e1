//! A server and its data: where it starts, what is there after a restart, what it says of itself.

use crate::support::*;
use annals::server::{Config, ServeError, serve};
use annals_engine::protocol::{BatchOutcome, Code, Credential, Records, VersionInfo};
use annals_events::{Body, Content, Dot, EntryId, Fact, Hash};

#[test]
fn a_server_starts_only_where_it_should() {
    let server = TestServer::new();
    let (address, data) = (server.serving().address(), server.data.path().join("data"));
    let other = tempfile::tempdir().unwrap();
    let in_use = serve(Config { listen: address, ..Config::new(other.path().join("data")) });
    assert!(matches!(in_use, Err(ServeError::AddressInUse { .. })));
    assert!(matches!(serve(Config::new(&data)), Err(ServeError::Locked { .. })));

    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(serve(Config::new(foreign.path())), Err(ServeError::Format { .. })));
    assert_eq!(std::fs::read_to_string(foreign.path().join("letter.txt")).unwrap(), "dear");
    let newer = tempfile::tempdir().unwrap();
    std::fs::write(newer.path().join("format"), "annals data 2\nlog 00\n").unwrap();
    match serve(Config::new(newer.path())) {
        Err(error @ ServeError::Format { .. }) => {
            assert!(error.to_string().contains("annals data 2"), "{error}")
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn secrets_are_for_the_owner_alone_and_the_log_holds_none() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = TestServer::new();
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let ticket = laptop.ticket(&server).unwrap();
    server.serving.take().unwrap().stop().unwrap();
    let data = server.data.path().join("data");
    for name in ["server.key", "admin.token", "format"] {
        let mode = std::fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let mut log = Vec::new();
    for entry in std::fs::read_dir(data.join("log/segments")).unwrap() {
        log.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let secret = annals_engine::protocol::normal_ticket(&ticket.code).unwrap();
    let token = laptop.linked.token;
    for secret in [PASSWORD.as_bytes(), token.as_bytes(), ticket.code.as_bytes(), &secret] {
        assert!(!log.windows(secret.len()).any(|window| window == secret));
    }
    assert!(log.windows(9).any(|window| window == b"$argon2id"));
}

#[test]
fn the_interface_is_described_and_healthy() {
    let server = TestServer::new();
    let healthz = format!("{}/healthz", server.serving().url());
    assert_eq!(server.web.bytes(|client| client.get(healthz)).unwrap(), b"ok\n");
    let described: serde_json::Value =
        server.web.json(|client| client.get(server.url("openapi.json"))).unwrap();
    let paths = described["paths"].as_object().unwrap();
    for path in ["/v1/link", "/v1/namespaces/{namespace}/records", "/v1/namespaces/{namespace}/chunks/get"] {
        assert!(paths.contains_key(path), "{path}");
    }
}

#[test]
fn a_cursor_of_another_history_is_noticed() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    laptop.issue(&server, vec![folder("a")]);
    let records = laptop.pull(&server);
    let last = records.last().unwrap();
    let (seq, chain, log) = (last.last_seq(), last.admission().chain, laptop.linked.server.log);
    let get = |query: String| laptop.get_cbor::<Records>(&server, &format!("records?{query}"));
    assert_eq!(get(format!("after={seq}&chain={chain}&epoch=0&log={log}")).unwrap().records.len(), 0);
    let first = records[0].last_seq();
    let first_chain = records[0].admission().chain;
    let rest = get(format!("after={first}&chain={first_chain}")).unwrap();
    assert_eq!(rest.records.len(), records.len() - 1);
    let one = get(format!("after={first}&chain={first_chain}&limit=1")).unwrap();
    assert_eq!(one.records.len(), 1);
    assert_eq!(code(get(format!("after={seq}&chain={}", Hash([1; 32])))), Code::ChainMismatch);
    assert_eq!(code(get(format!("after={seq}&chain={chain}&epoch=1"))), Code::ChainMismatch);
    assert_eq!(code(get(format!("after={}&chain={chain}", seq.0 + 5))), Code::ChainMismatch);
    assert_eq!(code(get(format!("after=0&log={}", "7".repeat(32)))), Code::OtherLog);
    assert_eq!(code(get("after=minus".into())), Code::BadRequest);
}

#[test]
fn a_restart_keeps_everything() {
    let mut server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let (fact, body, chunk) = file("notes", b"hello");
    laptop.send_chunks(&server, std::slice::from_ref(&chunk)).unwrap();
    let batch = laptop.sign(vec![(fact, body)]);
    laptop.submit(&server, &batch).unwrap();
    let ticket = laptop.ticket(&server).unwrap();
    let before = laptop.pull(&server);

    server.restart();
    assert_eq!(laptop.pull(&server), before);
    assert_eq!(laptop.get_chunks(&server, &[chunk.to_ref()]).unwrap().len(), 1);
    let again = laptop.submit_bytes(&server, batch.bytes().to_vec()).unwrap();
    assert!(matches!(again, BatchOutcome::AlreadyAdmitted { .. }));
    laptop.issue(&server, vec![folder("more")]);
    server.link(Credential::Ticket(ticket.code)).unwrap();
    assert_eq!(server.link_as("ana").namespace, laptop.namespace);
}

#[test]
fn a_file_tells_its_versions_and_what_it_held() {
    let server = TestServer::new();
    server.add_user("ana");
    let mut laptop = server.link_as("ana");
    let (fact, body, one) = file("notes", b"one");
    let (_, body2, two) = file("notes", b"two");
    laptop.send_chunks(&server, &[one, two.clone()]).unwrap();
    let entry = laptop.issue(&server, vec![(fact, body)]);
    let parents = [entry].into_iter().collect();
    let edit = Fact::VersionUploaded { entry: EntryId(entry), parents };
    let content = body2.as_ref().unwrap().content.clone();
    let second = laptop.issue(&server, vec![(edit, body2.map(|body| Body { name: None, ..body }))]);
    let versions: Vec<VersionInfo> = laptop.get_json(&server, &format!("entries/{entry}/versions")).unwrap();
    let heads: Vec<(Dot, bool)> = versions.iter().map(|version| (version.version, version.head)).collect();
    assert_eq!(heads, [(entry, false), (second, true)]);
    let at: Content =
        laptop.get_json(&server, &format!("entries/{entry}/versions/{second}/content")).unwrap();
    assert_eq!(Some(at), content);
    let home: Answer<Vec<u8>> = server.web.bytes(|client| client.get(server.url("namespaces/home/files/x")));
    let home = home.unwrap_err();
    assert!(home.code == Code::NotFound && !home.detail.contains("deserialize"), "{home}");
    assert!(home.detail.contains("ids are hex digits"), "{home}");
    let nobody = Dot::new(laptop.id(), 99);
    let unknown = laptop.get_json::<Vec<VersionInfo>>(&server, &format!("entries/{nobody}/versions"));
    assert_eq!(code(unknown), Code::NotFound);
}
