//! Servers that answer in ways of their own: one that asks to be left alone, and how long it is asked again all the same;
//! one that does not say what it was asked.

use super::*;
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
};

/// Answers every request so, after it did `then`; how many there were, once nobody can ask any more.
fn answering(
    status: &'static str,
    body: Vec<u8>,
    then: impl Fn() + Send + 'static,
) -> (Http, impl FnOnce() -> u32) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&stream);
            counted.fetch_add(1, Ordering::Relaxed);
            then();
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        }
    });
    (Http::new(&format!("http://{address}"), None).unwrap(), move || asked.load(Ordering::Relaxed))
}

/// All of it: a connection that is closed with something unread takes the answer along.
fn read_request(stream: &TcpStream) {
    let (mut reader, mut line, mut length) = (BufReader::new(stream), String::new(), 0);
    while reader.read_line(&mut line).unwrap() > "\r\n".len() {
        let field = line.to_ascii_lowercase();
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
}

/// Answers every request with 429 and one second to wait, after it did `then`.
fn busy(then: impl Fn() + Send + 'static) -> (Http, impl FnOnce() -> u32) {
    let problem = Problem { retry_after: Some(1), ..Problem::plain(Code::TooMany) };
    answering("429 Busy", serde_json::to_vec(&problem).unwrap(), then)
}

#[test]
fn a_server_that_says_nothing_about_what_was_handed_over_is_named() {
    let (http, _) = answering("200 OK", protocol::to_cbor(&Outcomes::default()), || ());
    let batches = Batches { batches: vec![serde_bytes::ByteBuf::from(b"a batch")], brief: true };
    let failed = http.submit(NamespaceId::default(), &batches).unwrap_err();
    assert!(matches!(&failed, TransportError::Malformed { server, .. } if *server == http.base), "{failed}");
}

#[test]
fn a_server_that_always_asks_for_time_is_not_asked_for_ever() {
    let (http, asked) = busy(|| ());
    let refused = http.server().unwrap_err();
    assert_eq!(refused.asked_wait_ms(), Some(1000), "{refused}");
    assert_eq!(u64::from(asked()), 1 + Http::WAIT.as_secs());
}

#[test]
fn who_is_told_to_end_while_a_server_asked_for_time_ends_at_once() {
    let (mut http, asked) = busy(|| ());
    // Whoever waits so long has not heard.
    http.wait_by(Some(Arc::new(|time| time == Duration::from_secs(1))));
    assert_eq!(http.server().unwrap_err().asked_wait_ms(), Some(1000));
    assert_eq!(asked(), 1);
}

#[test]
fn who_pauses_while_a_server_asked_for_time_is_not_kept_asking() {
    let folder = tempfile::tempdir().unwrap();
    let paused = folder.path().join("paused");
    let file = paused.clone();
    let (mut http, asked) = busy(move || std::fs::write(&file, "").unwrap());
    http.pause_by(paused);
    assert_eq!(http.server(), Err(TransportError::Paused));
    assert_eq!(asked(), 1);
}
