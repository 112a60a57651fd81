//! What a file's place and name, or a description, say of the indicators in it.

use std::path::Path;

use crate::config::{Category, FeedSettings};

/// Where an indicator comes from, as far as the file itself tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// As the folder or the name of the file says.
    pub(super) category: Option<Category>,
    /// The family after which a file within a feed's folder is called; empty for a feed of one file.
    pub(super) family: String,
}

/// Reads the path below the feed's own: `malware/njrat-1.txt` is malware of the family `njrat`.
pub(super) fn of(feed: &FeedSettings, path: &Path) -> Origin {
    let below = path.strip_prefix(&feed.path).unwrap_or(Path::new(""));
    let single = below.as_os_str().is_empty();
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    let folders = below.parent().into_iter().flat_map(Path::components).filter_map(|part| part.as_os_str().to_str());
    let by_folder = folders.filter_map(|folder| by_words(folder, Strictness::Names)).next_back();
    let category = by_folder.or_else(|| by_words(stem, Strictness::Names));
    let family = match stem.rsplit_once('-') {
        _ if single => "",
        Some((family, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => family,
        _ => stem,
    };
    Origin { category, family: family.to_owned() }
}

/// How much is read into words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Names of files and folders: a list of scanners is called so.
    Names,
    /// Descriptions of single indicators.
    Descriptions,
}

/// The category that a name or a description gives away.
pub(super) fn by_words(text: &str, strictness: Strictness) -> Option<Category> {
    let text = text.to_ascii_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let any = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    const MALWARE: [&str; 24] = [
        "backdoor",
        "beacon",
        "bot",
        "botnet",
        "c2",
        "cnc",
        "dropper",
        "feodo",
        "feodotracker",
        "implant",
        "infostealer",
        "keylogger",
        "malware",
        "ransomware",
        "rat",
        "rootkit",
        "spyware",
        "sslbl",
        "stealer",
        "threatfox",
        "trojan",
        "urlhaus",
        "virus",
        "worm",
    ];
    if any(&MALWARE) {
        Some(Category::Malware)
    } else if any(&["phishing", "phish", "phishtank", "openphish"]) {
        Some(Category::Phishing)
    } else if any(&["tor"]) {
        Some(Category::Tor)
    } else if any(&["scanner", "scanners", "scanning"]) {
        Some(Category::Scanner)
    } else if any(&["suspicious", "pua", "anomalous"]) {
        Some(Category::Suspicious)
    } else if any(&["malicious"]) {
        Some(Category::Malicious)
    } else if strictness == Strictness::Names && any(&["ipsum", "reputation", "levels"]) {
        Some(Category::Reputation)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FeedKind;

    #[test]
    fn the_place_of_a_file_tells_category_and_family() {
        let feed = FeedSettings {
            name: "trails".to_owned(),
            path: "/feeds/trails".into(),
            kind: FeedKind::Auto,
            category: None,
            trust: 1.0,
        };
        let told = |path: &str| {
            let origin = of(&feed, Path::new(path));
            (origin.category, origin.family)
        };
        assert_eq!(told("/feeds/trails/static/malware/njrat-1.txt"), (Some(Category::Malware), "njrat".to_owned()));
        assert_eq!(told("/feeds/trails/static/suspicious/onion.txt"), (Some(Category::Suspicious), "onion".to_owned()));
        assert_eq!(told("/feeds/trails/mass_scanner.txt"), (Some(Category::Scanner), "mass_scanner".to_owned()));
        assert_eq!(told("/feeds/trails/other.txt"), (None, "other".to_owned()));
        let single = FeedSettings { path: "/feeds/ipsum.txt".into(), ..feed };
        assert_eq!(
            of(&single, Path::new("/feeds/ipsum.txt")),
            Origin { category: Some(Category::Reputation), family: String::new() }
        );
    }

    #[test]
    fn words_are_whole_words() {
        let told = |text| by_words(text, Strictness::Descriptions);
        assert_eq!(told("Qakbot C2"), Some(Category::Malware));
        assert_eq!(told("Cobalt Strike v4.9.1 beacon"), Some(Category::Malware));
        assert_eq!(told("Standard tor client"), Some(Category::Tor));
        assert_eq!(told("Chromium Browser"), None);
        assert_eq!(told("Storage Director"), None);
    }
}
