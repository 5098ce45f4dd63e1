//! The way to a server, for real.

pub mod http;

pub use http::{Http, Traffic};
