//! Files as such: what curl and scripts do with a namespace, and what devices make of it.

use crate::{place::Place, support::*};
use annals_engine::protocol::{Code, Quota};
use reqwest::{Method, StatusCode, header::HeaderMap};
use std::fs;

/// A request about a file, as ana.
fn ask(
    server: &TestServer,
    device: &Device,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> (StatusCode, HeaderMap, Vec<u8>) {
    server.web.answer(|client| {
        let request = device.request(client, server, method, &format!("files/{path}")).body(body.into());
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    })
}

fn etag(headers: &HeaderMap) -> String {
    headers["etag"].to_str().unwrap().to_owned()
}

fn code_of(body: &[u8]) -> Code {
    serde_json::from_slice::<annals_engine::protocol::Problem>(body).unwrap().code
}

fn names(server: &TestServer, device: &Device, folder: &str) -> Vec<String> {
    let (status, _, body) = ask(server, device, Method::GET, folder, &[], "");
    assert_eq!(status, 200);
    let lines: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    lines.iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_file_is_put_read_replaced_and_removed_by_its_path_and_by_its_version() {
    let server = TestServer::new();
    server.add_user("ana");
    let device = server.link_as("ana");
    let path = "letters/to%20Bob/Gr%C3%BC%C3%9Fe%25.txt";
    let (status, first, _) = ask(&server, &device, Method::PUT, path, &[], "dear Bob");
    assert_eq!(status, 201);
    // The same again is no event.
    let (status, again, _) = ask(&server, &device, Method::PUT, path, &[], "dear Bob");
    assert_eq!((status.as_u16(), etag(&again)), (200, etag(&first)));
    let (status, headers, body) = ask(&server, &device, Method::GET, path, &[], "");
    assert_eq!((status.as_u16(), body.as_slice()), (200, &b"dear Bob"[..]));
    assert_eq!(etag(&headers), etag(&first));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["content-disposition"], "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe%25.txt");
    let (status, headers, body) = ask(&server, &device, Method::HEAD, path, &[], "");
    assert_eq!((status.as_u16(), &headers["content-length"], body.len()), (200, &"8".parse().unwrap(), 0));
    assert_eq!(names(&server, &device, ""), ["letters"]);
    assert_eq!(names(&server, &device, "letters/to%20Bob"), ["Grüße%.txt"]);

    // Only in place of what one knows.
    let known = etag(&first);
    let (status, second, _) =
        ask(&server, &device, Method::PUT, path, &[("if-match", &known)], "dear Bob, again");
    assert_eq!(status, 200);
    for (method, headers) in [
        (Method::PUT, ("if-match", known.as_str())),
        (Method::PUT, ("if-none-match", "*")),
        (Method::DELETE, ("if-match", &known)),
        (Method::GET, ("if-match", &known)),
    ] {
        let (status, _, body) = ask(&server, &device, method.clone(), path, &[headers], "other");
        assert_eq!((status.as_u16(), code_of(&body)), (412, Code::Precondition), "{method} {headers:?}");
    }
    let (status, ..) = ask(&server, &device, Method::GET, path, &[("if-none-match", &etag(&second))], "");
    assert_eq!(status, 304);

    // What is no file is told.
    let too_deep = "d/".repeat(300) + "f";
    for (method, path, status, code) in [
        (Method::PUT, too_deep.as_str(), 413, Code::TooLarge),
        (Method::PUT, "letters", 409, Code::NotAFile),
        (Method::PUT, "letters/to%20Bob/Gr%C3%BC%C3%9Fe%25.txt/below", 409, Code::NotAFile),
        (Method::PUT, "", 409, Code::NotAFile),
        (Method::PUT, ".annals/key", 400, Code::ReservedName),
        (Method::PUT, "a/%00/b", 400, Code::BadName),
        (Method::GET, "nothing", 404, Code::NotFound),
        (Method::DELETE, "nothing", 404, Code::NotFound),
        (Method::DELETE, "", 409, Code::NotAFile),
    ] {
        let (found, _, body) = ask(&server, &device, method.clone(), path, &[], "x");
        assert_eq!((found.as_u16(), code_of(&body)), (status, code), "{method} {path}");
    }
    let (status, ..) = ask(&server, &device, Method::DELETE, path, &[("if-match", &etag(&second))], "");
    assert_eq!(status, 204);
    assert!(names(&server, &device, "letters/to%20Bob").is_empty());
    let (status, ..) = ask(&server, &device, Method::PUT, "letters/a/b/c", &[], "deep");
    assert_eq!(status, 201);
    assert_eq!(ask(&server, &device, Method::DELETE, "letters", &[], "").0, 204);
    assert!(names(&server, &device, "").is_empty());
}

#[test]
fn a_path_that_is_no_text_is_refused_and_not_guessed_at() {
    let server = TestServer::new();
    server.add_user("ana");
    let device = server.link_as("ana");
    for method in [Method::PUT, Method::GET, Method::HEAD, Method::DELETE] {
        let (status, _, body) = ask(&server, &device, method.clone(), "caf%E9/a.txt", &[], "text");
        assert_eq!(status, 400, "{method}");
        if method != Method::HEAD {
            assert!(String::from_utf8_lossy(&body).contains("percent-encode"), "{method}");
        }
    }
    assert!(names(&server, &device, "").is_empty());
    assert_eq!(ask(&server, &device, Method::PUT, "caf%C3%A9/a.txt", &[], "text").0, 201);
    assert_eq!(names(&server, &device, ""), ["café"]);
}

#[test]
fn who_shows_nothing_is_told_how_to_show_a_password_or_a_token() {
    let server = TestServer::new();
    let told = |path: &str| -> Vec<String> {
        let (status, headers, _) = server.web.answer(|client| client.get(server.url(path)));
        assert_eq!(status, 401, "{path}");
        headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let both = ["Basic realm=\"annals\", charset=\"UTF-8\"", "Bearer"];
    assert_eq!(told("namespaces"), both);
    assert_eq!(told(&format!("namespaces/{}/files/a", "0".repeat(32))), both);
    // Where only a device gets in, nobody is asked for a password.
    assert_eq!(told(&format!("namespaces/{}/records", "0".repeat(32))), ["Bearer"]);
    // A password does not make an admin.
    let (status, headers, _) = server.web.answer(|client| client.post(server.url("accounts")).body("{}"));
    let told: Vec<_> = headers.get_all("www-authenticate").iter().map(|value| value.as_bytes()).collect();
    assert_eq!((status.as_u16(), told), (401, vec![&b"Bearer"[..]]));
}

#[test]
fn what_is_asked_in_a_way_that_a_route_does_not_take_is_told_which_ways_it_does() {
    let server = TestServer::new();
    server.add_user("ana");
    let device = server.link_as("ana");
    let files = format!("namespaces/{}/files/a.txt", device.namespace);
    let (post, patch, delete) = (Method::POST, Method::PATCH, Method::DELETE);
    for (method, path, allowed) in [
        (&post, files.as_str(), "GET, HEAD, PUT, DELETE"),
        (&patch, &files, "GET, HEAD, PUT, DELETE"),
        (&post, "server", "GET, HEAD"),
        (&delete, "namespaces", "GET, HEAD, POST"),
        (&delete, "link", "POST"),
    ] {
        let (status, headers, body) =
            server.web.answer(|client| client.request(method.clone(), server.url(path)));
        assert_eq!((status.as_u16(), code_of(&body)), (405, Code::Method), "{method} {path}");
        assert_eq!(headers["allow"], allowed, "{method} {path}");
        assert!(
            headers.contains_key("x-request-id") && String::from_utf8_lossy(&body).contains("request_id")
        );
    }
    // Who looks after a server asks for heads.
    for path in ["healthz", "readyz", "v1/server", "v1/openapi.json"] {
        let url = format!("{}/{path}", server.serving().url());
        let (status, headers, body) = server.web.answer(|client| client.head(&url));
        let whole = server.web.answer(|client| client.get(&url)).2.len().to_string();
        assert_eq!((status.as_u16(), body.len()), (200, 0), "{path}");
        assert_eq!(headers["content-length"], whole.as_str(), "{path}");
    }
}

#[test]
fn conditions_and_parts_are_taken_as_http_has_them() {
    let server = TestServer::new();
    server.add_user("ana");
    let device = server.link_as("ana");
    let (_, first, _) = ask(&server, &device, Method::PUT, "a", &[], "0123456789");
    let known = etag(&first);
    let weak = format!("W/{known}");
    let several = format!("\"other\", {known}");
    let any = "*";
    // Nothing of this changes anything.
    for (method, headers, status) in [
        (Method::GET, ("range", "bytes=0-3"), 206),
        (Method::GET, ("range", "bytes=-3"), 206),
        (Method::GET, ("range", "bytes=0-1,4-5"), 200),
        (Method::GET, ("range", "bytes=10-"), 416),
        (Method::HEAD, ("range", "bytes=0-3"), 200),
        (Method::HEAD, ("range", "bytes=10-"), 200),
        (Method::GET, ("if-none-match", known.as_str()), 304),
        (Method::GET, ("if-none-match", &weak), 304),
        (Method::GET, ("if-none-match", &several), 304),
        (Method::GET, ("if-none-match", any), 304),
        (Method::HEAD, ("if-none-match", &known), 304),
        (Method::GET, ("if-match", &known), 200),
        (Method::GET, ("if-match", any), 200),
        (Method::GET, ("if-match", "\"other\""), 412),
        (Method::PUT, ("if-match", &weak), 412),
        (Method::PUT, ("if-none-match", &weak), 412),
        (Method::PUT, ("if-none-match", any), 412),
        (Method::PUT, ("if-match", "\"other\""), 412),
        (Method::PUT, ("if-match", "\u{e9}"), 412),
        (Method::PUT, ("if-match", ""), 412),
        (Method::DELETE, ("if-match", &weak), 412),
        (Method::DELETE, ("if-none-match", any), 412),
        (Method::PUT, ("content-range", "bytes 0-1/10"), 400),
        (Method::PUT, ("content-encoding", "gzip"), 415),
    ] {
        let (found, answer, body) = ask(&server, &device, method.clone(), "a", &[headers], "xx");
        assert_eq!(found.as_u16(), status, "{method} {headers:?}");
        if status >= 400 {
            assert!(String::from_utf8_lossy(&body).contains("request_id"), "{method} {headers:?}");
        }
        if status == 416 {
            assert_eq!(answer["content-range"], "bytes */10");
        }
        if method == Method::HEAD && status == 200 {
            assert_eq!(answer["content-length"], "10");
        }
    }
    let (status, headers, body) = ask(&server, &device, Method::GET, "a", &[], "");
    assert_eq!((status.as_u16(), etag(&headers), body.as_slice()), (200, known, &b"0123456789"[..]));
    // Two headers of one name are one list.
    let (status, ..) = ask(
        &server,
        &device,
        Method::PUT,
        "a",
        &[("if-match", "\"other\""), ("if-match", &etag(&first))],
        "y",
    );
    assert_eq!(status, 200);
    assert_eq!(ask(&server, &device, Method::PUT, "a", &[("content-encoding", "identity")], "z").0, 200);
    // Of what is not there nothing can be asked but that it is not.
    for (method, headers, status) in [
        (Method::PUT, ("if-match", any), 412),
        (Method::GET, ("if-match", any), 404),
        (Method::DELETE, ("if-match", any), 404),
        (Method::PUT, ("if-none-match", any), 201),
    ] {
        let (found, ..) = ask(&server, &device, method.clone(), "b", &[headers], "x");
        assert_eq!(found.as_u16(), status, "{method} {headers:?}");
    }
}

#[test]
fn any_part_of_a_large_file_is_read_and_its_next_version_shares_its_chunks() {
    let server = TestServer::new();
    server.add_user("ana");
    let device = server.link_as("ana");
    // Many chunks, listed by a manifest; no two megabytes alike.
    let mut state = 1_u64;
    let plain: Vec<u8> = (0..20 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    let (status, headers, _) = ask(&server, &device, Method::PUT, "large", &[], plain.clone());
    assert_eq!(status, 201);
    assert_eq!(ask(&server, &device, Method::GET, "large", &[], "").2, plain);
    for (from, to) in [(0, 0), (5 << 20, 12 << 20), (plain.len() - 7, plain.len() - 1)] {
        let range = format!("bytes={from}-{to}");
        let (status, headers, body) = ask(&server, &device, Method::GET, "large", &[("range", &range)], "");
        assert_eq!((status.as_u16(), body == plain[from..=to]), (206, true), "{range}");
        assert_eq!(headers["content-range"], format!("bytes {from}-{to}/{}", plain.len()).as_str());
    }
    let (status, refused, body) =
        ask(&server, &device, Method::GET, "large", &[("range", "bytes=99999999-")], "");
    assert_eq!((status.as_u16(), code_of(&body)), (416, Code::Range));
    assert_eq!(refused["content-range"], format!("bytes */{}", plain.len()).as_str());
    let stored = server.serving().chunks().stats().unwrap().stored_bytes;
    let mut longer = b"one more line".to_vec();
    longer.extend(&plain);
    assert_eq!(ask(&server, &device, Method::PUT, "large", &[], longer.clone()).0, 200);
    let more = server.serving().chunks().stats().unwrap().stored_bytes - stored;
    assert!(more < 1 << 20, "{more} bytes more");
    // Of another version than the one that the range is of, all comes.
    let range = [("range", "bytes=0-3"), ("if-range", &etag(&headers))];
    let (status, _, body) = ask(&server, &device, Method::GET, "large", &range, "");
    assert_eq!((status.as_u16(), body == longer), (200, true));
}

#[test]
fn roles_and_quotas_hold_for_files_as_for_devices() {
    let server = TestServer::new();
    server.add_user_with("ana", Quota::Bytes(100));
    let bob = server.add_user("bob");
    let (mut device, stranger) = (server.link_as("ana"), server.link_as("bob"));
    assert_eq!(ask(&server, &device, Method::PUT, "a", &[], vec![1; 60]).0, 201);
    let (status, _, body) = ask(&server, &device, Method::PUT, "b", &[], vec![2; 60]);
    assert_eq!((status.as_u16(), code_of(&body)), (413, Code::Quota));
    let as_bob = |method: Method, path: &str| {
        let url = server.url(&format!("namespaces/{}/files/{path}", device.namespace));
        let (status, _, body) = server
            .web
            .answer(|client| client.request(method, url).bearer_auth(&stranger.linked.token).body("x"));
        (status.as_u16(), (status != 200).then(|| code_of(&body)))
    };
    assert_eq!(as_bob(Method::GET, "a"), (404, Some(Code::UnknownNamespace)));
    device.pull(&server);
    share(&mut device, &server, bob.user, annals_events::Role::Viewer);
    let as_bob = |method: Method, path: &str| {
        let url = server.url(&format!("namespaces/{}/files/{path}", device.namespace));
        let (status, _, body) = server
            .web
            .answer(|client| client.request(method, url).bearer_auth(&stranger.linked.token).body("x"));
        (status.as_u16(), (status != 200).then(|| code_of(&body)))
    };
    assert_eq!(as_bob(Method::GET, "a"), (200, None));
    assert_eq!(as_bob(Method::PUT, "c"), (403, Some(Code::Forbidden)));
    assert_eq!(as_bob(Method::DELETE, "a"), (403, Some(Code::Forbidden)));
    // Nobody gets in without saying who they are.
    let url = server.url(&format!("namespaces/{}/files/a", device.namespace));
    assert_eq!(server.web.answer(|client| client.get(url)).0, 401);
}

fn share(device: &mut Device, server: &TestServer, user: annals_events::UserId, role: annals_events::Role) {
    let body = annals_events::Body { user_name: Some("bob".into()), ..annals_events::Body::default() };
    device.issue(server, vec![(annals_events::Fact::MemberGranted { user, role }, Some(body))]);
}

#[test]
fn scripts_and_folders_see_the_same_files() {
    let place = Place::with_server();
    place.write("one/a.txt", "text");
    place.link("ada", "one");
    let namespace = place.json(&["namespaces", "one", "--json"])[0]["namespace"].as_str().unwrap().to_owned();
    let files = format!("{}/v1/namespaces/{namespace}/files", place.url);
    place.annals(&["get", &format!("{files}/a.txt"), "--user", "ada"]).ok();
    assert_eq!(place.read("a.txt"), "text");
    place.write("b c.txt", "from a script");
    place.annals(&["put", "b c.txt", &format!("{files}/new/"), "--user", "ada"]).ok();
    place.sync("one").ok();
    assert_eq!(place.read("one/new/b c.txt"), "from a script");
    // Who did it is told, and its device is listed.
    let log = place.annals(&["log", "one"]).ok().out;
    assert!(log.contains("new/b c.txt"), "{log}");
    assert!(place.annals(&["devices", "one"]).ok().out.contains("HTTP "));
    // Only in place of what one knows.
    place.write("one/new/b c.txt", "from the folder");
    place.sync("one").ok();
    let url = format!("{files}/new/b%20c.txt");
    let old =
        place.json(&["history", "one/new/b c.txt", "--json"]).as_array().unwrap().last().unwrap()["version"]
            .as_str()
            .unwrap()
            .to_owned();
    place.annals(&["put", "b c.txt", &url, "--user", "ada", "--if-match", &old]).fails(1, "another version");
    let said = place.annals(&["get", &url, "-", "--user", "ada"]).ok();
    assert_eq!(said.out, "from the folder");
    // What cannot be had leaves nothing behind.
    place
        .annals(&["get", &format!("{files}/nothing"), "here.txt", "--user", "ada"])
        .fails(1, "no \"nothing\"");
    place
        .annals(&["get", &format!("{files}/a.txt"), "here.txt", "--user", "bob"])
        .fails(6, "no such namespace");
    place.annals(&["get", &place.url, "here.txt", "--user", "ada"]).fails(2, "no address of a file");
    let left = fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains("here.txt")));
    place.annals(&["verify", "--data", "server"]).ok();
    place.annals(&["verify", "one"]).ok();
}
