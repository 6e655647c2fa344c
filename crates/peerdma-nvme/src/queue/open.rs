//! Making a queue pair: how large, where, and for which transfers.

use super::{Layout, Pair, Progress, Queue, Stage};
use crate::buffer::Buffer;
use crate::command::Command;
use crate::controller::Shared;
use crate::entry;
use crate::error::Cause;
use crate::identify::{Info, Namespace, SglSupport};
use crate::memory::SharedMemory;
use crate::options::{QueueOptions, QueuePlace};
use crate::pointer::Forms;
use crate::register::{Capabilities, Doorbell};
use crate::ring::{CompletionRing, SubmissionRing};
use crate::slots::Slots;
use crate::{prp, sgl};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use peerdma::block::{Limits, PeerSupport, VolumeError};
use peerdma::device::{Function, Host};
use peerdma::dma::{Constraints, Direction, Locks, Mapper, MemoryKind};

/// The most blocks of one command (NLB has 16 bits).
const MOST_BLOCKS: u64 = 1 << 16;
/// The most descriptors of one list: what the driver offers for reasons of its own.
const MOST_SEGMENTS: u32 = 1 << 16;
/// List memories begin at multiples of this.
const LIST_ALIGN_BYTES: u64 = 64;
/// Without a limit of the controller's own, one command moves at most so much.
const MOST_BYTES: u64 = 1 << 30;

/// What is settled before anything is allocated.
struct Sizes {
    entries: u32,
    /// Of the completion queue.
    completions: u32,
    max_transfer_bytes: u32,
    forms: Forms,
    constraints: Constraints,
    list_stride_bytes: u64,
}

impl<F: Function, H: Host + Clone, L: Locks> Queue<F, H, L> {
    pub(crate) fn open(
        shared: Arc<Shared<F, H, L>>,
        info: &Info,
        buffer: Option<Buffer>,
        namespace: Namespace,
        mut mapper: Mapper<L>,
        options: &QueueOptions,
    ) -> Result<Self, Cause> {
        if mapper.initiator() != shared.bdf {
            let initiator = mapper.initiator();
            return Err(Cause::ForeignMapper { initiator });
        }
        let (host, registers, capabilities, page_bytes, id) = L::with(&shared.control, |control| {
            let pairs = control.pairs.count();
            let registers = control.function.registers(0)?;
            let id = control.pairs.take().ok_or(Cause::NoQueue { pairs })?;
            let host = control.host.clone();
            Ok::<_, Cause>((host, registers, control.capabilities, control.page_bytes, id))
        })?;
        let made = sizes(info, capabilities, page_bytes, namespace, options).and_then(|sizes| {
            let pair = pair(&host, &mut mapper, &sizes, page_bytes, buffer, options)?;
            Ok((sizes, pair))
        });
        let (sizes, pair) = match made {
            Ok(made) => made,
            Err(cause) => {
                L::with(&shared.control, |control| control.pairs.give(id));
                return Err(cause);
            }
        };
        let depth = (sizes.entries - 1) as u16;
        let stride_bytes = capabilities.doorbell_stride_bytes();
        let list_stride_bytes = sizes.list_stride_bytes as usize;
        let limits = Limits {
            initiator: shared.bdf,
            block_bytes: namespace.block_bytes,
            blocks: namespace.blocks,
            max_transfer_bytes: sizes.max_transfer_bytes,
            queue_depth: depth,
            constraints: sizes.constraints,
            peer: match buffer {
                Some(buffer) if !buffer.abilities.mixed_data() => PeerSupport::Unmixed,
                _ => PeerSupport::Mixed,
            },
        };
        let mut queue = Self {
            generation: shared.generation.load(Ordering::Acquire),
            registers,
            mapper,
            limits,
            layout: Layout {
                id,
                namespace: namespace.id,
                page_bytes,
                forms: sizes.forms,
                list_stride_bytes,
                tail_at: Doorbell::Tail(id).offset(stride_bytes),
                head_at: Doorbell::Head(id).offset(stride_bytes),
            },
            buffer,
            timeout_ns: options.timeout_ns,
            pair: Some(pair),
            slots: Slots::new(depth),
            scratch: vec![0; list_stride_bytes],
            kept: Vec::new(),
            stage: Stage::Recovering,
            attention_ns: 0,
            fault: None,
            doomed: None,
            refused: None,
            progress: Progress::None,
            tickets: 0,
            host,
            shared,
        };
        queue.wait_until_active()?;
        Ok(queue)
    }

