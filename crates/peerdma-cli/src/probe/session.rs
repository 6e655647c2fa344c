//! One probe on any ground: promises, consent, the experiment, judgements.

use super::asked::Asked;
use super::watch::Watch;
use crate::args::ProbeArgs;
use crate::copy::consent::Consent;
use crate::copy::progress::Stop;
use crate::error::Problem;
use crate::ground::{Ground, Pair, Place};
use crate::layout::bytes;
use peerdma::addr::Bdf;
use peerdma::dma::{PeerRoute, Routes, SpecRoutes};
use peerdma::memory::CpuView;
use peerdma::plan::{DeviceMemory, as_if};
use peerdma::probe::{
    CpuWitness, DirectionReport, Judgement, Options, ProbeError, Promise, Scratch, Site, Speed, run,
};
use peerdma::route::spec::Form;
use peerdma::route::{Access, Answer, MapType, TlpClass, linux, spec};
use peerdma_nvme::QueueOptions;

/// What was promised and seen.
pub(super) struct Account {
    pub(super) initiator: Bdf,
    /// The volume, as it was named.
    pub(super) name: String,
    pub(super) scratch: Scratch,
    pub(super) block_bytes: u64,
    pub(super) memory: DeviceMemory,
    /// Does the kernel move the data, and not our driver?
    pub(super) by_kernel: bool,
    pub(super) tried: Vec<Tried>,
    /// Was anything laid out in the blocks and the memory?
    pub(super) touched: bool,
    pub(super) interrupted: bool,
    pub(super) not_restored: Option<String>,
}

/// One direction.
pub(super) struct Tried {
    pub(super) access: Access,
    /// What decides: the specification where our driver programs the device, the kernel's rules where the kernel does.
    pub(super) route: Option<PeerRoute>,
    pub(super) promise: Promise,
    /// What each judge says by itself.
    pub(super) spec: Promise,
    pub(super) linux: Answer,
    pub(super) forced: bool,
    /// Nothing where it was not tried.
    pub(super) report: Option<DirectionReport>,
    /// Nothing where it ended before anything was seen.
    pub(super) judgement: Option<Judgement>,
}

/// RAM for what is on its way, and for the figures of RAM.
const RAM_BYTES: u64 = 2 << 20;
/// A command of a probe that takes so long has failed.
const TIMEOUT_NS: u64 = 10_000_000_000;
const DEPTH: u16 = 32;

