//! How transfers are cut into TLPs (PCIe Base 2.2.2, 2.2.7, 2.3.1.1).

/// How many bytes the next request carries or asks for: up to the next address that the largest size divides, which is a
/// power of two. As all sizes divide 4 KiB, none crosses such a boundary.
pub(super) fn request_bytes(address: u64, most_bytes: u64, rest_bytes: u64) -> u64 {
    let most_bytes = most_bytes.clamp(1, 4096);
    (most_bytes - (address & (most_bytes - 1))).min(rest_bytes)
}

/// How many bytes the next completion of a read carries: as many as fit, ending where the read completion boundary, a
/// power of two, lets it, or with the last byte.
pub(super) fn completion_bytes(address: u64, most_bytes: u64, boundary_bytes: u64, rest_bytes: u64) -> u64 {
    if rest_bytes <= most_bytes {
        return rest_bytes;
    }
    match most_bytes - (address.wrapping_add(most_bytes) & (boundary_bytes - 1)) {
        0 => most_bytes,
        bytes => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requests_cover_all_bytes_and_cross_no_boundary(address in 0..1u64 << 40, code in 0..6u32, len in 1..100_000u64) {
            let most = 128 << code;
            let mut done = 0;
            while done < len {
                let bytes = request_bytes(address + done, most, len - done);
                prop_assert!(bytes >= 1 && bytes <= most);
                prop_assert_eq!((address + done) / 4096, (address + done + bytes - 1) / 4096);
                done += bytes;
            }
            prop_assert_eq!(done, len);
        }

        #[test]
        fn completions_end_at_the_boundary_or_with_the_last_byte(address in 0..1u64 << 40, code in 0..6u32, wide in 0..2u32, len in 1..4097u64) {
            let (most, boundary) = (128 << code, 64 << wide);
            let mut done = 0;
            while done < len {
                let bytes = completion_bytes(address + done, most, boundary, len - done);
                prop_assert!(bytes >= 1 && bytes <= most);
                done += bytes;
                prop_assert!(done == len || (address + done) % boundary == 0);
            }
            prop_assert_eq!(done, len);
        }
    }
}
