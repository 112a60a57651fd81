//! How exploit kits and bots ask and answer, where a pattern over one part of a message does not show it.

use super::{SignKind, Signs};

/// Consonants in a row that no word has.
const ROW_MIN: usize = 5;
/// Shortest name of which something is said, and shortest value: abbreviations have no vowels either.
const WORD_MIN: usize = 5;
const VALUE_MIN: usize = 8;

/// Signs in the first line and the headers of a request.
pub(super) fn request(method: &[u8], target: &[u8], headers: &[u8], signs: &mut Signs) {
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (target.get(..at).unwrap_or(&[]), target.get(at + 1..).unwrap_or(&[])),
        None => (target, &[][..]),
    };
    let agent = value(headers, b"user-agent:").to_ascii_lowercase();
    let names = |word: &[u8]| memchr::memmem::find(&agent, word).is_some();
    if (names(b"winhttp.winhttprequest") || names(b"java/1."))
        && ends(path, &[b".mp3", b".wav", b".avi", b".mp4", b".mid"])
    {
        signs.add(SignKind::ExploitKit, 60, path);
    }
    if is_unspoken(path, query) {
        signs.add(SignKind::ExploitKit, 66, target);
    }
    if method == b"POST" && is_dropped_script(path, query) {
        signs.add(SignKind::C2Profile, 74, target);
    }
    let host = value(headers, b"host:").to_ascii_lowercase();
    if is_false_update(&path.to_ascii_lowercase(), &host) {
        signs.add(SignKind::ProgramDownload, 72, path);
    }
    if let Some(forged) = forged_version(&agent) {
        signs.add(SignKind::C2Profile, 60, forged);
    }
}

/// Signs in the head of an answer and what is seen of its body.
pub(super) fn answer(head: &[u8], body: &[u8], signs: &mut Signs) {
    let kind = value(head, b"content-type:").to_ascii_lowercase();
    let encoded = !value(head, b"content-encoding:").is_empty();
    let programs = [&b"application/x-msdownload"[..], b"application/x-dosexec", b"application/x-msdos-program"];
    // A program that begins as none does, nor as an archive or a text: it was encrypted for the code that fetches it.
    if programs.iter().any(|program| kind.starts_with(program)) && !encoded && is_opaque(body) {
        signs.add(SignKind::DisguisedProgram, 80, b"a program that is none");
    }
    let named = value(head, b"content-disposition:").to_ascii_lowercase();
    let name = memchr::memmem::find(&named, b"filename=").and_then(|at| named.get(at + 9..)).unwrap_or(&[]);
    let name = name.split(|byte| *byte == b';').next().unwrap_or(&[]);
    let name: Vec<u8> = name.iter().copied().filter(|byte| !matches!(byte, b'"' | b' ')).collect();
    if kind.starts_with(b"application/octet-stream")
        && (4..=6).contains(&name.len())
        && name.iter().all(u8::is_ascii_digit)
    {
        signs.add(SignKind::DisguisedProgram, 45, &named);
    }
}

/// The value of a header, without spaces around it.
fn value<'a>(head: &'a [u8], name: &[u8]) -> &'a [u8] {
    head.split(|byte| *byte == b'\n')
        .find(|line| line.get(..name.len()).is_some_and(|front| front.eq_ignore_ascii_case(name)))
        .and_then(|line| line.get(name.len()..))
        .map_or(&[], <[u8]>::trim_ascii)
}

fn ends(path: &[u8], endings: &[&[u8]]) -> bool {
    endings.iter().any(|ending| path.len() >= ending.len() && path.to_ascii_lowercase().ends_with(ending))
}

/// One name and one field, all in small letters, of which two cannot be spoken: `/tnrvn?hinpt=fjyhdzniepe`.
fn is_unspoken(path: &[u8], query: &[u8]) -> bool {
    let Some(name) = path.strip_prefix(b"/") else { return false };
    let Some(at) = query.iter().position(|byte| *byte == b'=') else { return false };
    let (field, value) = (query.get(..at).unwrap_or(&[]), query.get(at + 1..).unwrap_or(&[]));
    let words = [name, field, value];
    let is_word = |word: &[u8]| (WORD_MIN..=16).contains(&word.len()) && word.iter().all(u8::is_ascii_lowercase);
    let unspoken = words.iter().filter(|word| longest_row(word) >= ROW_MIN).count();
    words.iter().all(|word| is_word(word)) && value.len() >= VALUE_MIN && longest_row(value) >= ROW_MIN && unspoken >= 2
}

