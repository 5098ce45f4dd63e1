//! The command line: reads what was typed, finds who can do it, and says what came of it.
//!
//! One verb a file. A verb about a linked folder runs on that folder if nobody holds it, and else in the
//! daemon that does, by way of its control socket: the same code either way. stdout carries results,
//! stderr everything else; errors are `error: …` and `hint: …`, with the exit codes of [`failure::Exit`].

pub mod arguments;
mod bench;
mod cat;
mod completions;
mod devices;
mod diff;
mod doctor;
pub mod failure;
mod gc;
mod get;
mod history;
mod hook;
mod ignore;
mod invite;
mod link;
mod log;
pub mod moment;
mod namespaces;
mod password;
mod place;
mod progress;
mod put;
mod restore;
mod retention;
mod serve;
mod server_url;
mod service;
mod share;
pub mod size;
mod status;
mod sync;
mod tag;
mod talk;
mod trash;
mod unlink;
mod up;
mod user;
mod verify;

use crate::client::{self, control};
use arguments::{CommandLine, FolderVerb, Trash, Verb};
use clap::Parser;
use failure::{Exit, Failure};
use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use talk::Talk;

/// Where a server listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8417";

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let typed: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(help) => {
            if help.use_stderr() {
                eprint!("{}", failure::of_typing(&help, &typed));
                return code(Exit::Usage);
            }
            return code(if help.print().is_ok() { Exit::Done } else { Exit::Usage });
        }
    };
    start_tracing(line.output);
    let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let (mut out, mut remarks) = (std::io::stdout(), std::io::stderr());
    let terminal = remarks.is_terminal() && !line.output.quiet && !line.output.json;
    let mut talk = Talk::new(line.output, &mut out, &mut remarks, terminal);
    let result = run(line.verb, &typed, &directory, &mut talk);
    let flushed = out.flush();
    match result {
        Ok(exit) => code(if flushed.is_ok() { exit } else { Exit::Failed }),
        // Whoever reads our output has gone (`| head`): nothing to say, nobody to say it to.
        Err(failure) if failure.is_closed_pipe() => code(Exit::Done),
        Err(failure) => {
            eprintln!("{failure}");
            code(failure.exit)
        }
    }
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

