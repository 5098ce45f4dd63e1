//! The memory of the program, and how soon what it let go of goes back to the system.
//!
//! Chunks of some megabytes are made on some threads and let go of on others. The system's own allocator answers that with
//! memory that it keeps, mimalloc 2 with segments in which little is left, mimalloc 3 with a second of patience: at a
//! hundred megabytes a second each of them holds hundreds that nobody needs. So it is the third, told to be less
//! patient, and telling it is the one thing for which Annals leaves what the compiler can check: the setting has no other
//! door than the environment of a process that is yet to begin.
//!
//! What must always hold: nothing but that one option is touched, and only while it is what mimalloc makes it.

use std::ffi::{c_int, c_long};

pub use mimalloc::MiMalloc as Allocator;

/// `mi_option_purge_delay`, in milliseconds: its place among the options of mimalloc 3, which is why the crate is pinned.
const PURGE_DELAY: c_int = 15;
/// What it is unless somebody says otherwise (`MIMALLOC_PURGE_DELAY`).
const PURGE_DELAY_USUAL: c_long = 1000;
/// Some megabytes of garbage at a hundred a second; less of it costs more faults than it gains (docs/design/0025).
const PURGE_DELAY_HERE: c_long = 30;

unsafe extern "C" {
    fn mi_option_get(option: c_int) -> c_long;
    fn mi_option_set(option: c_int, value: c_long);
}

/// From now on memory that was let go of goes back within some milliseconds.
pub fn give_back_soon() {
    // SAFETY: both take numbers by value, check their range, and may be called from any thread at any time, as
    // mimalloc.h has it.
    unsafe {
        if mi_option_get(PURGE_DELAY) == PURGE_DELAY_USUAL {
            mi_option_set(PURGE_DELAY, PURGE_DELAY_HERE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static MEMORY: Allocator = Allocator;

    fn delay() -> c_long {
        // SAFETY: as in `give_back_soon`.
        unsafe { mi_option_get(PURGE_DELAY) }
    }

    #[test]
    fn the_option_is_the_one_that_is_meant_and_is_set() {
        // No other option of mimalloc 3 has this for its own.
        assert_eq!(delay(), PURGE_DELAY_USUAL);
        give_back_soon();
        assert_eq!(delay(), PURGE_DELAY_HERE);
    }
}
