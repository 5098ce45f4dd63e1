//! What a server counts of its work, for whoever reads `/metrics`. docs/metrics.md has the formulas.
//!
//! Counted from when it was started; nothing is named by path, account, device or namespace, so there are never more
//! lines than routes and kinds. What must always hold: counting never fails and nobody waits for it.

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Records that are handed out later than this after their admission tell of a device that was away.
pub const AT_ONCE_MS: u64 = 60_000;
/// Bounds of the times that requests take, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0];
const WHERE: Metadata<'static> = Metadata::new("annals", Level::INFO, None);

/// Declares the sums: field, name on the wire, what it is.
macro_rules! sums {
    ($( $field:ident $name:literal $what:literal; )*) => {
        /// Sums since the server was started.
        #[derive(Debug, Default)]
        struct Sums { $( $field: AtomicU64, )* }

        /// Each with its name on the wire.
        const SUMS: &[(&str, &str, fn(&Sums) -> &AtomicU64)] = &[ $( ($name, $what, |sums| &sums.$field), )* ];
    };
}

sums! {
    records "annals_appended_records_total" "Batches that were admitted to the log.";
    events "annals_appended_events_total" "Events in them.";
    versions "annals_versions_total" "Versions of files among them.";
    conflicts "annals_conflicting_versions_total" "Versions that left their file with more than one head.";
    content_bytes "annals_content_bytes_total" "Plain bytes of the contents of those versions.";
    received_bytes "annals_chunk_bytes_in_total" "Bytes of chunks and files that were sent here, as they came.";
    sent_bytes "annals_chunk_bytes_out_total" "Bytes of chunks and files that were handed out, as they went.";
    new_plain_bytes "annals_new_chunk_plain_bytes_total" "Plain bytes of chunks that were not stored before.";
    new_stored_bytes "annals_new_chunk_stored_bytes_total" "The same as they are stored.";
    handed "annals_records_handed_on_total" "Records that were handed to another device within a minute.";
    handed_ms "annals_records_handed_on_ms_total" "Milliseconds from their admission until then.";
}

/// What is counted.
pub struct Meters {
    sums: Sums,
    recorder: PrometheusRecorder,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sums.fmt(f)
    }
}

impl Default for Meters {
    fn default() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS).expect("there are bounds");
        let recorder = builder.build_recorder();
        for (name, what, _) in SUMS {
            recorder.describe_counter((*name).into(), None, (*what).into());
        }
        Self { sums: Sums::default(), recorder }
    }
}

fn add(sum: &AtomicU64, more: u64) {
    sum.fetch_add(more, Ordering::Relaxed);
}

impl Meters {
    /// A batch was admitted.
    pub fn appended(&self, events: usize) {
        add(&self.sums.records, 1);
        add(&self.sums.events, events as u64);
    }

    /// A version of a file was; whether it stands against others there.
    pub fn version(&self, content_bytes: u64, is_conflict: bool) {
        add(&self.sums.versions, 1);
        add(&self.sums.content_bytes, content_bytes);
        add(&self.sums.conflicts, u64::from(is_conflict));
    }

    /// So much of chunks or files came.
    pub fn received(&self, bytes: usize) {
        add(&self.sums.received_bytes, bytes as u64);
    }

    /// So much of them went.
    pub fn sent(&self, bytes: usize) {
        add(&self.sums.sent_bytes, bytes as u64);
    }

    /// Chunks were stored that were not there before.
    pub fn stored(&self, plain_bytes: u64, stored_bytes: u64) {
        add(&self.sums.new_plain_bytes, plain_bytes);
        add(&self.sums.new_stored_bytes, stored_bytes);
    }

    /// A record was handed to another device than its author's, so long after its admission.
    pub fn handed(&self, after_ms: u64) {
        if after_ms <= AT_ONCE_MS {
            add(&self.sums.handed, 1);
            add(&self.sums.handed_ms, after_ms);
        }
    }

    /// A request was answered.
    pub fn answered(&self, route: &str, status: u16, took: Duration) {
        let route = Label::new("route", route.to_owned());
        let class = Label::new("status", format!("{}xx", status / 100));
        let requests = Key::from_parts("annals_requests_total", vec![route.clone(), class]);
        self.recorder.register_counter(&requests, &WHERE).increment(1);
        let seconds = Key::from_parts("annals_request_seconds", vec![route]);
        self.recorder.register_histogram(&seconds, &WHERE).record(took.as_secs_f64());
    }

    /// The page, with how many actors of each kind are at work.
    pub fn render(&self, at_work: [usize; 4]) -> String {
        for (name, _, sum) in SUMS {
            let counter = self.recorder.register_counter(&Key::from_name(*name), &WHERE);
            counter.absolute(sum(&self.sums).load(Ordering::Relaxed));
        }
        for (kind, count) in ["namespace", "user", "file", "session"].into_iter().zip(at_work) {
            let key = Key::from_parts("annals_actors", vec![Label::new("kind", kind)]);
            self.recorder.register_gauge(&key, &WHERE).set(precise(count as u64));
        }
        for (name, value) in self.ratios() {
            self.recorder.register_gauge(&Key::from_name(name), &WHERE).set(value);
        }
        self.recorder.handle().render()
    }

