//! The live feed of a real server: a head comes after an append, after a gap, and to nobody who may not read; whoever
//! vanishes leaves nothing behind.

use crate::{place::until, support::*};
use annals::server::Config;
use annals_engine::protocol::{Code, FeedEnd, FeedHead, FeedQuery};
use annals_events::{Body, Fact, Hash, NamespaceId, Role, Seq};
use reqwest::Method;
use std::{io::Read, net::TcpStream, time::Duration};
use tungstenite::{Error, Message, WebSocket, client::IntoClientRequest};

/// A device that listens.
struct Ear(WebSocket<TcpStream>);

/// How a device's request to listen went.
fn listen(server: &TestServer, device: &Device, after: u64) -> Result<Ear, u16> {
    let address = server.serving().address();
    let url = format!("ws://{address}/v1/namespaces/{}/live?after={after}", device.namespace);
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", device.linked.token).parse().unwrap());
    let stream = TcpStream::connect(address).unwrap();
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(Ear(socket)),
        Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

impl Ear {
    fn hears(&mut self) -> FeedHead {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the end: what the close frame says.
    fn ends(&mut self) -> String {
        loop {
            match self.0.read() {
                Ok(Message::Close(frame)) => return frame.unwrap().reason.to_string(),
                Ok(_) => {}
                Err(error) => panic!("it ended without a word: {error}"),
            }
        }
    }
}

fn server_with(beat: Duration) -> TestServer {
    let server = TestServer::with(|config: &mut Config| config.feed_beat = beat);
    server.add_user("ana");
    server.add_user("bob");
    server
}

/// A server whose beats come rarely: nothing that is awaited comes by one.
fn server() -> TestServer {
    server_with(Duration::from_secs(600))
}

fn at(server: &TestServer, device: &Device) -> u64 {
    device.namespaces(server).unwrap()[0].seq.0
}

#[test]
fn a_head_arrives_after_an_append_and_no_sooner() {
    let server = server();
    let mut laptop = server.link_as("ana");
    let phone = server.link_as("ana");
    let before = at(&server, &phone);
    let mut ear = listen(&server, &phone, before).unwrap();
    let dot = laptop.issue(&server, vec![folder("new")]);
    let heard = ear.hears();
    assert_eq!((heard.head.seq, heard.changed), (Seq(before + 1), true), "{dot}");
    let record = laptop.pull(&server).pop().unwrap();
    assert_eq!(heard.head.chain, record.admission().chain);
    assert_eq!(heard.log, laptop.linked.server.log);
}

#[test]
fn who_comes_back_after_a_gap_hears_the_newest_head_at_once_and_once() {
    let server = server();
    let mut laptop = server.link_as("ana");
    let phone = server.link_as("ana");
    let mut ear = listen(&server, &phone, 1).unwrap();
    let now = at(&server, &phone);
    assert_eq!(ear.hears().head.seq, Seq(now));
    drop(ear);
    for n in 0..5 {
        laptop.issue(&server, vec![folder(&format!("{n}"))]);
    }
    let mut ear = listen(&server, &phone, now).unwrap();
    assert_eq!(ear.hears().head.seq, Seq(now + 5));
    laptop.issue(&server, vec![folder("last")]);
    assert_eq!(ear.hears().head.seq, Seq(now + 6));
}

#[test]
fn who_vanishes_leaves_nothing_behind() {
    let server = server_with(Duration::from_millis(20));
    let phone = server.link_as("ana");
    let now = at(&server, &phone);
    // Gone with a word, and without one.
    let ear = listen(&server, &phone, now).unwrap();
    assert_eq!(server.serving().listening(), 1);
    drop(ear);
    until("nobody listens", || server.serving().listening() == 0);
    // Still there, and silent: as behind a network that was cut.
    let mut silent = listen(&server, &phone, now).unwrap();
    until("nobody listens", || server.serving().listening() == 0);
    let mut rest = Vec::new();
    silent.0.get_mut().read_to_end(&mut rest).unwrap();
    // And whoever answers the beats stays: the head comes long after a silent one would have been let go of.
    let mut ear = listen(&server, &phone, now).unwrap();
    let mut beats = 0;
    while beats < 10 {
        beats += usize::from(matches!(ear.0.read().unwrap(), Message::Ping(_)));
        ear.0.flush().unwrap();
    }
    assert_eq!(server.serving().listening(), 1);
}

#[test]
fn a_device_that_is_retired_and_a_person_who_may_not_read_any_more_are_told() {
    let server = server();
    let mut ana = server.link_as("ana");
    let (phone, bob) = (server.link_as("ana"), server.link_as("bob"));
    let user = bob.linked.account.user;
    let body = Body { user_name: Some("bob".into()), ..Body::default() };
    ana.issue(&server, vec![(Fact::MemberGranted { user, role: Role::Viewer }, Some(body))]);
    let guest = server.link_to(password("bob"), Some("ana/home")).unwrap();
    assert_eq!(guest.namespace, ana.namespace);
    let now = at(&server, &ana);
    let (mut phones, mut guests) =
        (listen(&server, &phone, now).unwrap(), listen(&server, &guest, now).unwrap());
    ana.pull(&server);
    ana.issue(&server, vec![(Fact::MemberRevoked { user }, None)]);
    assert_eq!(guests.ends(), Code::UnknownNamespace.word());
    assert_eq!(listen(&server, &guest, now).err(), Some(404));
    assert_eq!(phones.hears().head.seq, Seq(now + 1));
    let retire = format!("devices/{}/retire", phone.id());
    server.web.bytes(|client| ana.request(client, &server, Method::POST, &retire)).unwrap();
    // It is cut off in the namespace first, and everywhere by its token then: it hears of the one or the other.
    let end = phones.ends();
    assert!([Code::DeviceRetired, Code::TokenRevoked].map(Code::word).contains(&end.as_str()), "{end}");
    assert_eq!(listen(&server, &phone, now).err(), Some(401));
    until("only nobody listens", || server.serving().listening() == 0);
}

#[test]
fn a_device_that_listens_too_often_is_let_go_of_where_it_began() {
    let server = server();
    let phone = server.link_as("ana");
    let now = at(&server, &phone);
    let mut ears: Vec<Ear> = (0..5).map(|_| listen(&server, &phone, now).unwrap()).collect();
    assert_eq!(ears[0].ends(), FeedEnd::Replaced.word());
    assert_eq!(server.serving().listening(), 4);
}

#[test]
fn who_talks_on_the_feed_is_hung_up_on() {
    let server = server();
    let phone = server.link_as("ana");
    let now = at(&server, &phone);
    let mut ear = listen(&server, &phone, now).unwrap();
    ear.0.send(Message::text("hello")).unwrap();
    assert_eq!(ear.ends(), FeedEnd::Broken.word());
}

#[test]
fn a_server_that_stops_says_so() {
    let mut server = server();
    let phone = server.link_as("ana");
    let now = at(&server, &phone);
    let mut ear = listen(&server, &phone, now).unwrap();
    let serving = server.serving.take().unwrap();
    let stopped = std::thread::spawn(move || serving.stop());
    assert_eq!(ear.ends(), FeedEnd::Stopping.word());
    drop(ear);
    stopped.join().unwrap().unwrap();
}

#[test]
fn where_no_socket_is_possible_an_answer_waits() {
    let server = server();
    let mut laptop = server.link_as("ana");
    let phone = server.link_as("ana");
    let now = at(&server, &phone);
    let ask = |query: FeedQuery| {
        server
            .web
            .json::<FeedHead>(|client| phone.request(client, &server, Method::GET, "changes").query(&query))
    };
    let from = |after: u64, wait| FeedQuery { after: Seq(after), wait: Some(wait), ..FeedQuery::default() };
    // At once: there is something, the history is another, or nobody wants to wait.
    assert_eq!(ask(from(0, 100)).map(|heard| (heard.head.seq.0, heard.changed)), Ok((now, true)));
    let other = FeedQuery { chain: Some(Hash([9; 32])), ..from(now, 100) };
    assert!(ask(other).unwrap().changed);
    assert!(ask(from(now + 7, 100)).unwrap().changed);
    assert!(!ask(from(now, 0)).unwrap().changed);
    let elsewhere = FeedQuery { log: Some(NamespaceId([1; 16])), ..from(now, 100) };
    assert_eq!(ask(elsewhere).unwrap_err().code, Code::OtherLog);
    // At the end of the wait.
    assert!(!ask(from(now, 1)).unwrap().changed);
    // And in the middle of one that would last.
    let url = server.url(&format!("namespaces/{}/changes?after={now}&wait=100", phone.namespace));
    let token = phone.linked.token.clone();
    let asking = std::thread::spawn(move || {
        let (tls, _) = annals::transport::tls::client_config(None, false);
        let client =
            reqwest::blocking::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
        client.get(url).bearer_auth(token).send().unwrap().json::<FeedHead>().unwrap()
    });
    until("somebody waits", || server.serving().listening() == 1);
    laptop.issue(&server, vec![folder("new")]);
    let heard = asking.join().unwrap();
    assert_eq!((heard.head.seq.0, heard.changed), (now + 1, true));
    until("nobody waits", || server.serving().listening() == 0);
}

#[test]
fn a_plain_request_for_the_feed_is_told_what_is_missing() {
    let server = server();
    let phone = server.link_as("ana");
    let answer = server.web.bytes(|client| phone.request(client, &server, Method::GET, "live"));
    assert_eq!(answer.unwrap_err().code, Code::BadRequest);
    assert_eq!(server.serving().listening(), 0);
}
