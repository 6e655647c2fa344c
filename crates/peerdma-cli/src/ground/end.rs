//! What a word of the command line means where blocks are kept.

use crate::error::Problem;
use peerdma::addr::Bdf;

/// Where blocks are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// As it was named.
    pub(crate) name: String,
    /// The function that does the DMA.
    pub(crate) initiator: Bdf,
    pub(crate) place: Place,
}

/// Where blocks are kept, as a ground has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a namespace of the initiator, a controller that our driver has: its number, from 1.
    Namespace(u32),
    /// In a volume that the ground brings: its place among them.
    Own(usize),
}

impl End {
    /// A namespace of a controller that has these, perhaps named by its number.
    ///
    /// # Errors
    /// A [`Problem`] where it has no such namespace, or several and no number was given.
    pub(crate) fn of_controller(
        name: &str,
        controller: Bdf,
        number: Option<u64>,
        namespaces: &[u32],
    ) -> Result<Self, Problem> {
        let found = match (number, namespaces) {
            (None, [only]) => Some(*only),
            (None, _) => None,
            (Some(number), _) => (namespaces.iter().copied()).find(|one| u64::from(*one) == number),
        };
        let Some(namespace) = found else {
            return Err(Problem::new(
                format_args!("there is no namespace {name}"),
                match namespaces {
                    [] => format!("{controller} has none"),
                    [only] => format!("{controller} has namespace {only} alone"),
                    [first, .., last] => format!("{controller} has namespaces {first} to {last}"),
                },
                match parts(name).0.parse::<Bdf>() {
                    Ok(_) => format!("give its number after the address: {}/1", parts(name).0),
                    Err(_) => "give its number after the name: nvme0n1".to_owned(),
                },
            ));
        };
        Ok(Self {
            name: name.to_owned(),
            initiator: controller,
            place: Place::Namespace(namespace),
        })
    }

    /// Is it the same place?
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.initiator, self.place) == (other.initiator, other.place)
    }
}

/// A function that is no controller was named.
pub(super) fn no_blocks(name: &str, controller: Bdf) -> Problem {
    Problem::new(
        format_args!("{name} holds no blocks"),
        format_args!("{controller} is no NVMe controller"),
        "name an NVMe controller or its block device: `peerdma topo` lists the functions, nvme0n1 is namespace 1 of nvme0",
    )
}

/// The controller of a word, and the number of the namespace where it names one.
pub(crate) fn parts(name: &str) -> (&str, Option<u64>) {
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
