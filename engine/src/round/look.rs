//! Looking at the folder: at everything, or at some folders where a change was hinted at; reading what changed.
//!
//! What must always hold: whatever has not been looked at is not said to be changed, or gone.

use super::{
    FileToRead, Files, Host, Round, RoundError, Step, Wish,
    glance::{FOLDERS_MAX, Glance, glance},
};
use crate::{
    author::Removals,
    content::delta::DELTA_BYTES_MIN,
    disk::{Disk, Node, Scan, SkippedBecause},
    flow,
    observed::{LocalTree, SyncedTree, ancestors, parent},
    priority::{Rank, urgent_first},
    replica::{Effect, Input, Reach},
    watch::{Look, QUIET_MS},
};
use annals_events::EntryKind;
use std::collections::{BTreeSet, VecDeque};

/// A file beside what was hinted at is read once it was left alone for so long, as one that is open for writing is.
const QUIET_NS: i64 = (QUIET_MS * 1_000_000).cast_signed();

/// A file that is empty, and that a program has open, waits for so long to be written to.
const EMPTY_NS: i64 = 60_000_000_000;

/// Files that are read, and sent, together.
const FILES_PER_GROUP: usize = 512;

impl<H: Host> Round<'_, H> {
    /// What this device did to the folder and could not take down, because it was ended, is found before anything new
    /// is known: afterwards it would look like a person's doing.
    pub(super) fn tell_own_doing(&mut self) -> Result<(), RoundError> {
        let mut looks = 0;
        // A folder that is far behind is taken note of first, and told apart by the second look.
        while self.replica.is_half_done() && looks < 2 {
            self.look(&Look::Whole, false)?;
            looks += 1;
        }
        Ok(())
    }

    /// Scans, reads what changed, sends or keeps its chunks, and hands it in.
    pub(super) fn look(&mut self, at: &Look, online: bool) -> Result<(), RoundError> {
        self.go_on(Step::Scanning)?;
        self.changed = None;
        if let Look::At(paths) = at
            && let Some(glance) = self.glance(paths)?
        {
            return self.take_glance(glance, Some(paths), online);
        }
        if *at == Look::Whole
            && let Some(glance) = self.survey()?
        {
            self.begin_report(Vec::new());
            return self.take_glance(glance, None, online);
        }
        let scan = self.scan()?;
        self.begin_report(told(&scan));
        self.report.incomplete = !scan.complete;
        let began_ns = scan.began_ns;
        let (mut local, unread) = LocalTree::of(scan, self.replica.synced());
        let unread = self.pass_by_unwritten(unread, &local, began_ns);
        match self.read(&mut local, unread, None, online)? {
            Reading::Done => self.take_look(local, Reach::Whole),
            Reading::ToBeginAgain => Ok(()),
        }
    }

    fn take_look(&mut self, local: LocalTree, reach: Reach) -> Result<(), RoundError> {
        let removals = match &self.wish {
            Wish { keep_missing: true, .. } => Removals::Withhold,
            Wish { accept_deletes: true, .. } => Removals::Accept,
            Wish { patient: true, .. } => Removals::AskAtRest,
            _ => Removals::Ask,
        };
        let read = self.read_of(&local);
        let effects = self.replica.step(self.host.now_ms(), Input::Looked { local, reach, removals });
        if effects.iter().any(|effect| matches!(effect, Effect::Scan)) {
            // Nothing was said of that: it is read with the rest.
            self.tried.retain(|path| !read.contains(path));
        }
        self.perform(effects)
    }

    /// What this look read of what had its turn.
    fn read_of(&self, local: &LocalTree) -> BTreeSet<String> {
        let is_read = |path: &&String| local.nodes.get(*path).is_some_and(|found| found.content.is_some());
        self.tried.iter().filter(is_read).cloned().collect()
    }

    /// What is reported is from now on of the whole folder.
    fn begin_report(&mut self, skipped: Vec<(String, String)>) {
        self.report.looks += 1;
        self.report.incomplete = false;
        self.report.vanishing.clear();
        self.report.glanced.clear();
        self.report.blocked.clear();
        self.report.waiting.clear();
        self.report.skipped = skipped;
    }

    /// `hints`: where something was hinted at; none where somebody looked everywhere for what changed.
    fn take_glance(
        &mut self,
        glance: Glance,
        hints: Option<&BTreeSet<String>>,
        online: bool,
    ) -> Result<(), RoundError> {
        let Glance { folders, scan } = glance;
        let synced = self.replica.synced_at(&folders);
        let searched = self.replica.is_search_due(self.host.now_ms());
        if searched && self.is_elsewhere(&synced, &scan)? {
            return self.look(&Look::Whole, online);
        }
        self.report.vanishing.clear();
        let is_near = |path: &str| folders.contains(parent(path).unwrap_or(""));
        self.report.skipped.retain(|(path, _)| !is_near(path));
        self.report.blocked.retain(|why| !is_near(why.path()));
        self.report.waiting.retain(|path| !is_near(path));
        self.report.skipped.extend(told(&scan));
        self.report.glanced.extend(folders.iter().cloned());
        let began_ns = scan.began_ns;
        let quiet_ns = began_ns.saturating_sub(QUIET_NS);
        let (mut local, unread) = LocalTree::of(scan, &synced);
        let is_done =
            |path: &String| is_done(path, local.nodes.get(path).map(|found| &found.node), hints, quiet_ns);
        let (unread, later): (Vec<String>, Vec<String>) = unread.into_iter().partition(is_done);
        self.report.waiting.extend(later);
        let unread = self.pass_by_unwritten(unread, &local, began_ns);
        match self.read(&mut local, unread, Some(&folders), online)? {
            Reading::Done => self.take_look(local, Reach::Folders { paths: folders, searched }),
            Reading::ToBeginAgain => Ok(()),
        }
    }

    /// Leaves files for a later look that a program made, or emptied, and has not written to yet.
    fn pass_by_unwritten(&mut self, unread: Vec<String>, local: &LocalTree, began_ns: i64) -> Vec<String> {
        let is_fresh =
            |path: &String| local.nodes.get(path).is_some_and(|found| is_fresh(&found.node, began_ns));
        // To ask what is open costs more than the look, and mostly nothing is empty.
        if !unread.iter().any(is_fresh) {
            return unread;
        }
        let open = self.host.open_now();
        let (unwritten, unread) = unread.into_iter().partition(|path| is_fresh(path) && open.contains(path));
        self.report.waiting.extend::<Vec<String>>(unwritten);
        unread
    }

    /// Whether something that is missing where somebody looked may be anywhere else, by its number: then it moved. Costs
    /// a scan, and nothing of what a look at everything costs beside that.
    fn is_elsewhere(&mut self, synced: &SyncedTree, seen: &Scan) -> Result<bool, RoundError> {
        let number = |node: &Node| (node.dev, node.ino);
        let missing = synced.iter().filter(|(path, _)| !seen.nodes.contains_key(path));
        let mut missing: BTreeSet<(u64, u64)> = missing.map(|(_, node)| number(&node.disk)).collect();
        for node in seen.nodes.values() {
            missing.remove(&number(node)); // That was compared already.
        }
        if missing.is_empty() {
            return Ok(false);
        }
        let all = self.host.parts().disk.scan()?;
        Ok(!all.complete || all.nodes.values().any(|node| missing.contains(&number(node))))
    }

    /// Reads the files at `unread`; those of which all chunks are in the server's hands, or in the outbox, are known
    /// in `local` then. While one group is on its way the next is read. What gave way is left to another look.
    fn read(
        &mut self,
        local: &mut LocalTree,
        unread: Vec<String>,
        folders: Option<&BTreeSet<String>>,
        online: bool,
    ) -> Result<Reading, RoundError> {
        let unread = self.in_order(unread, local, folders, online);
        let mut groups = groups_of(self.files_to_read(&unread, local), self.window());
        let now: u64 = groups.iter().flatten().map(|file| file.size).sum();
        let ((done, bytes), (later, later_bytes)) = (self.read_before, self.read_later);
        let (of, of_bytes) = (done + unread.len() as u64 + later, bytes + now + later_bytes);
        let mut files = Files { done, of, bytes, of_bytes, path: None };
        self.report.unread = Some((of - done, of_bytes - bytes));
        self.turn_to(online && (self.receives_later || self.sends_later));
        let mut end = Reading::Done;
        while let Some(group) = groups.pop_front() {
            files.path = group.first().map(|file| file.path.clone());
            self.host.progress(Step::Reading(files.clone()));
            let bytes = group.iter().map(|file| file.size).sum::<u64>();
            (files.done, files.bytes) = (files.done + group.len() as u64, files.bytes + bytes);
            self.reading =
                Files { bytes: files.bytes - bytes, done: files.done - group.len() as u64, ..files.clone() };
            let paths: Vec<String> = group.iter().map(|file| file.path.clone()).collect();
            let next = groups.front().map_or(&[][..], Vec::as_slice);
            match self.read_group(group, next, online) {
                Err(RoundError::GaveWay) => {
                    let rest = std::mem::take(&mut groups).into_iter().flatten().map(|file| file.path);
                    self.give_way()?;
                    end = self.put_off(paths.into_iter().chain(rest), local, folders);
                }
                read => {
                    for (path, read) in read? {
                        if !local.read(&path, &read.node, read.content, read.grew) {
                            self.report.waiting.push(path);
                        }
                    }
                    files.path = None;
                    self.read_before = (files.done, files.bytes);
                    self.report.unread = Some((of - files.done, of_bytes - files.bytes));
                    self.go_on(Step::Reading(files.clone()))?;
                }
            }
        }
        // Before anything is said about them (I4).
        self.all_sent()?;
        self.report.skipped.iter().for_each(|(path, why)| local.unreadable(path, why));
        Ok(end)
    }

    /// The files that are to be read now, what somebody waits for first. Where the others would take long they are put
    /// off to another look, once: then it is said before they are read. And each that takes long has a look of its own.
    fn in_order(
        &mut self,
        unread: Vec<String>,
        local: &LocalTree,
        folders: Option<&BTreeSet<String>>,
        online: bool,
    ) -> Vec<String> {
        let ranking = self.ranking(unread.len());
        let rank = |path: String| {
            let node = local.nodes.get(&path).map(|local| &local.node);
            let (size, touched_ns) = node.map_or((0, 0), |node| (node.size, node.mtime_ns));
            (ranking.of(&path, size, touched_ns), size, path)
        };
        let mut ranked: Vec<_> = unread.into_iter().map(rank).collect();
        ranked.sort_by_key(|(rank, ..)| *rank);
        let order: Vec<(Rank, u64)> = ranked.iter().map(|(rank, size, _)| (*rank, *size)).collect();
        let now = urgent_first(&order);
        self.later.clear();
        (self.little_waits, self.read_later) = (false, (0, 0));
        if now < ranked.len() && online && !self.put_off && self.has_all(local, folders) {
            (self.put_off, self.rescan) = (true, Some(Look::Whole));
            self.reads_later(&ranked.split_off(now));
        }
        if online {
            self.put_off_what_waits(&mut ranked, local, folders);
        }
        self.is_first_look = false;
        ranked.into_iter().map(|(.., path)| path).collect()
    }

    fn reads_later(&mut self, rest: &[(Rank, u64, String)]) {
        let (count, bytes) = self.read_later;
        self.read_later =
            (count + rest.len() as u64, bytes + rest.iter().map(|(_, size, _)| *size).sum::<u64>());
    }

    /// Leaves those that go together now: one that takes long, or what goes before it. Before anything takes long, what is
    /// to be received has its turn.
    fn put_off_what_waits(
        &mut self,
        ranked: &mut Vec<(Rank, u64, String)>,
        local: &LocalTree,
        folders: Option<&BTreeSet<String>>,
    ) {
        let window = self.window();
        let is_long = |size: u64| flow::is_long(size, window);
        let sizes =
            |ranked: &[(Rank, u64, String)]| ranked.iter().map(|(_, size, _)| *size).collect::<Vec<_>>();
        let is_little = !ranked.iter().any(|(_, size, _)| is_long(*size));
        if is_little && flow::together(&sizes(ranked), window) == ranked.len()
            || !self.has_all(local, folders)
        {
            return;
        }
        // What did not rest while it was read, or cannot be, has had its turn.
        ranked.retain(|(.., path)| !self.tried.contains(path));
        let mut now = flow::together(&sizes(ranked), window);
        if self.is_first_look && !self.replica.is_settled() {
            now = ranked[..now].iter().take_while(|(_, size, _)| !is_long(*size)).count();
        }
        let rest = ranked.split_off(now);
        self.little_waits = rest.iter().any(|(_, size, _)| !is_long(*size));
        self.reads_later(&rest);
        self.later = rest.into_iter().map(|(.., path)| path).collect();
        if !self.later.is_empty() && self.rescan.is_none() {
            self.rescan = Some(Look::At(self.later.clone()));
        }
        self.tried.extend(ranked.iter().map(|(.., path)| path.clone()));
    }

    /// Leaves these to another look. Where something is missing that they may be, under another name, that has to look at
    /// the rest again as well.
    fn put_off(
        &mut self,
        paths: impl Iterator<Item = String>,
        local: &LocalTree,
        folders: Option<&BTreeSet<String>>,
    ) -> Reading {
        self.later.extend(paths);
        let window = self.window();
        let size = |path: &String| local.nodes.get(path).map_or(0, |node| node.node.size);
        self.little_waits = self.later.iter().any(|path| !flow::is_long(size(path), window));
        self.tried.retain(|path| !self.later.contains(path));
        if !self.has_all(local, folders) {
            let read = self.read_of(local);
            self.tried.retain(|path| !read.contains(path));
            self.rescan = Some(Look::Whole);
            return Reading::ToBeginAgain;
        }
        if self.rescan != Some(Look::Whole) {
            self.rescan = Some(Look::At(self.later.clone()));
        }
        Reading::Done
    }

    /// Whether everything is there that was, in these folders or everywhere: what vanished may be among what is not read
    /// yet, under another name.
    fn has_all(&self, local: &LocalTree, folders: Option<&BTreeSet<String>>) -> bool {
        match folders {
            None => self.replica.synced().iter().all(|(path, _)| local.nodes.contains_key(&path)),
            Some(folders) => {
                self.replica.synced_at(folders).iter().all(|(path, _)| local.nodes.contains_key(&path))
            }
        }
    }

    fn files_to_read(&mut self, paths: &[String], local: &LocalTree) -> Vec<FileToRead> {
        let size = |path: &String| local.nodes.get(path).map_or(0, |node| node.node.size);
        // Neither sizes nor chunks matter in a file that is sent as fast as it is told about.
        let large: Vec<&String> =
            paths.iter().filter(|path| size(path) >= u64::from(DELTA_BYTES_MIN)).collect();
        let mut heads = self.replica.heads_said(large.iter().map(|path| path.as_str()));
        for path in large {
            if let Some(head) = self.replica.synced().get(path).and_then(|node| node.head) {
                heads.insert(path.clone(), head);
            }
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let head = heads.get(path).copied();
            let replaced = head.and_then(|head| self.content_of(head).ok().flatten());
            files.push(FileToRead { path: path.clone(), size: size(path), replaced, first: None });
        }
        files
    }

    /// Looks at everything for where it is not what is known, and at those folders; none where that is not enough. Mostly
    /// nothing changed: then nothing has to be held of what was looked at. Where something is withheld, all of it counts.
    fn survey(&mut self) -> Result<Option<Glance>, RoundError> {
        if std::mem::replace(&mut self.surveyed, true)
            || self.wish.accept_deletes
            || !self.replica.may_glance()
            || !self.replica.withheld().is_empty()
            || self.replica.synced().beside().next().is_some()
        {
            return Ok(None);
        }
        let Some(mut folders) = self.replica.folders_unsure() else { return Ok(None) };
        folders.extend(self.replica.take_hindered());
        let Some(differing) = self.host.parts().disk.survey(self.replica.synced())? else { return Ok(None) };
        folders.extend(differing);
        if folders.is_empty() {
            return Ok(Some(Glance::default()));
        }
        if folders.len() > FOLDERS_MAX {
            return Ok(None);
        }
        let hints: BTreeSet<&str> = folders.iter().map(String::as_str).collect();
        Ok(glance(self.host.parts().disk, self.replica.synced(), self.replica.went(), &hints)?)
    }

    /// Looks at the folders of these paths, and at what they lead to; none where that is not enough.
    fn glance(&mut self, paths: &BTreeSet<String>) -> Result<Option<Glance>, RoundError> {
        if !self.replica.may_glance() {
            return Ok(None);
        }
        let Some(unsure) = self.replica.folders_unsure() else { return Ok(None) };
        // What vanished is looked at each time: only so it is known when nothing more does.
        let vanished = self.replica.withheld();
        let hints: BTreeSet<&str> = paths.iter().chain(&unsure).chain(vanished).map(String::as_str).collect();
        Ok(glance(self.host.parts().disk, self.replica.synced(), self.replica.went(), &hints)?)
    }
}

