//! Which functions a word means: an address, a kernel name, a kind of functions.

use crate::error::Problem;
use crate::names;
use peerdma::addr::Bdf;
use peerdma::fact::Fact;
use peerdma::snapshot::Function;
use peerdma::topology::{NodeId, Topology};

/// The one function that `text` means: an address in any usual form, or a kernel name (also of what hangs
/// below it: `nvme0n1p1` means `nvme0`).
///
/// # Errors
/// A [`Problem`] with near names where there is none, or more than one.
pub(crate) fn one(topology: &Topology, text: &str) -> Result<NodeId, Problem> {
    refuse_empty(text)?;
    if let Ok(bdf) = text.parse::<Bdf>() {
        return topology.find(bdf).ok_or_else(|| unknown_address(topology, bdf));
    }
    let named = |name: &str| -> Vec<NodeId> {
        topology
            .nodes()
            .filter(|&node| topology.function(node).os.names.iter().any(|known| known == name))
            .collect()
    };
    let mut found = named(text);
    if found.is_empty()
        && let Some(controller) = nvme_controller(text)
    {
        found = named(controller);
    }
    match found[..] {
        [node] => Ok(node),
        [] => Err(unknown_name(topology, text)),
        _ => Err(Problem::new(
            format_args!("{text} names {} functions", found.len()),
            format_args!("{} all carry this name", list(topology, &found)),
            "give the address of the one you mean",
        )),
    }
}

/// Where a shell's variable is not set, a word of the command line is there and says nothing.
///
/// # Errors
/// A [`Problem`] where the word is empty.
pub(crate) fn refuse_empty(text: &str) -> Result<(), Problem> {
    match text.trim().is_empty() {
        false => Ok(()),
        true => Err(Problem::new(
            "one of the names is empty",
            "a word without a letter names nothing; a shell variable that is not set leaves one behind",
            "name a device by its address (3b:00.0) or its name (nvme0); `peerdma topo` lists them",
        )),
    }
}

/// All functions that a selector means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    All,
    Class(String),
    Vendor(String),
    Driver(String),
    /// Addresses with `*` and `?`.
    Addresses(Vec<String>),
    One(NodeId),
}

impl Selector {
    /// Reads `all`, `class:nvme`, `vendor:10de`, `driver:nvme`, `bdf:3b:*`, an address, a kernel name.
    ///
    /// # Errors
    /// A [`Problem`] where the word means nothing.
    pub(crate) fn parse(topology: &Topology, text: &str) -> Result<Self, Problem> {
        match text.split_once(':') {
            _ if text == "all" => Ok(Self::All),
            Some(("class", class)) => Self::class(class),
            Some(("vendor", vendor)) => Ok(Self::Vendor(vendor.to_lowercase())),
            Some(("driver", driver)) => Ok(Self::Driver(driver.into())),
            Some(("bdf", patterns)) => Ok(Self::addresses(patterns)),
            _ if text.contains(['*', ',']) => Ok(Self::addresses(text)),
            _ => one(topology, text).map(Self::One),
        }
    }

    /// Functions of a class: a word or hexadecimal digits.
    ///
    /// # Errors
    /// A [`Problem`] where it is neither.
    pub(crate) fn class(text: &str) -> Result<Self, Problem> {
        let text = text.to_lowercase();
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        let is_hex = matches!(digits.len(), 2 | 4 | 6) && digits.chars().all(|c| c.is_ascii_hexdigit());
        if starts_of_class(&text).is_some() || is_hex {
            return Ok(Self::Class(digits.into()));
        }
        Err(Problem::new(
            format_args!("{text} is no class of functions"),
            "a class is one of nvme, gpu, net, accel, storage, bridge, usb, media, or 2, 4 or 6 hexadecimal digits",
            "look at the class codes with `peerdma topo`",
        ))
    }

