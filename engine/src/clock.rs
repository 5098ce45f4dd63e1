//! What time it is, as far as anybody can know.

/// A wall clock. It may be wrong, stand still or run back; nothing that matters may rest on it.
pub trait Clock {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}
