//! What is not synced although it could be: the rules of `.annalsignore`, which mean what they mean in `.gitignore`.
//!
//! A file of rules speaks of its own folder and all below it; of several, the deepest decides, and in one file the last
//! line that fits. The [`DEFAULTS`] are the first lines of all, so any file can take them back with `!`. What lies in an
//! ignored folder is ignored, whatever a rule in there says. What must always hold: what is synced stays synced, ignored
//! or not, as in git: a rule keeps out what is new ([`Scan::sift`](crate::disk::Scan::sift)), it removes nothing. Pure,
//! given the files' texts; finding and reading those is the scanner's.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::collections::BTreeMap;

/// What files of rules are called.
pub const RULES_FILE: &str = ".annalsignore";
/// What is read of one, in bytes: nobody writes more by hand.
pub const RULES_BYTES_MAX: u64 = 1 << 20;

/// What nobody wants on another device, and why: it is the business of a program that runs here, and is gone or worth
/// nothing when that program has ended. What may hold somebody's words (backups that end in `~`) is not here.
pub const DEFAULTS: &[(&str, &str)] = &[
    (".*.sw[a-p]", "vim's swap files"),
    (".#*", "Emacs's locks"),
    ("\\#*#", "what Emacs saves by itself while somebody types"),
    (".*.kate-swp", "Kate's swap files"),
    (".goutputstream-*", "a save by a program of GNOME that is not done yet"),
    (".~lock.*#", "LibreOffice's locks"),
    ("~$*", "Microsoft Office's locks"),
    ("*.part", "a download that is not done yet"),
    ("*.crdownload", "a download that is not done yet"),
    (".DS_Store", "how macOS shows a folder"),
    ("Thumbs.db", "small pictures that Windows made"),
    ("desktop.ini", "how Windows shows a folder"),
    (".Trash-*/", "what was thrown away on this disk"),
    ("lost+found/", "what a check of the file system found"),
    (".nfs*", "a file that was removed while it was open, on NFS"),
    (".fuse_hidden*", "a file that was removed while it was open, on FUSE"),
];

/// Rules that are known.
#[derive(Debug)]
pub struct Rules {
    defaults: Gitignore,
    /// By the folder that their file lies in.
    files: BTreeMap<String, File>,
}

#[derive(Debug)]
struct File {
    text: String,
    rules: Gitignore,
    mistakes: Vec<Mistake>,
}

/// A line that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// The rule that decided about something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it says that this is ignored, or that it is not.
    pub ignores: bool,
    /// The folder that its file lies in; none for a default.
    pub folder: Option<String>,
    /// Its line in there, from 1; for a default its place in [`DEFAULTS`].
    pub line: usize,
    /// As it is written.
    pub pattern: String,
    /// What it fits: the path that was asked for, or a folder above it.
    pub fits: String,
}

impl Default for Rules {
    fn default() -> Self {
        let lines: Vec<&str> = DEFAULTS.iter().map(|(pattern, _)| *pattern).collect();
        let (defaults, mistakes) = parse(&lines.join("\n"));
        assert!(mistakes.is_empty(), "a default is a rule: {mistakes:?}");
        Self { defaults, files: BTreeMap::new() }
    }
}

impl Rules {
    /// What the file of rules in `folder` (empty: the top) says; none where there is none. True: that is new.
    pub fn set(&mut self, folder: &str, text: Option<&str>) -> bool {
        match text {
            _ if self.text(folder) == text => false,
            None => self.files.remove(folder).is_some(),
            Some(text) => {
                let (rules, mistakes) = parse(text);
                self.files.insert(folder.to_owned(), File { text: text.to_owned(), rules, mistakes });
                true
            }
        }
    }

    /// The text of the file of rules in `folder`.
    #[must_use]
    pub fn text(&self, folder: &str) -> Option<&str> {
        self.files.get(folder).map(|file| file.text.as_str())
    }

