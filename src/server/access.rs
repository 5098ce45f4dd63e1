//! Who asks: tokens of devices, the admin's token, names and passwords, challenges.
//!
//! Secrets are compared by looking up their SHA-256, so the time it takes says nothing about them.

use super::{Server, answer::Refusal, gate};
use crate::{
    actors::{node::blocking, rights::Asker},
    random::random,
};
use actix_web::{HttpRequest, http::header::AUTHORIZATION};
use annals_engine::protocol::{Code, Problem};
use annals_events::{DeviceId, Hash, UserId};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Shortest password.
const PASSWORD_BYTES_MIN: usize = 8;
/// Longest password.
const PASSWORD_BYTES_MAX: usize = 1024;
/// What is compared for an account that is not there.
static NOBODYS: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();

/// The admin's token, by its hash.
pub(super) struct Admin(Hash);

impl Admin {
    pub(super) fn new(token: &str) -> Self {
        Self(secret_hash(token.as_bytes()))
    }

    /// Whether the request is by the admin.
    pub(super) fn is(&self, request: &HttpRequest) -> bool {
        bearer(request).is_some_and(|token| secret_hash(token.as_bytes()) == self.0)
    }

    pub(super) fn check(&self, request: &HttpRequest) -> Result<(), Refusal> {
        if self.is(request) { Ok(()) } else { Err(Code::AdminToken.into()) }
    }
}

/// What is stored of a secret.
pub(super) fn secret_hash(secret: &[u8]) -> Hash {
    Hash::of(b"", &[secret])
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

/// Who a request says it is from, before that is proven by more than a token.
pub(super) enum Shown {
    /// A device: its token is good.
    Device(DeviceId),
    /// An account, by its name.
    Account(UserId),
    /// Neither.
    Nobody,
}

/// Who the request says it is from.
pub(super) fn shown_by(server: &Server, request: &HttpRequest) -> Shown {
    let now = server.node.now_ms();
    let token = bearer(request).map(|token| secret_hash(token.as_bytes()));
    let device = token.and_then(|hash| {
        server.node.directory.read(|directory| Some(directory.token(hash, now).ok()?.device))
    });
    let named = || {
        let (name, _) = basic(request)?;
        server.node.directory.read(|directory| directory.account_named(&name).map(|(user, _)| user))
    };
    match device {
        Some(device) => Shown::Device(device),
        None => named().map_or(Shown::Nobody, Shown::Account),
    }
}

/// The device whose token the request shows.
pub(super) fn device(server: &Server, request: &HttpRequest) -> Result<(DeviceId, UserId), Refusal> {
    device_by(server, token_of(request)?)
}

/// The hash of the token that the request shows.
pub(super) fn token_of(request: &HttpRequest) -> Result<Hash, Refusal> {
    let token = bearer(request).ok_or(Code::TokenMissing)?;
    Ok(secret_hash(token.as_bytes()))
}

/// The device whose token has this hash.
pub(super) fn device_by(server: &Server, hash: Hash) -> Result<(DeviceId, UserId), Refusal> {
    let now = server.node.now_ms();
    let known = server.node.directory.read(|directory| directory.token(hash, now).cloned())?;
    server.node.heard.of(known.device, now);
    Ok((known.device, known.user))
}

/// The device whose token the request shows, or the account whose name and password it does.
pub(super) async fn caller(server: &Server, request: &HttpRequest) -> Result<Asker, Refusal> {
    match basic(request) {
        Some((name, password)) => {
            let from = gate::address_of(server, request);
            log_in(server, from, &name, password).await.map(Asker::person)
        }
        None if bearer(request).is_none() => Err(Code::LoginMissing.into()),
        None => device(server, request).map(|(device, user)| Asker { user, device: Some(device) }),
    }
}

/// The account that has this name and password. From one address an account's password is tried a few times a minute;
/// one that was right a moment ago is not tried again.
pub(super) async fn log_in(
    server: &Server,
    from: Option<IpAddr>,
    name: &str,
    password: String,
) -> Result<UserId, Refusal> {
    let account = server.node.directory.read(|directory| {
        directory.account_named(name).map(|(user, account)| (user, account.password.clone()))
    });
    let (user, hash) = account.map_or((None, None), |(user, hash)| (Some(user), hash));
    let login = server.logins.name(name, &password);
    if let (Some(user), Some(hash)) = (user, &hash)
        && server.logins.is_known(login, hash, server.node.now_ms())
    {
        return Ok(user);
    }
    server.counters.password(from, name)?;
    // Who is not there takes as long as who is.
    let hash = match hash {
        Some(hash) => hash,
        None => NOBODYS.get_or_try_init(|| hash_password(server, "nobody has this".into())).await?.clone(),
    };
    let _turn = server.passwords.acquire().await.map_err(|_| Code::Busy)?;
    let tried = hash.clone();
    let fits = blocking(move || {
        let hash =
            PasswordHash::new(&tried).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    });
    let fits = fits.await?;
    if fits && user.is_some() {
        server.logins.keep(login, hash, server.node.now_ms());
    }
    user.filter(|_| fits).ok_or_else(|| Code::WrongPassword.into())
}

/// What is stored of a new password.
pub(super) async fn hash_password(server: &Server, password: String) -> Result<String, Refusal> {
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
        return Err(Code::BadPassword.into());
    }
    let _turn = server.passwords.acquire().await.map_err(|_| Code::Busy)?;
    let hash = blocking(move || {
        let salt: [u8; 16] = random();
        let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).map_err(|error| Problem::new(Code::Internal, error.to_string()))
    });
    Ok(hash.await?)
}

