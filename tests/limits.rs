//! What a server lets be done to itself: how often, how long, how it stops, and what it says of its work.

use crate::support::*;
use annals::{
    server::{Limits, openapi_json},
    transport::Http,
};
use annals_engine::protocol::{AccountChange, Code, Credential, OwnAccount, Problem, Quota};
use reqwest::{Method, StatusCode, header::HeaderMap};
use std::{
    io::{Read, Write},
    net::TcpStream,
    num::NonZeroU32,
    time::Duration,
};

const SHORT: Duration = Duration::from_millis(200);

fn limited(change: impl FnOnce(&mut Limits)) -> TestServer {
    TestServer::with(|config| change(&mut config.limits))
}

fn one() -> NonZeroU32 {
    NonZeroU32::new(1).unwrap()
}

/// Every route as it describes itself, with something in place of its parameters; and whether it takes a body.
fn routes(device: Option<&Device>) -> Vec<(Method, String, bool)> {
    let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
    let id = |name: &str| match (name, device) {
        ("namespace", Some(device)) => device.namespace.to_hex(),
        ("device" | "namespace", _) => "0".repeat(32),
        ("entry" | "version", _) => format!("{}:1", "0".repeat(32)),
        (other, _) => other.to_owned(),
    };
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| match part.strip_prefix('{') {
            Some(name) => id(name.trim_end_matches('}')),
            None => part.to_owned(),
        });
        let path = parts.collect::<Vec<_>>().join("/");
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            routes.push((method, path.clone(), operation.get("requestBody").is_some()));
        }
    }
    assert!(routes.len() > 25);
    routes
}

fn asked(server: &TestServer, method: &Method, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    let url = format!("{}{path}", server.serving().url());
    server.web.answer(|client| client.request(method.clone(), url))
}

fn problem(body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn every_route_says_when_it_is_asked_too_often_and_which_request_that_was() {
    let server = limited(|limits| limits.strangers_per_second = one());
    for (method, path, _) in routes(None) {
        let refused = (0..30).map(|_| asked(&server, &method, &path)).find(|answer| answer.0 == 429);
        let (_, headers, body) = refused.unwrap_or_else(|| panic!("{method} {path} has no limit"));
        let problem = problem(&body);
        assert_eq!(problem.code, Code::TooMany);
        assert_eq!(headers["retry-after"], problem.retry_after.unwrap().to_string().as_str());
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(headers["x-request-id"], document["request_id"].as_str().unwrap());
    }
    // Whoever shows a token is counted for themselves.
    let other = limited(|_| {});
    other.add_user("ana");
    let device = other.link_as("ana");
    (0..100).for_each(|_| drop(device.namespaces(&other).unwrap()));
}

/// Sends a head and no body, and answers with what comes.
fn without_body(server: &TestServer, device: &Device, method: &Method, path: &str) -> String {
    let mut stream = TcpStream::connect(server.serving().address()).unwrap();
    let token = &device.linked.token;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\n"
    )
    .unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[test]
fn every_route_that_takes_a_body_waits_for_it_no_longer_than_it_should() {
    let mut server = TestServer::new();
    server.add_user("ana");
    let device = server.link_as("ana");
    server.restart_with(|config| (config.limits.request, config.limits.silence) = (SHORT, SHORT));
    let mut tried = 0;
    for (method, path, _) in routes(Some(&device)).into_iter().filter(|(.., takes_body)| *takes_body) {
        let answer = without_body(&server, &device, &method, &path);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{method} {path}: {answer}");
        assert!(answer.contains("too-slow"), "{method} {path}: {answer}");
        tried += 1;
    }
    assert!(tried > 7);
}

#[test]
fn a_file_may_take_as_long_as_something_moves() {
    let mut server = TestServer::new();
    server.add_user("ana");
    let device = server.link_as("ana");
    server.restart_with(|config| config.limits.request = Duration::ZERO);
    // Whatever has to wait takes too long now: for argon2, say.
    let linked = server.link(password("ana")).map(|device| device.id());
    assert_eq!(linked.unwrap_err().code, Code::TooSlow);
    let put = server
        .web
        .bytes(|client| device.request(client, &server, Method::PUT, "files/a.txt").body(vec![7; 3 << 20]));
    put.unwrap();
    let got = server.web.bytes(|client| device.request(client, &server, Method::GET, "files/a.txt"));
    assert_eq!(got.unwrap().len(), 3 << 20);
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let server = limited(|limits| limits.head = SHORT);
    let mut stream = TcpStream::connect(server.serving().address()).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHo").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn passwords_are_tried_a_few_times_a_minute_and_a_right_one_as_often_as_one_likes() {
    let server = TestServer::new();
    for name in ["ana", "bob"] {
        server.add_user(name);
    }
    let namespaces = |name: &str, password: &str| {
        let url = server.url("namespaces");
        server.web.answer(|client| client.get(url).basic_auth(name, Some(password))).0.as_u16()
    };
    (0..20).for_each(|_| assert_eq!(namespaces("bob", PASSWORD), 200));
    let tries: Vec<u16> = (0..7).map(|n| namespaces("ana", &format!("wrong password {n}"))).collect();
    assert_eq!(tries, [401, 401, 401, 401, 401, 429, 429]);
    // Not even the right one, and by no other door; others get in.
    assert_eq!(namespaces("ana", PASSWORD), 429);
    let refused = server.link(password("ana")).map(|device| device.id()).unwrap_err();
    assert_eq!(refused.code, Code::TooMany);
    assert!(refused.retry_after.unwrap() <= 61);
    assert_eq!(namespaces("bob", PASSWORD), 200);
    let wrong = Credential::Password { user: "bob".into(), password: "another".into() };
    assert_eq!(server.link(wrong).map(|device| device.id()).unwrap_err().code, Code::WrongPassword);
}

#[test]
fn a_client_that_is_asked_to_wait_does() {
    let server = limited(|limits| limits.strangers_per_second = one());
    let http = Http::new(&server.serving().url(), None).unwrap();
    (0..12).for_each(|_| drop(http.server().unwrap()));
    let asked = (0..12).map(|_| asked(&server, &Method::GET, "/healthz").0).find(|status| *status == 429);
    assert!(asked.is_some(), "the client was never asked to wait");
}

// Stopping, and whether it takes requests.

#[test]
fn a_server_that_is_told_to_stop_finishes_what_is_under_way_and_takes_nothing_new() {
    let mut server = TestServer::new();
    server.add_user("ana");
    let device = server.link_as("ana");
    let address = server.serving().address();
    let mut stream = TcpStream::connect(address).unwrap();
    let (namespace, token) = (device.namespace, &device.linked.token);
    write!(
        stream,
        "PUT /v1/namespaces/{namespace}/files/a.txt HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
    )
    .unwrap();
    // It is at work on this request.
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 100 "));
    stream.write_all(b"01234").unwrap();
    server.serving().stopper().stop();
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    stream.write_all(b"56789").unwrap();
    let read = stream.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer[..read]));
    drop(stream);
    server.restart();
    let got = server.web.bytes(|client| device.request(client, &server, Method::GET, "files/a.txt"));
    assert_eq!(got.unwrap(), b"0123456789");
}

