//! The way to a server, for real.

pub mod http;
pub mod tls;

pub use http::{Feed, HangUp, Http, Traffic};
pub use tls::Pin;
