//! Who has seen what: a partial order over events, kept apart from every clock.
//!
//! A [`Dot`] names an event for ever, a [`VersionVector`] says how far of each device somebody has got, a
//! [`DotSet`] holds dots as ranges, and [`Seen`] puts the last two together: what a device's folder showed
//! when it acted. Dots need no randomness, so a simulation and a real run name things alike.

use crate::id::DeviceId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq};
use std::{collections::BTreeMap, fmt};

/// The nth event a device has produced in a namespace: a name that no other event will ever have (I7).
///
/// In CBOR: `[device, counter]`. Counters begin at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who.
    pub device: DeviceId,
    /// Which of its events.
    pub counter: u64,
}

impl Dot {
    /// The event `counter` of `device`.
    #[must_use]
    pub fn new(device: DeviceId, counter: u64) -> Self {
        Self { device, counter }
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", &self.device.to_hex()[..6], self.counter)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.counter)
    }
}

impl std::str::FromStr for Dot {
    type Err = DotError;

    /// Reads what [`Display`](fmt::Display) writes: 32 hex digits, a colon, a decimal counter.
    fn from_str(text: &str) -> Result<Self, DotError> {
        let (device, counter) = text.split_once(':').ok_or(DotError)?;
        Ok(Self {
            device: DeviceId::from_hex(device).ok_or(DotError)?,
            counter: counter.parse().map_err(|_| DotError)?,
        })
    }
}

/// A text that does not name an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is named by 32 hex digits, a colon and a number")]
pub struct DotError;

impl Serialize for Dot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.device, self.counter).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Dot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            let (device, counter) = Deserialize::deserialize(deserializer)?;
            Ok(Self { device, counter })
        }
    }
}

/// For each device, how many of its events: all up to a counter. Grows only.
///
/// In CBOR: an array of `[device, counter]`, sorted by device.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct VersionVector(crdts::VClock<DeviceId>);

impl VersionVector {
    /// Seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The last counter covered of `device`, 0 if none.
    #[must_use]
    pub fn get(&self, device: DeviceId) -> u64 {
        self.0.get(&device)
    }

    /// Whether `dot` is covered.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.get(dot.device) >= dot.counter
    }

    /// Covers `dot` and all before it of that device.
    pub fn raise(&mut self, dot: Dot) {
        use crdts::CmRDT;
        self.0.apply(crdts::Dot::new(dot.device, dot.counter));
    }

    /// Covers what either covers.
    pub fn join(&mut self, other: &Self) {
        other.iter().for_each(|dot| self.raise(dot));
    }

    /// The last dot of every device that is covered, by device.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.dots.iter().map(|(&device, &counter)| Dot { device, counter })
    }

    /// The pairs in which `self` differs from `earlier`; a counter of 0 takes a device out. What
    /// [`changed_by`](Self::changed_by) makes whole again.
    #[must_use]
    pub fn difference_to(&self, earlier: &Self) -> Vec<Dot> {
        let gone = earlier.iter().filter(|d| self.get(d.device) == 0).map(|d| Dot { counter: 0, ..d });
        let mut changed: Vec<Dot> =
            self.iter().filter(|d| earlier.get(d.device) != d.counter).chain(gone).collect();
        changed.sort();
        changed
    }

    /// `self` with the pairs of a difference put in.
    #[must_use]
    pub fn changed_by(&self, difference: &[Dot]) -> Self {
        let mut dots: BTreeMap<DeviceId, u64> = self.0.dots.clone();
        for dot in difference {
            if dot.counter == 0 {
                dots.remove(&dot.device)
            } else {
                dots.insert(dot.device, dot.counter)
            };
        }
        dots.into_iter().map(|(device, counter)| Dot { device, counter }).collect()
    }
}

impl FromIterator<Dot> for VersionVector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = Self::new();
        dots.into_iter().for_each(|dot| vector.raise(dot));
        vector
    }
}

