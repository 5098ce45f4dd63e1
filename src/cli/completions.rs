//! `annals completions` and `annals man`: what shells and `man` read, made of the same description as `--help`.

use super::{
    arguments::{CommandLine, Completions, Man},
    failure::{Exit, Failure},
    place,
    talk::Talk,
};
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use std::path::Path;

/// What the program is called in them.
const NAME: &str = "annals";

pub(super) fn run(completions: &Completions, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let script = script_for(completions.shell);
    if talk.output.json {
        let script = String::from_utf8_lossy(&script);
        talk.json(&serde_json::json!({ "shell": completions.shell.to_string(), "script": script }))?;
    } else {
        talk.raw(&script)?;
    }
    Ok(Exit::Done)
}

fn script_for(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), NAME, &mut script);
    script
}

pub(super) fn run_man(man: &Man, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let folder = place::absolute(&man.to, directory);
    let failed = |error: std::io::Error| {
        Failure::failed(format!("{}: {error}", folder.display()))
            .hint("is it a folder, and may you write to it?")
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let pages = pages().map_err(failed)?;
    for (name, page) in &pages {
        std::fs::write(folder.join(name), page).map_err(failed)?;
    }
    if talk.output.json {
        let names: Vec<&String> = pages.iter().map(|(name, _)| name).collect();
        talk.json(&serde_json::json!({ "folder": folder.display().to_string(), "pages": names }))?;
    } else {
        talk.line(format_args!("wrote {} pages to {}", pages.len(), folder.display()))?;
        talk.remark(format_args!("man -l {} shows the first", place::typed(&folder.join("annals.1"))))?;
    }
    Ok(Exit::Done)
}

/// Every page by its file's name: of the program, of each verb and of each verb's verbs.
fn pages() -> Result<Vec<(String, Vec<u8>)>, std::io::Error> {
    let mut program = CommandLine::command().disable_help_subcommand(true);
    program.build();
    let mut todo = vec![(NAME.to_owned(), program)];
    let mut pages = Vec::new();
    while let Some((name, command)) = todo.pop() {
        let below = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        todo.extend(below.map(|verb| (format!("{name}-{}", verb.get_name()), verb.clone())));
        let mut page = Vec::new();
        let synopsis = synopsis(&name.replace('-', " "), &command);
        clap_mangen::Man::new(command).title(name.clone()).render(&mut page)?;
        let page = with_synopsis(&String::from_utf8_lossy(&page), &synopsis);
        // What stands below the options begins with how the verb is typed.
        let page = page.replacen(".SH EXTRA\n", ".SH EXAMPLES\n", 1);
        pages.push((format!("{name}.1"), page.into_bytes()));
    }
    pages.sort();
    Ok(pages)
}

/// A page with this in place of the synopsis that it has, which says of no option what it takes.
fn with_synopsis(page: &str, synopsis: &str) -> String {
    const BEGINS: &str = ".SH SYNOPSIS\n";
    let Some((before, rest)) = page.split_once(BEGINS) else { return page.to_owned() };
    let after = rest.find("\n.SH ").map_or("", |at| &rest[at + 1..]);
    format!("{before}{BEGINS}{synopsis}\n{after}")
}

/// How a verb is typed, in the words of roff: its own options first, what all verbs take is said once, with the program.
fn synopsis(words: &str, verb: &Command) -> String {
    let options = verb.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_positional());
    let own: Vec<&Arg> =
        options.filter(|arg| words == NAME || !arg.is_global_set() && !is_everywhere(arg)).collect();
    // Of some, one has to be there.
    let groups: Vec<Vec<&Arg>> = verb
        .get_groups()
        .filter(|group| group.is_required_set())
        .map(|group| {
            own.iter().copied().filter(|arg| group.get_args().any(|id| id == arg.get_id())).collect()
        })
        .collect();
    let one_of = |args: &Vec<&Arg>| {
        let (open, close) = if args.len() > 1 { ("(", ")") } else { ("", "") };
        format!("{open}{}{close}", args.iter().map(|arg| bare(arg)).collect::<Vec<_>>().join(" | "))
    };
    let mut parts: Vec<String> = groups.iter().filter(|args| !args.is_empty()).map(one_of).collect();
    let alone = own.iter().filter(|arg| !groups.iter().flatten().any(|known| known.get_id() == arg.get_id()));
    parts.extend(alone.map(|arg| if arg.is_required_set() { bare(arg) } else { format!("[{}]", bare(arg)) }));
    parts.extend(verb.get_positionals().filter(|arg| !arg.is_hide_set()).map(|arg| {
        let value = value_of(arg);
        if arg.is_required_set() { value } else { format!("[{value}]") }
    }));
    if verb.has_subcommands() {
        parts.push("\\fICOMMAND\\fR …".into());
    }
    format!("\\fB{}\\fR {}", plain(words), parts.join(" ")).trim_end().to_owned()
}

