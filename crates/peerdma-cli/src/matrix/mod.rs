//! `peerdma matrix`: who may reach whose memory, all pairs at once.
//!
//! This file chooses the pairs; [`table`], [`tsv`], [`csv`] and [`json`] write them, [`compare`] where three
//! judges are asked.

mod cell;
mod compare;
mod csv;
mod json;
mod progress;
mod summary;
mod table;
mod tsv;

use crate::args::{FilterArgs, Format, MatrixArgs, Policy};
use crate::error::{Failure, Problem};
use crate::input::Machine;
use crate::judges::{Judge, Judges};
use crate::rates::Rate;
use crate::report::Out;
use crate::select::{self, Selector};
use peerdma::route::bandwidth::{Estimator, Training};
use peerdma::route::{Access, TlpClass, Verdict};
use peerdma::snapshot::Function;
use peerdma::topology::{NodeId, Topology};
use progress::Progress;

/// The pairs that a matrix shows, and who judges them.
struct Pairs<'m> {
    machine: &'m Machine,
    judge: Judge<'m>,
    policy: Policy,
    /// All three, where they are asked for.
    judges: Option<Judges<'m>>,
    class: TlpClass,
    /// Where bandwidth is asked for.
    bandwidth: Option<Bandwidth<'m>>,
    /// Whose memory, in the order of addresses.
    providers: Vec<NodeId>,
    /// Who reads and writes it, likewise.
    clients: Vec<NodeId>,
    /// How many functions a table leaves out without being told to.
    left_out: usize,
    progress: Progress,
}

/// Estimates, and which access a table of them is for.
struct Bandwidth<'m> {
    estimator: Estimator<'m>,
    access: Access,
}

impl Pairs<'_> {
    /// The estimate for one access of a pair, where bandwidth is asked for.
    fn rate(&self, provider: NodeId, client: NodeId, access: Access, verdict: &Verdict) -> Option<Rate> {
        let bandwidth = self.bandwidth.as_ref()?;
        let answer = verdict.answer(access, self.class);
        Some(Rate::new(
            &bandwidth.estimator,
            (client, provider),
            access,
            answer,
            Training::Now,
        ))
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] where the machine cannot be read or the filters leave nothing.
pub(crate) fn run(args: &MatrixArgs) -> Result<(), Failure> {
    let machine = Machine::open(&args.machine, args.verdict.policy)?;
    let out = Out::new(args.output);
    out.tell(&machine, &args.machine);
    let format = if args.output.json {
        Format::Json
    } else {
        args.format
    };
    let endpoints_only = format == Format::Table && !args.all && !names_functions(&args.filter);
    let (providers, clients) = choose(&machine.topology, args, endpoints_only)?;
    let left_out = match endpoints_only {
        true => machine.topology.nodes().len() - providers.len().max(clients.len()),
        false => 0,
    };
    let pairs = Pairs {
        judge: Judge::new(&machine, args.verdict.policy),
        policy: args.verdict.policy,
        judges: (args.verdict.policy == Policy::All).then(|| Judges::new(&machine)),
        class: args.verdict.tlp.into(),
        bandwidth: args.bandwidth.then(|| Bandwidth {
            estimator: Estimator::new(&machine.topology),
            access: args.access.map_or(Access::Write, Access::from),
        }),
        progress: Progress::new(providers.len(), clients.len()),
        machine: &machine,
        providers,
        clients,
        left_out,
    };
    match format {
        Format::Tsv => tsv::write(&pairs, &mut out.raw()),
        Format::Csv => csv::write(&pairs, &mut out.raw()),
        Format::Json => json::write(&pairs, &mut out.raw()),
        Format::Table => match &pairs.judges {
            Some(judges) => compare::write(&pairs, judges, &out),
            None => table::write(&pairs, &out),
        },
    }
}

/// The providers and clients that the options leave.
fn choose(
    topology: &Topology,
    args: &MatrixArgs,
    endpoints_only: bool,
) -> Result<(Vec<NodeId>, Vec<NodeId>), Problem> {
    let conditions = conditions(&args.filter)?;
    let side = |selector: &Option<String>| -> Result<Vec<NodeId>, Problem> {
        let selector = selector
            .as_deref()
            .map(|text| Selector::parse(topology, text))
            .transpose()?;
        let wanted = |node: &NodeId| {
            conditions
                .iter()
                .chain(&selector)
                .all(|condition| condition.means(topology, *node))
                && (!endpoints_only || is_of_interest(topology.function(*node)))
        };
        Ok(topology.nodes().filter(wanted).collect())
    };
    let chosen = (side(&args.filter.provider)?, side(&args.filter.client)?);
    if chosen.0.is_empty() || chosen.1.is_empty() {
        let which = if chosen.0.is_empty() { "provider" } else { "client" };
        return Err(Problem::new(
            format_args!("no function is left as a {which}"),
            format_args!(
                "the machine has {} functions, and the filters take all of them out",
                topology.nodes().len()
            ),
            "loosen the filters; `peerdma topo` lists classes, vendors and drivers, --all takes bridges in",
        ));
    }
    Ok(chosen)
}

/// Who names functions wants all that the name means, bridges too.
fn names_functions(filter: &FilterArgs) -> bool {
    let FilterArgs {
        class,
        vendor,
        driver,
        bdf,
        provider,
        client,
    } = filter;
    [class, vendor, driver, bdf, provider, client]
        .iter()
        .any(|filter| filter.is_some())
}

/// What a table shows without being asked for more.
fn is_of_interest(function: &Function) -> bool {
    select::is_endpoint(function) && !select::is_plumbing(function)
}

fn conditions(filter: &FilterArgs) -> Result<Vec<Selector>, Problem> {
    let mut conditions = Vec::new();
    if let Some(class) = &filter.class {
        conditions.push(Selector::class(class)?);
    }
    if let Some(vendor) = &filter.vendor {
        conditions.push(Selector::Vendor(vendor.to_lowercase()));
    }
    if let Some(driver) = &filter.driver {
        conditions.push(Selector::Driver(driver.clone()));
    }
    if let Some(patterns) = &filter.bdf {
        conditions.push(Selector::addresses(patterns));
    }
    Ok(conditions)
}
