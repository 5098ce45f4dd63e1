//! Commands that a person wants run when something needs them: a conflict, or whatever stops with attention.
//!
//! `.annals/hooks.json` says which, `.annals/hooked.json` what was told already. What must always hold: nothing is told
//! twice while it lasts, also across restarts (it is written down before the command runs); a round never waits for a
//! command, and its failure is a warning. Commands run one after the other, each in a group of processes of its own
//! that is ended when it takes too long. No shell reads them, and of the variables that are ours (`ANNALS_…`, some of which are
//! secrets) they see only what they are told.

use super::{
    ClientError, Folder, State, Status,
    layout::{self, HOOKED, HOOKS},
    settings::put,
};
use crate::clock::{Stopwatch, pause};
use annals_projections::Conflict;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookEvent {
    /// A file has several versions to choose from.
    Conflict,
    /// A person has to look: `status` says at what.
    Attention,
}

impl HookEvent {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Attention => "attention",
        }
    }
}

/// The commands of a folder, word by word.
pub type HookCommands = BTreeMap<HookEvent, Vec<String>>;

/// The commands that are set for the linked folder `root`. What cannot be read is as if none were.
#[must_use]
pub fn hooks_of(root: &Path) -> HookCommands {
    read(&layout::at(root, HOOKS))
}

/// From now on these are those of the linked folder `root`.
///
/// # Errors
/// [`ClientError::Folder`] where that cannot be written down.
pub fn set_hooks(root: &Path, commands: &HookCommands) -> Result<(), ClientError> {
    let text = (!commands.is_empty()).then(|| text_of(commands));
    let written = put(&layout::at(root, HOOKS), text.as_deref());
    written.map_err(|source| ClientError::Folder { folder: root.to_owned(), source })
}

/// What a command is told, on its standard input.
#[derive(Clone, Debug, Serialize)]
struct Told {
    event: HookEvent,
    folder: String,
    path: Option<String>,
    what: String,
    why: String,
}

/// A command that is to run.
struct Call {
    command: Vec<String>,
    told: Told,
}

/// Who runs the commands.
#[derive(Default)]
pub(super) struct Hooks(Option<(Sender<Call>, JoinHandle<()>)>);

impl Hooks {
    fn call(&mut self, call: Call) {
        let (sender, _) = self.0.get_or_insert_with(|| {
            let (sender, calls) = channel();
            (sender, std::thread::spawn(move || calls.iter().for_each(|call| run(&call))))
        });
        drop(sender.send(call));
    }
}

impl Folder {
    /// Runs the commands for what is new in how the folder stands.
    pub(super) fn call_hooks(&mut self, status: &Status) {
        let commands = hooks_of(&self.root);
        if commands.is_empty() {
            return;
        }
        let things = self.noteworthy(status);
        let place = layout::at(&self.root, HOOKED);
        let before: BTreeSet<String> = read(&place);
        // What has no command is not told, and will be once it has one.
        let known =
            |(key, told): &(&String, &Told)| before.contains(*key) || commands.contains_key(&told.event);
        let now: BTreeSet<&String> = things.iter().filter(known).map(|(key, _)| key).collect();
        if now.iter().copied().eq(&before) {
            return;
        }
        if let Err(error) = put(&place, Some(&text_of(&now))) {
            tracing::warn!(%error, "what was told could not be noted, so no command runs");
            return;
        }
        for (key, told) in things.iter().filter(|(key, _)| !before.contains(*key)) {
            if let Some(command) = commands.get(&told.event) {
                tracing::debug!(key, "a command runs");
                self.hooks.call(Call { command: command.clone(), told: told.clone() });
            }
        }
    }

    /// Everything that a person may want to know of, by what makes it the same thing.
    fn noteworthy(&self, status: &Status) -> BTreeMap<String, Told> {
        let folder = self.root.display().to_string();
        let told = |event, path: Option<&str>, what: &str, why: &str| Told {
            event,
            folder: folder.clone(),
            path: path.map(str::to_owned),
            what: what.to_owned(),
            why: why.to_owned(),
        };
        let mut things = BTreeMap::new();
        for Conflict { kind, entry, path, heads, .. } in
            self.replica.log().conflicts().into_iter().filter(|conflict| conflict.open)
        {
            let heads: BTreeSet<String> = heads.iter().map(ToString::to_string).collect();
            let why = format!("{} versions stand against each other", heads.len());
            let key = format!("conflict {} {}", entry.0, heads.into_iter().collect::<Vec<_>>().join(" "));
            things.insert(key, told(HookEvent::Conflict, Some(&path), kind.word(), &why));
        }
        let error = status.last_error.as_ref().filter(|_| status.state == State::Attention);
        if let Some(why) = error {
            // A count that grows makes it no other thing.
            let same = why.replace(|c: char| c.is_ascii_digit(), "");
            things.insert(format!("error {same}"), told(HookEvent::Attention, None, "error", why));
        }
        for line in status.set_aside.iter().filter(|line| !line.undone) {
            let key = format!("refused {} {}", line.path, line.kind);
            things.insert(key, told(HookEvent::Attention, Some(&line.path), "refused", &line.why));
        }
        for line in &status.in_the_way {
            let key = format!("in the way {}", line.path);
            things.insert(key, told(HookEvent::Attention, Some(&line.path), "in_the_way", &line.why));
        }
        things
    }

    /// Waits for the commands that run, each as long as it may take: for whoever is about to end.
    pub fn wait_for_hooks(&mut self) {
        if let Some((sender, worker)) = self.hooks.0.take() {
            drop(sender);
            drop(worker.join());
        }
    }
}

/// Runs one command, and says so if that goes wrong.
fn run(Call { command, told }: &Call) {
    let Some((program, arguments)) = command.split_first() else { return };
    let mut command = Command::new(program);
    // Passwords and tokens that this process was given are not for whatever a person runs here.
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("ANNALS_")) {
        command.env_remove(name);
    }
    let started = command
        .args(arguments)
        .current_dir(&told.folder)
        .env("ANNALS_EVENT", told.event.word())
        .env("ANNALS_FOLDER", &told.folder)
        .env("ANNALS_PATH", told.path.as_deref().unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn();
    let ended = started.and_then(|mut child| {
        let text = serde_json::to_vec(told).expect("plain data with text keys");
        // One that does not want to know has closed it.
        drop(child.stdin.take().map(|mut stdin| stdin.write_all(&text)));
        wait(child)
    });
    match ended {
        Ok(None) => {}
        Ok(Some(how)) => tracing::warn!(program, how, "the command for {} failed", told.event.word()),
        Err(error) => {
            tracing::warn!(program, %error, "the command for {} could not be run", told.event.word());
        }
    }
}

/// How it went wrong, if it did.
fn wait(mut child: Child) -> std::io::Result<Option<String>> {
    let began = Stopwatch::start();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((!status.success()).then(|| status.to_string()));
        }
        if began.elapsed() > PATIENCE {
            let group = Pid::from_child(&child);
            if let Err(error) = kill_process_group(group, Signal::KILL) {
                tracing::debug!(%error, "a command that took too long had ended");
            }
            child.wait()?;
            return Ok(Some(format!("ended after {} seconds", PATIENCE.as_secs())));
        }
        pause(BETWEEN_LOOKS);
    }
}

fn read<T: Default + for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data with text keys")
}
