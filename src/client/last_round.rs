//! What the last round adds to what is known of how a folder stands.
//!
//! A round that looked at some folders says nothing of the others, and one that gave way or was ended says less than one
//! that came to its end. What must always hold: what was not looked at is as it was before; what is said is of the folder
//! as it was found last. Left out: the clock, and how it is shown ([`Status`](super::Status)).

use super::{
    ClientError,
    layout::STATE_FOLDER,
    standing::{Matter, PathLine, State, Status, rfc3339},
};
use crate::disk::KEPT;
use annals_engine::{
    disk::Blocked,
    observed::parent,
    round::{Look, Report, RoundError},
    watch::PATHS_MAX,
};
use std::collections::{BTreeMap, BTreeSet};

/// How the last round went.
#[derive(Clone, Debug, Default)]
pub(super) struct LastRound {
    /// Why the folder was not watched.
    pub(super) unwatched: Option<String>,
    /// Whether the server was not reached.
    pub(super) offline: bool,
    /// Since when.
    pub(super) offline_since: Option<String>,
    /// What went wrong.
    pub(super) error: Option<String>,
    /// What kind of thing that is.
    pub(super) matter: Matter,
    /// What to do about that.
    pub(super) hint: Option<String>,
    /// When everything had been exchanged.
    pub(super) exchanged: Option<String>,
    /// What is not synced.
    pub(super) skipped: Vec<PathLine>,
    /// What the log says and the folder does not show.
    pub(super) in_the_way: Vec<PathLine>,
    /// Whether something could not be looked at.
    incomplete: bool,
    /// What was being written, or vanished.
    moving: Option<Look>,
    /// Where the next round goes on.
    put_off: Option<Look>,
    /// How many files wait to be read, and their bytes.
    pub(super) unread: (u64, u64),
}

impl LastRound {
    /// As the process that did it wrote it down.
    pub(super) fn of(noted: Status) -> Self {
        Self {
            // That is for a daemon to say that would watch.
            unwatched: None,
            offline: noted.state == State::Offline,
            offline_since: noted.offline_since,
            error: noted.last_error,
            matter: noted.matter,
            hint: noted.hint,
            exchanged: noted.last_exchange,
            skipped: noted.skipped,
            in_the_way: noted.in_the_way,
            incomplete: false,
            moving: None,
            put_off: None,
            unread: (0, 0),
        }
    }

    /// Takes how a round went that ended now. `kept`: what lies in `.annals/kept/`.
    pub(super) fn take(
        &mut self,
        now_ms: u64,
        kept: &[String],
        report: &Report,
        result: &Result<(), RoundError>,
    ) {
        if matches!(result, Err(RoundError::Stopped)) {
            return;
        }
        self.offline = matches!(result, Err(error) if error.is_passing());
        self.offline_since = match self.offline_since.take() {
            since @ Some(_) if self.offline => since,
            _ => self.offline.then(|| rfc3339(now_ms)),
        };
        self.put_off = report.put_off.clone();
        // Who did not get to reading knows no better than before.
        if let Some(unread) = report.unread.or_else(|| result.is_ok().then_some((0, 0))) {
            self.unread = unread;
        }
        // Who made a pause knows of it, and giving way is nothing that went wrong.
        let is_wrong = |error: &&RoundError| !matches!(error, RoundError::Paused | RoundError::GaveWay);
        let error = result.as_ref().err().filter(is_wrong);
        (self.error, self.matter, self.hint) = (error.map(ToString::to_string), Matter::Other, None);
        if result.is_ok() {
            self.exchanged = Some(rfc3339(now_ms));
        }
        self.moving = still_moving(self.moving.take(), report);
        if report.looks > 0 {
            self.incomplete = report.incomplete;
            self.skipped.clear();
            self.in_the_way.clear();
        }
        // What was not looked at is as it was.
        let is_elsewhere =
            |line: &PathLine| !is_kept(line) && !report.glanced.contains(parent(&line.path).unwrap_or(""));
        self.skipped.retain(is_elsewhere);
        self.in_the_way.retain(is_elsewhere);
        // A file that cannot be read waits as well: once is enough.
        let line = |(path, why): &(String, String)| PathLine::new(path, why);
        let waiting = report.waiting.iter().map(|path| PathLine::new(path, "it is being written"));
        let skipped = waiting.chain(report.skipped.iter().map(line)).chain(kept.iter().map(said_of_kept));
        self.skipped = each_once(std::mem::take(&mut self.skipped), skipped);
        let in_the_way = report.blocked.iter().map(blocked).chain(report.in_the_way.iter().map(line));
        self.in_the_way = each_once(std::mem::take(&mut self.in_the_way), in_the_way);
    }

