//! The way to a server, for real.

mod brake;
pub mod files;
pub mod http;
pub mod tls;

pub use brake::Wait;
pub use files::Login;
pub use http::{Feed, HangUp, Http, Traffic};
pub use tls::Pin;
