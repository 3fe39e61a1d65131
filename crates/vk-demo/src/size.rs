//! Sizes as people write and read them.

use std::fmt;

/// Reads a size with its unit, such as `256MiB` or `1.5 GiB`; a bare number is bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let bytes = parse_size::parse_size(text).map_err(|error| format!("{error}; write it as 256MiB or 2GiB"))?;
    if bytes == 0 { Err("a size of zero is of no use".into()) } else { Ok(bytes) }
}

/// Two sizes of which the first is too large for the second, or too small: in words that differ.
pub(crate) fn apart(one: u64, other: u64) -> (String, String) {
    let (a, b) = (Bytes(one).to_string(), Bytes(other).to_string());
    if a != b || one == other {
        return (a, b);
    }
    // A size that is said exactly as it is needs no more words.
    let exact = |text: String, bytes: u64| if parse(&text) == Ok(bytes) { text } else { format!("{text} ({bytes} bytes)") };
    (exact(a, one), exact(b, other))
}

/// Prints bytes in the largest binary unit that keeps the number above one; what is no whole number of hundredths is rounded down, so
/// that nothing looks like the whole that it falls short of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let unit = (0..UNITS.len()).rev().find(|&unit| self.0 >> (10 * unit) != 0).unwrap_or(0);
        let one = 1u64 << (10 * unit);
        let text = match self.0 % one {
            0 => format!("{} {}", self.0 / one, UNITS[unit]),
            part => {
                let hundredths = u128::from(part) * 100 / u128::from(one);
                format!("{}.{hundredths:02} {}", self.0 / one, UNITS[unit])
            }
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units_are_read() {
        assert_eq!(parse("256MiB"), Ok(256 << 20));
        assert_eq!(parse("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("1MB"), Ok(1_000_000));
    }

    #[test]
    fn sizes_that_mean_nothing_are_refused() {
        for text in ["", "0", "0GiB", "-1", "12 parsecs", "1e999GiB", "99999999999999999999", "99999999EiB", "NaN"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn bytes_are_printed_short() {
        let text = |bytes| Bytes(bytes).to_string();
        assert_eq!(text(0), "0 B");
        assert_eq!(text(4096), "4 KiB");
        assert_eq!(text(3 << 29), "1.50 GiB");
        assert_eq!(text(u64::MAX), "16777215.99 TiB");
    }

    #[test]
    fn req_82_what_falls_short_of_a_size_does_not_look_like_it() {
        assert_eq!(Bytes(4095).to_string(), "3.99 KiB");
        assert_eq!(Bytes((1 << 30) - 1).to_string(), "1023.99 MiB");
        assert_eq!(apart((3 << 29) + 1, 3 << 29), ("1.50 GiB (1610612737 bytes)".into(), "1.50 GiB".into()));
        assert_eq!(apart(4096, 4096), ("4 KiB".into(), "4 KiB".into()));
        let (one, other) = apart((3 << 29) + 2, (3 << 29) + 1);
        assert_eq!((one.as_str(), other.as_str()), ("1.50 GiB (1610612738 bytes)", "1.50 GiB (1610612737 bytes)"));
    }
}
