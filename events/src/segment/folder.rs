//! The real disk: a folder, opened once.

use super::disk::{DiskError, SegmentDisk, SegmentFile};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// A folder of a real file system.
#[derive(Debug)]
pub struct FolderDisk {
    path: PathBuf,
    /// Nothing is created, renamed or removed, and no file is written to.
    to_read: bool,
}

struct FolderFile {
    file: File,
    place: String,
}

impl FolderDisk {
    /// The folder at `path`, made (durably) if there is none.
    ///
    /// # Errors
    /// [`DiskError`] where it can't be made.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, DiskError> {
        let path = path.into();
        make_folder(&path).map_err(|error| failure(&path.display().to_string(), &error))?;
        Ok(Self { path, to_read: false })
    }

    /// The folder at `path` to be read alone: whatever would change it fails. One that is not there is empty.
    #[must_use]
    pub fn to_read(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), to_read: true }
    }

    fn may_write(&self) -> Result<(), DiskError> {
        if self.to_read {
            return Err(DiskError::Failed { place: self.place(), what: "it was opened to be read".into() });
        }
        Ok(())
    }

    fn file(&self, name: &str, options: &OpenOptions) -> Result<Box<dyn SegmentFile>, DiskError> {
        let path = self.path.join(name);
        let place = path.display().to_string();
        let file = options.open(&path).map_err(|error| failure(&place, &error))?;
        Ok(Box::new(FolderFile { file, place }))
    }
}

impl SegmentDisk for FolderDisk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        let at = |error: io::Error| failure(&self.place(), &error);
        let mut names = Vec::new();
        let entries = match fs::read_dir(&self.path) {
            Err(error) if self.to_read && error.kind() == io::ErrorKind::NotFound => return Ok(names),
            entries => entries.map_err(at)?,
        };
        for entry in entries {
            // What is not UTF-8 was not made here.
            names.extend(entry.map_err(at)?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, name: &str) -> Result<Box<dyn SegmentFile>, DiskError> {
        self.may_write()?;
        self.file(name, OpenOptions::new().read(true).append(true).create_new(true))
    }

    fn open(&self, name: &str) -> Result<Box<dyn SegmentFile>, DiskError> {
        self.file(name, OpenOptions::new().read(true).append(!self.to_read))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.may_write()?;
        fs::rename(self.path.join(from), self.path.join(to)).map_err(|error| failure(&self.place(), &error))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.may_write()?;
        fs::remove_file(self.path.join(name)).map_err(|error| failure(&self.place(), &error))
    }

    fn sync_names(&self) -> Result<(), DiskError> {
        sync_folder(&self.path)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl SegmentFile for FolderFile {
    fn len(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|data| data.len()).map_err(|error| failure(&self.place, &error))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut got = 0;
        while got < buffer.len() {
            match self.file.read_at(&mut buffer[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(&self.place, &error)),
            }
        }
        Ok(got)
    }

    fn append(&self, bytes: &[u8]) -> Result<(), DiskError> {
        (&self.file).write_all(bytes).map_err(|error| failure(&self.place, &error))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|error| failure(&self.place, &error))
    }

    fn cut(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len).map_err(|error| failure(&self.place, &error))
    }
}

/// Makes a folder and those above it, so that a crash does not take them away with what is put in.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

fn sync_folder(path: &Path) -> Result<(), DiskError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failure(&path.display().to_string(), &error))
}

fn failure(place: &str, error: &io::Error) -> DiskError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::Full { place: place.into() },
        _ => DiskError::Failed { place: place.into(), what: error.to_string() },
    }
}
