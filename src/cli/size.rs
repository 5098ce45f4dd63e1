//! Amounts as people write them: `500MB`, `2 TiB`, `1 event`.

use super::failure::Failure;

/// Bytes. Decimal units, as disks are sold, unless there is an `i` in them.
///
/// # Errors
/// A usage failure that shows the forms that are understood.
pub fn parse(text: &str) -> Result<u64, Failure> {
    let wrong = || {
        Failure::usage(format!("`{text}` is no size"))
            .hint("write bytes, or a number with kB, MB, GB, TB (or KiB, MiB, …)")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit).filter(|bytes| *bytes < 1 << 62).ok_or_else(wrong)
}

/// In three digits or so.
#[must_use]
pub fn human(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} B"),
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
    }
}

/// `1 event`, `2 events`.
#[must_use]
pub fn many(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("15GB", 15_000_000_000), ("2 TiB", 2 << 40), ("512kb", 512_000), ("7 b", 7)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GB", "-1", "1.5GB", "1 XB", "99999999999TB"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!((many(1, "event"), many(0, "event")), ("1 event".into(), "0 events".into()));
        assert_eq!(human(999), "999 B");
        assert_eq!(human(15_300_000_000), "15.3 GB");
    }
}