/// Most consonants in a row.
fn longest_row(word: &[u8]) -> usize {
    let runs = word.chunk_by(|a, b| is_vowel(*a) == is_vowel(*b));
    runs.filter(|run| run.first().is_some_and(|byte| !is_vowel(*byte))).map(<[u8]>::len).max().unwrap_or(0)
}

fn is_vowel(byte: u8) -> bool {
    matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u')
}

/// A script of six random letters in the root of a site that somebody broke into, called with one letter and a number of the
/// caller's: how ransomware reports (CryptoWall).
fn is_dropped_script(path: &[u8], query: &[u8]) -> bool {
    let Some(name) = path.strip_prefix(b"/").and_then(|path| path.strip_suffix(b".php")) else { return false };
    let [letter, b'=', number @ ..] = query else { return false };
    let mixed = |bytes: &[u8]| bytes.iter().any(u8::is_ascii_digit) && bytes.iter().any(u8::is_ascii_alphabetic);
    let loud = name.iter().any(u8::is_ascii_uppercase);
    name.len() == 6
        && name.iter().all(u8::is_ascii_alphanumeric)
        && (loud || mixed(name))
        && letter.is_ascii_lowercase()
        && (10..=16).contains(&number.len())
        && number.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && mixed(number)
}

/// A program that calls itself an update of something that everybody has, from somebody else: how visitors are made to install
/// what they did not look for (T1036.005; "FakeUpdates"). Who makes it is told by the name of the site.
fn is_false_update(path: &[u8], host: &[u8]) -> bool {
    const BRANDS: [(&[u8], &[&[u8]]); 7] = [
        (b"chrome", &[b"google", b"gvt1", b"chrom"]),
        (b"firefox", &[b"mozilla", b"firefox"]),
        (b"flash", &[b"adobe", b"macromedia", b"flash"]),
        (b"adobe", &[b"adobe", b"macromedia"]),
        (b"java", &[b"java", b"oracle", b"sun.com"]),
        (b"micros", &[b"micros", b"windows", b"msft"]),
        (b"windows", &[b"micros", b"windows", b"msft"]),
    ];
    let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or(&[]);
    let holds = |text: &[u8], word: &[u8]| memchr::memmem::find(text, word).is_some();
    ends(file, &[b".exe", b".scr", b".msi"])
        && holds(file, b"update")
        && !host.is_empty()
        && BRANDS
            .iter()
            .any(|(brand, owners)| file.starts_with(brand) && !owners.iter().any(|owner| holds(host, owner)))
}

