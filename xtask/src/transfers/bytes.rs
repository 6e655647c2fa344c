//! The bytes of a machine, past everything that is under test.

use super::world::World;
use peerdma::addr::Bdf;
use peerdma_sim::device::Region as Decoded;
use peerdma_sim::host::Area;
use peerdma_sim::memory::Place;
use peerdma_sim::random::Random;

impl World {
    fn place(&self, phys: u64) -> Option<Place> {
        match self.area(phys)?.1 {
            Area::Bar { bdf, bar } => self.bar_place(bdf, bar, self.area(phys)?.2),
            _ => self.computer.with(|machine| machine.ram_place(phys)),
        }
    }

    pub(super) fn bar_place(&self, bdf: Bdf, bar: u8, offset: u64) -> Option<Place> {
        let decoded = self
            .computer
            .with(|machine| machine.with_device(bdf, |device, _| device.decode(bar, offset)));
        match decoded? {
            Decoded::Memory { place, .. } => Some(place),
            Decoded::Registers | Decoded::Nothing => None,
        }
    }

    /// Bytes at an address, all in one region.
    pub(super) fn bytes(&self, phys: u64, len_bytes: u64) -> Vec<u8> {
        let mut bytes = vec![0; len_bytes as usize];
        if let Some(place) = self.place(phys) {
            let _ = self
                .computer
                .with(|machine| machine.banks().read(place, &mut bytes));
        }
        bytes
    }

    /// Bytes that tell where they are.
    pub(super) fn fill(&self, phys: u64, len_bytes: u64, salt: u64) {
        if let Some(place) = self.place(phys) {
            let bytes = noise(salt ^ phys, len_bytes as usize);
            let _ = self.computer.with(|machine| machine.banks().write(place, &bytes));
        }
    }

    /// Memory inside a device, which no address leads to.
    pub(super) fn inside(&self, bytes: &[u8]) -> Place {
        self.computer.with(|machine| {
            let bank = machine.banks().add(bytes.len() as u64);
            let place = Place { bank, offset: 0 };
            let _ = machine.banks().write(place, bytes);
            place
        })
    }

    pub(super) fn look_inside(&self, place: Place, len_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; len_bytes];
        let _ = self
            .computer
            .with(|machine| machine.banks().read(place, &mut bytes));
        bytes
    }
}

/// Bytes that nobody would guess.
pub(super) fn noise(salt: u64, len_bytes: usize) -> Vec<u8> {
    let mut random = Random::new(salt);
    let mut bytes = Vec::with_capacity(len_bytes + 8);
    while bytes.len() < len_bytes {
        bytes.extend_from_slice(&random.number().to_le_bytes());
    }
    bytes.truncate(len_bytes);
    bytes
}