    fn wait_until_active(&mut self) -> Result<(), Cause> {
        loop {
            let now_ns = self.host.now_ns();
            self.attend(now_ns, &mut |_| ());
            match self.stage {
                Stage::Active => return Ok(()),
                Stage::Gone | Stage::Stuck => break,
                _ => self.host.relax(),
            }
        }
        let ended = L::with(&self.shared.control, |control| control.cause());
        Err(match (self.refused.take(), self.doomed) {
            (Some(cause), _) => cause,
            (None, Some(VolumeError::Device(source))) => source.into(),
            (None, _) => ended,
        })
    }
}

/// How large everything is.
fn sizes(
    info: &Info,
    capabilities: Capabilities,
    page_bytes: u64,
    namespace: Namespace,
    options: &QueueOptions,
) -> Result<Sizes, Cause> {
    let forms = match (info.sgl, options.forms) {
        (SglSupport::None, Forms::Sgl) => return Err(Cause::NoSgl),
        (SglSupport::None, _) => Forms::Prp,
        (_, forms) => forms,
    };
    let most_depth = (capabilities.most_entries() - 1).min(u32::from(Slots::<()>::MOST) - 1);
    let depth = u32::from(options.depth).clamp(1, most_depth);
    let block_bytes = u64::from(namespace.block_bytes);
    let most_bytes = u64::from(options.max_transfer_bytes)
        .min(info.max_transfer_bytes.unwrap_or(MOST_BYTES))
        .min(MOST_BLOCKS * block_bytes)
        .min(MOST_BYTES);
    // At least one block: a controller cannot move less, and an option of nothing helps nobody.
    let blocks = (most_bytes / block_bytes).max(1);
    let max_transfer_bytes = blocks * block_bytes;
    let most_pages = max_transfer_bytes.div_ceil(page_bytes) + 1;
    let prp_bytes = prp::most_list_bytes(most_pages, page_bytes);
    let most_segments = match forms {
        Forms::Prp => u32::try_from(most_pages).unwrap_or(u32::MAX),
        Forms::Sgl | Forms::Shorter => u32::try_from(most_pages)
            .unwrap_or(u32::MAX)
            .max(options.max_segments)
            .min(MOST_SEGMENTS),
    };
    let sgl_bytes = sgl::list_bytes(most_segments as usize);
    let list_bytes = match forms {
        Forms::Prp => prp_bytes,
        Forms::Sgl => sgl_bytes,
        // A PRP list is taken where it is not longer, its links aside.
        Forms::Shorter => prp::most_list_bytes(sgl_bytes / 8 + 1, page_bytes)
            .min(prp_bytes)
            .max(sgl_bytes),
    };
    let list_stride_bytes = list_bytes
        .next_multiple_of(LIST_ALIGN_BYTES)
        .max(LIST_ALIGN_BYTES);
    let constraints = Constraints {
        max_segments: most_segments,
        gap_mask: match forms {
            Forms::Prp => page_bytes - 1,
            Forms::Sgl | Forms::Shorter => 0,
        },
        align_bytes: match (forms, info.sgl) {
            (Forms::Sgl | Forms::Shorter, SglSupport::Bytes) => 1,
            _ => 4,
        },
        ..Constraints::NONE
    };
    Ok(Sizes {
        entries: depth + 1,
        completions: match options.completions {
            // Where there is room, the doorbell is not needed for every completion.
            QueuePlace::Ram => (2 * depth + 1)
                .max((page_bytes / entry::BYTES) as u32)
                .min(capabilities.most_entries()),
            // What the caller has left is as much as the commands need.
            QueuePlace::Memory(_) => depth + 1,
        },
        max_transfer_bytes: max_transfer_bytes as u32,
        forms,
        constraints,
        list_stride_bytes,
    })
}

