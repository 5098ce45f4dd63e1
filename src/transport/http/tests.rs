//! A server that asks to be left alone, and how long it is asked again all the same.

use super::*;
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

/// Answers every request with 429 and one second to wait, after it did `then`; how many there were, once nobody can ask
/// any more.
fn busy(then: impl Fn() + Send + 'static) -> (Http, impl FnOnce() -> u32) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
            counted.fetch_add(1, Ordering::Relaxed);
            then();
            let problem = Problem { retry_after: Some(1), ..Problem::plain(Code::TooMany) };
            let body = serde_json::to_string(&problem).unwrap();
            let length = body.len();
            let head = format!("HTTP/1.1 429 Busy\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (Http::new(&format!("http://{address}"), None).unwrap(), move || asked.load(Ordering::Relaxed))
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