/// Tries what is to be tried.
///
/// # Errors
/// A [`Problem`] where nothing can be said of the route, or nobody agrees.
pub(super) fn hold<G: Ground>(
    args: &ProbeArgs,
    asked: &Asked,
    pair: Pair<G>,
    consent: Consent,
    stop: &Stop,
) -> Result<Account, Problem> {
    let Pair {
        rig,
        end,
        block_bytes,
        ..
    } = pair;
    let ground = rig.ground().clone();
    let mut account = Account {
        initiator: end.initiator,
        name: end.name.clone(),
        scratch: asked.scratch,
        block_bytes,
        memory: asked.memory,
        by_kernel: matches!(end.place, Place::Own(_)),
        tried: promises(&ground, &end.initiator, asked),
        touched: false,
        interrupted: false,
        not_restored: None,
    };
    let map = ground.memory_map();
    let region = map.find(asked.memory.free.first()).map(|region| region.id);
    for one in &mut account.tried {
        // What nobody can say is found out; what is refused is not tried unasked.
        let is_tried = one.promise != Promise::Refused || args.force_route;
        one.forced = is_tried && one.promise != Promise::Reached;
        if let (true, Some(region)) = (one.forced, region) {
            let (map_type, form) = match account.by_kernel {
                // The kernel goes its own way: the form tells which memory is meant.
                true => (MapType::BusAddr, Form::BusAddress),
                false => as_if(ground.topology(), end.initiator, asked.memory.provider),
            };
            (rig.space(end.initiator)?).force(end.initiator, region, one.access, map_type, form);
        }
    }
    let accesses: Vec<Access> = (account.tried.iter())
        .filter(|one| one.promise != Promise::Refused || args.force_route)
        .map(|one| one.access)
        .collect();
    if accesses.is_empty() {
        for one in &mut account.tried {
            one.judgement = Some(Judgement::RefusedAsPromised);
        }
        rig.close()?;
        return Ok(account);
    }
    if asked.memory.cpu == CpuView::None {
        return Err(Problem::new(
            format_args!("the memory of {} cannot be looked at", asked.memory.provider),
            "the CPU has no view of it, so nobody could say what arrives there",
            "name a device whose BAR lies in a window of its host bridge",
        ));
    }
    consent.obtain(&question(asked, &account), stop)?;
    let options = QueueOptions {
        depth: DEPTH,
        timeout_ns: TIMEOUT_NS,
        ..QueueOptions::default()
    };
    let mut volume = rig.volume(&end, &options)?;
    let ram = rig.ram(RAM_BYTES, 4096.max(block_bytes))?;
    let options = Options {
        accesses: &accesses,
        seed: args.seed,
        most_bytes: asked.most_bytes,
        depth: DEPTH,
        speed: (!args.no_figures).then(Speed::default),
        ..Options::default()
    };
    let mut witness = CpuWitness::new(&ground, &map);
    let mut watch = Watch::new(args, stop.clone());
    let mut site = Site {
        host: &ground,
        volume: &mut volume,
        scratch: asked.scratch,
        memory: asked.memory.free,
        witness: &mut witness,
        ram: ram.span,
    };
    let ended = run(&mut site, &options, &mut |stage| watch.at(stage));
    drop(watch);
    let closed = volume.close();
    let report = ended.map_err(|error| {
        let mut problem = Problem::new(
            format_args!(
                "nothing can be said of the route from {} to {}",
                end.name, args.provider
            ),
            &error,
            "look at the device and the memory that were named: `peerdma topo -v`, --scratch, --bar",
        );
        if matches!(error, ProbeError::NotRestored(_)) {
            problem.exit_code = super::ALARM;
        }
        problem
    })?;
    account.touched = true;
    account.interrupted = report.interrupted;
    account.not_restored = report.not_restored.map(|why| why.to_string());
    for seen in report.directions {
        let of = account.tried.iter_mut().find(|one| one.access == seen.access);
        if let Some(one) = of {
            one.judgement = Some(Judgement::of(one.promise, &seen.outcome));
            one.report = Some(seen);
        }
    }
    for one in &mut account.tried {
        if one.promise == Promise::Refused && !args.force_route {
            one.judgement = Some(Judgement::RefusedAsPromised);
        }
    }
    drop(ram);
    // A device that has failed may not let go: what was seen is said all the same.
    if closed.is_ok() {
        let _ = rig.close();
    }
    Ok(account)
}

/// What is promised of each direction.
fn promises<G: Ground>(ground: &G, initiator: &Bdf, asked: &Asked) -> Vec<Tried> {
    let topology = ground.topology();
    let hardware = spec::Judge::new(topology);
    let kernel = linux::Judge::new(
        topology,
        linux::Kernel::of_machine(topology.snapshot().host.kernel),
    );
    let routes = ground.routes();
    let DeviceMemory { provider, bar, .. } = asked.memory;
    let class = TlpClass::Strict;
    let one = |access: &Access| {
        let is_own = *initiator == provider;
        let ask = |routes: &dyn Routes| routes.route(*initiator, provider, bar, *access, class);
        let linux = match (topology.find(provider), topology.find(*initiator)) {
            (Some(provider), Some(client)) => kernel.verdict(provider, client).answer(*access, class),
            _ => Answer::ANY,
        };
        let route = (!is_own).then(|| ask(&*routes));
        Tried {
            access: *access,
            route,
            promise: route.map_or(Promise::Reached, Promise::from),
            spec: match is_own {
                true => Promise::Reached,
                false => ask(&SpecRoutes::new(&hardware)).into(),
            },
            linux,
            forced: false,
            report: None,
            judgement: None,
        }
    };
    asked.accesses.iter().map(one).collect()
}

fn question(asked: &Asked, account: &Account) -> String {
    let Scratch { lba, blocks } = asked.scratch;
    format!(
        "Write to {} of the memory of {} and to blocks {lba}..{} of {}? Both are put back afterwards.",
        bytes(asked.memory.free.len_bytes().unwrap_or(0)),
        asked.memory.provider,
        lba.saturating_add(blocks),
        account.name
    )
}