#[test]
fn a_server_is_ready_while_its_disk_takes_what_is_written() {
    let server = TestServer::new();
    assert_eq!(asked(&server, &Method::GET, "/readyz").0, 200);
    let probe = server.data.path().join("data/ready.probe");
    assert!(!probe.exists());
    std::fs::create_dir(&probe).unwrap();
    let (status, _, body) = asked(&server, &Method::GET, "/readyz");
    assert_eq!((status.as_u16(), problem(&body).code), (503, Code::LogUnavailable));
    assert_eq!(asked(&server, &Method::GET, "/healthz").0, 200);
}

// What it counts.

#[test]
fn the_metrics_of_a_little_history_are_those_of_their_formulas() {
    let server = TestServer::new();
    server.add_user("ana");
    let (device, mut other) = (server.link_as("ana"), server.link_as("ana"));
    // Nothing of this is smaller when it is compressed.
    let bytes: Vec<u8> =
        (0_u32..1000).flat_map(|n| annals_events::Hash::of(b"", &[&n.to_be_bytes()]).0).collect();
    for name in ["a", "b", "c", "d"] {
        let put = server.web.bytes(|client| {
            device.request(client, &server, Method::PUT, &format!("files/{name}")).body(bytes.clone())
        });
        put.unwrap();
    }
    other.pull(&server);
    let page = String::from_utf8(asked(&server, &Method::GET, "/metrics").2).unwrap();
    let value = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("annals_versions_total"), 4.0);
    assert_eq!(value("annals_content_bytes_total"), 4.0 * 32_000.0);
    // Stored once, sent four times.
    assert_eq!(value("annals_dedup_ratio"), 4.0);
    assert!((value("annals_storage_efficiency") - 4.0).abs() < 0.01);
    assert_eq!(value("annals_bandwidth_savings"), 0.0);
    assert_eq!(value("annals_conflict_rate"), 0.0);
    assert!(value("annals_records_handed_on_total") >= 4.0);
    assert!(value("annals_avg_sync_time_seconds") < 60.0);
    assert_eq!(
        value("annals_requests_total{route=\"/v1/namespaces/{namespace}/files/{path:.*}\",status=\"2xx\"}"),
        4.0
    );
    // Nobody's names are in there.
    assert!(!page.contains(&device.namespace.to_hex()) && !page.contains("ana\""));
}

