//! The decision of Linux 6.1 to 7.3 (KERNEL-FACTS, A3).

use super::acs::{AcsSums, Tri};
use super::junction::Junction;
use crate::route::{Answer, MapType};
use crate::topology::NodeId;

/// The answer, given where the ways meet and what the gate of the root complex says.
///
/// Counted are the provider and everything above it up to and including the common ancestor, and the
/// client and everything above it below the ancestor; also where ACS there could not turn a request.
pub(super) fn answer(
    acs: &AcsSums,
    provider: NodeId,
    client: NodeId,
    junction: Option<Junction>,
    through_host_bridge: Answer,
) -> Answer {
    let Some(Junction { common, .. }) = junction else {
        return through_host_bridge;
    };
    let above = acs.up_from(common).redirecting;
    let provider_side = acs.up_from(provider).redirecting.less(above);
    let client_side = acs.up_from(client).redirecting.less(above);
    let ancestor = super::acs::redirects(acs.control(common));
    match (provider_side.plus(client_side).any(), ancestor) {
        (Tri::Yes, _) | (_, Tri::Yes) => through_host_bridge,
        (Tri::No, Tri::No) => Answer::known(MapType::BusAddr),
        _ => Answer::known(MapType::BusAddr).or(through_host_bridge),
    }
}
