//! Machines that nobody has, by name: the host makes the same ones before a guest boots and after it ended.
//!
//! Called by [`super`].

use crate::machine::{self, Generated};
use peerdma_sim::firmware;
use peerdma_sim::random::random_machine;

/// Domains of the machines begin here; the guest's own machine is in domain 0.
const FIRST_DOMAIN: u32 = 0x1000;

/// So many small machines are replayed as one, each in domains of its own.
const TOGETHER: u64 = 3;

/// Which machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Small ones, odd in every way that decides where a request goes.
    Odd { seed: u64 },
    /// A plausible one of this many functions.
    Large { functions: usize, seed: u64 },
}

impl Name {
    /// The turn's machine; `most` functions at most where it is a large one.
    pub(super) fn of_turn(turn: u64, most: usize) -> Self {
        if !turn.is_multiple_of(4) {
            return Name::Odd { seed: turn };
        }
        let functions = 5 + (turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % most;
        Name::Large {
            functions,
            seed: turn,
        }
    }

    /// As a file is called.
    pub(super) fn stem(self) -> String {
        match self {
            Name::Odd { seed } => format!("odd-{seed}"),
            Name::Large { functions, seed } => format!("large-{functions}-{seed}"),
        }
    }

    pub(super) fn read(stem: &str) -> Option<Self> {
        let mut parts = stem.split('-');
        match parts.next()? {
            "odd" => Some(Name::Odd {
                seed: parts.next()?.parse().ok()?,
            }),
            "large" => Some(Name::Large {
                functions: parts.next()?.parse().ok()?,
                seed: parts.next()?.parse().ok()?,
            }),
            _ => None,
        }
    }

    /// Its functions; fewer machines where one of them cannot be booted or written.
    pub(super) fn functions(self) -> Vec<Generated> {
        match self {
            Name::Large { functions, seed } => {
                let mut machine = machine::generate(functions, seed);
                for function in &mut machine {
                    function.domain += FIRST_DOMAIN;
                }
                machine
            }
            Name::Odd { seed } => (0..TOGETHER)
                .filter_map(|index| {
                    let domain = FIRST_DOMAIN + 0x100 * index as u32;
                    odd(seed * TOGETHER + index, domain)
                })
                .flatten()
                .collect(),
        }
    }
}

fn odd(seed: u64, first_domain: u32) -> Option<Vec<Generated>> {
    let blueprint = firmware::boot(&random_machine(seed)).ok()?;
    let functions = blueprint.snapshot.functions().iter();
    let machine: Option<Vec<Generated>> = functions
        .map(|function| {
            Some(Generated {
                domain: first_domain + function.bdf.domain(),
                bus: function.bdf.bus(),
                device: function.bdf.device(),
                function: function.bdf.function(),
                config: Box::new(function.config.emit().ok()?),
            })
        })
        .collect();
    let mut machine = machine?;
    // What decides no route is no part of a configuration's meaning; enumeration looks at this bit for more functions.
    for function in &mut machine {
        function.config[HEADER_TYPE] |= MULTI_FUNCTION;
    }
    Some(machine)
}

const HEADER_TYPE: usize = 0x0e;
const MULTI_FUNCTION: u8 = 0x80;

/// The machine as the module `peerdma_replay` reads it (`lab/modules/replay_image.c`).
pub(super) fn image(machine: &[Generated]) -> Vec<u8> {
    const HEADER_BYTES: usize = 16;
    let mut functions = Vec::new();
    for one in machine {
        let used = one
            .config
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let used = used.max(64);
        functions.extend(one.domain.to_le_bytes());
        functions.extend([one.bus, one.device << 3 | one.function]);
        functions.extend((used as u16).to_le_bytes());
        functions.extend(&one.config[..used]);
    }
    let mut text = b"PEERDMA1".to_vec();
    text.extend(((HEADER_BYTES + functions.len()) as u32).to_le_bytes());
    text.extend((machine.len() as u32).to_le_bytes());
    text.extend(functions);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_makes_the_same_machine_again() {
        for turn in 0..20 {
            let name = Name::of_turn(turn, 60);
            assert_eq!(Name::read(&name.stem()), Some(name));
            let functions = name.functions();
            assert!(!functions.is_empty());
            assert_eq!(image(&functions), image(&name.functions()));
        }
        assert_eq!(Name::read("odd-x"), None);
        assert_eq!(Name::read(""), None);
    }
}
