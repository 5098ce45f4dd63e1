//! Small files that are there whole or not at all, whenever the power goes: what they held before, or all that they
//! hold now.
//!
//! What must always hold: who writes says what a loss would cost. [`durable`] is for what was promised and for what
//! nothing else knows, [`cache`] for what can be made again and is checked when it is read. Both are for their owner
//! alone. Left out: what is appended to (`annals_events::segment`), and people's files (`disk`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Puts `bytes` in place of what is at `path`. After that neither is lost with the power: the file is synced before it
/// has its name, the folder after.
///
/// # Errors
/// What the system said; what was there before is still there then, or the new one is and may go with the power.
pub fn durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, &[bytes], File::sync_all)?;
    sync_folder_of(path)
}

/// Takes away what is at `path`, durably. Where nothing is, that is well.
///
/// # Errors
/// What the system said.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder_of(path),
    }
}

/// Puts `parts`, one after the other, in place of what is at `path`. Nobody who reads meanwhile finds half of it, but
/// nothing is synced: after the power went anything may be there.
///
/// # Errors
/// What the system said; what was there before is still there then.
pub fn cache(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    put(path, parts, |_| Ok(()))
}

fn put(path: &Path, parts: &[&[u8]], sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    sync(&file)?;
    fs::rename(&new, path)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_for_its_owner_alone_and_nothing_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("row.json");
        for is_durable in [true, false] {
            for text in ["a long one", "short"] {
                let (begin, rest) = text.as_bytes().split_at(1);
                if is_durable { durable(&path, text.as_bytes()) } else { cache(&path, &[begin, rest]) }
                    .unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            }
            remove(&path).unwrap();
            remove(&path).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_was_there_stays_where_nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("row");
        durable(&path, b"before").unwrap();
        fs::create_dir(folder.path().join("row.new")).unwrap();
        assert!(durable(&path, b"after").is_err() && cache(&path, &[b"after"]).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"before");
    }
}