/// What became of reading what changed.
enum Reading {
    /// What was not put off is read.
    Done,
    /// Nothing can be said of what was looked at before the rest is read.
    ToBeginAgain,
}

/// Whether whoever wrote this file is done with it. One beside what was hinted at is in somebody's hands until it was left
/// alone for a while: the hint at that one is on its way.
fn is_done(path: &str, node: Option<&Node>, hints: Option<&BTreeSet<String>>, quiet_ns: i64) -> bool {
    let is_hinted =
        |hints: &BTreeSet<String>| hints.contains(path) || ancestors(path).any(|above| hints.contains(above));
    hints.is_none_or(is_hinted) || node.is_none_or(|node| node.ctime_ns < quiet_ns)
}

/// Whether whoever made this file, or emptied it, may be about to write to it.
fn is_fresh(node: &Node, began_ns: i64) -> bool {
    node.kind == EntryKind::File && node.size == 0 && node.ctime_ns > began_ns.saturating_sub(EMPTY_NS)
}

/// What a person is told of that is not synced. What is ignored is so because somebody wants it.
fn told(scan: &Scan) -> Vec<(String, String)> {
    let told = scan.skipped.iter().filter(|skipped| !matches!(skipped.why, SkippedBecause::Ignored { .. }));
    told.map(|skipped| (skipped.path.clone(), skipped.why.to_string())).collect()
}

