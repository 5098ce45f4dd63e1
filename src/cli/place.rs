//! Which linked folder a verb is about, and which path in it.

use super::{
    arguments::FolderVerb,
    failure::{Exit, Failure},
};
use crate::client::{self, binding};
use std::path::{Component, Path, PathBuf};

/// The linked folder that `verb` names, by its FOLDER, its PATH, or where it runs.
pub(crate) fn folder_of(verb: &FolderVerb, directory: &Path) -> Result<PathBuf, Failure> {
    let (folder, path) = match verb {
        FolderVerb::Invite(arg) | FolderVerb::Status(arg) => (arg.folder.as_ref(), None),
        FolderVerb::Devices(arg) => (arg.folder.as_ref(), None),
        FolderVerb::Sync(arg) => (arg.folder.as_ref(), None),
        // `annals log PATH` means a path where PATH is no linked folder.
        FolderVerb::Log(arg) => match &arg.folder {
            Some(named) if arg.path.is_none() && exactly(named, directory).is_err() => (None, Some(named)),
            folder => (folder.as_ref(), None),
        },
        FolderVerb::Trash(trash) => match (&trash.argument().folder, &trash.argument().path) {
            (Some(named), None) if exactly(named, directory).is_err() => (None, Some(named)),
            (folder, _) => (folder.as_ref(), None),
        },
        FolderVerb::Retention(retention) => (retention.folder(), None),
        FolderVerb::Verify(arg) => (arg.folder.as_ref(), None),
        FolderVerb::Namespaces(arg) => (arg.folder.as_ref(), None),
        FolderVerb::Share(arg) => (Some(&arg.path), None),
        FolderVerb::Unshare(arg) => (Some(&arg.path), None),
        FolderVerb::History(arg) => (None, Some(&arg.path)),
        FolderVerb::Cat(arg) => (None, Some(&arg.path)),
        FolderVerb::Diff(arg) => (None, Some(&arg.path)),
        FolderVerb::Restore(arg) => (None, Some(&arg.what.path)),
        FolderVerb::Tag(arg) => (None, Some(&arg.path)),
        FolderVerb::Note(arg) => (None, Some(&arg.path)),
    };
    match path {
        Some(path) if folder.is_none() => around(&absolute(path, directory), path),
        _ => folder_named(folder.map(PathBuf::as_path), directory),
    }
}

/// The linked folder that was named, or else the one around `directory`.
pub(crate) fn folder_named(folder: Option<&Path>, directory: &Path) -> Result<PathBuf, Failure> {
    folder.map_or_else(|| around(directory, directory), |folder| exactly(folder, directory))
}

/// The path that a verb with FOLDER and PATH is about: one of the folder that was named, or else of where it was typed.
pub(crate) fn path_meant(
    folder: Option<&Path>,
    path: Option<&Path>,
    root: &Path,
    directory: &Path,
) -> Result<Option<String>, Failure> {
    match (folder, path) {
        (_, Some(path)) => path_in(root, path, directory).or_else(|_| path_in(root, path, root)).map(Some),
        (Some(named), None) if absolute(named, directory) != root => {
            path_in(root, named, directory).map(Some)
        }
        _ => Ok(None),
    }
}

/// `folder` as it was typed, if it is linked.
pub(crate) fn exactly(folder: &Path, directory: &Path) -> Result<PathBuf, Failure> {
    let typed = folder;
    let folder = absolute(folder, directory);
    match binding::linked_at_or_above(&folder) {
        Some(linked) if linked == folder => Ok(folder),
        Some(linked) => Err(Failure::usage(format!(
            "{} lies in the linked folder {}, and is not one itself",
            typed.display(),
            linked.display()
        ))
        .hint(format!("this is about linked folders as a whole: name {}", linked.display()))),
        None => Err(not_there(&folder).unwrap_or_else(|| not_linked(&folder))),
    }
}

