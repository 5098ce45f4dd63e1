//! What retention proposes, admission takes; and nobody misses it.

use super::*;
use crate::{
    retention::{Ripe, due},
    trash::deletes_of,
};
use annals_events::VersionVector;

/// Three devices of people who look at the log now and then, and a server that forgets.
struct Years {
    world: World,
    views: [VersionVector; 3],
    contents: u8,
}

/// What happens next: which, by whom, to what, how much.
type Step = (u8, usize, usize, u64);

impl Years {
    fn new() -> Self {
        let mut years = Self { world: World::new(), views: Default::default(), contents: 1 };
        let retire = |n: u8| Fact::DeviceRetired { device: id(&signing_key(n)), last: 0 };
        years.world.says(retire(4));
        (0..3).for_each(|n| years.pull(n));
        let set = Fact::RetentionSet { versions: Some(100), silence: Some(1_000) };
        years.says(0, vec![(set, None)]);
        years
    }

    fn log(&self) -> &Projections {
        &self.world.projections
    }

    fn pull(&mut self, n: usize) {
        let devices = self.log().devices().iter().filter(|(_, state)| state.last_counter > 0);
        self.views[n] = devices.map(|(device, state)| Dot::new(device, state.last_counter)).collect();
    }

    fn seen(&self, n: usize) -> Seen {
        let mut seen = Seen { vector: self.views[n].clone(), ..Seen::default() };
        let own = id(&signing_key(n as u8 + 1));
        seen.vector.raise(Dot::new(own, self.log().devices().get(own).unwrap().last_counter));
        seen
    }

    /// Signed by who has seen what they looked at last, and admitted if it may be.
    fn says(&mut self, n: usize, facts: Vec<(Fact, Option<Body>)>) {
        let mut device = self.world.device(n as u8 + 1);
        let own = id(&device.key);
        device.seen = self.views[n].iter().filter(|dot| dot.device != own).collect();
        let batch = device.sign(facts);
        if self.world.judge(&batch) == Ok(Verdict::Admit) {
            self.world.admit(&batch);
        }
    }

    fn files(&self, n: usize) -> Vec<EntryId> {
        let seen = self.seen(n);
        let known = self.log().entries().filter(|entry| seen.vector.covers(entry.0));
        known.filter(|entry| !self.log().entry(*entry).unwrap().purged).collect()
    }

    fn step(&mut self, (what, n, at, much): Step) {
        self.contents = self.contents.wrapping_add(1);
        let (files, seen) = (self.files(n), self.seen(n));
        let file = (!files.is_empty()).then(|| files[at % files.len()]);
        let (log, text) = (self.log(), with_content(&format!("f{}", self.contents), self.contents));
        let covered = |dots: DotSet| dots.iter().filter(|dot| seen.vector.covers(*dot)).collect::<DotSet>();
        let parents = |file| log.maximal_as_seen(file, &seen).into_iter().collect::<DotSet>();
        let alive_by = |file: EntryId| -> DotSet {
            log.places_as_seen(file, &seen).into_iter().chain(log.maximal_as_seen(file, &seen)).collect()
        };
        let fact = match (what, file) {
            (0, _) => (create(EntryId::ROOT, EntryKind::File), Some(text)),
            (1 | 2, Some(entry)) => {
                (Fact::VersionUploaded { entry, parents: parents(entry) }, Some(Body { name: None, ..text }))
            }
            (3, Some(file)) => (Fact::EntryDeleted { entries: dots(&[file.0]), hides: alive_by(file) }, None),
            (4, Some(entry)) => {
                let lifts = covered(deletes_of(log, entry));
                (Fact::EntryRestored { entry, place: None, lifts, shows: alive_by(entry) }, None)
            }
            (5, Some(entry)) => {
                let over = parents(entry);
                let keep = over.iter().take(1).collect();
                (Fact::ConflictResolved { entry, over, keep }, None)
            }
            (6, _) => return self.pull(n),
            (7, _) => {
                self.pull(n);
                (Fact::Acknowledged { seq: self.log().head().seq }, None)
            }
            (8, _) => {
                self.world.now += much;
                return;
            }
            (9, _) => return self.forget(),
            _ => return,
        };
        self.says(n, vec![fact]);
    }

