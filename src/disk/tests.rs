//! The tests of the synced folder, on real folders.
