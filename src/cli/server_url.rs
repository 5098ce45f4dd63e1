//! The address of a server, as it is typed.

use super::failure::Failure;
use crate::transport::{Http, Pin};
use annals_engine::protocol::Fingerprint;

/// `typed`, if it is an address that this release can speak to.
///
/// # Errors
/// A usage failure that shows what an address looks like.
pub(super) fn checked(typed: &str) -> Result<String, Failure> {
    let text = typed.trim().trim_end_matches('/');
    let wrong = |hint: String| Err(Failure::usage(format!("`{typed}` is no address of a server")).hint(hint));
    match text.split_once("://") {
        Some(("http" | "https", rest)) if is_host(rest) => Ok(text.to_owned()),
        Some((_, rest)) if is_host(rest) => wrong(format!("servers speak HTTP: https://{rest}")),
        None if is_host(text) => wrong(format!("write http://{text}, or https://{text}")),
        _ => wrong("an address looks like http://127.0.0.1:8417".into()),
    }
}

/// A way to the server at the address that was typed, which is known by a certificate if one was named.
pub(super) fn http(
    typed: &str,
    fingerprint: Option<Fingerprint>,
    token: Option<String>,
) -> Result<Http, Failure> {
    Ok(Http::pinned(&checked(typed)?, fingerprint.map(Pin::Whole), token)?)
}

/// Whether it looks like HOST or HOST:PORT.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(']') || !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let good = |c: char| c.is_alphanumeric() || "-._[]:".contains(c);
    !host.is_empty() && host.chars().all(good) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_host_and_port_and_a_slip_is_told_how_to_write_it() {
        for good in [
            "http://127.0.0.1:8417",
            "https://127.0.0.1:8417",
            "http://nas.home",
            "http://[::1]:80",
            "http://a:1/",
        ] {
            assert_eq!(checked(good), Ok(good.trim_end_matches('/').to_owned()));
        }
        for (bad, hint) in [
            ("127.0.0.1:8417", "write http://127.0.0.1:8417"),
            ("nas", "write http://nas"),
            ("ftp://nas", "https://nas"),
            ("https://nas/files", "looks like"),
            ("http://nas:99999", "looks like"),
            ("http://", "looks like"),
            ("", "looks like"),
            ("~/Documents", "looks like"),
        ] {
            let failure = checked(bad).unwrap_err();
            assert_eq!(failure.exit, super::super::failure::Exit::Usage, "{bad}");
            assert!(failure.hint.as_ref().unwrap().contains(hint), "{bad}: {failure}");
        }
    }
}
