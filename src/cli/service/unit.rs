//! The text of a systemd unit, with paths as systemd reads them.

use crate::client::Binding;
use std::path::{Path, PathBuf};

/// The line that says whose unit it is, before the folder.
const FOLDER: &str = "X-Annals-Folder=";

/// The unit that keeps one folder.
pub(super) struct Unit {
    root: PathBuf,
    command: Vec<String>,
}

impl Unit {
    /// Of a folder that `up` serves itself it runs that, and else the daemon.
    pub(super) fn of(root: &Path, binding: &Binding, program: &Path) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut command = vec![text(program)];
        match &binding.data {
            Some(data) => {
                command.extend(["up".into(), "--data".into(), data.clone()]);
                command.extend(security(&binding.server).map(str::to_owned));
            }
            None => command.push("sync".into()),
        }
        command.extend(["--".into(), text(root)]);
        Self { root: root.to_owned(), command }
    }

    /// What it is called; the `nth` name where others have those before.
    pub(super) fn name(&self, nth: usize) -> String {
        let name = self.root.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
        let name: String = name.chars().map(plain).take(NAME_CHARS).collect();
        let name = if name.is_empty() { "folder".to_owned() } else { name };
        if nth == 0 { format!("annals-{name}.service") } else { format!("annals-{name}-{}.service", nth + 1) }
    }

    pub(super) fn text(&self) -> String {
        let command: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        let folder = self.folder();
        format!(
            "[Unit]\n\
             Description=annals keeps {folder} in sync\n\
             {FOLDER}{folder}\n\
             After=network-online.target\n\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             ExecStart={}\n\
             Restart=on-failure\n\
             RestartSec=10\n\
             RestartPreventExitStatus=2 3\n\
             \n\
             [Install]\n\
             WantedBy=default.target\n",
            command.join(" ")
        )
    }

    /// Whether a unit's text is that of this folder.
    pub(super) fn is_of_folder(&self, text: &str) -> bool {
        let line = format!("{FOLDER}{}", self.folder());
        text.lines().any(|found| found == line)
    }

    /// The folder in a line of its own: no specifiers, no line breaks.
    fn folder(&self) -> String {
        self.root.to_string_lossy().replace('%', "%%").replace('\\', "\\\\").replace('\n', "\\n")
    }
}

/// Longest part of a unit's name that is the folder's.
const NAME_CHARS: usize = 64;

/// What `up` was told about TLS, as the address shows it.
fn security(server: &str) -> Option<&'static str> {
    let here = ["://127.", "://localhost", "://[::1]"].iter().any(|here| server.contains(here));
    match (server.starts_with("https://"), here) {
        (true, true) => Some("--tls"),
        (false, false) => Some("--insecure"),
        _ => None,
    }
}

/// One word of a command, whatever is in it: systemd unescapes it, fills in `%` and `$`.
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_through_systemd_as_they_are() {
        for (word, text) in [
            ("/home/ada/My Documents", r#""/home/ada/My Documents""#),
            (r#"a"b\c"#, r#""a\"b\\c""#),
            ("100% $HOME", r#""100%% $$HOME""#),
            ("a\nb\u{7}", r#""a\nb\x07""#),
            ("ü", r#""ü""#),
        ] {
            assert_eq!(quoted(word), text);
        }
    }

    #[test]
    fn a_unit_is_named_by_its_folder_and_known_by_its_path() {
        let unit = |path: &str| Unit { root: path.into(), command: vec!["annals".into()] };
        assert_eq!(unit("/home/ada/My Docs").name(0), "annals-My-Docs.service");
        assert_eq!(unit("/").name(0), "annals-folder.service");
        assert_eq!(unit("/a/Docs").name(1), "annals-Docs-2.service");
        assert!(unit("/a/100%").is_of_folder(&unit("/a/100%").text()));
        assert!(!unit("/a/Docs").is_of_folder(&unit("/b/Docs").text()));
    }
}
