//! The processor that `--cpu` names: read, and compared with the names that Linux knows.

use crate::error::Problem;
use crate::select::edits;
use peerdma::snapshot::Cpu;

/// The x86 vendors of /proc/cpuinfo, and what else people call them.
const VENDORS: [(&str, &[&str]); 6] = [
    ("AuthenticAMD", &["amd", "epyc", "ryzen"]),
    ("GenuineIntel", &["intel", "xeon"]),
    ("HygonGenuine", &["hygon", "genuinehygon"]),
    ("CentaurHauls", &["centaur", "via"]),
    ("Shanghai", &["zhaoxin"]),
    ("GenuineTMx86", &["transmeta"]),
];

/// How the vendors of other architectures begin, as peerdma takes them from /proc/cpuinfo; ARM by name.
const OTHERS: [&str; 7] = [
    "ARM",
    "aarch64",
    "CPU implementer ",
    "cpu ",
    "mvendorid ",
    "uarch ",
    "isa ",
];

/// Reads `VENDOR:FAMILY`; a vendor that is not known is told in `notes`.
///
/// # Errors
/// A [`Problem`] where it is neither, or all but spells a vendor that Linux knows: taken as it stands, it
/// would quietly count as another maker's.
pub(crate) fn parse(text: &str, notes: &mut Vec<String>) -> Result<Cpu, Problem> {
    let cpu: Cpu = text.parse().map_err(|why| {
        let fix = match meant(text) {
            Some(vendor) => format!("write --cpu {vendor}:FAMILY, with `cpu family` of /proc/cpuinfo there"),
            None => "look at `vendor_id` and `cpu family` in /proc/cpuinfo of that machine".into(),
        };
        Problem::new(format_args!("--cpu {text} is not a processor"), why, fix)
    })?;
    let vendor = &cpu.vendor[..];
    if vendor.contains(':') {
        return Err(Problem::new(
            format_args!("--cpu {text} is not a processor"),
            format_args!("its vendor {vendor} has a colon, which no vendor of /proc/cpuinfo has"),
            "give VENDOR:FAMILY and nothing else, for example AuthenticAMD:0x19",
        ));
    }
    if is_known(vendor) {
        return Ok(cpu);
    }
    if let Some(right) = meant(vendor) {
        return Err(Problem::new(
            format_args!("--cpu {text} names no vendor of processors"),
            format_args!("{vendor} is not how Linux spells {right}, and Linux compares letter by letter"),
            format_args!("write --cpu {right}:{:#x}", cpu.family),
        ));
    }
    notes.push(format!(
        "--cpu names the vendor {vendor}, which peerdma does not know; it counts as none whose root complex \
         Linux trusts by itself"
    ));
    Ok(cpu)
}

fn is_known(vendor: &str) -> bool {
    VENDORS.iter().any(|(known, _)| *known == vendor) || OTHERS.iter().any(|start| vendor.starts_with(start))
}

/// The known vendor that `text` means in another spelling.
fn meant(text: &str) -> Option<&'static str> {
    let letters = |text: &str| -> String {
        let kept = text.chars().filter(char::is_ascii_alphanumeric);
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    let text = letters(text);
    let spells = |known: &str| {
        let known = letters(known);
        text == known || known.len() >= 8 && edits(&text, &known) <= 2
    };
    let found = VENDORS
        .iter()
        .find(|(known, others)| spells(known) || others.contains(&&text[..]));
    found.map(|(known, _)| *known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_of_a_known_vendor_is_refused_with_the_right_one() {
        for (text, right) in [
            ("AMD:0x19", "AuthenticAMD:0x19"),
            ("amd:25", "AuthenticAMD:0x19"),
            ("authenticamd:25", "AuthenticAMD:0x19"),
            ("AuthenticAmd:25", "AuthenticAMD:0x19"),
            ("Authentic AMD:25", "AuthenticAMD:0x19"),
            ("AutenticAMD:25", "AuthenticAMD:0x19"),
            ("intel:6", "GenuineIntel:0x6"),
            ("genuineintel:6", "GenuineIntel:0x6"),
            ("Hygon:0x18", "HygonGenuine:0x18"),
            ("amd", "AuthenticAMD:FAMILY"),
        ] {
            let problem = parse(text, &mut Vec::new()).expect_err(text);
            assert!(problem.fix.contains(right), "{text}: {}", problem.fix);
        }
    }

    #[test]
    fn a_vendor_with_a_colon_is_refused() {
        for text in ["GenuineIntel:6:1", "::6", "AuthenticAMD:0x19:0x1"] {
            assert!(parse(text, &mut Vec::new()).is_err(), "{text}");
        }
    }

    #[test]
    fn known_vendors_are_taken_silently_and_others_with_a_note() {
        for text in [
            "GenuineIntel:6",
            "AuthenticAMD:0x19",
            "HygonGenuine:0x18",
            "CentaurHauls:7",
            "Shanghai:7",
            "  Shanghai  :7",
            "ARM:0",
            "CPU implementer 0x41:0",
        ] {
            let mut notes = Vec::new();
            assert!(parse(text, &mut notes).is_ok(), "{text}");
            assert_eq!(notes, Vec::<String>::new(), "{text}");
        }
        let mut notes = Vec::new();
        assert!(parse("Elbrus:4", &mut notes).is_ok());
        assert_eq!(notes.len(), 1);
    }
}
