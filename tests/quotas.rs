//! How much one may store, and send at once.

use crate::support::*;
use annals_engine::protocol::{BATCHES_BYTES_MAX, Class, Code, JSON_BYTES_MAX, Linked, OwnAccount, Quota};
use reqwest::Method;

#[test]
fn a_quota_is_refused_before_content_is_sent_and_again_at_admission() {
    let server = TestServer::new();
    server.add_user_with("ana", Quota::Bytes(10));
    let mut laptop = server.link_as("ana");
    let (_, _, chunk) = file("large", b"eleven byte");
    let refused = laptop.missing(&server, &[chunk.to_ref()], 11).unwrap_err();
    assert_eq!((refused.code, refused.class(), refused.status), (Code::Quota, Class::Forbidden, 413));
    assert_eq!(code(laptop.send_chunks(&server, &[chunk])), Code::Quota);

    let (fact, body, six) = file("a", b"six by");
    let (fact2, body2, five) = file("b", b"five ");
    laptop.send_chunks(&server, &[six]).unwrap();
    laptop.send_chunks(&server, &[five]).unwrap();
    laptop.issue(&server, vec![(fact, body)]);
    let over = laptop.sign(vec![(fact2, body2)]);
    assert_eq!(laptop.refused(&server, over.bytes().to_vec()).code, Code::Quota);
    laptop.issue(&server, vec![folder("takes nothing")]);
    let account: OwnAccount = server
        .web
        .json(|client| client.get(server.url("account")).bearer_auth(&laptop.linked.token))
        .unwrap();
    assert_eq!((account.quota, account.used), (Some(10), 6));
}

#[test]
fn a_quota_spans_all_of_a_users_namespaces() {
    let server = TestServer::new();
    server.add_user_with("ana", Quota::Bytes(10));
    let mut home = server.link_as("ana");
    let (_, mut request) = server.link_request(password("ana"));
    (request.namespace, request.create) = (Some("photos".into()), true);
    let photos: Linked = server.post("link", &request).unwrap();
    let (fact, body, six) = file("a", b"six by");
    home.send_chunks(&server, &[six]).unwrap();
    home.issue(&server, vec![(fact, body)]);
    home.namespace = photos.namespace.id;
    assert_eq!(home.missing(&server, &[], 4).unwrap(), [] as [u32; 0]);
    assert_eq!(code(home.missing(&server, &[], 5)), Code::Quota);
}

#[test]
fn oversized_requests_are_refused_with_a_problem() {
    let server = TestServer::new();
    server.add_user("ana");
    let laptop = server.link_as("ana");
    let post =
        |route: &str, bytes: usize| {
            code(server.web.json::<()>(|client| {
                laptop.request(client, &server, Method::POST, route).body(vec![0; bytes])
            }))
        };
    assert_eq!(post("batches", BATCHES_BYTES_MAX * 2), Code::TooLarge);
    assert_eq!(post("chunks", 10 << 20), Code::TooLarge);
    assert_eq!(post("chunks/missing", 4 << 20), Code::TooLarge);
    let link =
        server.web.json::<()>(|client| client.post(server.url("link")).body(vec![b' '; JSON_BYTES_MAX + 1]));
    assert_eq!(code(link), Code::TooLarge);
    assert_eq!(laptop.refused(&server, vec![0; 600 * 1024]).code, Code::BatchTooLarge);
    let refused = server.web.json::<()>(|client| client.get(server.url("nothing/here")));
    assert_eq!(code(refused), Code::NotFound);
}