    /// What the sums say about each other. Where nothing was counted yet, nothing was saved or went wrong.
    fn ratios(&self) -> [(&'static str, f64); 5] {
        let sum = |sum: &AtomicU64| precise(sum.load(Ordering::Relaxed));
        let (content, sums) = (sum(&self.sums.content_bytes), &self.sums);
        let received = sum(&sums.received_bytes);
        let of = |part: f64, whole: f64, nothing: f64| if whole > 0.0 { part / whole } else { nothing };
        [
            ("annals_dedup_ratio", of(content, sum(&sums.new_plain_bytes), 1.0)),
            ("annals_storage_efficiency", of(content, sum(&sums.new_stored_bytes), 1.0)),
            // What came and belongs to no version, as when an upload was given up, saved nothing: it does not owe anything.
            ("annals_bandwidth_savings", 1.0 - of(received, content.max(received), 1.0)),
            ("annals_conflict_rate", of(sum(&sums.conflicts), sum(&sums.versions), 0.0)),
            ("annals_avg_sync_time_seconds", of(sum(&sums.handed_ms), sum(&sums.handed), 0.0) / 1000.0),
        ]
    }
}

#[allow(clippy::cast_precision_loss, reason = "nobody reads the sixteenth digit")]
fn precise(sum: u64) -> f64 {
    sum as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(page: &str, name: &str) -> f64 {
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Something that is counted.
    #[derive(Clone, Debug)]
    enum Step {
        Received(usize),
        Stored(u64, u64),
        Version(u64, bool),
        Handed(u64),
    }

    fn take(meters: &Meters, step: &Step) {
        match *step {
            Step::Received(bytes) => meters.received(bytes),
            Step::Stored(plain, stored) => meters.stored(plain, stored),
            Step::Version(bytes, is_conflict) => meters.version(bytes, is_conflict),
            Step::Handed(after_ms) => meters.handed(after_ms),
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..5000_usize).prop_map(Step::Received),
            (0..5000_u64, 0..5000_u64).prop_map(|(plain, stored)| Step::Stored(plain, stored)),
            (0..5000_u64, any::<bool>()).prop_map(|(bytes, conflict)| Step::Version(bytes, conflict)),
            (0..2 * AT_ONCE_MS).prop_map(Step::Handed),
        ];
        proptest::collection::vec(step, 0..20)
    }

    proptest! {
        #[test]
        fn parts_are_between_nothing_and_all_whatever_was_counted(steps in steps()) {
            let meters = Meters::default();
            steps.iter().for_each(|step| take(&meters, step));
            for (name, value) in meters.ratios() {
                prop_assert!(value.is_finite() && value >= 0.0, "{name}: {value}");
                if ["annals_bandwidth_savings", "annals_conflict_rate"].contains(&name) {
                    prop_assert!(value <= 1.0, "{name}: {value}");
                }
                if name == "annals_avg_sync_time_seconds" {
                    prop_assert!(value <= precise(AT_ONCE_MS) / 1000.0, "{name}: {value}");
                }
            }
        }
    }

    #[test]
    fn each_ratio_is_that_of_its_formula() {
        use Step::{Handed, Received, Stored, Version};
        let table: &[(&str, &[Step], f64)] = &[
            ("annals_dedup_ratio", &[], 1.0),
            // One content of 1000 bytes, and the same under another name.
            ("annals_dedup_ratio", &[Stored(1000, 400), Version(1000, false), Version(1000, false)], 2.0),
            // Sent, and named by nothing yet.
            ("annals_dedup_ratio", &[Stored(1000, 400), Stored(1000, 400), Version(1000, false)], 0.5),
            ("annals_storage_efficiency", &[], 1.0),
            ("annals_storage_efficiency", &[Stored(1000, 250), Version(1000, false)], 4.0),
            ("annals_bandwidth_savings", &[], 0.0),
            ("annals_bandwidth_savings", &[Received(400), Version(1000, false)], 0.6),
            // The second copy does not travel.
            ("annals_bandwidth_savings", &[Received(400), Version(1000, false), Version(1000, false)], 0.8),
            // What came twice, or with more around it than it holds.
            ("annals_bandwidth_savings", &[Received(1500), Version(1000, false)], 0.0),
            ("annals_bandwidth_savings", &[Received(1500)], 0.0),
            ("annals_bandwidth_savings", &[Version(1000, false)], 1.0),
            ("annals_conflict_rate", &[], 0.0),
            ("annals_conflict_rate", &[Version(1, false), Version(1, true)], 0.5),
            ("annals_avg_sync_time_seconds", &[], 0.0),
            ("annals_avg_sync_time_seconds", &[Handed(100), Handed(300)], 0.2),
            ("annals_avg_sync_time_seconds", &[Handed(100), Handed(AT_ONCE_MS + 1)], 0.1),
        ];
        for (name, steps, expected) in table {
            let meters = Meters::default();
            steps.iter().for_each(|step| take(&meters, step));
            let found = value(&meters.render([0; 4]), name);
            assert!((found - expected).abs() < 1e-9, "{name} after {steps:?}: {found}");
        }
    }

    #[test]
    fn the_page_has_what_was_counted() {
        let meters = Meters::default();
        (0..3).for_each(|_| meters.version(1000, false));
        meters.version(1000, true);
        meters.answered("/healthz", 200, Duration::from_millis(2));
        let page = meters.render([1, 2, 3, 4]);
        for (name, expected) in [
            ("annals_versions_total", 4.0),
            ("annals_actors{kind=\"session\"}", 4.0),
            ("annals_requests_total{route=\"/healthz\",status=\"2xx\"}", 1.0),
            ("annals_request_seconds_count{route=\"/healthz\"}", 1.0),
        ] {
            assert!((value(&page, name) - expected).abs() < 1e-9, "{name}: {}", value(&page, name));
        }
    }
}
