//! `annals sync`: exchange everything, once or for good.

use super::{
    arguments::Sync,
    failure::{self, Exit, Failure},
    place,
    progress::Bar,
    serve,
    size::{self, many},
    status::{attention, exit_in, trouble},
    talk::Talk,
};
use crate::client::{
    self, Address, ClientError, Folder, State, SyncReport,
    daemon::{Answers, News, Stop},
    settings::{RATE_MIN, Settings},
};
use annals_engine::round::RoundError;
use std::path::{Path, PathBuf};

pub(super) fn run_once(
    sync: &Sync,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    know_by(sync, folder)?;
    let named = send_first(sync, folder, directory)?;
    if sync.is_setting() {
        // It is set by now: said to a daemon that goes on by it.
        folder.leave_to_daemon();
        return Ok(Exit::Done);
    }
    if !(sync.once || sync.accept_deletes) {
        // Said to a daemon that is at it: it goes on, in another order.
        all_there(&named, folder)?;
        talk.remark("the daemon that keeps it in sync takes this first from now on")?;
        return Ok(Exit::Done);
    }
    take_settings(sync, folder.root())?;
    folder.accept_deletes(sync.accept_deletes);
    let result = folder.sync_once(&mut Bar::new(talk.terminal));
    folder.accept_deletes(false);
    if let Ok(report) = &result {
        say(report, talk)?;
        for line in lost_state(report) {
            talk.remark(line)?;
        }
    }
    let status = folder.status();
    for line in attention(&status.set_aside, &status.skipped, &status.in_the_way) {
        talk.remark(line)?;
    }
    result?;
    // What others have was not known before.
    all_there(&named, folder)?;
    Ok(Exit::Done)
}

/// What was asked for by name is to be sent or fetched, or was.
fn all_there(named: &[String], folder: &mut Folder) -> Result<(), Failure> {
    match named.iter().find(|path| !folder.has(path)) {
        Some(path) => Err(ClientError::NoSuchPath { path: path.clone() }.into()),
        None => Ok(()),
    }
}

/// From now on the server is known by the certificate that was named, if one was.
fn know_by(sync: &Sync, folder: &mut Folder) -> Result<(), Failure> {
    if let Some(certificate) = sync.fingerprint {
        folder.move_to(&Address { certificate: Some(certificate), ..folder.binding().address() })?;
    }
    Ok(())
}

/// What was asked for by name goes first. Paths are taken from where they were typed, or else from the folder.
/// Answers with them.
fn send_first(sync: &Sync, folder: &mut Folder, directory: &Path) -> Result<Vec<String>, Failure> {
    if sync.first.is_empty() {
        return Ok(Vec::new());
    }
    let root = folder.root();
    let in_folder =
        |path: &PathBuf| place::path_in(root, path, directory).or_else(|_| place::path_in(root, path, root));
    let paths: Vec<String> = sync.first.iter().map(in_folder).collect::<Result<_, _>>()?;
    folder.send_first(paths.clone());
    Ok(paths)
}

/// Opens a linked folder; a copy of one becomes a device of its own, with a word about it.
pub(super) fn open(
    root: &Path,
    moved: Option<&Address>,
    talk: &mut Talk<'_>,
) -> Result<Result<Folder, ClientError>, Failure> {
    Ok(match client::open_or_renew(root, moved) {
        Ok((mut folder, renewed)) => {
            folder.advise(advice);
            if renewed {
                talk.remark("this is a copy of another folder, or was put back from one: it goes on as a device of its own; both sides are merged, nothing is deleted")?;
            }
            Ok(folder)
        }
        Err(error) => Err(error),
    })
}

/// What to do about something that went wrong.
pub(super) fn advice(error: &ClientError, root: &Path) -> Option<String> {
    failure::of_client(error).at(root).hint
}

