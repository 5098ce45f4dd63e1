//! `annals service`: a systemd user unit that keeps a folder in sync from login on.
//!
//! What must always hold: a unit of another folder is never overwritten or removed, and what could not be done is said
//! as the line to type. Left out: units for the whole system, and other init systems.

mod unit;

use super::{
    arguments::Service,
    failure::{Exit, Failure},
    place,
    talk::Talk,
};
use crate::client::Binding;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use unit::Unit;

pub(super) fn run(service: &Service, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let root = place::folder_named(service.folder().map(PathBuf::as_path), directory)?;
    let (binding, _) = Binding::read(&root)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("where this program lies cannot be told: {error}")))?;
    let unit = Unit::of(&root, &binding, &program);
    if let Service::Install { print: true, .. } = service {
        return print(&unit, talk);
    }
    let units = folder_of_units()?;
    let place = Place::find(&units, &unit)?;
    match service {
        Service::Install { .. } => install(&unit, &place, talk),
        Service::Uninstall(_) => uninstall(&place, talk),
        Service::Status(_) => status(&place, talk),
    }
}

/// How the unit of a folder that is linked no more is taken away, if there is one.
pub(super) fn left_of(root: &Path, binding: &Binding) -> Option<String> {
    let unit = Unit::of(root, binding, &std::env::current_exe().ok()?);
    let place = Place::find(&folder_of_units().ok()?, &unit).ok().filter(|place| place.installed)?;
    let path = super::place::typed(&place.path);
    Some(format!("systemctl --user disable --now {}; rm {path}", place.name))
}

fn print(unit: &Unit, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    if talk.output.json {
        talk.json(&serde_json::json!({ "unit": unit.name(0), "text": unit.text() }))?;
    } else {
        talk.raw(unit.text().as_bytes())?;
    }
    Ok(Exit::Done)
}

/// Where a person's own units lie.
fn folder_of_units() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let config = config
        .ok_or_else(|| Failure::failed("there is no place for units").hint("set HOME, or XDG_CONFIG_HOME"))?;
    Ok(config.join("systemd/user"))
}

/// Where the unit of a folder is, or will be.
struct Place {
    name: String,
    path: PathBuf,
    installed: bool,
}

impl Place {
    /// The one that is there already, or a name that no other folder's unit has.
    fn find(units: &Path, unit: &Unit) -> Result<Self, Failure> {
        // One that had its name after another's may be the only one by now.
        for entry in fs::read_dir(units).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let is_unit = name.starts_with("annals-") && name.ends_with(".service");
            if is_unit && fs::read_to_string(&path).is_ok_and(|text| unit.is_of_folder(&text)) {
                return Ok(Self { name, path, installed: true });
            }
        }
        for nth in 0.. {
            let name = unit.name(nth);
            let path = units.join(&name);
            match path.symlink_metadata() {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(Self { name, path, installed: false });
                }
                Err(error) => return Err(at(&path, &error)),
            }
        }
        unreachable!("there are more names than files")
    }
}

fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display())).hint("may you write there?")
}

fn install(unit: &Unit, place: &Place, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let folder = place.path.parent().expect("a unit lies in a folder");
    let fresh = place.path.with_extension("new");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&fresh, unit.text()))
        .and_then(|()| fs::rename(&fresh, &place.path))
        .map_err(|error| at(&place.path, &error))?;
    let started = systemctl(&["daemon-reload"]) && systemctl(&["enable", "--now", &place.name]);
    if talk.output.json {
        return document(place, true, Some(started), talk);
    }
    talk.line(format_args!("wrote {}", place.path.display()))?;
    if started {
        talk.line(format_args!("{} runs from now on, and whenever you log in", place.name))?;
        talk.remark("for it to run while nobody is logged in: loginctl enable-linger")?;
    } else {
        talk.remark("it was not started: systemd does not answer here. Where it does, type:")?;
        talk.remark(format_args!(
            "  systemctl --user daemon-reload && systemctl --user enable --now {}",
            place.name
        ))?;
    }
    Ok(Exit::Done)
}

fn uninstall(place: &Place, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    if !place.installed {
        return Err(
            Failure::usage("there is no service for this folder").hint("`annals service install` makes one")
        );
    }
    let stopped = systemctl(&["disable", "--now", &place.name]);
    fs::remove_file(&place.path).map_err(|error| at(&place.path, &error))?;
    let stopped = systemctl(&["daemon-reload"]) && stopped;
    if talk.output.json {
        return document(place, false, None, talk);
    }
    talk.line(format_args!("removed {}", place.path.display()))?;
    if !stopped {
        talk.remark(format_args!(
            "systemd does not answer here; where it runs: systemctl --user disable --now {}",
            place.name
        ))?;
    }
    Ok(Exit::Done)
}

fn status(place: &Place, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    if talk.output.json {
        return document(place, place.installed, None, talk);
    }
    if !place.installed {
        talk.line("no service: `annals service install` makes one")?;
        return Ok(Exit::Done);
    }
    let runs = if systemctl(&["is-active", "--quiet", &place.name]) { "runs" } else { "does not run" };
    let begins = if systemctl(&["is-enabled", "--quiet", &place.name]) { "does" } else { "does not" };
    talk.line(format_args!("{} {runs}, and {begins} begin at login", place.name))?;
    talk.line(format_args!("  {}", place.path.display()))?;
    talk.remark(format_args!("what it says: journalctl --user -u {}", place.name))?;
    Ok(Exit::Done)
}

fn document(
    place: &Place,
    installed: bool,
    started: Option<bool>,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let asked = |what| installed && systemctl(&[what, "--quiet", &place.name]);
    talk.json(&serde_json::json!({
        "unit": place.name, "path": place.path.display().to_string(), "installed": installed,
        "started": started, "active": asked("is-active"), "enabled": asked("is-enabled")
    }))?;
    Ok(Exit::Done)
}

/// Whether systemd is there and did it. What it says about that is not for people who have none.
fn systemctl(arguments: &[&str]) -> bool {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
