//! A device behind a proxy that lets no WebSocket through hears of changes all the same: by answers that wait.

use crate::place::{Place, Running, until};
use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// What a proxy does with whoever asks for a WebSocket.
#[derive(Clone, Copy, Debug)]
enum Blocks {
    /// It says so, in words of its own.
    Refuses,
    /// It cannot do it.
    Fails,
    /// It passes the request on without what makes it one for a WebSocket.
    Strips,
    /// It hangs up.
    Cuts,
    /// The same, as rudely as TCP can.
    Resets,
}

/// The address of a proxy to `server`.
fn proxy(server: &str, blocks: Blocks) -> String {
    let server = server.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for device in listener.incoming().map_while(Result::ok) {
            let server = server.clone();
            thread::spawn(move || drop(pass(device, &server, blocks)));
        }
    });
    url
}

/// One connection, to its end.
fn pass(mut device: TcpStream, server: &str, blocks: Blocks) -> io::Result<()> {
    let mut reader = BufReader::new(device.try_clone()?);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && reader.read_until(b'\n', &mut head)? > 0 {}
    let is_upgrade = |line: &&str| {
        let line = line.to_lowercase();
        line.starts_with("upgrade:") || line.starts_with("connection: upgrade")
    };
    let text = String::from_utf8_lossy(&head).into_owned();
    let (asks, rest): (Vec<&str>, Vec<&str>) = text.split_inclusive("\r\n").partition(is_upgrade);
    let mut passed = text.clone();
    if !asks.is_empty() {
        match blocks {
            Blocks::Refuses => return device.write_all(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno"),
            Blocks::Fails => return device.write_all(b"HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n"),
            Blocks::Strips => passed = rest.concat(),
            Blocks::Cuts => return Ok(()),
            Blocks::Resets => {
                return Ok(rustix::net::sockopt::set_socket_linger(&device, Some(Duration::ZERO))?);
            }
        }
    }
    let mut server = TcpStream::connect(server)?;
    server.write_all(passed.as_bytes())?;
    let (mut from, mut to) = (server.try_clone()?, device.try_clone()?);
    let back = thread::spawn(move || io::copy(&mut from, &mut to));
    io::copy(&mut reader, &mut server)?;
    server.shutdown(std::net::Shutdown::Write)?;
    drop(back.join());
    Ok(())
}

#[test]
fn who_gets_no_socket_hears_of_changes_all_the_same() {
    for blocks in [Blocks::Refuses, Blocks::Fails, Blocks::Strips, Blocks::Cuts, Blocks::Resets] {
        let place = Place::with_server();
        place.write("one/a.txt", "text");
        place.link("ada", "one");
        let url = proxy(&place.url, blocks);
        place.annals(&["link", &url, "two", "--user", "ada", "--device", "two"]).ok();
        let remarks = fs::File::create(place.path("remarks")).unwrap();
        let mut daemon = Running::of_with(&mut place.command(&["sync", "two"]), remarks.into());
        daemon.says("in sync");
        for number in 0..2 {
            place.write("one/a.txt", &format!("{blocks:?} {number}"));
            place.sync("one").ok();
            let text = place.read("one/a.txt");
            until(&format!("{text:?} arrives"), || place.read("two/a.txt") == text);
        }
        until("all is well", || place.status("two")["state"] == "idle");
        assert_eq!(daemon.ends("TERM"), Some(0), "{blocks:?}");
        // The server was there all the time.
        assert!(!place.read("remarks").contains("offline"), "{blocks:?}: {}", place.read("remarks"));
    }
}
