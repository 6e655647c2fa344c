//! A binding as data, schema `peerdma.bind/1` (docs/json.md).

use super::Way;
use peerdma::addr::Bdf;
use peerdma_linux::bind::{Plan, Refusal};
use serde::Serialize;

/// The whole answer.
#[derive(Serialize)]
pub(super) struct Answer<'p> {
    schema: &'static str,
    way: &'static str,
    done: bool,
    functions: Vec<FunctionLine<'p>>,
    already_bound: &'p [Bdf],
}

#[derive(Serialize)]
struct FunctionLine<'p> {
    bdf: Bdf,
    iommu_group: Option<u32>,
    from: Option<&'p str>,
    to: Option<&'p str>,
    steps: Vec<String>,
}

#[derive(Serialize)]
struct RefusalLine {
    bdf: Bdf,
    reason: String,
    fix: String,
}

impl<'p> Answer<'p> {
    pub(super) fn new(plan: &'p Plan, way: Way, is_done: bool) -> Self {
        let line = |taken: &'p peerdma_linux::bind::Taken| FunctionLine {
            bdf: taken.bdf,
            iommu_group: taken.group,
            from: taken.from.as_deref(),
            to: taken.to.as_deref(),
            steps: taken.steps.iter().map(ToString::to_string).collect(),
        };
        Self {
            schema: "peerdma.bind/1",
            way: way.name(),
            done: is_done,
            functions: plan.taken.iter().map(line).collect(),
            already_bound: &plan.already,
        }
    }
}

/// What stands in the way, for `rejected` of an error.
pub(super) fn rejected(refusals: &[Refusal]) -> serde_json::Value {
    let line = |refusal: &Refusal| RefusalLine {
        bdf: refusal.bdf,
        reason: refusal.obstacle.to_string(),
        fix: refusal.obstacle.fix(),
    };
    let lines: Vec<RefusalLine> = refusals.iter().map(line).collect();
    serde_json::to_value(lines).unwrap_or_default()
}