    /// Functions at addresses that match one of the patterns.
    pub(crate) fn addresses(patterns: &str) -> Self {
        let patterns = patterns.split(',').map(str::trim).filter(|part| !part.is_empty());
        Self::Addresses(patterns.map(canonical).collect())
    }

    /// Does it mean this function?
    pub(crate) fn means(&self, topology: &Topology, node: NodeId) -> bool {
        let function = topology.function(node);
        match self {
            Self::All => true,
            Self::One(wanted) => *wanted == node,
            Self::Class(class) => is_of_class(function, class),
            Self::Vendor(vendor) => is_of_vendor(function, vendor),
            Self::Driver(driver) => names::driver(function) == Some(driver),
            Self::Addresses(patterns) => {
                let bdf = function.bdf.to_string();
                patterns
                    .iter()
                    .any(|pattern| matches(pattern.as_bytes(), bdf.as_bytes()))
            }
        }
    }
}

/// Is it a bridge or the host bridge's own function, so that nobody looks for its memory?
pub(crate) fn is_endpoint(function: &Function) -> bool {
    function.bridge().is_none() && function.class().is_none_or(|class| class.base() != 0x06)
}

/// Is it one of the many functions through which a processor or chipset is configured and counted: a
/// system peripheral or signal processor without memory of its own?
pub(crate) fn is_plumbing(function: &Function) -> bool {
    const SYSTEM: u8 = 0x08;
    const SIGNAL: u8 = 0x11;
    const INTERRUPT_CONTROLLER: u16 = 0x0800;
    let Some(class) = function.class() else {
        return false;
    };
    let has_memory = match function.bars() {
        Fact::Known(bars) => bars.iter().any(|bar| bar.kind.is_memory()),
        Fact::Unknown(_) => true,
    };
    class.class() == INTERRUPT_CONTROLLER || matches!(class.base(), SYSTEM | SIGNAL) && !has_memory
}

/// `nvme0` of `nvme0n1`, `nvme0n1p2`, `nvme0c0n1`.
fn nvme_controller(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("nvme")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let controller = text.get(.."nvme".len() + digits)?;
    (digits > 0 && rest.get(digits..)?.starts_with(['n', 'c'])).then_some(controller)
}

/// Where the class codes of a word start.
fn starts_of_class(word: &str) -> Option<&'static [&'static str]> {
    Some(match word {
        "nvme" => &["0108"],
        // Data-centre GPUs without a display call themselves processing accelerators.
        "gpu" => &["03", "1200"],
        "accel" => &["12"],
        "net" => &["02"],
        "storage" => &["01"],
        "bridge" => &["06"],
        "usb" => &["0c03"],
        "media" => &["04"],
        _ => return None,
    })
}

fn is_of_class(function: &Function, wanted: &str) -> bool {
    let Some(class) = function.class() else {
        return false;
    };
    let digits = format!("{:06x}", class.bits());
    match starts_of_class(wanted) {
        Some(starts) => starts.iter().any(|start| digits.starts_with(start)),
        None => digits.starts_with(wanted),
    }
}

fn is_of_vendor(function: &Function, wanted: &str) -> bool {
    let Some(id) = function.id() else {
        return false;
    };
    let digits = wanted.strip_prefix("0x").unwrap_or(wanted);
    u16::from_str_radix(digits, 16) == Ok(id.vendor)
        || names::vendor(id.vendor).is_some_and(|name| name.to_lowercase().contains(wanted))
}

/// An address pattern in full: a plain address gets its domain and leading zeros.
fn canonical(pattern: &str) -> String {
    if let Ok(bdf) = pattern.parse::<Bdf>() {
        return bdf.to_string();
    }
    match pattern.bytes().filter(|&byte| byte == b':').count() {
        1 if !pattern.starts_with('*') => format!("0000:{pattern}").to_lowercase(),
        _ => pattern.to_lowercase(),
    }
}