/// After a verb that made events: they go out now if they can. False: without a server they wait in the journal.
pub(super) fn exchange(folder: &mut Folder, talk: &mut Talk<'_>) -> Result<bool, Failure> {
    match folder.sync_once(&mut Bar::new(talk.terminal)) {
        Ok(_) => Ok(true),
        Err(ClientError::Round(RoundError::GaveWay)) => {
            folder.leave_rest_to_daemon();
            Ok(true)
        }
        Err(error) if error.is_passing() => {
            talk.remark(format_args!("{error}; this waits in the journal"))?;
            Ok(false)
        }
        // It was exchanged; what is gone from the folder is another matter.
        Err(error @ ClientError::Round(RoundError::MassDelete(_))) => {
            talk.remark(format_args!("{error}; nothing was deleted elsewhere"))?;
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// Says something in a person's name; where their role is too small, asks the server whether it still is.
pub(super) fn tell(
    folder: &mut Folder,
    talk: &mut Talk<'_>,
    mut say: impl FnMut(&mut Folder) -> Result<(), ClientError>,
) -> Result<bool, Failure> {
    match say(folder) {
        Err(ClientError::NotAllowed { .. }) => {
            exchange(folder, talk)?;
            say(folder)?;
        }
        said => said?,
    }
    exchange(folder, talk)
}

/// What a person should know of state that somebody had lost and that is there again.
fn lost_state(report: &SyncReport) -> Vec<String> {
    let mut lines = Vec::new();
    if report.server_put_back {
        let events = many(report.handed_back, "event");
        let lost = match report.lost {
            Some(0) => ", nothing is lost".to_owned(),
            Some(versions) => format!(
                "; the contents of {} are neither there nor here, and lost unless another device still has them (`annals history FILE` marks them)",
                many(versions, "version")
            ),
            None => String::new(),
        };
        lines.push(format!(
            "the server was put back to an older copy of itself: {events} of what it lacked came back from here{lost}"
        ));
    }
    if report.renewed {
        lines.push("this device's state was copied, or put back to an older copy: it goes on as a device of its own; both sides are merged, nothing is deleted".into());
    }
    lines
}

fn say(report: &SyncReport, talk: &mut Talk<'_>) -> Result<(), Failure> {
    if talk.output.json {
        return talk.json(report);
    }
    talk.remark(format_args!(
        "{} sent, {} received; {}, {} sent, {} received",
        many(report.events_sent, "event"),
        report.events_received,
        many(report.new_chunks, "new chunk"),
        size::human(report.sent_bytes),
        size::human(report.received_bytes)
    ))
}

/// Says how a folder is to be synced from now on, whoever has it. A daemon that was paused goes on at once.
pub(super) fn set(sync: &Sync, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let root = root_of(sync, directory)?;
    take_settings(sync, &root)?;
    if sync.pause {
        talk.remark(PAUSED)?;
    }
    if sync.limit_rate.is_some() {
        talk.remark(match Settings::read(&root).limit_rate {
            Some(rate) => format!("at most {} a second in each direction from now on", size::human(rate)),
            None => "no limit any more".to_owned(),
        })?;
    }
    if sync.resume || sync.limit_rate.is_some() {
        let set = if sync.resume { "--resume" } else { "--limit-rate=off" };
        let typed = ["sync".into(), set.into(), root.display().to_string()];
        let told = super::ask_daemon(&root.join(client::STATE_FOLDER), &typed, directory, talk);
        let is_told = told.transpose()?.is_some();
        if sync.resume {
            talk.remark(if is_told { RESUMED } else { RESUMED_ALONE })?;
        }
    }
    Ok(Exit::Done)
}

const RESUMED: &str =
    "nothing is paused any more: what waited is exchanged now, `annals status` says how far it is";
const RESUMED_ALONE: &str = "nothing is paused any more: `annals sync` exchanges what waited";
const PAUSED: &str = "paused: nothing is sent or fetched until `annals sync --resume`";

fn take_settings(sync: &Sync, root: &Path) -> Result<(), Failure> {
    if !(sync.pause || sync.resume || sync.limit_rate.is_some()) {
        return Ok(());
    }
    let mut settings = Settings::read(root);
    settings.paused = sync.pause || settings.paused && !sync.resume;
    settings.limit_rate = match sync.limit_rate.as_deref() {
        None => settings.limit_rate,
        Some("off") => None,
        Some(rate) => Some(rate_of(rate)?),
    };
    Ok(settings.write(root)?)
}

fn rate_of(text: &str) -> Result<u64, Failure> {
    let rate = size::parse(text)?;
    if rate < RATE_MIN {
        let least = size::human(RATE_MIN);
        return Err(Failure::usage(format!("{text} a second is too slow"))
            .hint(format!("at least {least}; `--pause` stops everything, `off` takes the limit away")));
    }
    Ok(rate)
}

fn root_of(sync: &Sync, directory: &Path) -> Result<PathBuf, Failure> {
    place::folder_named(sync.folder.as_deref(), directory)
}

pub(super) fn run_daemon(
    sync: &Sync,
    typed: &[String],
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let root = root_of(sync, directory)?;
    let opened = open_to_keep(&root, talk)?;
    if matches!(opened, Err(ClientError::Held { .. })) && (sync.accept_deletes || !sync.first.is_empty()) {
        let state = root.join(client::STATE_FOLDER);
        if let Some(answered) = super::ask_daemon(&state, typed, directory, talk) {
            return answered;
        }
    }
    let mut folder = opened.map_err(|error| Failure::from(error).at(&root))?;
    know_by(sync, &mut folder)?;
    folder.accept_deletes(sync.accept_deletes);
    for path in send_first(sync, &mut folder, directory)? {
        if !folder.has(&path) {
            talk.remark(format_args!("{path} is not known here yet: it goes first if it comes"))?;
        }
    }
    talk.remark(format_args!("keeping {} in sync; Ctrl-C ends it", root.display()))?;
    let stop = Stop::default();
    let told = stop.clone();
    serve::on_signal(move || told.now());
    keep(folder, talk, &stop)
}

/// Opens a linked folder for a daemon: another command that is at work there is waited for, a little.
fn open_to_keep(root: &Path, talk: &mut Talk<'_>) -> Result<Result<Folder, ClientError>, Failure> {
    let mut opened = open(root, None, talk)?;
    for _ in 0..super::TRIES {
        let is_held = matches!(opened, Err(ClientError::Held { .. }));
        if !is_held || client::control::is_answered(&root.join(client::STATE_FOLDER)) {
            break;
        }
        crate::clock::pause(super::BETWEEN_TRIES);
        opened = open(root, None, talk)?;
    }
    Ok(opened)
}

/// Keeps a folder in sync until `stop`, and says how that goes.
pub(super) fn keep(folder: Folder, talk: &mut Talk<'_>, stop: &Stop) -> Result<Exit, Failure> {
    let root = folder.root().to_owned();
    let answers = Answers { verb: super::answer, meanwhile: super::answer_meanwhile };
    let mut bar = Bar::new(talk.terminal);
    // Whoever watches may have gone: the work goes on.
    let mut tell = |news: News<'_>| drop(say_news(news, &root, talk));
    let kept = client::daemon::run(folder, answers, &mut tell, &mut bar, stop);
    Ok(exit_in(kept.map_err(|error| Failure::from(error).at(&root))?))
}

fn say_news(news: News<'_>, root: &Path, talk: &mut Talk<'_>) -> Result<(), Failure> {
    match news {
        News::InSync(status) if talk.output.json => {
            talk.json(&serde_json::json!({ "in_sync": { "files": status.files, "folders": status.folders, "bytes": status.bytes } }))?;
        }
        News::InSync(status) => {
            talk.line(format_args!(
                "in sync: {}, {}",
                many(status.files, "file"),
                size::human(status.bytes)
            ))?;
            for line in attention(&status.set_aside, &status.skipped, &status.in_the_way) {
                talk.remark(line)?;
            }
        }
        News::StateLost(report) => {
            lost_state(&report).into_iter().try_for_each(|line| talk.remark(line))?;
        }
        News::Trouble(error, status) if matches!(status.state, State::Offline | State::Attention) => {
            tracing::debug!(%error, "trouble");
            trouble(status).into_iter().try_for_each(|line| talk.remark(line))?;
        }
        News::Trouble(ClientError::Round(RoundError::Paused), _) => talk.remark(PAUSED)?,
        News::Trouble(error, _) => {
            let Failure { message, hint, .. } = Failure::from(error).at(root);
            talk.remark(format_args!("error: {message}"))?;
            hint.iter().try_for_each(|hint| talk.remark(format_args!("hint: {hint}")))?;
        }
        News::Unwatched(why) => talk.remark(why)?,
        News::Recovered => talk.remark("in sync again")?,
    }
    talk.flush()
}
