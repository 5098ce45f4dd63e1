//! TLS as people meet it: who is taken for the server, what is said when it is somebody else, certificates that
//! change while everything runs.

use crate::place::{PASSWORD, Place, Running, Said, said};
use annals::{
    client::Binding,
    transport::{Http, Pin},
};
use annals_engine::{
    protocol::{FeedQuery, Fingerprint},
    transport::TransportError,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, ClientConnection, Error, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
};

/// A server that speaks TLS on loopback; its address, its certificate's fingerprint.
fn serve(place: &Place, listen: &str, more: &[&str]) -> (Running, String) {
    let mut serving = place.start(&[&["serve", "--data", "server", "--listen", listen], more].concat());
    let url = serving.says("listening on https://").replace("listening on ", "");
    (serving, url)
}

fn serve_own(place: &Place, listen: &str) -> (Running, String, String) {
    let (mut serving, url) = serve(place, listen, &["--tls"]);
    let fingerprint = serving.says("certificate ").replace("certificate ", "");
    (serving, url, fingerprint)
}

fn add_ada(place: &Place, url: &str) {
    place.annals(&["user", "add", "ada", "--server", url, "--data", "server"]).ok();
}

fn port_of(url: &str) -> String {
    url.replace("https://", "")
}

// A certificate of the server's own.

