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

    let saved = line(&one, "saved", "path=\"a.txt\"");
    let signed = line(&one, "signed", field(saved, "dot"));
    assert_eq!(field(signed, "trace"), field(saved, "trace"));
    let (trace, dot) = (field(signed, "trace"), field(signed, "dot"));
    let served = fs::read_to_string(log).unwrap();
    assert_eq!(field(line(&served, "admitted", trace), "dot"), dot);
    let answered = line(&served, "/batches", trace);
    assert_eq!((field(answered, "status"), field(answered, "method")), ("200", "POST"));
    assert!(!field(answered, "request").is_empty());
    let shown = line(&two, "shown", dot);
    assert_eq!(field(shown, "path"), "a.txt");
    assert_ne!(field(shown, "trace"), trace);
    let pulled = line(&two, "pulled", dot);
    assert_eq!(field(pulled, "trace"), field(shown, "trace"));
    // Nobody says of another's save that it is theirs, or of their own that it came.
    assert!(!one.contains(" shown ") && !two.contains(" saved "), "{one}\n{two}");
    assert!(!one.lines().any(|line| line.contains(" pulled ") && line.contains(dot)), "{one}");
}

#[test]
fn a_move_is_followed_to_the_device_that_pulled_it_and_one_of_several_by_its_batch() {
    let place = Place::with_server();
    place.write("one/old/a.txt", "text");
    place.link("ada", "one");
    place.link("ada", "two");
    place.rename("one/old", "one/new");
    place.write("one/b.txt", "b");
    place.write("one/c.txt", "c");
    let sync = |folder: &str| {
        said(place.command(&["sync", folder, "--once"]).env("ANNALS_LOG", "annals=debug")).ok().err
    };
    let (one, two) = (sync("one"), sync("two"));
    let log = place.annals(&["log", "one", "--json"]).ok().out;
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let within = |said: &str, word: &str, dot: &str| {
        let number = |dot: &str| dot.rsplit(':').next().unwrap().parse::<u64>().unwrap();
        said.lines().filter(|line| line.contains(&format!(" {word} "))).any(|line| {
            let (first, last) = (field(line, "dot"), field(line, "last").parse().unwrap());
            first.split(':').next() == dot.split(':').next() && (number(first)..=last).contains(&number(dot))
        })
    };
    let dot_of = |kind: &str, path: &str| {
        let event = events.iter().find(|event| event["kind"] == kind && event["path"] == path);
        event.unwrap_or_else(|| panic!("no {kind} of {path} in {log}"))["dot"].as_str().unwrap().to_owned()
    };
    for (kind, path) in [("entry_moved", "new"), ("entry_created", "b.txt"), ("entry_created", "c.txt")] {
        let dot = dot_of(kind, path);
        assert!(within(&one, "signed", &dot) && within(&two, "pulled", &dot), "{dot}\n{one}\n{two}");
    }
}
