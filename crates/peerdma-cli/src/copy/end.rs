//! Which namespace a word means.

use crate::error::Problem;
use crate::select;
use peerdma::addr::Bdf;
use peerdma::topology::Topology;
use peerdma_sim::blueprint::{Blueprint, DeviceKind, NamespaceKind};

/// A namespace of a simulated machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// As it was named.
    pub(super) name: String,
    pub(super) controller: Bdf,
    /// From 1.
    pub(super) namespace: u32,
}

impl End {
    /// The namespace that `name` means: `nvme0n1`, `nvme0` where it has one alone, `3b:00.0/1`, `3b:00.0`.
    ///
    /// # Errors
    /// A [`Problem`] where there is no such controller, or it has no such namespace.
    pub(super) fn find(blueprint: &Blueprint, topology: &Topology, name: &str) -> Result<Self, Problem> {
        let (controller, number) = parts(name);
        let controller = topology.function(select::one(topology, controller)?).bdf;
        let Some(DeviceKind::Nvme(nvme)) = blueprint.devices.get(&controller) else {
            return Err(Problem::new(
                format_args!("{name} holds no blocks"),
                format_args!("{controller} is no NVMe controller"),
                "name a namespace of one: `peerdma topo` lists the functions, nvme0n1 is namespace 1 of nvme0",
            ));
        };
        let count = nvme.namespaces.len();
        let namespace = match number {
            Some(number) if (1..=count as u64).contains(&number) => number as u32,
            None if count == 1 => 1,
            _ => {
                return Err(Problem::new(
                    format_args!("there is no namespace {name}"),
                    match count {
                        0 => format!("{controller} has none"),
                        1 => format!("{controller} has namespace 1 alone"),
                        _ => format!("{controller} has namespaces 1 to {count}"),
                    },
                    "give its number after the name: nvme0n1",
                ));
            }
        };
        Ok(Self {
            name: name.to_owned(),
            controller,
            namespace,
        })
    }

    /// How it is furnished.
    pub(super) fn kind<'b>(&self, blueprint: &'b mut Blueprint) -> Option<&'b mut NamespaceKind> {
        match blueprint.devices.get_mut(&self.controller) {
            Some(DeviceKind::Nvme(nvme)) => nvme.namespaces.get_mut(self.namespace as usize - 1),
            _ => None,
        }
    }

    /// Is it the same namespace?
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.controller, self.namespace) == (other.controller, other.namespace)
    }
}

/// The controller of a word, and the number of the namespace where it names one.
fn parts(name: &str) -> (&str, Option<u64>) {
    let number = |text: &str| text.parse().ok();
    if let Some((controller, namespace)) = name.split_once('/') {
        return (controller, Some(number(namespace).unwrap_or(0)));
    }
    let rest = name.strip_prefix("nvme").unwrap_or("");
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    match (digits, rest.get(digits..).and_then(|rest| rest.strip_prefix('n'))) {
        (1.., Some(namespace)) => (
            name.get(.."nvme".len() + digits).unwrap_or(name),
            Some(number(namespace).unwrap_or(0)),
        ),
        _ => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_controller_and_perhaps_a_namespace() {
        for (name, expected) in [
            ("nvme0n1", ("nvme0", Some(1))),
            ("nvme12n3", ("nvme12", Some(3))),
            ("nvme0", ("nvme0", None)),
            ("nvme0n1p2", ("nvme0", Some(0))),
            ("nvme0n", ("nvme0", Some(0))),
            ("3b:00.0/2", ("3b:00.0", Some(2))),
            ("3b:00.0", ("3b:00.0", None)),
            ("nvme", ("nvme", None)),
        ] {
            assert_eq!(parts(name), expected, "{name}");
        }
    }
}
