//! `annals doctor`: looks at what goes wrong for people, one line each, and says what to do about it.
//!
//! What must always hold: nothing is changed by it, it works beside a daemon, and one thing that cannot be told keeps
//! nothing else from being told. `bad` is what keeps the folder from being in sync, `warn` what may.

use super::{
    arguments::FolderArg,
    failure::{Exit, Failure},
    place,
    size::{human, many},
    status::by_reason,
    talk::Talk,
    verify::Scratch,
};
use crate::{
    client::{
        AtWork, Binding, ClientError, Folder, LIMIT_SYSCTL, Matter, STATE_FOLDER, Status, control, layout,
    },
    clock::SystemClock,
    disk,
    transport::{Http, Pin},
};
use annals_engine::{clock::Clock as _, transport::TransportError};
use serde::Serialize;
use std::{os::unix::fs::PermissionsExt, path::Path};

/// Less room than this on a disk is worth a word, and less than that stops things.
const ROOM_LITTLE: u64 = 1 << 30;
const ROOM_NONE: u64 = 4 << 20;
/// Clocks that differ by more than this make `--at` and times of files confusing.
const CLOCKS_APART_MS: u64 = 60_000;
/// A quota is nearly used up when less than this part of it is left.
const QUOTA_LEFT: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Bad,
}

#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    what: &'static str,
    text: String,
    hint: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

/// What was found, in order.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level: Level::Ok, what, text: text.into(), hint: None, exit: Exit::Done });
    }

    fn warn(&mut self, what: &'static str, text: impl Into<String>, hint: impl Into<String>) {
        let hint = Some(hint.into());
        self.0.push(Finding { level: Level::Warn, what, text: text.into(), hint, exit: Exit::Done });
    }

    fn bad(&mut self, what: &'static str, failure: Failure) {
        let exit = match failure.exit {
            exit @ (Exit::NeedsPerson | Exit::Unreachable) => exit,
            _ => Exit::Failed,
        };
        let Failure { message, hint, .. } = failure;
        self.0.push(Finding { level: Level::Bad, what, text: message, hint, exit });
    }

    /// What needs a person goes before what merely fails, and that before a server that is away.
    fn exit(&self) -> Exit {
        let has = |exit: &Exit| self.0.iter().any(|finding| finding.exit == *exit);
        let worst = [Exit::NeedsPerson, Exit::Failed, Exit::Unreachable].into_iter().find(has);
        worst.unwrap_or(Exit::Done)
    }

    /// Whether nothing of that name is bad.
    fn is_well(&self, what: &str) -> bool {
        self.0.iter().all(|finding| finding.what != what || finding.level != Level::Bad)
    }
}

pub(super) fn run(arg: &FolderArg, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let mut found = Findings::default();
    match &arg.folder {
        Some(folder) if !place::absolute(folder, directory).exists() => {
            let gone = Failure::failed(format!("{} is not there", folder.display()));
            found.bad("folder", gone.hint("check the spelling; is its disk mounted?"));
        }
        _ => {
            let root = place::folder_named(arg.folder.as_deref(), directory)?;
            examine(&root, directory, &mut found);
        }
    }
    say(&found, talk)?;
    Ok(found.exit())
}

fn say(found: &Findings, talk: &mut Talk<'_>) -> Result<(), Failure> {
    if talk.output.json {
        return talk.json(&found.0);
    }
    for Finding { level, what, text, hint, .. } in &found.0 {
        let word = match level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Bad => "bad",
        };
        talk.line(format_args!("{word:<4}  {what:<11}  {text}"))?;
        if let Some(hint) = hint {
            talk.line(format_args!("      {:<11}  {hint}", ""))?;
        }
    }
    Ok(())
}

fn examine(root: &Path, directory: &Path, found: &mut Findings) {
    let binding = match Binding::read(root) {
        Ok((binding, _)) => binding,
        Err(error) => return found.bad("link", Failure::from(error).at(root)),
    };
    found.ok(
        "folder",
        format!("{}, as {}'s device {}", root.display(), binding.user_name, binding.device_label),
    );
    file_system(root, found);
    let hint = format!(
        "make room there: what does not fit waits meanwhile, and nothing is lost; then a daemon goes on by itself, or `annals sync {} --once` does",
        place::typed(root)
    );
    room("room", root, &hint, found);
    if let Some(data) = binding.data.as_deref().map(Path::new) {
        match data.exists() {
            true => {
                room("server room", data, "make room there: until then the server takes nothing new", found);
            }
            false => found.bad(
                "server data",
                Failure::failed(format!("{} is not there", data.display()))
                    .hint("is its disk mounted? `annals up` on the folder makes it anew and merges"),
            ),
        }
    }
    let status = state(root, directory, found);
    if let Some(status) = &status {
        watches(status, found);
        contents(status, found);
    }
    server(&binding, root, found);
}