#[test]
fn what_nobody_vouches_for_has_to_be_named_and_nothing_is_said_to_anybody_else() {
    let place = Place::new();
    let (_serving, url, fingerprint) = serve_own(&place, "127.0.0.1:0");
    add_ada(&place, &url);
    let link = |more: &[&str]| place.annals(&[&["link", &url, "one", "--user", "ada"], more].concat());
    let asked = link(&[]).fails(3, "cannot be trusted");
    assert!(asked.err.contains(&format!("--fingerprint {fingerprint}")), "{}", asked.err);
    link(&["--fingerprint", &"0".repeat(64)])
        .fails(3, &format!("than the one that it is known by: {fingerprint}"));
    link(&["--fingerprint", "12"]).exits(2);
    assert!(!place.exists("one/.annals"));
    link(&["--fingerprint", &fingerprint.to_uppercase()]).ok();
    place.write("one/a.txt", "text");
    place.sync("one").ok();
    let listed = ["namespaces", "--server", &url, "--user", "ada"];
    place.annals(&listed).fails(3, "cannot be trusted");
    place.annals(&[&listed[..], &["--fingerprint", &fingerprint]].concat()).ok();
    // Every tool shows the same fingerprint.
    let shown = CertificateDer::from_pem_file(place.path("server/tls.crt")).unwrap();
    assert_eq!(Fingerprint::of(&shown).to_string(), fingerprint);
    // The key is for nobody else.
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(place.path("server/tls.key")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_ticket_says_which_certificate_and_another_one_is_a_matter_for_a_person() {
    let place = Place::new();
    place.write("one/a.txt", "text");
    let mut up = place.start(&["up", "one", "--data", "server", "--listen", "127.0.0.1:0", "--tls"]);
    let url = up.says("listening on https://").replace("listening on ", "");
    let line = up.says("  annals link https://").trim().replace("FOLDER", "two");
    let arguments: Vec<&str> = line.split(' ').skip(1).collect();
    let (code, _) = arguments.last().unwrap().split_once('.').expect("the ticket names the certificate");
    // A ticket that was cut off in the middle is none; one without its end trusts nobody.
    let cut = &arguments.last().unwrap()[..code.len() + 3];
    place.annals(&["link", &url, "two", "--ticket", cut]).fails(6, "ticket");
    place.annals(&["link", &url, "two", "--ticket", code]).fails(3, "cannot be trusted");
    // One with a slip in its end is about another server: that is said of the ticket.
    let ticket = *arguments.last().unwrap();
    let slip = if ticket.ends_with('A') { "B" } else { "A" };
    let mistyped = [&ticket[..ticket.len() - 1], slip].concat();
    let said =
        place.annals(&["link", &url, "two", "--ticket", &mistyped]).fails(3, "this ticket is not one of");
    assert!(said.err.contains("mistyped") && !said.err.contains("fingerprint"), "{}", said.err);
    place.annals(&arguments).ok();
    place.sync("two").ok();
    assert_eq!(place.read("two/a.txt"), "text");
    let invited = place.annals(&["invite", "one"]).ok().out;
    assert!(invited.contains("https://") && invited.contains('.'), "{invited}");
    assert_eq!(up.ends("TERM"), Some(0));

    // The server makes itself another certificate; its own folder knows, the others do not.
    for file in ["server/tls.crt", "server/tls.key"] {
        place.remove(file);
    }
    let mut up = place.start(&["up", "one", "--data", "server", "--listen", &port_of(&url), "--tls"]);
    let fingerprint = up.says("certificate ").replace("certificate ", "");
    up.says("in sync");
    place.write("two/b.txt", "unsent");
    let refused = place.sync("two").fails(3, &fingerprint);
    assert!(refused.err.contains("--once --fingerprint"), "{}", refused.err);
    // In a daemon as well: it goes on looking, and what is accepted beside it is what it takes.
    let mut daemon = place.start(&["sync", "two"]);
    while !place.exists("two/.annals/control.sock") {
        std::thread::yield_now();
    }
    place.annals(&["sync", "two", "--once", "--fingerprint", &fingerprint]).ok();
    daemon.says("in sync");
    assert_eq!(daemon.ends("TERM"), Some(0));
    place.sync("two").ok();
}

#[test]
fn a_server_that_moved_is_known_by_its_certificate_and_another_one_is_asked_about() {
    let place = Place::new();
    let (serving, url, fingerprint) = serve_own(&place, "127.0.0.1:0");
    add_ada(&place, &url);
    place.annals(&["link", &url, "one", "--user", "ada", "--fingerprint", &fingerprint]).ok();
    assert_eq!(serving.ends("TERM"), Some(0));
    place.write("one/a.txt", "saved meanwhile");
    place.sync("one").exits(4);
    let (serving, moved, _) = serve_own(&place, "127.0.0.1:0");
    assert_ne!(moved, url);
    place.annals(&["link", &moved, "one"]).ok();
    place.sync("one").ok();
    assert_eq!(serving.ends("TERM"), Some(0));
    for file in ["server/tls.crt", "server/tls.key"] {
        place.remove(file);
    }
    let (_serving, again, fingerprint) = serve_own(&place, "127.0.0.1:0");
    let asked = place.annals(&["link", &again, "one"]).fails(3, "cannot be trusted");
    assert!(asked.err.contains(&format!("--fingerprint {fingerprint}")), "{}", asked.err);
    assert_eq!(Binding::read(&place.path("one")).unwrap().0.server, moved);
    place.annals(&["link", &again, "one", "--fingerprint", &"0".repeat(64)]).fails(3, "known by");
    place.annals(&["link", &again, "one", "--fingerprint", &fingerprint]).ok();
    place.sync("one").ok();
    // A device that is linked again knows it, too; not while somebody else has its folder.
    place.annals(&["link", &again, "two", "--user", "ada", "--fingerprint", &fingerprint]).ok();
    let mut daemon = place.start(&["sync", "one"]);
    daemon.says("in sync");
    let devices = || place.json(&["devices", "two", "--json"]).as_array().unwrap().clone();
    let one = devices().into_iter().find(|device| device["this"] == false).unwrap();
    place.annals(&["devices", "two", "--retire", &one["device"].as_str().unwrap()[..8]]).ok();
    place.annals(&["link", &again, "one", "--user", "ada"]).fails(1, "in use");
    assert_eq!(devices().len(), 2);
    // Whether it has heard of that by now does not matter here.
    assert!(daemon.ends("TERM").is_some());
    place.annals(&["link", &again, "one", "--user", "ada"]).ok();
    place.sync("one").ok();
}

#[test]
fn beyond_loopback_there_is_tls_unless_one_insists() {
    let place = Place::new();
    let mut open = place.start(&["serve", "--data", "server", "--listen", "0.0.0.0:0"]);
    open.says("listening on https://0.0.0.0:");
    open.says("certificate ");
    assert_eq!(open.ends("TERM"), Some(0));
    let remarks = fs::File::create(place.path("remarks")).unwrap();
    let mut serve = place.command(&["serve", "--data", "server", "--listen", "0.0.0.0:0", "--insecure"]);
    let mut insecure = Running::of_with(&mut serve, remarks.into());
    insecure.says("listening on http://0.0.0.0:");
    assert!(place.read("remarks").contains("warning: http://0.0.0.0:"), "{}", place.read("remarks"));
    assert_eq!(insecure.ends("TERM"), Some(0));
    let mut up = place.start(&["up", "one", "--data", "server", "--listen", "0.0.0.0:0"]);
    // The line to type names this machine, and not every address.
    assert!(!up.says("  annals link https://").contains("0.0.0.0"));
    assert_eq!(up.ends("TERM"), Some(0));
}

// What is spoken.

/// A client that looks at no certificate: only what is spoken matters.
fn connection(
    url: &str,
    version: &'static SupportedProtocolVersion,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(port_of(url))?);
    stream.flush()?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Takes everybody for the server.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn health(stream: &mut (impl Read + Write)) -> io::Result<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let (mut status, mut line) = (String::new(), String::from("-"));
    reader.read_line(&mut status)?;
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut body = [0; 3];
    reader.read_exact(&mut body)?;
    Ok(status.trim().to_owned())
}

#[test]
fn nothing_older_than_tls_1_3_is_spoken_and_no_plain_http() {
    let place = Place::new();
    let (_serving, url, _) = serve_own(&place, "127.0.0.1:0");
    assert_eq!(health(&mut connection(&url, &TLS13).unwrap()).unwrap(), "HTTP/1.1 200 OK");
    let old = connection(&url, &TLS12).expect_err("TLS 1.2 was spoken");
    assert!(old.to_string().contains("ProtocolVersion"), "{old}");
    let mut plain = TcpStream::connect(port_of(&url)).unwrap();
    assert!(!health(&mut plain).is_ok_and(|answer| answer.contains("200")));
    place.annals(&["link", &url.replace("https", "http"), "one", "--user", "ada"]).exits(2);
}

// A certificate that somebody vouches for.

/// An authority whom only those trust who are told to.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(place: &Place) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(place.path("authority.pem"), authority.as_ref().pem()).unwrap();
        Self(authority)
    }

    /// Puts a certificate for this machine, good until then, where the server looks for it.
    fn certify(&self, place: &Place, until: i32) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        fs::write(place.path("given.key"), key.serialize_pem()).unwrap();
        fs::write(place.path("given.crt"), certificate.pem()).unwrap();
    }
}

