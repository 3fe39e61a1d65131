//! How many bytes are migrated: a list of sizes, or a range of them.

use crate::size;

/// Sizes in bytes, from the smallest to the largest, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes(Vec<u64>);

impl Sizes {
    /// Reads `512KiB,4MiB` or `512KiB..256MiB`, which is each size between the two that is the one before doubled.
    pub(crate) fn parse(text: &str) -> Result<Sizes, String> {
        let mut sizes = Vec::new();
        for part in text.split(',') {
            match part.split_once("..") {
                None => sizes.push(size::parse(part.trim())?),
                Some((first, last)) => {
                    let (first, last) = (size::parse(first.trim())?, size::parse(last.trim())?);
                    if first > last {
                        return Err("a range goes from the smaller size to the larger".into());
                    }
                    let doubled = std::iter::successors(Some(first), |size| size.checked_mul(2));
                    sizes.extend(doubled.take_while(|size| *size <= last));
                }
            }
        }
        sizes.sort_unstable();
        sizes.dedup();
        Ok(Sizes(sizes))
    }

    /// All of them.
    pub(super) fn bytes(&self) -> &[u64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        let sizes = |bytes: &[u64]| Ok(Sizes(bytes.iter().map(|size| size << 10).collect()));
        assert_eq!(Sizes::parse("64KiB"), sizes(&[64]));
        assert_eq!(Sizes::parse("4MiB, 512KiB,4MiB"), sizes(&[512, 4096]));
        assert_eq!(Sizes::parse("512KiB..4MiB"), sizes(&[512, 1024, 2048, 4096]));
        assert_eq!(Sizes::parse("4KiB,512KiB..1MiB"), sizes(&[4, 512, 1024]));
        assert_eq!(Sizes::parse("8EiB..15EiB"), Ok(Sizes(vec![8 << 60])), "doubling ends where numbers do");
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", ",", "4MiB,", "4MiB..", "..4MiB", "4MiB..512KiB", "0", "0..4MiB", "4parsecs", "4MiB...8MiB"] {
            assert!(Sizes::parse(text).is_err(), "{text:?}");
        }
    }
}