impl Serialize for VersionVector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for VersionVector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dots: Vec<Dot> = Vec::deserialize(deserializer)?;
        if dots.windows(2).any(|pair| pair[0].device >= pair[1].device) || dots.iter().any(|d| d.counter == 0)
        {
            return Err(de::Error::custom(
                "a version vector lists each device once, sorted, with counters above 0",
            ));
        }
        Ok(dots.into_iter().collect())
    }
}

/// A set of dots, kept as ranges of counters: small for a whole tree that one device made.
///
/// In CBOR: an array of `[device, [first, last, first, last, …]]`, sorted by device; ranges are
/// inclusive, rise, and neither touch nor overlap, so that equal sets are equal bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DotSet(BTreeMap<DeviceId, Vec<(u64, u64)>>);

impl DotSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many dots.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.values().flatten().map(|(first, last)| last - first + 1).sum()
    }

    /// How many ranges: what its encoding costs.
    #[must_use]
    pub fn range_count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether `dot` is in it. Logarithmic in the number of ranges.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.0.get(&dot.device).is_some_and(|ranges| {
            let after = ranges.partition_point(|(first, _)| *first <= dot.counter);
            after > 0 && ranges[after - 1].1 >= dot.counter
        })
    }

    /// Puts `dot` in; cheap when it comes after all others of its device.
    pub fn insert(&mut self, dot: Dot) {
        let ranges = self.0.entry(dot.device).or_default();
        let after = ranges.partition_point(|(first, _)| *first <= dot.counter);
        if after > 0 && ranges[after - 1].1 >= dot.counter {
            return;
        }
        let joins_left = after > 0 && ranges[after - 1].1 + 1 == dot.counter;
        let joins_right = after < ranges.len() && dot.counter + 1 == ranges[after].0;
        match (joins_left, joins_right) {
            (true, true) => {
                ranges[after - 1].1 = ranges[after].1;
                ranges.remove(after);
            }
            (true, false) => ranges[after - 1].1 = dot.counter,
            (false, true) => ranges[after].0 = dot.counter,
            (false, false) => ranges.insert(after, (dot.counter, dot.counter)),
        }
    }

    /// Takes `dot` out.
    pub fn remove(&mut self, dot: Dot) {
        if !self.contains(dot) {
            return;
        }
        let ranges = self.0.get_mut(&dot.device).expect("it contains the dot");
        let at = ranges.partition_point(|(first, _)| *first <= dot.counter) - 1;
        let (first, last) = ranges.remove(at);
        let rest = [(first, dot.counter - 1), (dot.counter + 1, last)];
        ranges.splice(at..at, rest.into_iter().filter(|(first, last)| first <= last));
        if ranges.is_empty() {
            self.0.remove(&dot.device);
        }
    }

    /// Every dot, by device and counter.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.ranges()
            .flat_map(|(device, first, last)| (first..=last).map(move |counter| Dot { device, counter }))
    }

    /// Every range as (device, first counter, last counter).
    pub fn ranges(&self) -> impl Iterator<Item = (DeviceId, u64, u64)> + '_ {
        self.0
            .iter()
            .flat_map(|(&device, ranges)| ranges.iter().map(move |&(first, last)| (device, first, last)))
    }
}

impl FromIterator<Dot> for DotSet {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut set = Self::new();
        set.extend(dots);
        set
    }
}

impl Extend<Dot> for DotSet {
    fn extend<I: IntoIterator<Item = Dot>>(&mut self, dots: I) {
        dots.into_iter().for_each(|dot| self.insert(dot));
    }
}

impl fmt::Debug for DotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ranges().map(|(d, a, b)| format!("{}:{a}-{b}", &d.to_hex()[..6]))).finish()
    }
}

