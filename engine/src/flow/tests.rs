//! The law of waiting, over any sizes, rates and orders of arrival, in a model that decides as rounds do.

use super::*;
use crate::priority::SMALL_BYTES;
use proptest::prelude::*;

/// Something that is to go in one direction.
#[derive(Clone, Debug)]
struct Item {
    size: u64,
    left: u64,
    arrived_us: u64,
    asked: bool,
    /// Bytes of larger things that went after it had arrived.
    waited: u64,
}

impl Item {
    /// Its place in the order.
    fn rank(&self) -> (bool, u64) {
        (!self.asked, if self.size < SMALL_BYTES { 0 } else { self.size })
    }
}

/// A device that does what rounds do: look for what is there, let the small go in both directions, then take turns.
struct Model {
    now_us: u64,
    rate: u64,
    chunk: u64,
    /// How long it takes to get to the first byte.
    overhead_us: u64,
    items: [Vec<Item>; 2],
    moved: u64,
}

impl Model {
    fn arrived(&self, way: usize, by_us: u64) -> Vec<usize> {
        let there =
            |place: &usize| self.items[way][*place].left > 0 && self.items[way][*place].arrived_us <= by_us;
        let mut places: Vec<usize> = (0..self.items[way].len()).filter(there).collect();
        places.sort_by_key(|place| (self.items[way][*place].rank(), self.items[way][*place].size));
        places
    }

    fn others(&self, since_us: u64) -> Others {
        let came = |item: &Item| item.arrived_us > since_us && item.arrived_us <= self.now_us;
        if self.items.iter().flatten().any(came) { Others::Something } else { Others::Nobody }
    }

    fn round(&mut self) {
        let began_us = self.now_us;
        let window = window(Some(self.rate));
        let mut turn = Turn::begin(began_us, window);
        self.now_us += self.overhead_us;
        let mut is_first = true;
        loop {
            if (0..2).all(|way| self.arrived(way, began_us).is_empty()) {
                return;
            }
            for way in 0..2 {
                // What went meanwhile is not there any more.
                let ways = [self.arrived(0, began_us), self.arrived(1, began_us)];
                let places = &ways[way];
                let other_waits = !ways[1 - way].is_empty();
                let is_long_in = |way: usize, place: &usize| is_long(self.items[way][*place].size, window);
                let is_long = |place: &usize| is_long_in(way, place);
                let little_waits = way == 1 && ways[0].iter().any(|place| !is_long_in(0, place));
                let now: Vec<usize> = if is_first && other_waits || little_waits {
                    places.iter().copied().take_while(|place| !is_long(place)).collect()
                } else {
                    places.clone()
                };
                let sizes: Vec<u64> = now.iter().map(|place| self.items[way][*place].size).collect();
                turn.turn_to(other_waits);
                // What is written is written one after the other; what is read is said of, a helping at a time.
                let helping = if way == 0 { together(&sizes, window) } else { sizes.len() };
                self.go(way, &now[..helping], &mut turn, began_us, window);
            }
            if self.others(began_us) != Others::Nobody {
                return;
            }
            is_first = false;
        }
    }

    fn go(&mut self, way: usize, places: &[usize], turn: &mut Turn, began_us: u64, window: u64) {
        for place in places {
            while self.items[way][*place].left > 0 {
                if !turn.goes_on(self.now_us, self.others(began_us)) {
                    return;
                }
                let item = &mut self.items[way][*place];
                let bytes = item.left.min(window.max(self.chunk));
                item.left -= bytes;
                let (rank, now_us) = (item.rank(), self.now_us);
                for (other_way, others) in self.items.iter_mut().enumerate() {
                    // What is large in both directions takes turns, whoever asked for it; what comes after it waits as well.
                    let is_asked = others.iter().any(|item| item.asked);
                    for other in others {
                        let in_its_way = other_way == way || !is_asked;
                        if in_its_way && other.left > 0 && other.arrived_us <= now_us && other.rank() < rank {
                            other.waited += bytes;
                        }
                    }
                }
                self.moved += bytes;
                self.now_us += bytes * 1_000_000 / self.rate;
            }
        }
    }
}

fn item() -> impl Strategy<Value = Item> {
    let size = prop_oneof![1_u64..10_000, 100_000_u64..2_000_000, 2_000_000_u64..200_000_000];
    (size, 0_u64..60_000_000, prop::bool::weighted(0.1)).prop_map(|(size, arrived_us, asked)| Item {
        size,
        left: size,
        arrived_us,
        asked,
        waited: 0,
    })
}

