//! Addresses through which exploit kits lead their visitors, and files that run what they hold. The kits' forms are those that
//! public analyses of them describe; kinds of files are those that mail programs refuse to open (Microsoft, "Blocked attachments
//! in Outlook").

use super::{A, P, Pattern, SignKind::*, T, rule};

pub(super) static PATTERNS: &[Pattern] = &[
    // Fiesta: hexadecimal digits, then numbers behind semicolons.
    rule(ExploitKit, 86, T, &[";"], r"[/?][0-9a-f]{48,80}(;[0-9]{1,8}){1,4}(,[0-9]{1,8})?(;[0-9]{1,8})?$"),
    // RIG: a search that nobody typed, of which the middle is always the same.
    rule(ExploitKit, 92, T, &["=l3s"], r"\?[a-z0-9_-]{6,40}=l3s[a-z0-9_-]{60,}"),
    rule(ExploitKit, 90, T, &["qmvxc", "qmrxc"], r"[?&]q=[a-z0-9]{2,3}qm[vr]xc[a-z0-9_-]{16,}"),
    rule(ExploitKit, 55, T, &["oq="], r"^/\?([a-z_]{1,12}=[^&]{0,90}&){0,6}oq=[a-z0-9_-]{44,}(&|$)"),
    // Nuclear: the second at which the visitor came, as the name of what is sent to him.
    rule(ExploitKit, 86, P, &["/f/"], r"^/f(/[0-9]{1,9})?/1[2-9][0-9]{8}/[0-9]{1,9}(/[0-9]{1,2})*$"),
    rule(ExploitKit, 74, P, &[".jar", ".xap"], r"^/1[2-9][0-9]{8}\.(jar|xap)$"),
    // What a loaded applet looks for in the site it came from, as soon as it needs a parser of its own.
    rule(ExploitKit, 62, P, &["/meta-inf/services/javax.xml"], ""),
    // Letters without a word, longer than any title; and words that cannot be spoken.
    rule(ExploitKit, 61, T, &[".html", ".php"], r"^/[a-z_-]{120,}\.(html|php)$"),
    rule(ExploitKit, 55, T, &[".html", ".php"], r"^/([a-z_-]*[bcdfghjklmnpqrstvwxz]{5}){3}[a-z_-]*\.(html|php)$"),
    // By what a script or an applet asks, not the page around it.
    rule(ExploitKit, 40, A, &["winhttp.winhttprequest"], ""),
    rule(ExploitKit, 30, A, &["java/1."], r"java/1\.[4-8]\."),
    rule(
        RiskyFile,
        72,
        P,
        &[
            ".hlp", ".hta", ".pif", ".cpl", ".vbe", ".jse", ".wsf", ".wsh", ".sct", ".scf", ".lnk", ".ade", ".adp",
            ".mde",
        ],
        r"\.(hlp|hta|pif|cpl|vbe|jse|wsf|wsh|sct|scf|lnk)$",
    ),
    // A program among the pictures and scripts of a site: whoever broke in put it there.
    rule(
        ProgramDownload,
        72,
        P,
        &[".exe", ".scr", ".dll", ".ps1"],
        r"/(wp-includes|wp-admin|ckeditor|fckeditor|tinymce|images?|img|css|js|fonts?|icons|themes|languages?|lang)/([^/]{1,40}/){0,4}[^/]{1,60}\.(exe|scr|dll|ps1)$",
    ),
    // Programs and pages that say what they are for. Systems update themselves with `payload.bin`.
    rule(
        ProgramDownload,
        76,
        P,
        &["payload", "meterpreter", "mimikatz", "shellcode", "reverse_", "revshell", "rev_shell", "exploit", "beacon"],
        r"/([a-z0-9_-]{0,24}(payload|shellcode|meterpreter|mimikatz|exploit)|reverse_(tcp|https?|shell)|rev_?shell|beacon)[a-z0-9_-]{0,16}\.(exe|dll|ps1|hta|elf|vbs|scr|msi)$",
    ),
    rule(ExploitKit, 74, P, &["exploit"], r"/exploits?[0-9_-]{0,6}\.(html?|jar|class|swf|xap|pdf|docx?|rtf)$"),
    rule(RiskyFile, 50, P, &[".mdb", ".chm", ".ani", ".scr", ".vbs"], r"\.(mdb|chm|ani|scr|vbs)$"),
];
