//! Whom a device takes for its server: TLS 1.3, and a certificate that is pinned or that the system vouches for.
//!
//! A pinned certificate is the server's and no other is, whoever vouches for that one; neither its names nor its
//! dates are looked at. Without a pin the certificate authorities of this system decide. [`client_config`] is the one
//! place where this becomes a rustls configuration, for HTTP and for whatever else is spoken to the server. Left out:
//! where pins are kept (a folder's binding), whether a person accepts a new one.

use annals_engine::protocol::Fingerprint;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::{Arc, Mutex, PoisonError};

/// The certificate that a server is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// This very one.
    Whole(Fingerprint),
    /// The one whose fingerprint begins so, as a ticket has room for.
    Beginning([u8; 16]),
}

impl Pin {
    fn fits(&self, shown: &Fingerprint) -> bool {
        match self {
            Self::Whole(known) => known == shown,
            Self::Beginning(known) => shown.0.starts_with(known),
        }
    }
}

/// What came of the last certificate that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is the server's.
    Good(Fingerprint),
    /// It is not, or nobody knows.
    Refused {
        /// Which.
        found: Fingerprint,
        /// Why.
        why: String,
    },
}

/// Judges certificates for one server, and remembers the last one.
#[derive(Debug)]
pub struct Judge {
    pin: Option<Pin>,
    /// The authorities of this system, where there is no pin and there are any.
    system: Option<rustls_platform_verifier::Verifier>,
    algorithms: WebPkiSupportedAlgorithms,
    last: Mutex<Option<Shown>>,
}

impl Judge {
    /// What came of the last certificate that was shown; none before the first.
    pub fn last(&self) -> Option<Shown> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificate that was refused, once.
    pub fn take_refused(&self) -> Option<(Fingerprint, String)> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.take() {
            Some(Shown::Refused { found, why }) => Some((found, why)),
            good => {
                *last = good;
                None
            }
        }
    }

    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
        found: &Fingerprint,
    ) -> Result<ServerCertVerified, Error> {
        match (&self.pin, &self.system) {
            (Some(pin), _) if pin.fits(found) => Ok(ServerCertVerified::assertion()),
            (Some(_), _) | (None, None) => Err(CertificateError::UnknownIssuer.into()),
            (None, Some(system)) => system.verify_server_cert(certificate, between, name, &[], now),
        }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Fingerprint::of(certificate);
        let judged = self.judge(certificate, between, name, now, &found);
        let shown = match &judged {
            Ok(_) => Shown::Good(found),
            Err(error) => Shown::Refused { found, why: in_words(error) },
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        judged
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "nobody that this system trusts vouches for it".into()
        }
        Error::InvalidCertificate(why) => why.to_string(),
        other => other.to_string(),
    }
}

/// A client's TLS towards a server that is known by `pin`, or by whom this system trusts; and its judge, who can be
/// asked about the certificate. Only for `https` are the system's authorities looked up.
#[must_use]
pub fn client_config(pin: Option<Pin>, is_https: bool) -> (ClientConfig, Arc<Judge>) {
    let provider = Arc::new(crypto::ring::default_provider());
    let system = match pin {
        None if is_https => system_of(Arc::clone(&provider)),
        _ => None,
    };
    let algorithms = provider.signature_verification_algorithms;
    let judge = Arc::new(Judge { pin, system, algorithms, last: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    (config, judge)
}

fn system_of(provider: Arc<CryptoProvider>) -> Option<rustls_platform_verifier::Verifier> {
    rustls_platform_verifier::Verifier::new(provider)
        .inspect_err(|error| tracing::debug!(%error, "this system trusts no certificate authority"))
        .ok()
}
