//! A machine as `lab/modules/replay_image.c` reads it: little-endian, without the zeros at the end of each space.

use crate::machine::Generated;

const MAGIC: &[u8; 8] = b"PEERDMA1";
/// A function's header is stored whatever it holds.
const LEAST_BYTES: usize = 64;

/// The image of a machine; `None` where it is too big for one.
pub(super) fn image(machine: &[Generated]) -> Option<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([0; 4]);
    bytes.extend(u32::try_from(machine.len()).ok()?.to_le_bytes());
    for one in machine {
        let end = one.config.iter().rposition(|&byte| byte != 0).unwrap_or(0) + 1;
        let space = &one.config[..end.max(LEAST_BYTES)];
        bytes.extend(one.domain.to_le_bytes());
        bytes.extend([one.bus, one.device << 3 | one.function]);
        bytes.extend(u16::try_from(space.len()).ok()?.to_le_bytes());
        bytes.extend(space);
    }
    let length = u32::try_from(bytes.len()).ok()?;
    bytes[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&length.to_le_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_stored_with_its_address_and_without_the_zeros_at_its_end() {
        let mut config = Box::new([0; 4096]);
        config[0x107] = 9;
        let machine = [Generated {
            domain: 0x1_0002,
            bus: 3,
            device: 4,
            function: 5,
            config,
        }];
        let bytes = image(&machine).unwrap();
        assert_eq!(&bytes[..8], MAGIC);
        assert_eq!(bytes[8..12], (bytes.len() as u32).to_le_bytes());
        assert_eq!(bytes[12..16], [1, 0, 0, 0]);
        assert_eq!(bytes[16..24], [2, 0, 1, 0, 3, 4 << 3 | 5, 0x08, 0x01]);
        assert_eq!((bytes.len(), bytes.last()), (24 + 0x108, Some(&9)));
    }
}
