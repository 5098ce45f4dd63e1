//! The address of a server, as it is typed.

use super::{failure::Failure, password};
use crate::transport::{Http, Login, Pin};
pub(super) use annals_engine::protocol::encoded;
use annals_engine::protocol::{Fingerprint, decoded};

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

/// The way to the server of a file, `URL/v1/namespaces/NS/files/PATH`, and the file's route there.
pub(super) fn file(typed: &str, fingerprint: Option<Fingerprint>) -> Result<(Http, String), Failure> {
    let (server, route) = typed.trim().split_once("/v1/").unwrap_or((typed, ""));
    let mut parts = route.splitn(4, '/');
    let known = (parts.next(), parts.next().is_some(), parts.next(), parts.next().is_some());
    if known != (Some("namespaces"), true, Some("files"), true) {
        return Err(Failure::usage(format!("`{typed}` is no address of a file")).hint(
            "it looks like https://HOST:PORT/v1/namespaces/NS/files/PATH; `annals namespaces` lists NS",
        ));
    }
    Ok((http(server, fingerprint, None)?, route.to_owned()))
}

/// The name at the end of a route, as people read it.
pub(super) fn last_name(route: &str) -> Option<String> {
    let name = String::from_utf8(decoded(route.rsplit('/').next().unwrap_or_default())).ok()?;
    annals_events::path::check(&name).is_ok().then_some(name)
}

/// Name and password, as for every verb that has no link.
pub(super) fn login(user: &str) -> Result<Login, Failure> {
    Ok(Login { user: user.to_owned(), password: password::of(user)? })
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
    fn the_name_at_the_end_of_a_route_is_a_name_and_leads_nowhere_else() {
        for (route, name) in [
            ("namespaces/1/files/a/b.txt", Some("b.txt")),
            ("namespaces/1/files/Gr%C3%BC%C3%9Fe%20an%20alle", Some("Grüße an alle")),
            ("namespaces/1/files/100%25", Some("100%")),
            ("namespaces/1/files/100%", Some("100%")),
            ("namespaces/1/files/", None),
            ("namespaces/1/files/..%2Fetc", None),
            ("namespaces/1/files/%2E%2E", None),
            ("namespaces/1/files/%FF", None),
        ] {
            assert_eq!(last_name(route).as_deref(), name, "{route}");
        }
    }

    #[test]
    fn the_address_of_a_file_is_told_from_anything_else() {
        let good = "http://127.0.0.1:1/v1/namespaces/12/files/a/b";
        assert_eq!(file(good, None).unwrap().1, "namespaces/12/files/a/b");
        for bad in [
            "http://127.0.0.1:1/a",
            "http://127.0.0.1:1/v1/namespaces/12/files",
            "a.txt",
            "/v1/namespaces/1/files/a",
        ] {
            assert!(file(bad, None).is_err(), "{bad}");
        }
    }

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
