//! Which archive of Debian this machine fetches from, read from its own package sources.
//!
//! Called by [`super::apt`]. Both formats are read: one line an entry (`sources.list`) and stanzas (`*.sources`).

use std::fs;
use std::path::{Path, PathBuf};

/// An archive of Debian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    /// Its base address.
    pub(crate) address: String,
    /// The file of keys that the entry names, if it does.
    pub(crate) signed_by: Option<PathBuf>,
}

/// Suites of Debian; an entry for one of them, or for its updates, names an archive that has all of them.
const SUITES: [&str; 10] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// The archive that the sources below `etc_apt` name first; `None` where none is Debian's main archive.
pub(crate) fn archive(etc_apt: &Path) -> Option<Archive> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(folder) = fs::read_dir(etc_apt.join("sources.list.d")) {
        let mut more: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "list" => text.lines().find_map(line),
            "sources" => stanzas(&text).find_map(|stanza| of_stanza(&stanza)),
            _ => None,
        }
    })
}

/// `deb [options] ADDRESS SUITE COMPONENT...`
fn line(line: &str) -> Option<Archive> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let (address, suite) = (words.next()?, words.next()?);
    let signed_by = options
        .split_ascii_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    words
        .any(|component| component == "main")
        .then(|| debian(address, suite, signed_by))?
}

/// The fields of each stanza, in order; a field may run over several lines.
fn stanzas(text: &str) -> impl Iterator<Item = Vec<(String, String)>> {
    let mut all: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some(stanza) = all.last_mut() else { break };
        if line.trim().is_empty() {
            all.push(Vec::new());
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    all.into_iter()
}

fn of_stanza(stanza: &[(String, String)]) -> Option<Archive> {
    let field = |name: &str| {
        let found = stanza.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let has = |name: &str, word: &str| field(name).split_ascii_whitespace().any(|one| one == word);
    if field("enabled") == "no" || !has("types", "deb") || !has("components", "main") {
        return None;
    }
    // A key may also be written out in the stanza itself; only a file is of use here.
    let signed_by = Some(field("signed-by")).filter(|path| path.starts_with('/'));
    field("uris").split_ascii_whitespace().find_map(|address| {
        let mut suites = field("suites").split_ascii_whitespace();
        suites.find_map(|suite| debian(address, suite, signed_by))
    })
}

/// The archive at `address` if `suite` is one of Debian's own; security updates live elsewhere.
fn debian(address: &str, suite: &str, signed_by: Option<&str>) -> Option<Archive> {
    let suite = suite.trim_end_matches("-updates").trim_end_matches("-backports");
    let address = address.trim_end_matches('/');
    (SUITES.contains(&suite) && !address.ends_with("security")).then(|| Archive {
        address: address.to_owned(),
        signed_by: signed_by.map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sources.list.d")).unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        archive(folder.path()).map(|archive| archive.address)
    }

    #[test]
    fn an_entry_of_either_format_names_the_archive() {
        for text in [
            "# deb http://no.example/debian trixie main\ndeb http://a.example/debian/ bookworm main contrib\n",
            "deb-src http://no.example/debian trixie main\ndeb [arch=amd64 signed-by=/k.gpg] http://a.example/debian trixie-updates main",
            "deb http://no.example/security stable main\ndeb\thttp://a.example/debian sid main # here",
        ] {
            assert_eq!(found("sources.list", text).unwrap(), "http://a.example/debian");
        }
        for text in [
            "Types: deb\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n",
            "Types: deb\nEnabled: no\nURIs: http://no.example/debian\nSuites: bookworm\nComponents: main\n\n\
             # a remark\nTypes: deb-src deb\nURIs:\n http://a.example/debian\nSuites: x trixie\nComponents: contrib main\n",
        ] {
            let name = "sources.list.d/debian.sources";
            assert_eq!(found(name, text).unwrap(), "http://a.example/debian");
        }
    }

    #[test]
    fn another_distribution_is_not_taken_for_debian() {
        for text in [
            "",
            "deb",
            "deb [",
            "deb http://a.example/ubuntu noble main",
            "deb http://a.example/node nodistro main",
            "deb http://a.example/debian bookworm contrib",
            "deb http://a.example/debian-security bookworm main",
        ] {
            assert_eq!(found("sources.list", text), None, "{text}");
        }
        assert_eq!(archive(Path::new("/nowhere")), None);
    }

    #[test]
    fn keys_that_an_entry_names_are_used() {
        let entry = line("deb [signed-by=/k.gpg] http://a.example/debian trixie main").unwrap();
        assert_eq!(entry.signed_by, Some(PathBuf::from("/k.gpg")));
    }
}
