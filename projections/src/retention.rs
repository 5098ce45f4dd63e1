//! For how long what was replaced or removed is kept, and how long a device may be silent: what the latest event that
//! says so says, by (hlc, device).

use annals_events::{DeviceId, Hlc};

/// A day, in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Versions and silence, each in milliseconds; none for ever.
type Times = (Option<u64>, Option<u64>);

/// What a namespace keeps, and for whom it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retention {
    /// With the order of the event that said so.
    pub(crate) said: Option<((Hlc, DeviceId), Times)>,
}

impl Retention {
    /// Where nobody said anything: 90 days.
    pub const DEFAULT_MS: u64 = 90 * DAY_MS;

    /// For how long a version is kept after it was replaced, and an entry after it was removed, in milliseconds; none
    /// for ever.
    #[must_use]
    pub fn versions(&self) -> Option<u64> {
        self.said.map_or(Some(Self::DEFAULT_MS), |(_, (versions, _))| versions)
    }

    /// For how long a device that stands in the way of forgetting may be silent before it is retired, in milliseconds;
    /// none for ever.
    #[must_use]
    pub fn silence(&self) -> Option<u64> {
        self.said.map_or(Some(Self::DEFAULT_MS), |(_, (_, silence))| silence)
    }

    /// Whether nobody said anything.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.said.is_none()
    }

    pub(crate) fn set(&mut self, order: (Hlc, DeviceId), versions: Option<u64>, silence: Option<u64>) {
        if self.said.is_none_or(|(earlier, _)| earlier < order) {
            self.said = Some((order, (versions, silence)));
        }
    }
}