/// Whether it is kept, can be read and is the device that it says it is.
fn state(root: &Path, directory: &Path, found: &mut Findings) -> Option<Status> {
    let typed = ["status".into(), "--json".into(), root.display().to_string()];
    let request = control::Request { arguments: typed.to_vec(), directory: directory.into() };
    let answer = control::ask(&root.join(STATE_FOLDER), &request);
    if let Some(status) = answer.and_then(|answer| serde_json::from_slice::<Status>(&answer.output).ok()) {
        found.ok("daemon", "keeps it in sync");
        return Some(status);
    }
    let looked =
        Scratch::new().map(|scratch| Folder::look(root, scratch.path()).map(|mut folder| folder.status()));
    match looked {
        Ok(Ok(status)) => {
            found.warn(
                "daemon",
                "none keeps it in sync now",
                format!("annals sync {0}, or for good: annals service install {0}", place::typed(root)),
            );
            found.ok("state", "can be read");
            Some(status)
        }
        Ok(Err(ClientError::Held { .. })) => {
            found.ok("state", "another command is at work in it");
            Status::as_noted(root, AtWork::Command).ok()
        }
        Ok(Err(error)) => {
            let noted = Status::as_noted(root, AtWork::Nobody(&error)).ok();
            found.bad("state", Failure::from(error).at(root));
            noted
        }
        Err(failure) => {
            found.bad("state", failure);
            None
        }
    }
}

fn file_system(root: &Path, found: &mut Findings) {
    let folds = root.join(STATE_FOLDER.to_uppercase()).symlink_metadata().is_ok();
    if folds {
        found.warn(
            "file system",
            "takes `A` and `a` for one name",
            "use no names that differ in case alone: of two such files one gets a name with `(conflict …)` on every device, two such folders become one, and a rename that changes nothing but case is not done here",
        );
    }
    let mode = layout::at(root, layout::KEY).metadata().map(|key| key.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o177 != 0) {
        found.warn(
            "file system",
            "keeps no permissions: others on this machine can read the folder's key",
            "executable bits are left as others have them; a folder on another file system keeps both",
        );
    }
    match disk::Folder::open(root).map(|folder| folder.numbers_last()) {
        Ok(true) if !folds => found.ok("file system", "keeps names, and numbers of files"),
        Ok(true) => {}
        Ok(false) => found.warn(
            "file system",
            "gives files other numbers when it is mounted anew",
            "a copy of this folder is only noticed by what it says; unlink a copy before you use it",
        ),
        Err(error) => found.bad("file system", ClientError::from(error).into()),
    }
}

fn room(what: &'static str, at: &Path, hint: &str, found: &mut Findings) {
    let Some(free) = disk::free_bytes(at) else { return };
    let text = format!("{} free on the disk of {}", human(free), at.display());
    match free {
        ..ROOM_NONE => found.bad(what, Failure::failed(text).hint(hint)),
        ROOM_NONE..ROOM_LITTLE => found.warn(what, text, hint),
        _ => found.ok(what, text),
    }
}

fn watches(status: &Status, found: &mut Findings) {
    let needed = status.folders + 1;
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok();
    let limit: Option<u64> = limit.and_then(|limit| limit.trim().parse().ok());
    let hint =
        format!("as root: sysctl {LIMIT_SYSCTL}=1048576; until then changes are looked for now and then");
    match (&status.unwatched, limit) {
        (Some(why), _) => found.warn("watching", why.clone(), hint),
        (None, Some(limit)) if limit < needed => {
            found.warn("watching", format!("{needed} folders, and {limit} may be watched"), hint);
        }
        (None, Some(limit)) => found.ok("watching", format!("{} of {limit} watches needed", needed)),
        (None, None) => {}
    }
}

