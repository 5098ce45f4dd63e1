//! A password: from ANNALS_PASSWORD, or asked without echo.

use super::failure::Failure;

/// The password of `user`.
pub(crate) fn of(user: &str) -> Result<String, Failure> {
    if let Ok(password) = std::env::var("ANNALS_PASSWORD") {
        return Ok(password);
    }
    rpassword::prompt_password(format!("Password of {user}: ")).map_err(|_| {
        Failure::usage(format!("the password of {user} is needed and nobody can be asked"))
            .hint("set ANNALS_PASSWORD, or run this in a terminal")
    })
}