    /// The lines that are no rules, with the folder of their file.
    pub fn mistakes(&self) -> impl Iterator<Item = (&str, &Mistake)> {
        self.files
            .iter()
            .flat_map(|(folder, file)| file.mistakes.iter().map(move |one| (folder.as_str(), one)))
    }

    /// The rule about what is at `path`, which lies in no ignored folder.
    #[must_use]
    pub fn about(&self, path: &str, is_folder: bool) -> Option<Rule> {
        let found = |rules: &Gitignore, relative: &str| {
            let matched = rules.matched(relative, is_folder);
            matched.inner().map(|glob| (!glob.is_whitelist(), glob.original().to_owned()))
        };
        for folder in above(path) {
            let Some(file) = self.files.get(folder) else { continue };
            let relative = if folder.is_empty() { path } else { &path[folder.len() + 1..] };
            if let Some((ignores, pattern)) = found(&file.rules, relative) {
                let line = file.text.lines().rposition_of(&pattern);
                return Some(Rule { ignores, folder: Some(folder.into()), line, pattern, fits: path.into() });
            }
        }
        let (ignores, pattern) = found(&self.defaults, path)?;
        let line = DEFAULTS.iter().map(|(default, _)| *default).rposition_of(&pattern);
        Some(Rule { ignores, folder: None, line, pattern, fits: path.into() })
    }

    /// The rule that decides about what is at `path`: that about the topmost ignored folder above it, or its own.
    #[must_use]
    pub fn deciding(&self, path: &str, is_folder: bool) -> Option<Rule> {
        let folders: Vec<&str> = above(path).filter(|folder| !folder.is_empty()).collect();
        let ignored = |folder: &&str| self.about(folder, true).filter(|rule| rule.ignores);
        folders.iter().rev().find_map(ignored).or_else(|| self.about(path, is_folder))
    }

    /// Whether what is at `path` is ignored.
    #[must_use]
    pub fn ignore(&self, path: &str, is_folder: bool) -> bool {
        self.deciding(path, is_folder).is_some_and(|rule| rule.ignores)
    }
}

/// In which line, from 1, a pattern stands: the last one, which is the one that counts.
trait Position {
    fn rposition_of(self, pattern: &str) -> usize;
}

impl<'a, I: Iterator<Item = &'a str>> Position for I {
    fn rposition_of(self, pattern: &str) -> usize {
        let fits = |line: &str| line.trim_start_matches('\u{feff}').trim_end() == pattern.trim_end();
        self.enumerate().filter(|(_, line)| fits(line)).last().map_or(0, |(index, _)| index + 1)
    }
}

fn parse(text: &str) -> (Gitignore, Vec<Mistake>) {
    let mut builder = GitignoreBuilder::new("");
    let mut mistakes = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if let Err(error) = builder.add_line(None, line) {
            mistakes.push(Mistake { line: index + 1, why: error.to_string() });
        }
    }
    match builder.build() {
        Ok(rules) => (rules, mistakes),
        Err(error) => {
            mistakes.push(Mistake { line: 0, why: error.to_string() });
            (Gitignore::empty(), mistakes)
        }
    }
}

