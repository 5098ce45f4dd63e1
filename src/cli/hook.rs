//! `annals hook`: commands that run when something needs a person.

use super::{
    arguments::Hook,
    failure::{Exit, Failure},
    place,
    talk::Talk,
};
use crate::client::{Binding, HookEvent, hooks_of, set_hooks};
use std::path::{Path, PathBuf};

pub(super) fn run(hook: &Hook, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let root = place::folder_named(hook.folder().map(PathBuf::as_path), directory)?;
    Binding::read(&root)?;
    let mut commands = hooks_of(&root);
    match hook {
        Hook::Show(_) => {}
        Hook::Set { on, command, .. } => {
            commands.insert(on.event(), command.clone());
            set_hooks(&root, &commands)?;
        }
        Hook::Remove { on, .. } => {
            let event = on.map(super::arguments::HookOn::event);
            let before = commands.len();
            commands.retain(|known, _| event.is_some_and(|event| event != *known));
            if commands.len() == before {
                return Err(Failure::usage("no such command is set").hint("`annals hook show` lists them"));
            }
            set_hooks(&root, &commands)?;
        }
    }
    if talk.output.json {
        talk.json(&commands)?;
        return Ok(Exit::Done);
    }
    for (event, command) in &commands {
        talk.line(format_args!("{}: {}", HookEvent::word(*event), command.join(" ")))?;
    }
    if commands.is_empty() {
        talk.remark("no commands are set")?;
    }
    Ok(Exit::Done)
}