    /// The server's turn: everything that it proposes is taken, and then there is nothing left to propose.
    fn forget(&mut self) {
        let shown: Vec<EntryId> =
            self.log().entries().filter(|entry| self.log().entry(*entry).unwrap().shown).collect();
        let gone = self.gone();
        let proposed = due(self.log(), self.world.now, None);
        for issued in proposed.events() {
            let batch = issue(self.log(), &self.world.server, self.world.now, vec![issued]);
            self.world.admit(&batch);
        }
        assert_eq!(due(self.log(), self.world.now, None), Ripe::default());
        for entry in shown {
            assert!(self.log().entry(entry).is_some_and(|entry| entry.shown && !entry.purged));
        }
        self.nobody_misses_anything(&gone);
    }

    /// The versions whose contents went.
    fn gone(&self) -> BTreeSet<Dot> {
        let log = self.log();
        let versions = log.entries().flat_map(|entry| log.versions(entry));
        versions.filter(|dot| !log.version(*dot).unwrap().retained).collect()
    }

    /// What a file holds, shown or in the trash, is there, and so is what was replaced or removed a short while ago, unless it
    /// had `gone` before: what a choice dropped long ago may be replaced once more with what was left.
    fn nobody_misses_anything(&self, gone: &BTreeSet<Dot>) {
        let log = self.log();
        for entry in log.entries().filter(|entry| !log.entry(*entry).unwrap().purged) {
            for head in log.human_heads(entry) {
                assert!(log.version(head).unwrap().retained, "a head of {entry:?}");
            }
            for (version, later) in log.superseded(entry) {
                let lately = later.iter().all(|dot| log.admitted(*dot).unwrap().1 + 100 > self.world.now);
                let kept = log.version(version).unwrap().retained || gone.contains(&version);
                assert!(!lately || kept, "replaced lately");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_due_is_admitted_and_nobody_misses_it(
        steps in prop::collection::vec((0_u8..10, 0_usize..3, any::<usize>(), 0_u64..120), 1..120),
    ) {
        let mut years = Years::new();
        for step in steps {
            years.step(step);
        }
        (0..3).for_each(|n| years.step((7, n, 0, 0)));
        years.world.now += 1_000;
        years.forget();
        // Everybody knows everything, and all of it is old: heads are left (one that somebody removed, of a file that lives, too), and what
        // conflicts were made from.
        let log = years.log();
        for entry in log.entries() {
            let view = log.entry(entry).unwrap();
            prop_assert_eq!(view.purged, !view.shown);
            let kept = log.versions(entry).into_iter().filter(|dot| log.version(*dot).unwrap().retained).count();
            let heads = log.human_heads(entry).len();
            let most = view.maximal.len();
            prop_assert!(view.purged || heads > 1 || kept <= most, "{} kept of {:?}", kept, entry);
        }
    }
}

#[test]
fn who_is_silent_and_stands_in_the_way_is_retired_and_nobody_else() {
    let mut years = Years::new();
    years.step((0, 0, 0, 0));
    (0..3).for_each(|n| years.step((7, n, 0, 0)));
    years.step((1, 0, 0, 0));
    (0..2).for_each(|n| years.step((7, n, 0, 0)));
    let third = id(&signing_key(3));
    let (then, nobody) = (years.world.now, BTreeMap::new());
    let devices = |years: &Years, now: u64, heard: Option<&BTreeMap<DeviceId, u64>>| {
        due(years.log(), now, heard).devices
    };
    assert_eq!(devices(&years, then + 999, Some(&nobody)), [], "it may still come back");
    assert_eq!(devices(&years, then + 1_000, Some(&nobody)), [third]);
    assert_eq!(devices(&years, then + 1_000, None), [], "nobody knows who listens");
    let listens = BTreeMap::from([(third, then + 500)]);
    assert_eq!(devices(&years, then + 1_000, Some(&listens)), []);
    years.world.now += 1_000;
    let retire = due(years.log(), years.world.now, Some(&nobody)).retirements(years.log());
    let batch = issue(years.log(), &years.world.server, years.world.now, retire);
    years.world.admit(&batch);
    assert_eq!(due(years.log(), years.world.now, Some(&nobody)).versions.len(), 1);
    years.forget();
    // With nothing to wait for, silence is nobody's business.
    assert_eq!(devices(&years, then + 9_000_000, Some(&nobody)), []);
}

#[test]
fn what_is_kept_for_ever_is_never_due() {
    let mut years = Years::new();
    years.says(0, vec![(Fact::RetentionSet { versions: None, silence: Some(0) }, None)]);
    years.step((0, 0, 0, 0));
    years.step((1, 0, 0, 0));
    (0..2).for_each(|n| years.step((7, n, 0, 0)));
    assert!(due(years.log(), u64::MAX, Some(&BTreeMap::new())).is_empty());
}

#[test]
fn what_a_conflict_that_is_still_open_was_made_from_is_never_due() {
    let mut years = Years::new();
    years.step((0, 0, 0, 0));
    (0..3).for_each(|n| years.step((7, n, 0, 0)));
    // Two edit it, neither knowing of the other.
    years.step((1, 0, 0, 0));
    years.step((1, 1, 0, 0));
    for _ in 0..2 {
        (0..3).for_each(|n| years.step((7, n, 0, 0)));
    }
    let file = years.files(0)[0];
    assert_eq!(years.log().human_heads(file).len(), 2);
    assert_eq!(due(years.log(), u64::MAX, None), Ripe::default());
    // Once it is decided, all but what was chosen goes.
    years.step((5, 0, 0, 0));
    for _ in 0..2 {
        (0..3).for_each(|n| years.step((7, n, 0, 0)));
    }
    assert_eq!(due(years.log(), u64::MAX, None).versions.len(), 2);
}

#[test]
fn what_was_removed_is_due_once_everybody_knows_of_the_removal() {
    let mut years = Years::new();
    years.step((0, 0, 0, 0));
    for _ in 0..2 {
        (0..3).for_each(|n| years.step((7, n, 0, 0)));
    }
    let file = years.files(0)[0];
    years.step((3, 0, 0, 0));
    for knows in 0..3 {
        assert_eq!(due(years.log(), u64::MAX, None).entries, BTreeSet::new(), "{knows} know");
        years.step((7, knows, 0, 0));
    }
    assert_eq!(due(years.log(), u64::MAX, None).entries, [file].into());
}

#[test]
fn a_folder_goes_after_what_is_in_it() {
    let mut years = Years::new();
    years.says(0, vec![(create(EntryId::ROOT, EntryKind::Folder), Some(named("d")))]);
    let folder = years.files(0)[0];
    years.says(0, vec![(create(folder, EntryKind::File), Some(with_content("f", 9)))]);
    let file = *years.files(0).iter().find(|entry| **entry != folder).unwrap();
    (0..3).for_each(|n| years.step((7, n, 0, 0)));
    // One removes the folder while another edits what is in it, and removes that later.
    let seen = years.seen(0);
    let alive_by = |years: &Years, entry: EntryId, seen: &Seen| -> Vec<Dot> {
        let (places, versions) =
            (years.log().places_as_seen(entry, seen), years.log().maximal_as_seen(entry, seen));
        places.into_iter().chain(versions).collect()
    };
    let both = [folder, file].iter().flat_map(|entry| alive_by(&years, *entry, &seen)).collect();
    years.says(0, vec![(Fact::EntryDeleted { entries: dots(&[folder.0]), hides: both }, None)]);
    let parents = years.log().maximal_as_seen(file, &years.seen(1)).into_iter().collect();
    let edit = Fact::VersionUploaded { entry: file, parents };
    years.says(1, vec![(edit, Some(Body { name: None, ..with_content("f", 10) }))]);
    years.world.now += 1_000;
    let then = years.world.now;
    (0..3).for_each(|n| years.step((7, n, 0, 0)));
    let hides = alive_by(&years, file, &years.seen(1)).into_iter().collect();
    years.says(1, vec![(Fact::EntryDeleted { entries: dots(&[file.0]), hides }, None)]);
    for _ in 0..2 {
        (0..3).for_each(|n| years.step((7, n, 0, 0)));
    }
    assert_eq!(years.log().removed().collect::<BTreeSet<_>>(), [folder, file].into());
    assert_eq!(due(years.log(), then + 50, None).entries, BTreeSet::new(), "only the folder is old");
    assert_eq!(due(years.log(), then + 1_000, None).entries, [folder, file].into());
}