/// Does `text` match a pattern in which `*` is any text and `?` any character? In time linear in the
/// product of both lengths at most.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, star_from)) = star else {
                    return false;
                };
                star = Some((star_at, star_from + 1));
                at = star_at + 1;
                from = star_from + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

fn unknown_address(topology: &Topology, bdf: Bdf) -> Problem {
    let mut near: Vec<NodeId> = topology.nodes().collect();
    near.sort_by_key(|&node| {
        let other = topology.function(node).bdf;
        // The same numbers in another domain are the likeliest slip.
        let elsewhere = (other.bus(), other.devfn()) == (bdf.bus(), bdf.devfn());
        let rank = u32::from(other.domain() != bdf.domain()) * 2;
        let bus = other.bus().abs_diff(bdf.bus());
        (
            if elsewhere { 0 } else { rank + 1 },
            bus,
            other.devfn().abs_diff(bdf.devfn()),
        )
    });
    near.truncate(3);
    Problem::new(
        format_args!("there is no function at {bdf}"),
        format_args!(
            "the machine has {} functions, none at this address",
            topology.nodes().len()
        ),
        suggestion(topology, &near),
    )
}

fn unknown_name(topology: &Topology, text: &str) -> Problem {
    let mut near: Vec<(usize, NodeId)> = Vec::new();
    let mut has_names = false;
    for node in topology.nodes() {
        for name in &topology.function(node).os.names {
            has_names = true;
            let distance = edits(text, name);
            if distance <= 1 + text.len() / 3 {
                near.push((distance, node));
            }
        }
    }
    near.sort();
    near.dedup_by_key(|(_, node)| *node);
    near.truncate(3);
    let near: Vec<NodeId> = near.into_iter().map(|(_, node)| node).collect();
    let why = if has_names {
        "it is no address (domain:bus:device.function), and no function of this machine has this kernel name"
    } else {
        "it is no address (domain:bus:device.function), and this capture carries no kernel names"
    };
    Problem::new(
        format_args!("there is no function {text}"),
        why,
        suggestion(topology, &near),
    )
}

fn suggestion(topology: &Topology, near: &[NodeId]) -> String {
    match near {
        [] => "list the functions with `peerdma topo`".into(),
        near => format!("did you mean {}? `peerdma topo` lists all", list(topology, near)),
    }
}

fn list(topology: &Topology, nodes: &[NodeId]) -> String {
    let spoken: Vec<String> = nodes
        .iter()
        .map(|&node| names::spoken(topology.function(node)))
        .collect();
    spoken.join(", ")
}

/// How many characters must be changed, added or removed to make one text of the other.
pub(crate) fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.chars().take(64).enumerate() {
        let mut corner = line;
        row[0] = line + 1;
        for (column, &b) in other.iter().enumerate() {
            let replaced = corner + usize::from(a != b);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("0000:3b:*", "0000:3b:00.0", true),
            ("*", "", true),
            ("*:00.?", "0000:3b:00.1", true),
            ("*:00.?", "0000:3b:01.1", false),
            ("0000:3b:00.0", "0000:3b:00.1", false),
            ("**b**", "abc", true),
            ("", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        assert_eq!(canonical("3b:0.0"), "0000:3b:00.0");
        assert_eq!(canonical("3B:*"), "0000:3b:*");
    }

    #[test]
    fn a_namespace_or_partition_means_its_controller() {
        assert_eq!(nvme_controller("nvme12n1p3"), Some("nvme12"));
        assert_eq!(nvme_controller("nvme0c1n1"), Some("nvme0"));
        for other in ["nvme", "nvmen1", "nvme0", "nvme0x", "eth0"] {
            assert_eq!(nvme_controller(other), None, "{other}");
        }
    }

    #[test]
    fn slips_of_the_finger_are_counted() {
        assert_eq!(edits("nvme0", "nvme0"), 0);
        assert_eq!(edits("nvm0", "nvme0"), 1);
        assert_eq!(edits("", "abc"), 3);
    }
}