/// Files in groups that are small enough to be kept between the question and the sending, or to be read twice from the
/// cache.
pub(super) fn groups_of(files: Vec<FileToRead>, window: u64) -> VecDeque<Vec<FileToRead>> {
    let bytes_max = flow::group(window);
    let mut groups: VecDeque<Vec<FileToRead>> = VecDeque::new();
    let mut bytes = 0;
    for file in files {
        bytes += file.size;
        match groups.back_mut() {
            Some(group) if group.len() < FILES_PER_GROUP && bytes <= bytes_max => group.push(file),
            _ => {
                bytes = file.size;
                groups.push_back(vec![file]);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_what_was_hinted_at_is_read_once_it_was_left_alone() {
        let changed_at = |ctime_ns: i64| {
            let (size, dev, ino, executable) = (5, 1, 2, false);
            let (kind, target) = (EntryKind::File, None);
            Node { kind, size, mtime_ns: ctime_ns, ctime_ns, dev, ino, born_ns: None, executable, target }
        };
        let (quiet, busy) = (changed_at(999), changed_at(1_000));
        let hints = BTreeSet::from(["dir/saved".to_owned(), "came".to_owned()]);
        for (path, node, hints, done) in [
            ("dir/saved", &busy, Some(&hints), true),
            ("came/with/all", &busy, Some(&hints), true),
            ("dir/other", &busy, Some(&hints), false),
            ("dir/other", &quiet, Some(&hints), true),
            ("other", &busy, Some(&hints), false),
            ("other", &busy, None, true),
        ] {
            assert_eq!(is_done(path, Some(node), hints, 1_000), done, "{path}");
        }
        assert!(is_done("gone", None, Some(&hints), 1_000));
    }

    #[test]
    fn an_empty_file_may_be_about_to_be_written_to_for_a_minute() {
        let node = |size: u64, ctime_ns: i64| {
            let (kind, dev, ino, executable, target) = (EntryKind::File, 1, 2, false, None);
            Node { kind, size, mtime_ns: 0, ctime_ns, dev, ino, born_ns: None, executable, target }
        };
        let now = 2 * EMPTY_NS;
        for (size, ctime_ns, fresh) in [
            (0, now, true),
            (0, now - EMPTY_NS + 1, true),
            (0, now - EMPTY_NS, false),
            // What is written to by now is for the debouncer.
            (1, now, false),
        ] {
            assert_eq!(is_fresh(&node(size, ctime_ns), now), fresh, "{size} bytes since {ctime_ns}");
        }
    }
}