/// Name and password of HTTP's basic scheme.
fn basic(request: &HttpRequest) -> Option<(String, String)> {
    let encoded = request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(base64_to_bytes(encoded.trim())?).ok()?;
    text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

fn base64_to_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(digits.len() * 3 / 4), 0u32, 0);
    for c in digits.bytes() {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// Passwords that were right a moment ago, by a hash that nobody can compute elsewhere: a script that shows one with
/// each request need not wait for argon2 each time.
pub(super) struct Logins {
    salt: [u8; 32],
    known: Mutex<BTreeMap<Hash, (String, u64)>>,
}

impl Default for Logins {
    fn default() -> Self {
        Self { salt: random(), known: Mutex::default() }
    }
}

impl Logins {
    /// How long a password is taken for right, in milliseconds.
    const LIFE_MS: u64 = 5 * 60 * 1000;
    /// At most so many at once.
    const MAX: usize = 1024;

    fn name(&self, name: &str, password: &str) -> Hash {
        Hash::of(
            b"annals login\0",
            &[&self.salt, secret_hash(name.as_bytes()).0.as_slice(), password.as_bytes()],
        )
    }

    /// Whether that was right for what is stored of the account's password now.
    fn is_known(&self, login: Hash, stored: &str, now_ms: u64) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&login).is_some_and(|(kept, until)| kept == stored && *until > now_ms)
    }

    fn keep(&self, login: Hash, stored: String, now_ms: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, until)| *until > now_ms);
        if known.len() < Self::MAX {
            known.insert(login, (stored, now_ms + Self::LIFE_MS));
        }
    }
}

/// What devices were given to sign, until they did.
#[derive(Default)]
pub(super) struct Challenges(Mutex<BTreeMap<Hash, u64>>);

impl Challenges {
    /// How long one is good for, in milliseconds.
    const LIFE_MS: u64 = 5 * 60 * 1000;
    /// At most so many at once: whoever asks for more makes the oldest worthless.
    const MAX: usize = 4096;

    pub(super) fn give(&self, now_ms: u64) -> Hash {
        let challenge = Hash(random());
        let mut given = self.0.lock().expect("nothing panics while it holds the lock");
        given.retain(|_, expires| *expires > now_ms);
        if given.len() >= Self::MAX {
            let oldest = given.iter().min_by_key(|(_, expires)| **expires).map(|(challenge, _)| *challenge);
            oldest.map(|challenge| given.remove(&challenge));
        }
        given.insert(challenge, now_ms + Self::LIFE_MS);
        challenge
    }

    /// Good once.
    pub(super) fn take(&self, challenge: Hash, now_ms: u64) -> Result<(), Code> {
        let mut given = self.0.lock().expect("nothing panics while it holds the lock");
        match given.remove(&challenge) {
            Some(expires) if expires > now_ms => Ok(()),
            _ => Err(Code::Challenge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_and_anything_else_refused() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("YW5hOnBhc3M=", Some(b"ana:pass")),
            ("YQ==", Some(b"a")),
            ("Y Q", None),
            ("ä", None),
        ] {
            assert_eq!(base64_to_bytes(text).as_deref(), bytes, "{text}");
        }
    }

    #[test]
    fn a_challenge_is_good_once_and_for_five_minutes() {
        let challenges = Challenges::default();
        let (one, two) = (challenges.give(0), challenges.give(0));
        assert_eq!(challenges.take(one, 1), Ok(()));
        assert_eq!(challenges.take(one, 1), Err(Code::Challenge));
        assert_eq!(challenges.take(two, Challenges::LIFE_MS), Err(Code::Challenge));
        assert_eq!(challenges.take(Hash([0; 32]), 1), Err(Code::Challenge));
    }
}