/// The folders above a path, the deepest first, to the top.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let up = |path: &str| path.rfind('/').unwrap_or(0);
    let first = &path[..up(path)];
    std::iter::successors(Some(first), move |folder| (!folder.is_empty()).then(|| &folder[..up(folder)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Rules {
        let mut rules = Rules::default();
        files.iter().for_each(|(folder, text)| assert!(rules.set(folder, Some(text)), "{folder}"));
        rules
    }

    #[test]
    fn rules_mean_what_they_mean_to_git() {
        let top = "# comment\n\n*.log\n!keep.log\n/only-here\nbuild/\ndoc/*.txt\n**/cache/**\n\\#odd\na\\ b\nspace \n";
        let nested = "*.tmp\n!*.log\n/here\n";
        let rules = rules(&[("", top), ("sub", nested)]);
        let file = false;
        let folder = true;
        for (path, is_folder, ignored) in [
            ("x.log", file, true),
            ("deep/er/x.log", file, true),
            ("keep.log", file, false),
            ("deep/keep.log", file, false),
            ("only-here", file, true),
            ("deep/only-here", file, false),
            ("build", folder, true),
            ("build", file, false),
            ("deep/build", folder, true),
            ("build/x/y", file, true),
            ("doc/a.txt", file, true),
            ("doc/deep/a.txt", file, false),
            ("other/doc/a.txt", file, false),
            ("x/cache/y", file, true),
            ("x/cache", folder, false),
            ("#odd", file, true),
            ("a b", file, true),
            ("space", file, true),
            // Comments are none.
            ("# comment", file, false),
            // A nested file is about its own folder, and is stronger there.
            ("x.tmp", file, false),
            ("sub/x.tmp", file, true),
            ("sub/deep/x.tmp", file, true),
            ("sub/x.log", file, false),
            ("sub/here", file, true),
            ("sub/deep/here", file, false),
            // But nobody is let out of a folder that is ignored.
            ("sub/build/x.log", file, true),
        ] {
            assert_eq!(rules.ignore(path, is_folder), ignored, "{path}");
        }
    }

    #[test]
    fn defaults_are_the_weakest_rules_and_can_be_taken_back() {
        let plain = Rules::default();
        let usual = [
            ".notes.txt.swp",
            "deep/.#notes",
            "#notes#",
            ".~lock.letter.odt#",
            "~$letter.docx",
            "film.mkv.part",
            ".DS_Store",
            "deep/Thumbs.db",
            ".nfs0001",
        ];
        assert!(usual.iter().all(|path| plain.ignore(path, false)));
        assert!(plain.ignore(".Trash-1000/files/x", false) && plain.ignore("lost+found", true));
        for path in ["notes.txt~", "swp", "part", "a.parts", "DS_Store", "~letter", "notes#", "lost+found"] {
            assert!(!plain.ignore(path, false), "{path}");
        }
        let back = rules(&[("films", "!*.part\n")]);
        assert!(!back.ignore("films/x.part", false) && back.ignore("x.part", false));
    }

    #[test]
    fn the_rule_that_decided_can_be_named() {
        let rules = rules(&[("", "a\nbuild/\na\r\n[z-a]x\n"), ("sub", "!a\n")]);
        let named = |path: &str| {
            let rule = rules.deciding(path, false).unwrap();
            (rule.ignores, rule.folder, rule.line, rule.pattern, rule.fits)
        };
        let of = |ignores, folder: Option<&str>, line, pattern: &str, fits: &str| {
            (ignores, folder.map(str::to_owned), line, pattern.to_owned(), fits.to_owned())
        };
        assert_eq!(named("a"), of(true, Some(""), 3, "a", "a"));
        assert_eq!(named("sub/a"), of(false, Some("sub"), 1, "!a", "sub/a"));
        assert_eq!(named("x/build/deep/y"), of(true, Some(""), 2, "build/", "x/build"));
        assert_eq!(named("x.part"), of(true, None, 8, "*.part", "x.part"));
        assert_eq!(rules.deciding("b", false), None);
        let mistakes: Vec<_> = rules.mistakes().map(|(folder, mistake)| (folder, mistake.line)).collect();
        assert_eq!(mistakes, [("", 4)]);
    }

    #[test]
    fn the_same_text_is_nothing_new_and_a_file_that_is_gone_says_nothing() {
        let mut rules = rules(&[("sub", "x\n")]);
        assert!(!rules.set("sub", Some("x\n")) && !rules.set("", None));
        assert!(rules.ignore("sub/x", false));
        assert!(rules.set("sub", None));
        assert!(!rules.ignore("sub/x", false));
    }
}