fn is_everywhere(arg: &Arg) -> bool {
    ["help", "version"].contains(&arg.get_id().as_str())
}

/// An option, and what it takes.
fn bare(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("\\fB\\-{short}\\fR"));
    let long = arg.get_long().map(|long| format!("\\fB{}\\fR", plain(&format!("--{long}"))));
    let flag = short.into_iter().chain(long).collect::<Vec<_>>().join("|");
    let takes = arg.get_action().takes_values();
    if takes { format!("{flag} {}", value_of(arg)) } else { flag }
}

/// What it takes, as it is called in the help.
fn value_of(arg: &Arg) -> String {
    let names = arg.get_value_names().map(|names| names.iter().map(|name| plain(name)).collect::<Vec<_>>());
    let name = names.map_or_else(|| plain(&arg.get_id().as_str().to_uppercase()), |names| names.join(" "));
    let more = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { " …" } else { "" };
    format!("\\fI{name}\\fR{more}")
}

/// A dash is a dash also where it is copied.
fn plain(text: &str) -> String {
    text.replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every verb, and every verb's verb, as typed.
    fn verbs() -> Vec<String> {
        let program = CommandLine::command();
        let mut all = Vec::new();
        for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            all.push(verb.get_name().to_owned());
            let below = verb.get_subcommands().filter(|below| !below.is_hide_set());
            all.extend(below.map(|below| format!("{} {}", verb.get_name(), below.get_name())));
        }
        all
    }

    #[test]
    fn every_verb_has_a_page_that_says_what_it_is_for() {
        let pages = pages().unwrap();
        for verb in verbs() {
            let name = format!("annals-{}.1", verb.replace(' ', "-"));
            let page = pages.iter().find(|(page, _)| *page == name);
            let (_, page) = page.unwrap_or_else(|| panic!("no {name}"));
            let text = String::from_utf8_lossy(page);
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{name}: {text}");
            assert!(!text.contains(".SH EXTRA"), "{name}: {text}");
        }
        assert_eq!(pages.len(), verbs().len() + 1);
    }

    #[test]
    fn a_synopsis_says_what_each_option_takes() {
        let pages = pages().unwrap();
        for (name, line) in [
            ("annals-link.1", "[--user NAME] [--ticket CODE] [--device LABEL]"),
            ("annals-cat.1", "[--version ID] [--at T]"),
            ("annals-link.1", "URL FOLDER"),
            ("annals-serve.1", "[--data DIR]"),
            ("annals-serve.1", "[--tls]"),
            ("annals-tag.1", "PATH [+TAG|-TAG …]"),
            ("annals-gc.1", "--data DIR [--dry-run]"),
            ("annals-hook-set.1", "--on conflict|attention"),
            ("annals.1", "[--json] [-q|--quiet] [-v|--verbose]"),
            ("annals.1", "COMMAND …"),
        ] {
            let (_, page) = pages.iter().find(|(page, _)| page == name).unwrap();
            let text =
                String::from_utf8_lossy(page).replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
            let text = text.replace("\\-", "-");
            let synopsis = text.split(".SH SYNOPSIS\n").nth(1).unwrap().split("\n.SH ").next().unwrap();
            assert!(synopsis.contains(line), "{name}: {synopsis}");
        }
    }

    #[test]
    fn the_scripts_of_every_shell_know_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = String::from_utf8(script_for(shell)).unwrap();
            for verb in verbs().iter().flat_map(|verb| verb.split(' ')) {
                assert!(script.contains(verb), "{shell}: {verb}");
            }
        }
    }
}
