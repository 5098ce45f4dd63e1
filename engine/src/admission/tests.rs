//! What admission refuses, as a table.
