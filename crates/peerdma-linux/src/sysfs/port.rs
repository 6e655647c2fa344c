//! Device/Port Type from the names of port services, which everybody may list.
//!
//! The port driver names a service `BDF:pcieTTS` (drivers/pci/pcie/portdrv.c, `get_descriptor_id`): the
//! port type less 4, and one bit for the service. Since services outgrew four bits (Linux 4.7) it
//! prints three digits, `(type - 4) << 8 | service`; before, two, `(type - 4) << 4 | service`. As the
//! service is a single bit, no name has both readings.

use peerdma::pci::PortType;

/// The port type that the name of an entry in a function's folder tells, if it is a port service.
pub(super) fn from_service(name: &[u8]) -> Option<PortType> {
    let at = name.iter().rposition(|byte| *byte == b':')?;
    let digits = name.get(at + 1..)?.strip_prefix(b"pcie")?;
    let digit = |index: usize| Some((*digits.get(index)? as char).to_digit(16)? as u8);
    let (kind, service) = match digits.len() {
        2 => (digit(0)?, digit(1)?),
        3 => (digit(0)?, digit(1)? << 4 | digit(2)?),
        _ => return None,
    };
    // Services attach to root ports, both kinds of switch port and event collectors only.
    let port = PortType(4 + kind);
    let known = matches!(
        port,
        PortType::ROOT_PORT | PortType::UPSTREAM | PortType::DOWNSTREAM | PortType::EVENT_COLLECTOR
    );
    (known && service.is_power_of_two()).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_service_tells_the_type_of_its_port() {
        for (name, expected) in [
            ("0000:00:01.0:pcie001", Some(PortType::ROOT_PORT)),
            ("0000:00:01.0:pcie010", Some(PortType::ROOT_PORT)),
            ("0000:18:00.0:pcie102", Some(PortType::UPSTREAM)),
            ("0000:19:04.0:pcie210", Some(PortType::DOWNSTREAM)),
            ("0000:00:01.1:pcie01", Some(PortType::ROOT_PORT)),
            ("0000:07:00.0:pcie12", Some(PortType::UPSTREAM)),
            ("0000:08:01.0:pcie24", Some(PortType::DOWNSTREAM)),
            ("0000:08:01.0:pcie203", None),
            ("0000:08:01.0:pcie301", None),
            ("0000:08:01.0:pcie", None),
            ("0000:08:01.0:pcie0001", None),
            ("0000:08:01.0", None),
            ("pcie001", None),
        ] {
            assert_eq!(from_service(name.as_bytes()), expected, "{name}");
        }
    }
}