impl Serialize for DotSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for (device, ranges) in &self.0 {
            let flat: Vec<u64> = ranges.iter().flat_map(|&(first, last)| [first, last]).collect();
            seq.serialize_element(&(device, flat))?;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for DotSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let devices: Vec<(DeviceId, Vec<u64>)> = Vec::deserialize(deserializer)?;
        let mut set = BTreeMap::new();
        let sorted = devices.windows(2).all(|pair| pair[0].0 < pair[1].0);
        for (device, flat) in devices {
            let ranges: Vec<(u64, u64)> = flat.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            let rise = ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
            // The upper bound keeps `last + 1` from running over, here and in `insert`.
            let whole = ranges.iter().all(|&(first, last)| 0 < first && first <= last && last < 1 << 62);
            if !(sorted && flat.len() % 2 == 0 && !flat.is_empty() && whole && rise) {
                return Err(de::Error::custom(
                    "a set of dots lists sorted devices with rising, separate ranges",
                ));
            }
            set.insert(device, ranges);
        }
        Ok(Self(set))
    }
}

/// What a device's folder showed when it acted: all that `vector` covers less `unseen` (pulled, but not
/// yet on the disk). One a batch; an event has also seen every earlier event of its own device.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Seen {
    /// What was pulled.
    pub vector: VersionVector,
    /// What of it the disk did not show yet.
    pub unseen: DotSet,
}

impl Seen {
    /// Whether the event `author` (whose batch this is) had seen `dot`. An event has seen itself.
    #[must_use]
    pub fn by(&self, author: Dot, dot: Dot) -> bool {
        if author.device == dot.device {
            dot.counter <= author.counter
        } else {
            self.vector.covers(dot) && !self.unseen.contains(dot)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn dot(device: u8, counter: u64) -> Dot {
        Dot::new(DeviceId([device; 16]), counter)
    }

    proptest! {
        #[test]
        fn a_dot_set_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u8..3, 1u64..40), 0..200)) {
            let (mut ranges, mut naive) = (DotSet::new(), BTreeSet::new());
            for (put, device, counter) in steps {
                let dot = dot(device, counter);
                if put { ranges.insert(dot); naive.insert(dot); } else { ranges.remove(dot); naive.remove(&dot); }
                prop_assert_eq!(ranges.contains(dot), put);
            }
            prop_assert_eq!(ranges.iter().collect::<BTreeSet<_>>(), naive.clone());
            prop_assert_eq!(ranges.len(), naive.len() as u64);
            prop_assert_eq!(&ranges, &naive.into_iter().collect::<DotSet>());
            let bytes = serde_ipld_dagcbor::to_vec(&ranges).unwrap();
            prop_assert_eq!(serde_ipld_dagcbor::from_slice::<DotSet>(&bytes).unwrap(), ranges);
        }

        #[test]
        fn a_difference_makes_the_vector_whole_again(
            before in prop::collection::btree_map(0u8..5, 1u64..9, 0..5),
            after in prop::collection::btree_map(0u8..5, 1u64..9, 0..5),
        ) {
            let vector = |pairs: BTreeMap<u8, u64>| pairs.into_iter().map(|(d, c)| dot(d, c)).collect::<VersionVector>();
            let (before, after) = (vector(before), vector(after));
            prop_assert_eq!(before.changed_by(&after.difference_to(&before)), after.clone());
            let bytes = serde_ipld_dagcbor::to_vec(&after).unwrap();
            prop_assert_eq!(serde_ipld_dagcbor::from_slice::<VersionVector>(&bytes).unwrap(), after);
        }
    }

    #[test]
    fn ranges_that_are_not_canonical_are_refused() {
        let device = DeviceId([1; 16]);
        for flat in [
            vec![],
            vec![1],
            vec![0, 1],
            vec![2, 1],
            vec![1, 2, 3, 4],
            vec![5, 6, 1, 2],
            vec![1, u64::MAX >> 1],
        ] {
            let bytes = serde_ipld_dagcbor::to_vec(&vec![(device, flat.clone())]).unwrap();
            assert!(serde_ipld_dagcbor::from_slice::<DotSet>(&bytes).is_err(), "{flat:?}");
        }
    }

    #[test]
    fn a_dot_is_spelled_as_it_is_read() {
        let dot = dot(9, 12);
        assert_eq!(dot.to_string().parse(), Ok(dot));
        assert_eq!("9:12".parse::<Dot>(), Err(DotError));
    }
}
