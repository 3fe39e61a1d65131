//! The checksum that host and device both compute: every word of four bytes, mixed with its place, added up. The shader
//! (`gpu/checksum.wgsl`) does the same.

/// Adds bytes, a whole number of words, of which the first stands at the place `first` of the whole.
pub(crate) fn add(sum: u32, first: u64, bytes: &[u8]) -> u32 {
    let words = bytes.as_chunks::<4>().0.iter().zip(first as u32..);
    words.fold(sum, |sum, (word, place)| sum.wrapping_add(mix(u32::from_le_bytes(*word), place)))
}

/// A bijection on words for each place: a word that is wrong, or at another place, changes the sum.
fn mix(word: u32, place: u32) -> u32 {
    let x = word ^ place.wrapping_mul(0x9e37_79b9);
    let x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    let x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_whole_in_any_order() {
        let bytes: Vec<u8> = (0..64).collect();
        let whole = add(0, 0, &bytes);
        assert_eq!(add(add(0, 8, &bytes[32..]), 0, &bytes[..32]), whole);
        assert_ne!(add(add(0, 8, &bytes[..32]), 0, &bytes[32..]), whole, "places count");
    }

    #[test]
    fn every_bit_counts() {
        let mut bytes = [7; 16];
        let good = add(0, 0, &bytes);
        for bit in 0..128 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(add(0, 0, &bytes), good, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
