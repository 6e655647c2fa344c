//! What the command line means for a pair.

use crate::args::ProbeArgs;
use crate::copy::amount::{self, Blocks};
use crate::error::Problem;
use crate::ground::end::parts;
use crate::ground::{Ground, Pair};
use peerdma::addr::Bdf;
use peerdma::plan::DeviceMemory;
use peerdma::probe::Scratch;
use peerdma::route::Access;

/// Which blocks may be overwritten, as far as the command line says.
#[derive(Debug, Clone, Copy)]
pub(super) enum ScratchWanted {
    /// The last of the volume.
    Last,
    These(Blocks),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) scratch: Scratch,
    pub(super) memory: DeviceMemory,
    pub(super) accesses: &'static [Access],
    pub(super) most_bytes: u32,
}

/// The scratch blocks, and the namespace that is named with them.
///
/// # Errors
/// A [`Problem`] where it is no range.
pub(super) fn scratch(args: &ProbeArgs) -> Result<(ScratchWanted, Option<&str>), Problem> {
    let Some(text) = &args.scratch else {
        return Ok((ScratchWanted::Last, None));
    };
    let (namespace, range) = match text.rsplit_once(':') {
        Some((namespace, range)) => (Some(namespace), range),
        None => (None, text.as_str()),
    };
    // One number is where it begins.
    let blocks = match range.trim().parse::<u64>() {
        Ok(first) => Blocks { first, end: None },
        Err(_) => Blocks::read("--scratch", range)?,
    };
    Ok((ScratchWanted::These(blocks), namespace))
}

/// The namespace that is named with scratch blocks, if it is one of the initiator: another's blocks are not touched.
///
/// # Errors
/// A [`Problem`] where it is another's.
pub(super) fn namespace_of<'n>(initiator: &str, named: &'n str) -> Result<&'n str, Problem> {
    let plain = |name: &str| -> (String, Option<u64>) {
        let (controller, namespace) = parts(name.strip_prefix("/dev/").unwrap_or(name));
        let bdf = controller.parse::<Bdf>();
        let controller = bdf.map_or_else(|_| controller.to_owned(), |bdf| bdf.to_string());
        (controller, namespace)
    };
    let ((whose, which), (controller, namespace)) = (plain(initiator), plain(named));
    match whose == controller && which.is_none_or(|which| namespace == Some(which)) {
        true => Ok(named),
        false => Err(Problem::new(
            format_args!("{named} is not probed"),
            format_args!("the scratch blocks are to be those of {initiator}, which moves the data"),
            format_args!("leave out {named}, or name it in the place of {initiator}"),
        )),
    }
}

/// What is asked of a pair.
///
/// # Errors
/// A [`Problem`] where it does not fit.
pub(super) fn asked<G: Ground>(
    args: &ProbeArgs,
    pair: &Pair<G>,
    wanted: ScratchWanted,
) -> Result<Asked, Problem> {
    let most_bytes = amount::bytes("--bytes", &args.bytes)?;
    let block_bytes = pair.block_bytes.max(1);
    let most_blocks = most_bytes.div_ceil(block_bytes).max(1);
    let range = match wanted {
        ScratchWanted::Last => Some(pair.blocks.saturating_sub(most_blocks)..pair.blocks),
        ScratchWanted::These(blocks) => blocks.of(pair.blocks),
    };
    let range = range.filter(|range| !range.is_empty()).ok_or_else(|| {
        Problem::new(
            format_args!("{} has no such scratch blocks", pair.end.name),
            format_args!(
                "it has {} blocks of {block_bytes} bytes, numbered from 0",
                pair.blocks
            ),
            "give a range within them: --scratch 1000..3000",
        )
    })?;
    let memory = pair.memory.ok_or_else(|| {
        Problem::new(
            format_args!("{} has no memory that can be used", args.provider),
            "none was found",
            "name another device",
        )
    })?;
    let most_bytes = u32::try_from(most_bytes)
        .ok()
        .filter(|most| (1..=64 << 20).contains(most));
    Ok(Asked {
        scratch: Scratch {
            lba: range.start,
            // No more are touched than a transfer has.
            blocks: (range.end - range.start).min(most_blocks),
        },
        memory,
        accesses: args.direction.accesses(),
        most_bytes: most_bytes.ok_or_else(|| {
            Problem::new(
                format_args!("--bytes {} is no size of a transfer", args.bytes),
                "a transfer has at least a byte, and at most 64 MiB",
                "give --bytes 1MiB, or another multiple of the block",
            )
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_blocks_are_those_of_who_moves_the_data() {
        for (initiator, named, is_its) in [
            ("nvme0", "nvme0n1", true),
            ("nvme0n1", "nvme0n1", true),
            ("nvme0n1", "/dev/nvme0n1", true),
            ("03:00.0", "0000:03:00.0/2", true),
            ("nvme0n1", "nvme1n1", false),
            ("nvme0n1", "nvme0n2", false),
            ("0000:03:00.0", "0000:04:00.0/1", false),
            ("/dev/sda", "sda", true),
            ("sda", "sdb", false),
        ] {
            assert_eq!(
                namespace_of(initiator, named).is_ok(),
                is_its,
                "{initiator} {named}"
            );
        }
    }
}
