//! The shape of the code, as tests: who may use whom, what pure code may not name, that every file says
//! what it is. Cargo keeps the arrows between the crates; these keep the ones inside them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A folder or file of the root package's `src/`, and what of `src/` it may use beside itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("random", &[]),
    ("disk", &[]),
    ("content", &[]),
    ("chunk_store", &[]),
    ("transport", &["clock", "random"]),
    ("watch", &[]),
    ("whole", &[]),
    ("verification", &[]),
    ("actors", &["clock", "random", "chunk_store", "content", "whole"]),
    ("server", &["actors", "clock", "disk", "random", "chunk_store", "content", "whole"]),
    (
        "client",
        &["clock", "random", "disk", "content", "chunk_store", "transport", "verification", "watch", "whole"],
    ),
    (
        "cli",
        &[
            "client",
            "server",
            "actors",
            "clock",
            "random",
            "disk",
            "content",
            "chunk_store",
            "transport",
            "bench",
            "verification",
        ],
    ),
    ("main", &["cli"]),
];

/// What code that decides may not name: the world is an effect, time is an argument.
const WORLD: &[&str] = &[
    "tokio",
    "actix",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant::now",
    "rand::",
    "getrandom",
    "HashMap",
    "HashSet",
    "std::io::stdout",
    "println!",
    "eprintln!",
];

/// Where events/ touches the world: behind its features, and nowhere else.
const EVENTS_IN_THE_WORLD: &[&str] =
    &["events/src/log/embedded", "events/src/segment/folder", "events/src/log/contract"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources_below(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The file's text less comments, so that prose may name what code may not, and with every `use` spelled out.
fn code_of(path: &Path) -> String {
    spelled_out(&fs::read_to_string(path).unwrap())
}

/// `use a::{b, c::{d, e}};` becomes a line for each of `a::b`, `a::c::d`, `a::c::e`; comments go.
fn spelled_out(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code = lines.collect::<Vec<_>>().join("\n");
    let (mut out, mut rest) = (String::new(), code.as_str());
    while let Some(at) = rest.find("use ") {
        let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
        let begins =
            rest[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '_');
        if begins {
            out.push_str(&rest[..at]);
            spell_out("", &rest[at + 4..end], &mut out);
            rest = &rest[end..];
        } else {
            out.push_str(&rest[..at + 4]);
            rest = &rest[at + 4..];
        }
    }
    out + rest
}

/// Writes each path of a tree of imports below `prefix` as a line of its own.
fn spell_out(prefix: &str, tree: &str, out: &mut String) {
    let (mut depth, mut branch) = (0, String::new());
    let mut branches = Vec::new();
    for character in tree.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => branches.push(std::mem::take(&mut branch)),
            _ => {}
        }
        if character != ',' || depth > 0 {
            branch.push(character);
        }
    }
    branches.push(branch);
    for branch in branches.iter().map(|branch| branch.trim()).filter(|branch| !branch.is_empty()) {
        match branch.split_once('{') {
            Some((stem, inner)) => {
                let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
                spell_out(&format!("{prefix}{}", stem.trim()), inner, out);
            }
            None => out.push_str(&format!("{prefix}{branch}\n")),
        }
    }
}

#[test]
fn what_an_import_hides_in_braces_is_seen() {
    for (hidden, shown) in [
        ("use std::{io, fs};", "std::fs"),
        (
            "use std::{\n    collections::{BTreeMap, HashMap},\n    sync::Arc,\n};",
            "std::collections::HashMap",
        ),
        ("pub(super) use crate::{client::{self, Folder}, clock};", "crate::client::self"),
        ("fn f() {}\nuse std::thread; // why", "std::thread"),
    ] {
        assert!(spelled_out(hidden).contains(shown), "{hidden}: {}", spelled_out(hidden));
    }
    assert_eq!(spelled_out("// use std::fs;\nlet cause = 1;").trim(), "let cause = 1;");
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

fn assert_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn code_that_decides_names_nothing_of_the_world() {
    let mut problems = Vec::new();
    for crate_src in ["events/src", "projections/src", "engine/src", "simulations/src"] {
        for path in sources_below(&root().join(crate_src)) {
            let name = relative(&path);
            if EVENTS_IN_THE_WORLD.iter().any(|world| name.starts_with(world)) {
                continue;
            }
            let code = code_of(&path);
            let named = WORLD.iter().filter(|word| code.contains(**word));
            problems.extend(named.map(|word| format!("{name} names {word}")));
        }
    }
    assert_none(problems);
}

#[test]
fn arrows_inside_src_point_one_way() {
    let mut problems = Vec::new();
    for path in sources_below(&root().join("src")) {
        let name = relative(&path);
        let layer = name.trim_start_matches("src/").split(['/', '.']).next().unwrap().to_owned();
        if layer == "lib" {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(known, _)| *known == layer) else {
            problems.push(format!("{name}: the layer `{layer}` is in no row of LAYERS"));
            continue;
        };
        let code = code_of(&path);
        for (other, _) in LAYERS.iter().filter(|(other, _)| *other != layer && !allowed.contains(other)) {
            if code.contains(&format!("crate::{other}"))
                || code.contains(&format!("annals::{other}")) && layer != "main"
            {
                problems.push(format!("{name} uses {other}"));
            }
        }
    }
    assert_none(problems);
}

#[test]
fn every_source_file_says_what_it_is() {
    let folders = ["src", "events", "projections", "engine", "simulations", "tests", "benches", "allocator"];
    let silent = folders.iter().flat_map(|folder| sources_below(&root().join(folder))).filter(|path| {
        let text = fs::read_to_string(path).unwrap();
        !text.starts_with("//!") || text.starts_with("//! placeholder")
    });
    assert_none(silent.map(|path| format!("{} does not open with a `//!`", relative(&path))).collect());
}

#[test]
fn no_test_file_is_forgotten() {
    let suite = fs::read_to_string(root().join("tests/suite.rs")).unwrap();
    let forgotten =
        fs::read_dir(root().join("tests")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            path.extension().is_some_and(|ext| ext == "rs")
                && stem != "suite"
                && !suite.contains(&format!("mod {stem};"))
        });
    assert_none(forgotten.map(|path| format!("tests/suite.rs does not list {}", relative(&path))).collect());
}

#[test]
fn one_library_does_the_cryptography_of_tls() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"ring\"") && !lock.contains("name = \"aws-lc-rs\""));
}
