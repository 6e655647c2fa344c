//! What whoever opens a controller may choose.

use crate::pointer::Forms;
use peerdma::addr::PhysAddr;

/// Choices for a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many queue pairs to ask for: one a volume at once.
    pub queue_pairs: u16,
    /// How long an admin command may take, in nanoseconds.
    pub admin_timeout_ns: u64,
    /// How long an orderly shutdown may take, in nanoseconds.
    pub shutdown_timeout_ns: u64,
    /// What becomes of the controller memory buffer.
    pub buffer: BufferUse,
    /// How many resets in a row, with nothing done in between, before the controller is given up.
    pub most_resets: u8,
}

/// What becomes of the controller memory buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BufferUse {
    /// It is enabled where there is one.
    Enable,
    /// It is left alone.
    Leave,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_pairs: 16,
            admin_timeout_ns: 10_000_000_000,
            shutdown_timeout_ns: 5_000_000_000,
            buffer: BufferUse::Enable,
            most_resets: 3,
        }
    }
}

/// Choices for a queue pair and its volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many commands may be under way, from 1 on; cut to what the controller takes.
    pub depth: u16,
    /// The most bytes of one command; cut to what the controller takes.
    pub max_transfer_bytes: u32,
    /// The most segments of one command where the controller takes SGLs; at least as many as there are pages in the largest command.
    pub max_segments: u32,
    /// Which data pointers are used.
    pub forms: Forms,
    /// How long a command may take before it is aborted, and again before the controller is reset, in nanoseconds.
    pub timeout_ns: u64,
    /// Where submission entries lie: RAM, or the controller's own memory.
    pub submissions: QueuePlace,
    /// Where completion entries lie: RAM, or memory of any device.
    pub completions: QueuePlace,
    /// Where PRP lists and SGL segments lie: RAM, or the controller's own memory.
    pub lists: QueuePlace,
}

/// Where a queue, or the lists of a queue's commands, lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueuePlace {
    /// In RAM of the driver's own.
    Ram,
    /// In memory behind a BAR, from this address on; the caller leaves it to the queue until it is closed.
    Memory(PhysAddr),
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            depth: 64,
            max_transfer_bytes: 1 << 20,
            max_segments: 256,
            forms: Forms::Shorter,
            timeout_ns: 30_000_000_000,
            submissions: QueuePlace::Ram,
            completions: QueuePlace::Ram,
            lists: QueuePlace::Ram,
        }
    }
}