    /// What has to be looked at again though nothing hints at it: it is being written, vanishes, or could not be read.
    pub(super) fn wants_look(&self) -> Option<Look> {
        if self.incomplete { Some(Look::Whole) } else { self.moving.clone() }
    }

    /// Where it left off to give way: once.
    pub(super) fn take_left(&mut self) -> Option<Look> {
        // Nothing is left over of a look that led to no path.
        let look = self.put_off.take()?;
        Some(if look == Look::At(BTreeSet::new()) { Look::Nowhere } else { look })
    }

    /// What went wrong, as it is said to a person, and what to do about it.
    pub(super) fn explain(&mut self, error: &ClientError, hint: Option<String>) {
        let is_wrong = |error: &RoundError| {
            !matches!(error, RoundError::Stopped | RoundError::Paused | RoundError::GaveWay)
        };
        if !matches!(error, ClientError::Round(error) if !is_wrong(error)) {
            (self.error, self.hint) = (Some(error.to_string()), hint);
            self.matter = if error.is_full() { Matter::Room } else { Matter::Other };
        }
    }
}

/// What is being written, or vanishes, after a round: what it did not look at is as it was before.
fn still_moving(before: Option<Look>, report: &Report) -> Option<Look> {
    let found: BTreeSet<String> = report.waiting.iter().chain(&report.vanishing).cloned().collect();
    let found = match found.len() {
        0 => None,
        1..=PATHS_MAX => Some(Look::At(found)),
        _ => Some(Look::Whole),
    };
    let is_left = |path: &String| !report.glanced.contains(parent(path).unwrap_or(""));
    let left = match before {
        _ if report.looks > 0 => None,
        Some(Look::At(paths)) => {
            let left: BTreeSet<String> = paths.into_iter().filter(is_left).collect();
            (!left.is_empty()).then_some(Look::At(left))
        }
        whole => whole,
    };
    match (left, found) {
        (Some(left), Some(found)) => Some(left.and(found)),
        (left, found) => left.or(found),
    }
}

/// Whether it is about something in `.annals/kept/`.
fn is_kept(line: &PathLine) -> bool {
    line.path.strip_prefix(STATE_FOLDER).is_some_and(|below| below.starts_with('/'))
}

/// What somebody wrote into a file while another was put in its place: nobody has seen it go.
fn said_of_kept(name: &String) -> PathLine {
    let why =
        "somebody wrote this while the file got another content: move it to where you want it, or remove it";
    PathLine::new(&format!("{STATE_FOLDER}/{KEPT}/{name}"), why)
}

fn blocked(why: &Blocked) -> PathLine {
    let matter = if matches!(why, Blocked::Full { .. }) { Matter::Room } else { Matter::Other };
    PathLine { matter, ..PathLine::new(why.path(), &why.to_string()) }
}