fn check_waits(sent: Vec<Item>, received: Vec<Item>, rate: u64, chunk: u64, overhead_us: u64) {
    let all: u64 = sent.iter().chain(&received).map(|item| item.size).sum();
    let items = [sent, received];
    let mut model = Model { now_us: 0, rate, chunk, overhead_us, items, moved: 0 };
    let mut rounds = 0;
    while model.items.iter().flatten().any(|item| item.left > 0) {
        let next =
            model.items.iter().flatten().filter(|item| item.left > 0).map(|item| item.arrived_us).min();
        model.now_us = model.now_us.max(next.unwrap_or(0));
        model.round();
        rounds += 1;
        assert!(rounds < 100_000, "it comes to an end");
    }
    assert_eq!(model.moved, all, "nothing goes twice");
    let piece = window(Some(rate)).max(chunk);
    // One that is at it, one in each direction that was to go next, and what was said together with it.
    let pieces = 3 + HELPING_WINDOWS;
    let bound = pieces * piece + (SHARE + 1) * rate * overhead_us / 1_000_000;
    assert!(piece == chunk || pieces * piece <= rate.max(pieces * WINDOW_BYTES_MIN));
    let is_little = |item: &&Item| item.size < SMALL_BYTES && !is_long(item.size, window(Some(rate)));
    for item in model.items.iter().flatten().filter(is_little) {
        assert!(item.waited <= bound, "{:?} waited for more than {bound}", item);
    }
}

#[test]
fn of_what_is_small_the_smallest_goes_first() {
    // Where the rate is low, what is small for a file takes long.
    let item = |size, arrived_us| Item { size, left: size, arrived_us, asked: false, waited: 0 };
    let received = vec![item(1_038_650, 38_130_731), item(4_951, 14_836_927), item(1, 38_130_731)];
    check_waits(vec![item(7_081_124, 14_836_926)], received, 20_000, 16_384, 100);
}

proptest! {
    /// At any rate that is set, in any order of arrival, in both directions: who waits for little does not wait for
    /// more than some windows, less than a second, of what is larger; nothing goes twice, and everything arrives.
    #[test]
    fn nothing_small_waits_for_something_large(
        (sent, received) in (prop::collection::vec(item(), 0..8), prop::collection::vec(item(), 0..8)),
        rate in 20_000_u64..33_000_000,
        chunk in 16_u64 << 10..256 << 10,
        overhead_us in 100_u64..20_000,
    ) {
        check_waits(sent, received, rate, chunk, overhead_us);
    }
}

#[test]
fn a_window_is_a_part_of_a_second_and_has_bounds() {
    let table =
        [(None, 4 << 20), (Some(1_000_000), 125_000), (Some(8_000), 16 << 10), (Some(u64::MAX), 4 << 20)];
    for (rate, bytes) in table {
        assert_eq!(window(rate), bytes, "{rate:?}");
    }
}

#[test]
fn what_takes_long_goes_by_itself() {
    const LONG: u64 = WINDOW_BYTES_MAX * HELPING_WINDOWS;
    let (fast, slow) = (window(None), window(Some(1_000_000)));
    let table: [(&[u64], u64, usize); 10] = [
        (&[], fast, 0),
        (&[1, 2, 3], fast, 3),
        (&[1, LONG, 2], fast, 1),
        (&[LONG, 1, 2], fast, 1),
        (&[LONG, LONG], fast, 1),
        (&[LONG / 2, LONG / 2, LONG / 2, LONG / 2], fast, 4),
        (&[LONG / 2, 1, 2], slow, 1),
        (&[200_000, 200_000, 200_000], slow, 2),
        (&[400_000, 400_000, 400_000], slow, 1),
        (&[5_000_000, 5_000_000, 5_000_000], slow, 1),
    ];
    for (sizes, window, first) in table {
        assert_eq!(together(sizes, window), first, "{sizes:?} at {window}");
    }
    // Many small ones make no more helpings than it is worth.
    assert_eq!(together(&vec![100_000; 6_400], slow), 100);
}

#[test]
fn a_turn_is_worth_getting_to() {
    use Others::{Nobody, Somebody, Something};
    let mut turn = Turn::begin(0, window(Some(1_000_000)));
    assert!(turn.goes_on(1_000, Somebody), "something moves in each");
    assert!(turn.goes_on(1_000 + 3_999, Something), "it took a millisecond to get here");
    assert!(!turn.goes_on(1_000 + 3_999, Somebody), "nobody wants to wait for an answer");
    assert!(turn.goes_on(1_000 + 4_000, Nobody));
    assert!(!turn.goes_on(1_000 + 4_000, Something));
    turn.turn_to(true);
    assert!(turn.goes_on(10_000, Something), "in the other direction as well");
    assert!(turn.goes_on(10_000 + SLICE_US - 1, Nobody) && !turn.goes_on(10_000 + SLICE_US, Nobody));
    let mut turn = Turn::begin(0, window(None));
    assert!(turn.goes_on(0, Something) && turn.goes_on(LEAST_US - 1, Something));
    assert!(!turn.goes_on(LEAST_US, Something));
}
