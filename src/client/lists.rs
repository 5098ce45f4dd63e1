//! Lists of large files' chunks, each a file by its name below `.annals/`: written by replace, believed by their hash,
//! and never synced, for what is lost is fetched again. The oldest go when there are too many.

use crate::whole;
use annals_engine::round::Lists;
use annals_events::ChunkId;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Bytes of all lists together. Such a list has 40 bytes a chunk.
const BYTES_MAX: u64 = 64 << 20;

/// The lists in a folder, which is made when it is needed.
#[derive(Debug)]
pub(super) struct ListFolder {
    place: PathBuf,
    bytes_max: u64,
}

impl ListFolder {
    pub(super) fn new(place: PathBuf) -> Self {
        Self { place, bytes_max: BYTES_MAX }
    }

    fn path_of(&self, id: &ChunkId) -> PathBuf {
        self.place.join(id.to_string())
    }

    fn write(&self, id: &ChunkId, bytes: &[u8]) -> io::Result<()> {
        let path = self.path_of(id);
        if path.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.place)?;
        self.make_room(bytes.len() as u64)?;
        whole::cache(&path, &[bytes])
    }

    /// Removes the oldest, until so many bytes more are not too many.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut lists: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.place)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            lists.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        let mut all: u64 = bytes + lists.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        lists.sort_unstable();
        for (_, bytes, path) in lists {
            if all <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            all -= bytes;
        }
        Ok(())
    }
}

impl Lists for ListFolder {
    fn get(&self, id: &ChunkId) -> Option<Vec<u8>> {
        fs::read(self.path_of(id)).ok().filter(|bytes| ChunkId::of(bytes) == *id)
    }

    fn put(&self, id: &ChunkId, bytes: &[u8]) {
        if let Err(error) = self.write(id, bytes) {
            tracing::debug!(%error, place = %Path::display(&self.place), "a list is not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_found_by_its_name_unless_it_is_something_else_and_the_oldest_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let lists = ListFolder { bytes_max: 250, ..ListFolder::new(folder.path().join("lists")) };
        let of = |n: u8| (ChunkId::of(&[n; 100]), [n; 100]);
        assert_eq!(lists.get(&of(1).0), None);
        for n in 1..=3 {
            lists.put(&of(n).0, &of(n).1);
            assert_eq!(lists.get(&of(n).0).as_deref(), Some(&of(n).1[..]));
        }
        let left = (1..=3).filter(|n| lists.get(&of(*n).0).is_some()).count();
        assert_eq!(left, 2);
        fs::write(lists.path_of(&of(3).0), b"something else").unwrap();
        assert_eq!(lists.get(&of(3).0), None);
    }
}
