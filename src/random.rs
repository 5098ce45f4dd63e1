//! Random bytes from the system: for ids, keys, salts and secrets. Nothing else here is random.

/// `N` of them.
///
/// # Panics
/// When the system has none: then nothing may go on.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