// Accounts that change.

#[test]
fn a_changed_password_and_quota_hold_at_once_and_after_a_restart_and_devices_stay() {
    let mut server = TestServer::new();
    server.add_user_with("ana", Quota::Bytes(100));
    let device = server.link_as("ana");
    let put = |server: &TestServer, name: &str| {
        let route = format!("files/{name}");
        let body = name.repeat(60);
        server.web.bytes(|client| device.request(client, server, Method::PUT, &route).body(body)).map(drop)
    };
    put(&server, "a").unwrap();
    assert_eq!(put(&server, "b").unwrap_err().code, Code::Quota);
    let change = |server: &TestServer, token: &str, change: AccountChange| -> Answer<OwnAccount> {
        server.web.json(|client| client.put(server.url("accounts/ana")).bearer_auth(token).json(&change))
    };
    let admin = server.serving().admin_token().to_owned();
    let more = AccountChange { quota: Some(Quota::Bytes(1000)), password: None };
    assert_eq!(change(&server, &device.linked.token, more.clone()).unwrap_err().code, Code::AdminToken);
    let changed = change(&server, &admin, more).unwrap();
    assert_eq!((changed.quota, changed.used), (Some(1000), 60));
    put(&server, "b").unwrap();
    // The password is the one before until it is changed, too.
    server.link_as("ana");
    let other = AccountChange { password: Some("another password".into()), quota: None };
    assert_eq!(change(&server, &admin, other).unwrap().quota, Some(1000));
    for _ in 0..2 {
        let tried = |password: &str| {
            let credential = Credential::Password { user: "ana".into(), password: password.into() };
            server.link(credential).map(|device| device.id()).map_err(|problem| problem.code)
        };
        assert_eq!(tried(PASSWORD), Err(Code::WrongPassword));
        assert!(tried("another password").is_ok());
        put(&server, "c").unwrap();
        server.restart();
    }
}

#[test]
fn a_ticket_ends_with_the_device_that_made_it_and_with_no_other() {
    let mut server = TestServer::new();
    server.add_user("ana");
    let (laptop, phone) = (server.link_as("ana"), server.link_as("ana"));
    let retire = |by: &Device, whom: &Device| {
        let route = format!("devices/{}/retire", whom.id());
        server.web.bytes(|client| by.request(client, &server, Method::POST, &route)).unwrap();
    };
    let (of_phone, of_laptop) = (phone.ticket(&server).unwrap(), laptop.ticket(&server).unwrap());
    retire(&laptop, &phone);
    let refused = server.link(Credential::Ticket(of_phone.code)).err().map(|problem| problem.code);
    assert_eq!(refused, Some(Code::TicketEnded));
    let tablet = server.link(Credential::Ticket(of_laptop.code)).unwrap();
    // Nobody knows any more who made it once the server began anew: then it goes as well.
    let before = tablet.ticket(&server).unwrap();
    server.restart();
    let route = format!("devices/{}/retire", tablet.id());
    server.web.bytes(|client| laptop.request(client, &server, Method::POST, &route)).unwrap();
    assert!(server.link(Credential::Ticket(before.code)).is_err());
}

#[test]
fn who_takes_nothing_of_what_is_sent_is_let_go_of() {
    let server = limited(|limits| limits.silence = SHORT);
    server.add_user("ana");
    let device = server.link_as("ana");
    let url = server.url(&format!("namespaces/{}/files/large.bin", device.namespace));
    let large = vec![7_u8; 48 << 20];
    server.web.bytes(|client| client.put(&url).basic_auth("ana", Some(PASSWORD)).body(large)).unwrap();
    let mut stream = TcpStream::connect(server.serving().address()).unwrap();
    let login = "YW5hOmNvcnJlY3QgaG9yc2U="; // ana:correct horse
    let path = url.split_once("/v1/").unwrap().1;
    write!(stream, "GET /v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\n\r\n").unwrap();
    let ports = [server.serving().address().port(), stream.local_addr().unwrap().port()];
    let [here, there] = ports.map(|port| format!(":{port:04X} "));
    let is_connected = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table
            .lines()
            .any(|line| line.find(&here).zip(line.find(&there)).is_some_and(|(here, there)| here < there))
    };
    assert!(is_connected());
    crate::place::until("nobody is connected", || !is_connected());
}
