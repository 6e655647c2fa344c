//! Pieces that fit into the memory that may be locked, where nobody has said how large they are and how many.

use super::super::request::{CHUNK_BYTES, QUEUE_DEPTH, Request};
use crate::args::CopyArgs;
use crate::layout::bytes;
use peerdma_linux::vfio::Memlock;

/// What queues, lists of pages and completions of both ends take beside the pieces.
const BESIDE_BYTES: u64 = 1 << 20;
/// As many pieces are read back at once.
const PROVING: u64 = 16;
/// Fewer pieces under way, down to so many, before smaller ones.
const LEAST_DEPTH: u16 = 4;
const LEAST_CHUNK_BYTES: u64 = 4096;

/// How large pieces are, and how many are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    chunk_bytes: u64,
    depth: u16,
}

/// Chooses fewer and smaller pieces for a copy whose devices have their memory locked, if `limit` says that the usual ones would not fit. What
/// somebody has chosen stays.
pub(super) fn fit(args: &CopyArgs, request: &mut Request, limit: Option<Memlock>) {
    let Some(limit) = limit.filter(|_| args.way.chunk.is_none() && args.way.queue_depth.is_none()) else {
        return;
    };
    let usual = Sizes {
        chunk_bytes: CHUNK_BYTES,
        depth: QUEUE_DEPTH,
    };
    let sizes = fitting(limit.free_bytes());
    if sizes == usual {
        return;
    }
    request.queue_depth = sizes.depth;
    request.chunk_bytes = u32::try_from(sizes.chunk_bytes).unwrap_or(request.chunk_bytes);
    request.fitted = Some(format!(
        "{} pieces of {} at once: of locked memory {} of {} are free (`ulimit -l`); --queue-depth and --chunk choose others",
        sizes.depth,
        bytes(sizes.chunk_bytes),
        bytes(limit.free_bytes()),
        bytes(limit.limit_bytes),
    ));
}

/// The largest that fit, or the least there are.
fn fitting(free_bytes: u64) -> Sizes {
    // What is left where the queues alone take much of it.
    let room = free_bytes.saturating_sub(BESIDE_BYTES).max(free_bytes / 2);
    let mut chunk_bytes = CHUNK_BYTES;
    while chunk_bytes > LEAST_CHUNK_BYTES && most(room, chunk_bytes) < u64::from(LEAST_DEPTH) {
        chunk_bytes /= 2;
    }
    let depth = most(room, chunk_bytes).clamp(1, QUEUE_DEPTH.into());
    Sizes {
        chunk_bytes,
        depth: u16::try_from(depth).unwrap_or(QUEUE_DEPTH),
    }
}

/// How many pieces fit, each locked once for either end; none where those that are read back do not.
fn most(room: u64, chunk_bytes: u64) -> u64 {
    match room >= PROVING * chunk_bytes {
        true => room / (2 * chunk_bytes),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_take_no_more_than_may_be_locked_and_are_usual_where_there_is_room() {
        let usual = Sizes {
            chunk_bytes: CHUNK_BYTES,
            depth: QUEUE_DEPTH,
        };
        for free_bytes in [17 << 20, 64 << 20, u64::MAX] {
            assert_eq!(fitting(free_bytes), usual);
        }
        let mut free_bytes = 16 << 20;
        while free_bytes >= 256 << 10 {
            let Sizes { chunk_bytes, depth } = fitting(free_bytes);
            let staging = 2 * chunk_bytes * u64::from(depth);
            assert!(
                staging <= free_bytes && PROVING * chunk_bytes <= free_bytes,
                "{free_bytes}"
            );
            assert!(
                chunk_bytes.is_power_of_two() && depth >= LEAST_DEPTH,
                "{free_bytes}"
            );
            free_bytes -= 4096;
        }
        let eight = fitting(8 << 20);
        assert_eq!((eight.chunk_bytes, eight.depth), (256 << 10, 14));
        for free_bytes in [0, 1, 4096, 64 << 10] {
            let sizes = fitting(free_bytes);
            assert_eq!(sizes.chunk_bytes, LEAST_CHUNK_BYTES);
            assert!(sizes.depth >= 1);
        }
    }
}