/// ANNALS_LOG decides; without it -v says how much.
fn start_tracing(output: arguments::Output) {
    let level = match output.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("ANNALS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("error,annals={level}")));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

fn run(verb: Verb, typed: &[String], directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    match verb {
        Verb::Up(up) => up::run(&up, directory, talk),
        Verb::Serve(serve) => serve::run(&serve, directory, talk),
        Verb::User(user) => user::run(&user, talk),
        Verb::Link(link) => link::run(&link, directory, talk),
        Verb::Unlink(unlink) => unlink::run(&unlink, directory, talk),
        Verb::Bench(bench) => bench::run(&bench),
        Verb::Completions(completions) => completions::run(&completions, talk),
        Verb::Doctor(doctor) => doctor::run(&doctor, directory, talk),
        Verb::Service(service) => service::run(&service, directory, talk),
        Verb::Hook(hook) => hook::run(&hook, directory, talk),
        Verb::Man(man) => completions::run_man(&man, directory, talk),
        Verb::Put(put) => put::run(&put, directory, talk),
        Verb::Get(get) => get::run(&get, directory, talk),
        Verb::Ignore(ignore) => ignore::run(&ignore, directory, talk),
        Verb::Gc(gc) => gc::run(&gc, typed, directory, talk),
        Verb::OnFolder(verb) => run_folder_verb(verb, typed, directory, talk),
    }
}

/// Runs a verb about a linked folder. What is no business of whoever has the folder comes first.
fn run_folder_verb(
    verb: FolderVerb,
    typed: &[String],
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    match verb {
        FolderVerb::Verify(verify) if verify.data.is_some() => {
            verify::run_on_data(&verify, typed, directory, talk)
        }
        FolderVerb::Namespaces(namespaces) if namespaces.server.is_some() => {
            namespaces::run_on_server(&namespaces, talk)
        }
        FolderVerb::Sync(sync) if sync.is_setting() => sync::set(&sync, directory, talk),
        FolderVerb::Sync(sync) if !sync.once => sync::run_daemon(&sync, typed, directory, talk),
        FolderVerb::Status(status) => status::run_beside(&status, typed, directory, talk),
        FolderVerb::Trash(Trash::Empty { argument, yes: false })
            if trash::confirm(&argument, directory, talk)? =>
        {
            let typed = [typed, &["--yes".to_owned()]].concat();
            on_folder(FolderVerb::Trash(Trash::Empty { argument, yes: true }), &typed, directory, talk)
        }
        FolderVerb::Log(log) if log.follow => log::follow(&log, typed, directory, talk),
        verb => on_folder(verb, typed, directory, talk),
    }
}

/// Runs a verb on the folder it is about, or in the daemon that holds the folder. Another command that is at work
/// there is waited for, a little.
fn on_folder(
    verb: FolderVerb,
    typed: &[String],
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let root = place::folder_of(&verb, directory)?;
    let scratch = if matches!(verb, FolderVerb::Verify(_)) { Some(verify::Scratch::new()?) } else { None };
    for _ in 0..TRIES {
        let opened = match verb {
            FolderVerb::Sync(_) => sync::open(&root, None, talk)?,
            _ => match &scratch {
                Some(scratch) => client::Folder::look(&root, scratch.path()),
                None => client::Folder::open(&root),
            },
        };
        match opened {
            Ok(mut folder) => {
                folder.advise(sync::advice);
                let done = run_on_folder(verb, &mut folder, directory, talk);
                folder.wait_for_hooks();
                return done;
            }
            Err(client::ClientError::Held { .. }) => {}
            Err(error) if matches!(verb, FolderVerb::Verify(_)) && error.is_damage() => {
                return verify::run_unopened(&root, &error, talk);
            }
            Err(error) => return Err(Failure::from(error).at(&root)),
        }
        if let Some(answered) = ask_daemon(&root.join(client::STATE_FOLDER), typed, directory, talk) {
            return answered;
        }
        crate::clock::pause(BETWEEN_TRIES);
    }
    Err(in_use(&root))
}

fn in_use(root: &Path) -> Failure {
    Failure::failed(format!("{} is in use and nobody answers for it", root.display())).hint(
        "another command is at work there: try again when it is done; `annals status` says how far it is",
    )
}

/// How often a folder that another command holds is tried.
const TRIES: usize = 30;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// What the daemon that holds `state` says; `None` if there is none.
fn ask_daemon(
    state: &Path,
    typed: &[String],
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Option<Result<Exit, Failure>> {
    let request = control::Request { arguments: typed.to_vec(), directory: directory.into() };
    let answer = control::ask(state, &request)?;
    let said = talk.raw(&answer.output).and_then(|()| talk.raw_remarks(answer.remarks.as_bytes()));
    Some(said.map(|()| Exit::from_code(answer.exit)))
}

/// What a daemon does with a verb that it is asked.
pub(crate) fn answer(request: &control::Request, folder: &mut client::Folder) -> control::Answer {
    answer_with(request, |verb, talk| match verb {
        Verb::OnFolder(verb) => run_on_folder(verb, folder, &request.directory, talk),
        Verb::Link(link) => link::take_told(&link, folder, talk),
        _ => Err(Failure::usage("a daemon does not run this verb")),
    })
}

/// What a daemon says while its folder is at a round; `None`: who asks has to wait.
pub(crate) fn answer_meanwhile(request: &control::Request, root: &Path) -> Option<control::Answer> {
    status::answer_meanwhile(request, root)
}

fn read_line(typed: &[String]) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(std::iter::once("annals").chain(typed.iter().map(String::as_str)))
}

/// Reads what was typed elsewhere, runs it, and keeps what it says.
fn answer_with(
    request: &control::Request,
    run: impl FnOnce(Verb, &mut Talk<'_>) -> Result<Exit, Failure>,
) -> control::Answer {
    let (mut out, mut remarks) = (Vec::new(), Vec::new());
    let exit = match read_line(&request.arguments) {
        Err(wrong) => {
            remarks.extend_from_slice(failure::of_typing(&wrong, &request.arguments).as_bytes());
            Exit::Usage
        }
        Ok(line) => {
            let result = run(line.verb, &mut Talk::new(line.output, &mut out, &mut remarks, false));
            result.unwrap_or_else(|failure| {
                remarks.extend_from_slice(format!("{failure}\n").as_bytes());
                failure.exit
            })
        }
    };
    control::Answer { output: out, remarks: String::from_utf8_lossy(&remarks).into_owned(), exit: exit as u8 }
}

fn run_on_folder(
    verb: FolderVerb,
    folder: &mut client::Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let root = folder.root().to_owned();
    run_at(verb, folder, directory, talk).map_err(|failure| failure.at(&root))
}

fn run_at(
    verb: FolderVerb,
    folder: &mut client::Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    match verb {
        FolderVerb::Invite(_) => invite::run(folder, talk),
        FolderVerb::Devices(devices) => devices::run(&devices, folder, talk),
        FolderVerb::Sync(sync) => sync::run_once(&sync, folder, directory, talk),
        FolderVerb::Status(_) => status::run(folder, talk),
        FolderVerb::Log(log) => log::run(&log, folder, directory, talk),
        FolderVerb::History(history) => history::run(&history, folder, directory, talk),
        FolderVerb::Cat(cat) => cat::run(&cat, folder, directory, talk),
        FolderVerb::Diff(diff) => diff::run(&diff, folder, directory, talk),
        FolderVerb::Restore(restore) => restore::run(&restore, folder, directory, talk),
        FolderVerb::Trash(trash) => trash::run(&trash, folder, directory, talk),
        FolderVerb::Retention(retention) => retention::run(&retention, folder, talk),
        FolderVerb::Tag(tag) => tag::run_tag(&tag, folder, directory, talk),
        FolderVerb::Note(note) => tag::run_note(&note, folder, directory, talk),
        FolderVerb::Share(share) => share::run_share(&share, folder, talk),
        FolderVerb::Unshare(unshare) => share::run_unshare(&unshare, folder, talk),
        FolderVerb::Namespaces(_) => namespaces::run(folder, talk),
        FolderVerb::Verify(verify) => verify::run(&verify, folder, talk),
    }
}