fn around(path: &Path, typed: &Path) -> Result<PathBuf, Failure> {
    let linked = binding::linked_at_or_above(path);
    linked.ok_or_else(|| not_there(path).unwrap_or_else(|| not_linked(typed)))
}

/// What is said of a path in a folder that was linked here, and of which nothing is there now.
pub(crate) fn not_there(path: &Path) -> Option<Failure> {
    let root = client::linked_and_gone(path).or_else(|| client::linked_and_gone(&real(path)))?;
    let what = format!("{} is a linked folder, and nothing is there", root.display());
    let hint = format!(
        "is its disk mounted? Nothing was taken for removed, and it goes on once it is. If it is gone for good: annals unlink {}",
        typed(&root)
    );
    Some(Failure::new(Exit::NeedsPerson, what).hint(hint))
}

/// A path as it can be typed in a shell.
pub(crate) fn typed(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

pub(crate) fn not_linked(path: &Path) -> Failure {
    if path.is_absolute() && path.symlink_metadata().is_err() {
        return Failure::usage(format!("there is no {}, and no linked folder around it", path.display()))
            .hint("check the spelling, or link a folder with `annals up FOLDER` or `annals link URL FOLDER --ticket CODE`");
    }
    Failure::usage(format!("{} is not in a linked folder", path.display()))
        .hint("link one with `annals up FOLDER` or `annals link URL FOLDER --ticket CODE`")
}

/// `typed` from the root down, if a folder is or can be there.
pub(crate) fn to_link(typed: &Path, directory: &Path) -> Result<PathBuf, Failure> {
    let folder = absolute(typed, directory);
    if folder.exists() && !folder.is_dir() {
        return Err(Failure::usage(format!("{} is a file, not a folder", folder.display()))
            .hint("name a folder; it is made if it is missing"));
    }
    Ok(folder)
}

/// `path`, typed in `directory`, as names joined by `/` below `root`; empty for the folder itself.
pub(crate) fn path_in(root: &Path, path: &Path, directory: &Path) -> Result<String, Failure> {
    let absolute = absolute(path, directory);
    let below = absolute.strip_prefix(root).map_err(|_| not_linked(path))?;
    below.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("{} is not UTF-8, so it is not synced", path.display())).hint("rename it")
    })
}

/// From the root down, with `.` and `..` taken out of the text. Names need not exist: a path may be of a
/// file that was deleted.
pub(crate) fn absolute(path: &Path, directory: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in directory.join(path).components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Where `path` truly lies, as far as it is there: symlinks are followed.
pub(crate) fn real(path: &Path) -> PathBuf {
    let there =
        path.ancestors().find_map(|above| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?)));
    there.map_or_else(
        || path.to_owned(),
        |(above, below)| above.components().chain(below.components()).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_typed_as_it_is_shown() {
        for (path, shown) in [
            ("/home/ada/Documents", "/home/ada/Documents"),
            ("/home/ada/Gr\u{fc}\u{df}e_2.txt", "/home/ada/Gr\u{fc}\u{df}e_2.txt"),
            ("/my files", "'/my files'"),
            ("/it's $HOME", "'/it'\\''s $HOME'"),
            ("-rf", "'-rf'"),
            ("", "''"),
        ] {
            assert_eq!(typed(Path::new(path)), shown);
        }
    }

    #[test]
    fn paths_are_taken_from_where_they_were_typed() {
        for (path, means) in [
            ("a/b", "/home/ada/a/b"),
            ("./a/../b", "/home/ada/b"),
            ("/x//y/.", "/x/y"),
            ("..", "/home"),
            ("../../../..", "/"),
        ] {
            assert_eq!(absolute(Path::new(path), Path::new("/home/ada")), PathBuf::from(means), "{path}");
        }
        assert_eq!(path_in(Path::new("/home"), Path::new("a"), Path::new("/home/ada")), Ok("ada/a".into()));
        assert!(path_in(Path::new("/srv"), Path::new("a"), Path::new("/home/ada")).is_err());
    }
}
