//! A remedy in sentences: what Linux would say then, and the price.

use peerdma::route::MapType;

/// What it costs, each price by itself.
pub(super) const PRICES: [&str; 3] = [
    "The price of both: devices below these ports can then reach each other's memory without passing the IOMMU. \
     Leave it if they belong to different virtual machines or users.",
    "The price of the parameter: for these ports Linux may drop other bits too that it sets at boot (V source \
     validation, U upstream forwarding, B translation blocking).",
    "The price of setpci, which changes R, C and E only: IOMMU groups stay as they were formed at boot, and a running \
     driver may keep the answer that it got before.",
];

/// What Linux would say of reading and writing; nothing where neither is known.
pub(super) fn promised(then: [Option<MapType>; 2]) -> Option<String> {
    let answers = match then {
        [None, None] => return None,
        [Some(read), Some(write)] if read == write => read.to_string(),
        _ => {
            let [read, write] = then.map(|then| then.map_or("UNKNOWN", MapType::name));
            format!("{read} for reading and {write} for writing")
        }
    };
    Some(format!("Linux would then say {answers}; ask again to verify."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_writing_are_told_apart_where_they_differ() {
        let said = |then| promised(then).unwrap_or_default();
        let (direct, through) = (Some(MapType::BusAddr), Some(MapType::ThruHostBridge));
        assert!(said([direct, direct]).contains("say BUS_ADDR;"));
        assert!(said([through, direct]).contains("THRU_HOST_BRIDGE for reading and BUS_ADDR for writing"));
        assert!(said([None, direct]).contains("UNKNOWN for reading and BUS_ADDR for writing"));
        assert_eq!(promised([None, None]), None);
    }
}
