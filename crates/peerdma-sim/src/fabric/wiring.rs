//! Who sits on which bus: from what the description says of the bridge above a function, else from bus numbers.
//!
//! Wires do not move: what software writes into bus number registers later changes what a bridge claims, not what is
//! plugged in below it, and a function keeps the address that it had.

use super::error::BuildError;
use peerdma::addr::Bdf;
use peerdma::fact::{Fact, Unread};
use peerdma::snapshot::{Function, Snapshot};
use std::collections::BTreeMap;

/// What is directly above a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Above {
    /// Nothing: it is on this root bus.
    Root { domain: u32, bus: u8 },
    /// The bridge at this position.
    Bridge(usize),
}

/// How many bridges may lie above a function.
const MOST_DEPTH: u32 = 256;

/// What is directly above each function, in the snapshot's order. Every function is below a root bus.
pub(super) fn places(snapshot: &Snapshot) -> Result<Vec<Above>, BuildError> {
    let functions = snapshot.functions();
    let claims = Claims::new(functions);
    let mut places = Vec::with_capacity(functions.len());
    for function in functions {
        let place = match physical_function(snapshot, function)? {
            Some(physical) => place(snapshot, physical, &claims)?,
            None => place(snapshot, function, &claims)?,
        };
        places.push(place);
    }
    check_depth(functions, &places)?;
    Ok(places)
}

/// The physical function of a virtual one.
fn physical_function<'a>(
    snapshot: &'a Snapshot,
    function: &Function,
) -> Result<Option<&'a Function>, BuildError> {
    let Fact::Known(Some(physical)) = function.os.physical_function else {
        return Ok(None);
    };
    match snapshot.position(physical) {
        Some(position) => Ok(snapshot.functions().get(position)),
        None => Err(BuildError::MissingPhysicalFunction {
            function: function.bdf,
            physical,
        }),
    }
}

fn place(snapshot: &Snapshot, function: &Function, claims: &Claims) -> Result<Above, BuildError> {
    let bdf = function.bdf;
    let root = Above::Root {
        domain: bdf.domain(),
        bus: bdf.bus(),
    };
    match function.upstream {
        Fact::Known(None) => Ok(root),
        Fact::Known(Some(bridge)) => {
            let missing = BuildError::MissingBridge {
                function: bdf,
                bridge,
            };
            let position = snapshot.position(bridge).ok_or(missing)?;
            match snapshot.functions().get(position).and_then(Function::bridge) {
                Some(_) => Ok(Above::Bridge(position)),
                None => Err(BuildError::NotABridge {
                    function: bdf,
                    bridge,
                }),
            }
        }
        Fact::Unknown(Unread::Contradictory) => Err(BuildError::UnknownFact {
            function: bdf,
            fact: "the bridge above it",
            why: Unread::Contradictory,
        }),
        Fact::Unknown(why) => match claims.direct.get(&(bdf.domain(), bdf.bus())) {
            Some(&(bridge, None)) => Ok(Above::Bridge(bridge)),
            Some(&(first, Some(second))) => Err(BuildError::SharedBus {
                first: functions_bdf(snapshot, first),
                second: functions_bdf(snapshot, second),
                domain: bdf.domain(),
                bus: bdf.bus(),
            }),
            // Some bridge leads there, and the one directly above is not described.
            None if claims.covers(bdf) => Err(BuildError::UnknownFact {
                function: bdf,
                fact: "the bridge above it",
                why,
            }),
            None => Ok(root),
        },
    }
}

fn functions_bdf(snapshot: &Snapshot, position: usize) -> Bdf {
    let function = snapshot.functions().get(position);
    function.map_or(Bdf::from_devfn(0, 0, 0), |function| function.bdf)
}

/// Which bridges lead to which buses, by their numbers.
struct Claims {
    /// Bridges with this secondary bus: the first, and another if there is one.
    direct: BTreeMap<(u32, u8), (usize, Option<usize>)>,
    /// For each domain, the buses that some bridge claims.
    covered: BTreeMap<u32, [bool; 256]>,
}

impl Claims {
    fn new(functions: &[Function]) -> Self {
        let mut direct = BTreeMap::new();
        let mut covered = BTreeMap::new();
        for (position, function) in functions.iter().enumerate() {
            let Some(bridge) = function.bridge() else {
                continue;
            };
            // A bridge leads to higher buses than its own, or nobody has configured it.
            if bridge.secondary <= function.bdf.bus() {
                continue;
            }
            let domain = function.bdf.domain();
            direct
                .entry((domain, bridge.secondary))
                .and_modify(|(_, other): &mut (usize, Option<usize>)| *other = Some(position))
                .or_insert((position, None));
            let buses = covered.entry(domain).or_insert([false; 256]);
            for bus in bridge.secondary..=bridge.subordinate {
                buses[usize::from(bus)] = true;
            }
        }
        Self { direct, covered }
    }

    fn covers(&self, bdf: Bdf) -> bool {
        let buses = self.covered.get(&bdf.domain());
        buses.is_some_and(|buses| buses[usize::from(bdf.bus())])
    }
}

/// Every function must reach a root bus, and soon.
fn check_depth(functions: &[Function], places: &[Above]) -> Result<(), BuildError> {
    // 0: not known yet; else the number of buses from the root bus on.
    let mut depth = vec![0u32; places.len()];
    let mut way = Vec::new();
    for start in 0..places.len() {
        way.clear();
        let mut at = start;
        let mut below_root = loop {
            if depth[at] != 0 {
                break depth[at];
            }
            way.push(at);
            if way.len() > places.len() {
                return Err(BuildError::Loop {
                    function: functions[start].bdf,
                });
            }
            match places[at] {
                Above::Root { .. } => break 0,
                Above::Bridge(next) => at = next,
            }
        };
        for &at in way.iter().rev() {
            below_root += 1;
            depth[at] = below_root;
            if below_root > MOST_DEPTH {
                return Err(BuildError::TooDeep {
                    function: functions[at].bdf,
                    most: MOST_DEPTH,
                });
            }
        }
    }
    Ok(())
}
