//! The shapes that a transfer's memory can have, in RAM and in memory of devices.
//!
//! Called by [`super::exercise`].

use crate::ours::{Pieces, after};
use peerdma::addr::PhysAddr;

/// What becomes of a transfer of this shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Its bytes arrive.
    Moves,
    /// They do where the device takes pieces of any length (SGL); by page lists it is refused.
    MovesBySgl,
    /// The device cannot mix its own memory with other memory: refused.
    Mixed,
}

/// One transfer.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) pieces: Pieces,
    pub(super) expect: Expect,
}

impl Shape {
    fn new(name: &'static str, pieces: Pieces) -> Self {
        let expect = Expect::Moves;
        Self { name, pieces, expect }
    }
}

/// Memory in which shapes are laid out: page-aligned, with a page to spare at either end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) at: PhysAddr,
    pub(super) len_bytes: u64,
}

impl Room {
    fn piece(self, offset_bytes: u64, len_bytes: u32) -> (PhysAddr, u32) {
        (after(self.at, offset_bytes), len_bytes)
    }
}

/// Shapes in memory of one kind; `most_bytes` is the longest.
pub(super) fn plain(room: Room, most_bytes: u64) -> Vec<Shape> {
    let mut shapes = vec![
        Shape::new("one block", vec![room.piece(0, 512)]),
        Shape::new(
            "a block over the end of a page",
            vec![room.piece(4096 - 256, 512)],
        ),
        Shape::new("two pages", vec![room.piece(0, 8192)]),
        Shape::new("a list of pages", vec![room.piece(0, 32 << 10)]),
        Shape::new("a list from within a page on", vec![room.piece(0x404, 32 << 10)]),
        Shape::new(
            "pieces that are pages",
            vec![
                room.piece(0x800, 0x800),
                room.piece(0x3000, 0x1000),
                room.piece(0x7000, 0x1000),
                room.piece(0x5000, 0x800),
            ],
        ),
        Shape {
            name: "pieces of any length",
            pieces: vec![
                room.piece(0x100, 0x300),
                room.piece(0x2104, 0x204),
                room.piece(0x4f00, 0xafc),
            ],
            expect: Expect::MovesBySgl,
        },
    ];
    let most = most_bytes.min(room.len_bytes - 0x2000) & !0xfff;
    if most > 64 << 10 {
        shapes.push(Shape::new(
            "as much as one command takes",
            vec![room.piece(0, most as u32)],
        ));
        shapes.push(Shape::new(
            "the same from within a page on",
            vec![room.piece(0xc00, most as u32)],
        ));
    }
    shapes
}

/// Shapes of memory of several kinds: RAM, one device, another device.
pub(super) fn mixed(ram: Room, device: Room, other: Option<Room>, expect: Expect) -> Vec<Shape> {
    let mut shapes = vec![
        Shape {
            name: "RAM, then a device",
            pieces: vec![ram.piece(0x800, 0x800), device.piece(0, 0x1800)],
            expect,
        },
        Shape {
            name: "a device, RAM, the device",
            pieces: vec![
                device.piece(0x2c00, 0x400),
                ram.piece(0x1000, 0x2000),
                device.piece(0x5000, 0xc00),
            ],
            expect,
        },
    ];
    if let Some(other) = other {
        shapes.push(Shape {
            name: "RAM and two devices",
            pieces: vec![
                ram.piece(0x4000, 0x1000),
                device.piece(0x8000, 0x1000),
                other.piece(0x9000, 0x2000),
                ram.piece(0x6000, 0x200),
            ],
            expect,
        });
    }
    shapes
}
