//! What a scan says of what is ignored, and where it does not look.

use super::{scans::known_of, *};
use annals_engine::disk::{Listing, Scan, SkippedBecause};

/// What is ignored, with the rule, and everything that was found.
fn found(folder: &mut Fixture) -> (Vec<(String, String)>, Vec<String>) {
    said(folder.disk.scan().unwrap())
}

fn said(scan: Scan) -> (Vec<(String, String)>, Vec<String>) {
    let Scan { nodes, skipped, complete, .. } = scan;
    assert!(complete, "what is ignored hides nothing");
    let rule = |why: SkippedBecause| match why {
        SkippedBecause::Ignored { pattern } => pattern,
        other => panic!("{other:?}"),
    };
    (skipped.into_iter().map(|one| (one.path, rule(one.why))).collect(), nodes.into_keys().collect())
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(path, rule)| ((*path).to_owned(), (*rule).to_owned())).collect()
}

#[test]
fn what_is_ignored_is_marked_and_such_a_folder_is_looked_into_only_where_something_is_synced() {
    let mut folder = Fixture::new();
    folder.given(".annalsignore", "build/\n*.o\n");
    folder.given("build/in/x", "");
    folder.given("sub/.annalsignore", "!a.o\n");
    folder.given("sub/a.o", "");
    folder.given("sub/b.o", "");
    let all = [".annalsignore", "build", "sub", "sub/.annalsignore", "sub/a.o", "sub/b.o"];
    let (ignored, nodes) = found(&mut folder);
    assert_eq!(ignored, pairs(&[("build", "build/"), ("sub/b.o", "*.o")]));
    assert_eq!(nodes, all);
    let build = ["build".to_owned()].into();
    assert!(folder.disk.descend(&build) && !folder.disk.descend(&build));
    let (ignored, nodes) = found(&mut folder);
    assert_eq!(ignored, pairs(&[("build", "build/"), ("build/in", "build/"), ("sub/b.o", "*.o")]));
    assert!(nodes.contains(&"build/in".to_owned()) && !nodes.contains(&"build/in/x".to_owned()));
}

#[test]
fn in_an_ignored_folder_all_is_ignored_also_where_it_alone_is_looked_at() {
    let mut folder = Fixture::new();
    folder.given("build/in/x", "");
    let known = known_of(&folder.disk.scan().unwrap());
    folder.given(".annalsignore", "build/\n");
    folder.given("build/in/new", "");
    found(&mut folder);
    let listing = Listing { path: "build/in".into(), deep: false };
    let (ignored, _) = said(folder.disk.list(&[listing]).unwrap());
    assert_eq!(ignored, pairs(&[("build/in/new", "build/"), ("build/in/x", "build/")]));
    let different = folder.disk.survey(&known).unwrap();
    assert_eq!(different, Some([String::new()].into()), "the rules, and nothing in it");
}

#[test]
fn the_rules_are_those_that_lie_there_now() {
    let mut folder = Fixture::new();
    folder.given("x/a.o", "");
    assert_eq!(found(&mut folder).0, []);
    folder.given(".annalsignore", "x/\n");
    assert_eq!(found(&mut folder).0, pairs(&[("x", "x/")]));
    fs::remove_file(folder.path(".annalsignore")).unwrap();
    folder.given("x/.annalsignore", "*.o\n");
    assert_eq!(found(&mut folder).0, pairs(&[("x/a.o", "*.o")]));
    // A symlink is none, wherever it leads.
    fs::rename(folder.path("x/.annalsignore"), folder.path("x/rules")).unwrap();
    std::os::unix::fs::symlink("rules", folder.path("x/.annalsignore")).unwrap();
    assert_eq!(found(&mut folder).0, []);
}
