//! `annals completions` and `annals man`: what shells and `man` read, made of the same description as `--help`.

use super::{
    arguments::{CommandLine, Completions, Man},
    failure::{Exit, Failure},
    place,
    talk::Talk,
};
use clap::CommandFactory;
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
        talk.remark(format_args!("man -l {} shows the first", folder.join("annals.1").display()))?;
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
        clap_mangen::Man::new(command).title(name.clone()).render(&mut page)?;
        pages.push((format!("{name}.1"), page));
    }
    pages.sort();
    Ok(pages)
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
        }
        assert_eq!(pages.len(), verbs().len() + 1);
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