/// The memory of a pair, where it is to be.
fn pair<H: Host, L: Locks>(
    host: &H,
    mapper: &mut Mapper<L>,
    sizes: &Sizes,
    page_bytes: u64,
    buffer: Option<Buffer>,
    options: &QueueOptions,
) -> Result<Pair, Cause> {
    let entries = u64::from(sizes.entries);
    let wishes = [
        (
            options.submissions,
            entries * Command::BYTES,
            Direction::DeviceReads,
        ),
        (
            options.completions,
            u64::from(sizes.completions) * entry::BYTES,
            Direction::DeviceWrites,
        ),
        (
            options.lists,
            (entries - 1) * sizes.list_stride_bytes,
            Direction::DeviceReads,
        ),
    ];
    let mut made: [Option<SharedMemory>; 3] = [None, None, None];
    let mut failed = None;
    for (place, (wish, len_bytes, direction)) in made.iter_mut().zip(wishes) {
        let memory = match wish {
            QueuePlace::Ram => SharedMemory::allocate(host, mapper, len_bytes, page_bytes, direction),
            QueuePlace::Memory(at) => SharedMemory::borrow(mapper, at, len_bytes, direction),
        };
        match memory {
            Ok(memory) => *place = Some(memory),
            Err(cause) => {
                failed = Some(cause);
                break;
            }
        }
    }
    let failed = failed.map_or_else(|| check_places(&made, page_bytes, buffer), Err);
    match (failed, made) {
        (Ok(()), [Some(submission), Some(completion), Some(lists)]) => Ok(Pair {
            submission: SubmissionRing::new(submission, sizes.entries),
            completion: CompletionRing::new(completion, sizes.completions, sizes.entries - 1),
            lists,
        }),
        (failed, made) => {
            let mut cause = failed.err().unwrap_or(Cause::StillMapped);
            for memory in made.into_iter().flatten() {
                cause = memory.release(host, mapper).err().unwrap_or(cause);
            }
            Err(cause)
        }
    }
}

/// May submission queue, completion queue and lists be where they are (NVM Express Base 2.0, 3.1.3.11, 3.1.3.12, 5.4, 5.5)?
fn check_places(
    made: &[Option<SharedMemory>; 3],
    page_bytes: u64,
    buffer: Option<Buffer>,
) -> Result<(), Cause> {
    let [Some(submission), Some(completion), Some(lists)] = made else {
        return Ok(());
    };
    let refuse = |what, why| Err(Cause::Place { what, why });
    let own = |memory: &SharedMemory| memory.kind() == MemoryKind::OwnBar;
    let abilities = buffer.map(|buffer| buffer.abilities);
    let can = |ability: fn(crate::buffer::Abilities) -> bool| abilities.is_some_and(ability);
    for (what, memory) in [
        ("the submission queue", submission),
        ("the completion queue", completion),
    ] {
        if !memory.address().is_multiple_of(page_bytes) {
            return refuse(what, "it does not begin at a page of the controller");
        }
    }
    match submission.kind() {
        MemoryKind::Ram => {}
        MemoryKind::OwnBar if can(crate::buffer::Abilities::submission_queues) => {}
        MemoryKind::OwnBar => {
            return refuse(
                "the submission queue",
                "the controller's memory takes none (CMBSZ.SQS)",
            );
        }
        // Entries and doorbell would go different ways, and the doorbell could come first.
        _ => {
            return refuse(
                "the submission queue",
                "it can lie in RAM or in the controller's own memory",
            );
        }
    }
    if own(completion) && !can(crate::buffer::Abilities::completion_queues) {
        return refuse(
            "the completion queue",
            "the controller's memory takes none (CMBSZ.CQS)",
        );
    }
    match lists.kind() {
        MemoryKind::Ram => Ok(()),
        MemoryKind::OwnBar if !can(crate::buffer::Abilities::lists) => {
            refuse("the lists", "the controller's memory takes none (CMBSZ.LISTS)")
        }
        MemoryKind::OwnBar if !own(submission) && !can(crate::buffer::Abilities::independent_lists) => {
            refuse(
                "the lists",
                "they may lie in the controller's memory only with the submission queue (CMBLOC.CDPCILS)",
            )
        }
        MemoryKind::OwnBar => Ok(()),
        _ => refuse(
            "the lists",
            "they can lie in RAM or in the controller's own memory",
        ),
    }
}