/// What a person would look for, and not find in sync.
fn contents(status: &Status, found: &mut Findings) {
    if let Some(error) = &status.last_error {
        let (failure, hint) = (Failure::new(Exit::NeedsPerson, error.clone()), status.hint.as_deref());
        // Said with the room there is.
        let is_room = !found.is_well("room") && status.matter == Matter::Room;
        match status.state {
            crate::client::State::Offline => {
                found.warn("last round", error.clone(), hint.unwrap_or("it is tried again"));
            }
            _ if is_room => found.bad("last round", failure),
            _ => {
                let hint = hint.unwrap_or("`annals sync --once` tries again and says what to do");
                found.bad("last round", failure.hint(hint));
            }
        }
    }
    if status.paused {
        found.warn("paused", "nothing is sent or fetched", "annals sync --resume");
    }
    if status.pending_events > 0 {
        let waiting = many(status.pending_events, "change");
        found.warn("waiting", format!("{waiting} not sent yet"), "they go out with the next round");
    }
    for cause in by_reason(&status.in_the_way) {
        let waits = Failure::new(Exit::NeedsPerson, format!("{} ({})", cause.paths(), cause.why));
        match cause.is_room() {
            true => found.bad("waits", waits),
            false => found.bad("in the way", waits.hint("move it, or make it readable")),
        }
    }
    for line in &status.set_aside {
        let text = format!("refused: {} ({})", line.path, line.why);
        found.bad(
            "set aside",
            Failure::new(Exit::NeedsPerson, text).hint("`annals status` says where it lies"),
        );
    }
    if !status.skipped.is_empty() {
        let some: Vec<&str> = status.skipped.iter().take(3).map(|line| line.path.as_str()).collect();
        let text = format!("{}, such as {}", many(status.skipped.len() as u64, "path"), some.join(", "));
        found.warn("not synced", text, "`annals status` lists them with the reason for each");
    }
    if status.conflicts > 0 {
        let hint = "look for names with `(conflict …)`: edit or remove one of them";
        found.warn("conflicts", many(status.conflicts, "file"), hint);
    }
    // On a full disk nobody could write down what is not.
    if status.pending_events == 0 && status.last_error.is_none() && found.is_well("room") {
        found.ok("exchange", format!("everything up to event {} is exchanged", status.cursor));
    }
}

fn server(binding: &Binding, root: &Path, found: &mut Findings) {
    let pin = binding.certificate.map(Pin::Whole);
    let http = match Http::pinned(&binding.server, pin, Some(binding.token.clone())) {
        Ok(http) => http,
        Err(error) => return found.bad("server", Failure::from(error).at(root)),
    };
    let (info, time) = match http.server_and_time() {
        Ok(answer) => answer,
        Err(error) => {
            let what =
                if matches!(error, TransportError::Untrusted { .. }) { "certificate" } else { "server" };
            return found.bad(what, Failure::from(error).at(root));
        }
    };
    let own = env!("CARGO_PKG_VERSION");
    match info.log == binding.log {
        true if info.version == own => found.ok("server", format!("{}, version {own}", binding.server)),
        true => found.warn(
            "server",
            format!("{} has version {}, this is {own}", binding.server, info.version),
            "both should be of one version: update the older one",
        ),
        false => found.bad(
            "server",
            Failure::new(Exit::NeedsPerson, format!("{} has another log than before", binding.server))
                .hint("`annals sync --once` says how to link the folder anew: nothing is deleted"),
        ),
    }
    if let Err(error) = http.ready() {
        found.bad("server", Failure::from(error).at(root));
    }
    certificate(binding, found);
    clocks(time, found);
    account(&http, found);
}

fn certificate(binding: &Binding, found: &mut Findings) {
    let url = &binding.server;
    let here = ["://127.", "://localhost", "://[::1]"].iter().any(|here| url.contains(here));
    match (url.starts_with("https://"), binding.certificate) {
        (true, Some(pinned)) => found.ok("certificate", format!("the one that is pinned, {pinned}")),
        (true, None) => found.ok("certificate", "one that this system's authorities vouch for"),
        (false, _) if here => found.ok("certificate", "none: the server is on this machine"),
        (false, _) => found.warn(
            "certificate",
            "none: whoever is on the way can read and change what is sent",
            "start the server without --insecure, and link the folder to its https address",
        ),
    }
}

fn clocks(time: Option<u64>, found: &mut Findings) {
    let Some(there) = time else { return };
    let here = SystemClock.now_ms();
    let apart = here.abs_diff(there);
    let seconds = apart / 1000;
    if apart < CLOCKS_APART_MS {
        return found.ok("clocks", "agree within a minute");
    }
    let which = if here > there { "ahead of" } else { "behind" };
    found.warn(
        "clocks",
        format!("this one is {seconds} seconds {which} the server's"),
        "nothing is lost by it, but times of `--at` are the server's: timedatectl set-ntp true",
    );
}

fn account(http: &Http, found: &mut Findings) {
    let account = match http.account() {
        Ok(account) => account,
        Err(error) => return found.bad("account", error.into()),
    };
    let used = human(account.used);
    match account.quota {
        None => found.ok("quota", format!("{used} used, no limit")),
        Some(quota) if account.used >= quota => found.bad(
            "quota",
            Failure::new(Exit::NeedsPerson, format!("{used} used of {}", human(quota))).hint(
                "`annals trash empty` and a shorter `annals retention` free what was removed and replaced",
            ),
        ),
        Some(quota) if quota - account.used < quota / QUOTA_LEFT => found.warn(
            "quota",
            format!("{used} used of {}", human(quota)),
            "`annals trash empty` and a shorter `annals retention` free what was removed and replaced",
        ),
        Some(quota) => found.ok("quota", format!("{used} used of {}", human(quota))),
    }
}
