//! A save can be followed from the device that made it to the one that shows it: docs/tracing.md.

use crate::place::{Place, said};
use std::{
    fs::{self, File},
    process::Stdio,
};

/// The value of a field in a log line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split(' ').next().unwrap().trim_matches('"')
}

/// The first line that says `what` and `of`.
fn line<'a>(log: &'a str, what: &str, of: &str) -> &'a str {
    let found = log.lines().find(|line| line.contains(what) && line.contains(of));
    found.unwrap_or_else(|| panic!("no {what} of {of:?} in\n{log}"))
}

#[test]
fn a_save_is_followed_by_its_dot_and_by_the_trace_of_its_round() {
    let mut place = Place::with_server();
    place.link("ada", "one");
    place.link("ada", "two");
    place.stop_server();
    let listen = place.url.strip_prefix("http://").unwrap().to_owned();
    let log = place.path("server.log");
    let mut serving = place
        .command(&["serve", "--data", "server", "--listen", &listen])
        .env("ANNALS_LOG", "annals=debug")
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    while place.annals(&["namespaces", "one"]).code != 0 {
        std::thread::yield_now();
    }
    place.write("one/a.txt", "text");
    let sync = |folder: &str| {
        said(place.command(&["sync", folder, "--once"]).env("ANNALS_LOG", "annals=debug")).ok().err
    };
    let (one, two) = (sync("one"), sync("two"));
    serving.kill().unwrap();
    serving.wait().unwrap();

    let signed = line(&one, "signed", "events=1");
    let (trace, dot) = (field(signed, "trace"), field(signed, "dot"));
    let served = fs::read_to_string(log).unwrap();
    assert_eq!(field(line(&served, "admitted", trace), "dot"), dot);
    let answered = line(&served, "/batches", trace);
    assert_eq!((field(answered, "status"), field(answered, "method")), ("200", "POST"));
    assert!(!field(answered, "request").is_empty());
    let shown = line(&two, "shown", dot);
    assert_eq!(field(shown, "path"), "a.txt");
    assert_ne!(field(shown, "trace"), trace);
}