fn each_once(known: Vec<PathLine>, lines: impl Iterator<Item = PathLine>) -> Vec<PathLine> {
    let by_path: BTreeMap<String, PathLine> =
        known.into_iter().chain(lines).map(|line| (line.path.clone(), line)).collect();
    by_path.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_engine::transport::TransportError;

    const FIRST_MS: u64 = 1_000_000;
    const SECOND_MS: u64 = 2_000_000;

    type Outcome = Result<(), RoundError>;

    fn at(paths: &[&str]) -> Look {
        Look::At(paths.iter().map(ToString::to_string).collect())
    }

    fn pairs(paths: &[&str]) -> Vec<(String, String)> {
        paths.iter().map(|path| (path.to_string(), "a pipe".into())).collect()
    }

    /// One that looked at everything, and found these not to be synced.
    fn looked(skipped: &[&str]) -> Report {
        Report { looks: 1, skipped: pairs(skipped), ..Report::default() }
    }

    /// One that looked at this folder alone.
    fn glanced(folder: &str, skipped: &[&str]) -> Report {
        Report { glanced: [folder.to_owned()].into(), skipped: pairs(skipped), ..Report::default() }
    }

    fn unreachable() -> Outcome {
        Err(TransportError::Paused.into())
    }

    fn after(rounds: &[(Report, Outcome)]) -> LastRound {
        let mut last = LastRound::default();
        for (n, (report, result)) in rounds.iter().enumerate() {
            last.take(if n == 0 { FIRST_MS } else { SECOND_MS }, &[], report, result);
        }
        last
    }

    fn paths(lines: &[PathLine]) -> Vec<&str> {
        lines.iter().map(|line| line.path.as_str()).collect()
    }

    #[test]
    fn what_was_not_looked_at_is_as_it_was() {
        let nowhere = Report::default;
        for (rounds, skipped) in [
            (vec![looked(&["a", "d/b"])], vec!["a", "d/b"]),
            (vec![looked(&["a", "d/b"]), looked(&["c"])], vec!["c"]),
            (vec![looked(&["a", "d/b"]), nowhere()], vec!["a", "d/b"]),
            (vec![looked(&["a", "d/b"]), glanced("d", &[])], vec!["a"]),
            (vec![looked(&["a", "d/b"]), glanced("", &[])], vec!["d/b"]),
            (vec![looked(&["a", "d/b"]), glanced("d", &["d/b", "d/c"])], vec!["a", "d/b", "d/c"]),
            // The rules of the folder are none of what lies in the state folder.
            (vec![looked(&[".annalsignore"]), glanced("d", &[])], vec![".annalsignore"]),
        ] {
            let rounds: Vec<_> = rounds.into_iter().map(|report| (report, Ok(()))).collect();
            assert_eq!(paths(&after(&rounds).skipped), skipped, "{rounds:?}");
        }
    }

    #[test]
    fn what_was_kept_beside_a_file_is_told_as_long_as_it_lies_there() {
        let mut last = LastRound::default();
        last.take(FIRST_MS, &["1".into()], &looked(&["a"]), &Ok(()));
        assert_eq!(paths(&last.skipped), [".annals/kept/1", "a"]);
        last.take(SECOND_MS, &[], &Report::default(), &Ok(()));
        assert_eq!(paths(&last.skipped), ["a"]);
    }

    #[test]
    fn a_file_that_waits_and_cannot_be_read_is_told_once() {
        let report = Report { waiting: vec!["a".into(), "b".into()], ..looked(&["a"]) };
        let last = after(&[(report, Ok(()))]);
        let whys: Vec<&str> = last.skipped.iter().map(|line| line.why.as_str()).collect();
        assert_eq!((paths(&last.skipped), whys), (vec!["a", "b"], vec!["a pipe", "it is being written"]));
    }

    #[test]
    fn what_moved_is_looked_at_again_until_it_rests() {
        let writes = |paths: &[&str]| paths.iter().map(ToString::to_string).collect();
        let moving = |report: Report, waiting| (Report { waiting, ..report }, Ok(()));
        let gone = |report: Report, paths: &[&str]| {
            (Report { vanishing: paths.iter().map(ToString::to_string).collect(), ..report }, Ok(()))
        };
        let many: Vec<String> = (0..=PATHS_MAX).map(|n| n.to_string()).collect();
        let incomplete = |waiting| (Report { incomplete: true, waiting, ..looked(&[]) }, Ok(()));
        for (rounds, look) in [
            (vec![moving(looked(&[]), writes(&["a"]))], Some(at(&["a"]))),
            (vec![gone(looked(&[]), &["a"])], Some(at(&["a"]))),
            (vec![moving(looked(&[]), writes(&["a"])), moving(looked(&[]), writes(&[]))], None),
            (
                vec![moving(looked(&[]), writes(&["a"])), moving(glanced("d", &[]), writes(&["d/b"]))],
                Some(at(&["a", "d/b"])),
            ),
            (vec![moving(looked(&[]), writes(&["a"])), moving(glanced("", &[]), writes(&[]))], None),
            (vec![moving(looked(&[]), many.clone())], Some(Look::Whole)),
            (vec![moving(looked(&[]), writes(&["a"])), moving(glanced("d", &[]), many)], Some(Look::Whole)),
            (vec![incomplete(writes(&["a"]))], Some(Look::Whole)),
            (vec![incomplete(writes(&["a"])), moving(looked(&[]), writes(&[]))], None),
        ] {
            assert_eq!(after(&rounds).wants_look(), look, "{} rounds", rounds.len());
        }
    }

    #[test]
    fn since_when_the_server_is_gone_is_the_first_time_it_was() {
        let last = after(&[(looked(&[]), unreachable()), (looked(&[]), unreachable())]);
        assert_eq!((last.offline, last.offline_since), (true, Some(rfc3339(FIRST_MS))));
        assert!(last.error.is_some() && last.exchanged.is_none());
        let last = after(&[(looked(&[]), unreachable()), (looked(&[]), Ok(()))]);
        assert_eq!((last.offline, last.offline_since, last.error), (false, None, None));
        assert_eq!(last.exchanged, Some(rfc3339(SECOND_MS)));
        // It was ended: nothing is known that was not before.
        let last = after(&[(looked(&["a"]), unreachable()), (looked(&[]), Err(RoundError::Stopped))]);
        assert_eq!((last.offline, paths(&last.skipped)), (true, vec!["a"]));
    }

    #[test]
    fn a_pause_and_giving_way_are_nothing_that_went_wrong() {
        for (result, left) in [(RoundError::Paused, None), (RoundError::GaveWay, Some(at(&["a"])))] {
            let report = Report { put_off: left.clone(), ..looked(&[]) };
            let mut last = after(&[(report, Err(result.clone()))]);
            last.explain(&result.into(), Some("a hint".into()));
            assert_eq!((&last.error, &last.hint, &last.exchanged), (&None, &None, &None));
            assert_eq!((last.take_left(), last.take_left()), (left, None));
        }
        let nothing_left = Report { put_off: Some(at(&[])), ..looked(&[]) };
        assert_eq!(after(&[(nothing_left, Err(RoundError::GaveWay))]).take_left(), Some(Look::Nowhere));
    }

    #[test]
    fn what_waits_to_be_read_is_known_by_who_read_or_was_done() {
        let unread = |unread| Report { unread, ..looked(&[]) };
        for (second, known) in [
            ((unread(None), Err(RoundError::GaveWay)), (3, 30)),
            ((unread(Some((1, 10))), Err(RoundError::GaveWay)), (1, 10)),
            ((unread(None), Ok(())), (0, 0)),
        ] {
            assert_eq!(after(&[(unread(Some((3, 30))), Ok(())), second]).unread, known);
        }
    }

    #[test]
    fn that_there_is_no_room_is_told_from_whatever_else_is_the_matter() {
        let full = Blocked::Full { path: "a".into() };
        let blocked = vec![full.clone(), Blocked::NotEmpty { path: "b".into() }];
        let result = Err(RoundError::Blocked(full.clone()));
        let mut last = after(&[(Report { blocked, ..looked(&[]) }, result)]);
        let matters: Vec<Matter> = last.in_the_way.iter().map(|line| line.matter).collect();
        assert_eq!(matters, [Matter::Room, Matter::Other]);
        last.explain(&RoundError::Blocked(full).into(), None);
        assert_eq!(last.matter, Matter::Room);
        last.take(SECOND_MS, &[], &looked(&[]), &unreachable());
        assert_eq!(last.matter, Matter::Other);
    }
}
