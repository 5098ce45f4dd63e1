//! The server's half of TLS: version 1.3 and nothing older, with a certificate of its own or one that was given.
//!
//! A given certificate is read again as soon as its files change, at the next handshake: connections that are open
//! go on, and files that do not fit together are not used before they do. The server's own certificate is made once,
//! lies in its data and says nothing but who it is by its fingerprint. Left out: getting a certificate from an
//! authority (others do that, and put the files there).

use super::{
    ServeError,
    data::{Data, certificate_in},
};
use annals_engine::protocol::Fingerprint;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Where a certificate and its key are, both as PEM; the certificate first, what it was signed by behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How the server shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// By a certificate that it made itself, known by its fingerprint.
    OwnCertificate,
    /// By one that somebody vouches for.
    Given(CertificateFiles),
}

/// TLS as it is spoken, and the fingerprint that the server is known by, if it is.
pub(super) struct Spoken {
    pub(super) config: ServerConfig,
    pub(super) fingerprint: Option<Fingerprint>,
}

/// Makes ready to speak TLS.
///
/// # Errors
/// [`ServeError::Certificate`] where the files are none, or cannot be read.
pub(super) fn speak(tls: &Tls, data: &Data) -> Result<Spoken, ServeError> {
    let files = match tls {
        Tls::Given(files) => files.clone(),
        Tls::OwnCertificate => own_certificate(data)?,
    };
    let pair = Pair::read(&files)?;
    let is_own = *tls == Tls::OwnCertificate;
    let fingerprint = pair.shown.end_entity_cert().ok().map(|der| Fingerprint::of(der)).filter(|_| is_own);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring speaks TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Kept { files, pair: Mutex::new(pair) }));
    Ok(Spoken { config, fingerprint })
}

/// The server's own certificate, made at need.
fn own_certificate(data: &Data) -> Result<CertificateFiles, ServeError> {
    let files = data.certificate();
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let made = || {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("annals {}", data.id));
        // Who knows it by its fingerprint does not ask how old it is.
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(4096, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok((certificate.pem(), key.serialize_pem()))
    };
    let (certificate, key) = made().map_err(|error: rcgen::Error| ServeError::Failed {
        place: files.certificate.display().to_string(),
        what: error.to_string(),
    })?;
    // The certificate comes last: with it, both are there.
    super::data::write(&files.key, &key)?;
    super::data::write(&files.certificate, &certificate)?;
    Ok(files)
}

/// What the server on the data directory `place` is known by, if it made itself a certificate. One that was given
/// is known by whoever vouches for it.
#[must_use]
pub fn own_fingerprint(place: &Path) -> Option<Fingerprint> {
    fingerprint_in(&certificate_in(place))
}

/// Of the certificate in those files, as they are now: what a person can compare with what a device is shown.
#[must_use]
pub fn fingerprint_in(files: &CertificateFiles) -> Option<Fingerprint> {
    Some(Fingerprint::of(&CertificateDer::from_pem_file(&files.certificate).ok()?))
}

/// What two files were when they were read.
type Stamp = [Option<(SystemTime, u64)>; 2];

fn stamp_of(files: &CertificateFiles) -> Stamp {
    let stamp = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    [stamp(&files.certificate), stamp(&files.key)]
}

/// A certificate with its key, as they were read.
#[derive(Debug)]
struct Pair {
    shown: Arc<CertifiedKey>,
    stamp: Stamp,
}

impl Pair {
    fn read(files: &CertificateFiles) -> Result<Self, ServeError> {
        // What is written after this has another stamp.
        let stamp = stamp_of(files);
        let wrong = |place: &Path, what: String| ServeError::Certificate { place: place.to_owned(), what };
        let bytes = |place: &Path| fs::read(place).map_err(|why| wrong(place, why.to_string()));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(&files.certificate)?).collect();
        let chain = chain.map_err(|error| wrong(&files.certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(wrong(&files.certificate, "it holds no certificate in PEM".into()));
        }
        let key = PrivateKeyDer::from_pem_slice(&bytes(&files.key)?)
            .map_err(|error| wrong(&files.key, error.to_string()))?;
        let shown = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| wrong(&files.key, error.to_string()))?;
        Ok(Self { shown: Arc::new(shown), stamp })
    }
}

/// Shows the certificate, as the files have it now.
#[derive(Debug)]
struct Kept {
    files: CertificateFiles,
    pair: Mutex<Pair>,
}

impl ResolvesServerCert for Kept {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut pair = self.pair.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp_of(&self.files);
        if stamp != pair.stamp {
            match Pair::read(&self.files) {
                Ok(fresh) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read anew");
                    *pair = fresh;
                }
                // Said once for each state of the files.
                Err(error) => {
                    tracing::warn!(%error, "the certificate's files changed and cannot be used; the one before is shown");
                    pair.stamp = stamp;
                }
            }
        }
        Some(Arc::clone(&pair.shown))
    }
}