const GIVEN: [&str; 4] = ["--tls-cert", "given.crt", "--tls-key", "given.key"];

fn trusting(place: &Place, arguments: &[&str]) -> Said {
    said(place.command(arguments).env("SSL_CERT_FILE", place.path("authority.pem")))
}

#[test]
fn a_given_certificate_is_renewed_and_expires_without_a_restart_and_connections_go_on() {
    let place = Place::new();
    let authority = Authority::new(&place);
    authority.certify(&place, 4000);
    let (mut serving, url) = serve(&place, "127.0.0.1:0", &GIVEN);
    let shown = Fingerprint::of(&CertificateDer::from_pem_file(place.path("given.crt")).unwrap());
    assert_eq!(serving.says("certificate "), format!("certificate {shown}"));
    trusting(&place, &["user", "add", "ada", "--server", &url, "--data", "server"]).ok();
    let link = ["link", &url, "one", "--user", "ada"];
    let asked = place.annals(&link).fails(3, "nobody that this system trusts vouches for it");
    assert!(asked.err.contains(&shown.to_string()), "{}", asked.err);
    trusting(&place, &link).ok();
    let sync = ["sync", "one", "--once"];
    trusting(&place, &sync).ok();
    // It is known by who vouches for it: no fingerprint in tickets.
    assert!(!trusting(&place, &["invite", "one"]).ok().out.split("--ticket").last().unwrap().contains('.'));
    let mut open = connection(&url, &TLS13).unwrap();
    assert_eq!(health(&mut open).unwrap(), "HTTP/1.1 200 OK");

    authority.certify(&place, 2001);
    let expired = trusting(&place, &sync).fails(3, "expired");
    assert!(expired.err.contains("--fingerprint"), "{}", expired.err);
    assert_eq!(health(&mut open).unwrap(), "HTTP/1.1 200 OK");
    // Files that do not belong together are not used.
    fs::write(place.path("given.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    trusting(&place, &sync).fails(3, "expired");
    authority.certify(&place, 4000);
    trusting(&place, &sync).ok();
    assert_eq!(health(&mut open).unwrap(), "HTTP/1.1 200 OK");
}

#[test]
fn an_address_of_the_wrong_scheme_is_told_from_a_server_that_is_away() {
    let mut place = Place::new();
    let (_sealed, sealed, _) = serve_own(&place, "127.0.0.1:0");
    let tried = sealed.replace("https:", "http:");
    let link = |url: &str| place.annals(&["link", url, "one", "--user", "ada"]);
    let said = link(&tried).fails(2, &format!("{tried} speaks TLS"));
    assert!(said.err.contains(&format!("type {sealed} ")), "{}", said.err);
    place.annals(&["user", "add", "ada", "--server", &tried, "--data", "server"]).fails(2, "speaks TLS");
    drop(_sealed);
    place.remove("server");
    place.serve();
    let tried = place.url.replace("http:", "https:");
    let said = place.annals(&["link", &tried, "one", "--user", "ada"]);
    let said = said.fails(2, &format!("{tried} speaks no TLS"));
    assert!(said.err.contains(&format!("type {} ", place.url)), "{}", said.err);
    // Nobody there is another matter.
    place.stop_server();
    place.annals(&["link", &tried, "one", "--user", "ada"]).fails(4, "cannot be reached");
    assert!(!place.exists("one/.annals"));
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    let place = Place::new();
    place.write("key.pem", "none");
    let serve =
        ["serve", "--data", "server", "--listen", "127.0.0.1:0", "--tls-key", "key.pem", "--tls-cert"];
    for (given, why) in [("nowhere.pem", "No such file"), ("key.pem", "no certificate"), (".", "directory")] {
        let said = place.annals(&[&serve[..], &[given]].concat()).fails(2, why);
        let named = place.path(given).display().to_string();
        assert!(said.err.contains(named.trim_end_matches("/.")), "{}", said.err);
        assert!(said.err.contains("hint: certificate and key are two PEM files"), "{}", said.err);
    }
}

#[test]
fn a_certificate_without_its_key_serves_nobody() {
    let place = Place::new();
    Authority::new(&place).certify(&place, 4000);
    let serve = [&["serve", "--data", "server", "--listen", "127.0.0.1:0"][..], &GIVEN].concat();
    fs::write(place.path("given.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    place.annals(&serve).fails(2, "given.key cannot be used for TLS");
    place.write("given.key", "nothing");
    place.annals(&serve).fails(2, "given.key cannot be used for TLS");
    place.write("given.crt", PASSWORD);
    place.annals(&serve).fails(2, "given.crt cannot be used for TLS");
    place.annals(&serve[..serve.len() - 2]).exits(2);
}

#[test]
fn the_live_feed_goes_by_tls_and_to_nobody_else() {
    let place = Place::new();
    let (_serving, url, fingerprint) = serve_own(&place, "127.0.0.1:0");
    add_ada(&place, &url);
    place.annals(&["link", &url, "one", "--user", "ada", "--fingerprint", &fingerprint]).ok();
    let (binding, _) = Binding::read(&place.path("one")).unwrap();
    let live = |pin: Pin| {
        let http = Http::pinned(&url, Some(pin), Some(binding.token.clone())).unwrap();
        http.live(binding.namespace, &FeedQuery::default())
    };
    let certificate = binding.certificate.unwrap();
    let heard = live(Pin::Whole(certificate)).map(|mut feed| feed.hear().unwrap());
    assert!(heard.unwrap().head.seq.0 > 0);
    let other = live(Pin::Beginning([7; 16]));
    assert!(matches!(other.err(), Some(TransportError::Untrusted { found, .. }) if found == certificate));
}