/// The version of a Firefox of which the engine is of another: both have one number (until 110, when the engine's was frozen).
fn forged_version(agent: &[u8]) -> Option<&[u8]> {
    let behind = |word: &[u8]| memchr::memmem::find(agent, word).and_then(|at| agent.get(at + word.len()..));
    let number = |text: &[u8]| {
        let digits: Vec<u8> = text.iter().copied().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').collect();
        let mut parts =
            digits.split(|byte| *byte == b'.').map(|part| std::str::from_utf8(part).ok()?.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    let engine = number(behind(b"rv:")?)?;
    let version = behind(b"gecko/20100101 firefox/")?;
    let whole = version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    // Browsers made of Firefox have numbers of their own and say so behind it.
    (whole && (5..=100).contains(&engine.0) && number(version)? != engine).then_some(version)
}

/// Bytes that are no text and no archive or program that is known.
fn is_opaque(body: &[u8]) -> bool {
    const KNOWN: [&[u8]; 9] = [
        b"MZ",
        b"PK",
        b"\x7fELF",
        b"MSCF",
        b"\xd0\xcf\x11\xe0",
        b"\x1f\x8b",
        b"Rar!",
        b"7z\xbc\xaf",
        b"\xca\xfe\xba\xbe",
    ];
    let front = body.get(..32).unwrap_or(&[]);
    let odd = front.iter().filter(|byte| !matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e)).count();
    odd >= 8 && !KNOWN.iter().any(|known| body.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surest(request_line: &str, agent: &str) -> u8 {
        let (method, target) = request_line.split_once(' ').unwrap_or_default();
        let mut signs = Signs::default();
        request(method.as_bytes(), target.as_bytes(), format!("User-Agent: {agent}\r\n").as_bytes(), &mut signs);
        signs.iter().map(|sign| sign.sureness).max().unwrap_or(0)
    }

    #[test]
    fn names_that_cannot_be_spoken_are_told_from_short_ones() {
        for target in ["/tnrvn?hinpt=fjyhdzniepe", "/qzxwvk?hsqrtkia=fjyhdzniepe"] {
            assert_eq!(surest(&format!("GET {target}"), "Mozilla/5.0"), 66, "{target}");
        }
        for target in [
            "/search?query=lengthways",
            "/xhtml?lang=english",
            "/a?b=c",
            "/index?title=strengths",
            "/https?value=mssql",
        ] {
            assert_eq!(surest(&format!("GET {target}"), "Mozilla/5.0"), 0, "{target}");
        }
    }

    #[test]
    fn scripts_that_ransomware_reports_to_are_told_from_forms() {
        for target in ["/VOEHSQ.php?v=x4tk7t4jo6", "/76N1Lm.php?g=9m822y31lxud7aj"] {
            assert_eq!(surest(&format!("POST {target}"), ""), 74, "{target}");
            assert_eq!(surest(&format!("GET {target}"), ""), 0, "{target}");
        }
        for target in [
            "/search.php?q=cheapflights",
            "/upload.php?k=abc123def456",
            "/VOEHSQ.php?v=short1",
            "/Search.php?id=1234567890",
        ] {
            assert_eq!(surest(&format!("POST {target}"), ""), 0, "{target}");
        }
    }

    #[test]
    fn an_engine_of_another_version_is_forged() {
        let agent = |engine: &str, version: &str| {
            surest(
                "GET /",
                &format!("Mozilla/5.0 (Windows NT 6.1; WOW64; rv:{engine}) Gecko/20100101 Firefox/{version}"),
            )
        };
        assert_eq!(agent("40.0", "40.1"), 60);
        assert_eq!(agent("40.0", "40.0"), 0);
        assert_eq!(agent("10.0.2", "10.0.2"), 0);
        assert_eq!(agent("109.0", "118.0"), 0);
        assert_eq!(agent("52.0", "52.0 SeaMonkey/2.49"), 0);
        assert_eq!(agent("45.9", "45.9 PaleMoon/27.0"), 0);
    }

    #[test]
    fn an_update_of_what_everybody_has_comes_from_who_makes_it() {
        for (path, host) in [
            ("/ckeditor/lang/chromeupdates.exe", "shop.example"),
            ("/microsupdate/microsupdate.exe", "pos-softwareupdate.example"),
            ("/flashplayer_update.exe", "192.0.2.7"),
        ] {
            assert!(is_false_update(path.as_bytes(), host.as_bytes()), "{path}");
        }
        for (path, host) in [
            ("/update2/chrome/chrome_updater.exe", "dl.google.com"),
            ("/d/windowsupdate-kb1.exe", "download.windowsupdate.com"),
            ("/javaupdate.exe", "javadl.oracle.com"),
            ("/printer/update.exe", "shop.example"),
            ("/chromeupdates.html", "shop.example"),
            ("/chromeupdates.exe", ""),
        ] {
            assert!(!is_false_update(path.as_bytes(), host.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_song_for_a_script_is_none() {
        let script = "Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)";
        assert_eq!(surest("GET /34033125.mp3", script), 60);
        assert_eq!(surest("GET /34033125.mp3", "Mozilla/5.0 (X11; Linux x86_64) Firefox/100.0"), 0);
        assert_eq!(surest("GET /logo.gif", script), 0);
    }

    #[test]
    fn a_program_that_begins_as_none_is_told_from_those_that_do() {
        let found = |head: &str, body: &[u8]| {
            let mut signs = Signs::default();
            answer(format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body, &mut signs);
            signs.iter().map(|sign| sign.sureness).max().unwrap_or(0)
        };
        let noise: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(167) ^ 0xa5).collect();
        let program = [&b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff"[..], &noise].concat();
        assert_eq!(found("Content-Type: application/x-msdownload", &noise), 80);
        assert_eq!(found("Content-Type: application/x-msdownload", &program), 0);
        assert_eq!(
            found("Content-Type: application/x-msdownload", b"<html><body>No such file, try again later</body>"),
            0
        );
        assert_eq!(found("Content-Type: application/x-msdownload\r\nContent-Encoding: br", &noise), 0);
        assert_eq!(found("Content-Type: application/octet-stream", &noise), 0);
        let attached = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=";
        assert_eq!(found(&format!("{attached}55489"), &noise), 45);
        assert_eq!(found(&format!("{attached}\"report.bin\""), &noise), 0);
    }
}
