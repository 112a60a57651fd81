//! Signs in pages that attack the browser that reads them: code in strings, and objects told to write files.

use std::sync::LazyLock;

use super::{
    SignKind::MaliciousPage,
    Signs,
    patterns::{Matcher, Pattern, Place},
};

const fn rule(sureness: u8, strings: &'static [&'static str], expression: &'static str) -> Pattern {
    Pattern { kind: MaliciousPage, sureness, places: Place::Body as u8, strings, expression }
}

pub(super) static PAGE: &[&[Pattern]] = &[&[
    rule(
        90,
        &["%u9090", "%u0c0c", "%u0d0d", "%u0a0a", "\\u9090", "\\u0c0c", "%u4141", "%u0505"],
        r"(%u|\\u)(9090|0c0c|0d0d|0a0a|4141|0505)(%u|\\u)(9090|0c0c|0d0d|0a0a|4141|0505)",
    ),
    rule(60, &["0x0c0c0c0c", "0x0d0d0d0d", "0x0a0a0a0a"], ""),
    rule(70, &["shellcode", "shell_code"], r"\bshell_?code[a-z0-9_]* ?(=|\+|\))"),
    rule(
        88,
        &["heapspray", "heap_spray", "nopsled", "nop_sled", "nopslide", "spraysled"],
        r"(heap_?spray|nop_?(sled|slide)|spraysled)[a-z0-9_]* ?[=(+.]",
    ),
    rule(
        86,
        &["slackspace", "fillblock", "bigblock", "headersize", "heapblock"],
        r"(slackspace|fillblock|bigblock|headersize|heapblocks?)\b.{0,400}(slackspace|fillblock|bigblock|block ?\+|heapblocks?|\.length ?<)",
    ),
    // Letters by the thousand for a field of an object.
    rule(
        78,
        &["clsid:", "createobject", "activexobject"],
        r"(clsid:|createobject|activexobject).{0,900}(string ?\( ?[0-9]{3,}|space ?\( ?[0-9]{4,}|\.length ?<=? ?[0-9]{3,}|repeat ?\( ?[0-9]{3,}|for ?\([^)]{0,60}< ?[0-9]{3,})",
    ),
    // An object that is told to write or run a file of its reader's.
    rule(80, &["clsid:"], r#"clsid:.{0,900}\.[a-z_]{3,40} ?[( ] ?[^;\n]{0,60}["'][a-z]:\\"#),
    rule(
        78,
        &["\"c:\\", "'c:\\"],
        r#"\.(save|write|export|print|download|create|copy)[a-z_]{0,30} ?[( ] ?["'][a-z]:\\[^"'\n]{1,80}["']"#,
    ),
    // What a tool that tries every function of every object writes around its finding.
    rule(
        85,
        &["argcount"],
        r#"(progid|membername|prototype|targetfile) ?= ?".{0,300}argcount ?= ?[0-9]|argcount ?= ?[0-9]+ arg1 ?= ?"#,
    ),
    rule(
        80,
        &["wscript.shell", "shell.application", "adodb.stream"],
        r"(createobject|activexobject) ?\( ?.(wscript\.shell|shell\.application).{0,600}(\.run|\.exec|shellexecute)|adodb\.stream.{0,600}savetofile",
    ),
    // An address for mail that climbs to a program, in a page or a document (CVE-2007-5020 and kin).
    rule(86, &["mailto:"], r"mailto:[^ )>]{0,80}(\.\./){3,}"),
    rule(75, &["unescape("], r#"(unescape ?\( ?["'](%[0-9a-f]{2}){14,}["'] ?\) ?[+&_ ]+){2,}"#),
    // The same block over and over, with something behind it.
    rule(
        80,
        &["spray", "heapblocks", "memory["],
        r"\b(get)?spray_?(slide|sled|block|chunk|size|heap)|\bheapblocks\b.{0,160}shellcode|\bmemory ?\[ ?[a-z] ?\] ?= ?[a-z0-9_]{1,30} ?\+ ?[a-z0-9_]{1,30} ?;",
    ),
]];

static MATCHER: LazyLock<Matcher> = LazyLock::new(|| Matcher::new(PAGE));

/// Units of `%uxxxx` that a page must hold before their values are looked at.
const ESCAPES_MIN: usize = 16;

/// Signs in a page as `plain` leaves it.
pub(super) fn signs(text: &[u8]) -> Signs {
    let mut signs = Signs::default();
    MATCHER.find(Place::Body, text, &mut signs);
    if let Some(at) = code_in_escapes(text) {
        signs.add(MaliciousPage, 85, text.get(at..text.len().min(at + 48)).unwrap_or(&[]));
    }
    signs.settle()
}

/// Where a row of `%uxxxx` begins that cannot be a text: words stay within a script or two, code is spread over all values.
fn code_in_escapes(text: &[u8]) -> Option<usize> {
    let first = memchr::memmem::find(text, b"%u")?;
    let mut row = 0;
    let mut start = first;
    let mut strange = 0;
    let mut at = first;
    while let Some(unit) = text.get(at..at + 6) {
        let value = unit
            .strip_prefix(b"%u")
            .and_then(|hex| hex.iter().try_fold(0u32, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?)));
        let Some(value) = value else {
            // Long rows are written as strings that are joined.
            let joint = text.get(at..)?.iter().take_while(|byte| b"\"'+&_ \r\n\t".contains(byte)).count();
            if joint > 0 && text.get(at + joint..).is_some_and(|rest| rest.starts_with(b"%u")) {
                at += joint;
                continue;
            }
            (row, strange) = (0, 0);
            at += 1 + memchr::memmem::find(text.get(at + 1..)?, b"%u")?;
            start = at;
            continue;
        };
        row += 1;
        strange += usize::from(!is_text(value));
        if row >= ESCAPES_MIN && strange * 4 >= row {
            return Some(start);
        }
        at += 6;
    }
    None
}

/// Code units in use by scripts of today: Latin to Thai, punctuation, kana, Han, Hangul, full-width forms.
fn is_text(unit: u32) -> bool {
    matches!(unit, 0x0009..=0x000d | 0x0020..=0x0eff | 0x1e00..=0x206f | 0x20a0..=0x20bf | 0x2190..=0x21ff
        | 0x2500..=0x26ff | 0x3000..=0x30ff | 0x4e00..=0x9fff | 0xac00..=0xd7a3 | 0xff00..=0xffef)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::signs::{normal::plain, patterns::check_tables};

    fn sureness(page: &str) -> u8 {
        signs(&plain(page.as_bytes())).iter().map(|sign| sign.sureness).max().unwrap_or(0)
    }

    #[test]
    fn the_table_builds() {
        check_tables(PAGE);
    }

    #[test]
    fn pages_that_attack_are_told_from_pages() {
        let attacks = [
            "var s = unescape(\"%u9090%u9090%u54eb%u758b\");",
            "x=unescape('%u10df%u9231%ue8bf%u0001%ud9e1%u74d9%uf424%ufe13%ue1c0%u247d%u8d96%ue00a%uf909%u284e%ubaf5%ub293')",
            "<object classid='clsid:00000000-0000-0000-0000-000000000000' id='t'></object><script language='vbscript'>t.SaveToFile \"C:\\boot.ini\"</script>",
            "<object classid=\"clsid:0\" id=x></object><script>b=String(5000, \"A\"); x.Url = b</script>",
            "%u10df%u9231%ue8bf%u0001\" +\n  \"%ud9e1%u74d9%uf424%ufe13\" +\n  \"%ue1c0%u247d%u8d96%ue00a\" +\n  \"%uf909%u284e%ubaf5%ub293\"",
            "/URI(mailto:test%../../../../windows/system32/calc.exe\".cmd)",
            "for (i=0;i<heapBlocks;i++) { memory[i] = spraySlide + shellcode; }",
            "progid = \"LIB.Thing\"\nargCount = 1\narg1=\"c:\\windows\\system_.ini\"\ntarget.SaveAs arg1",
            "Sub t\n Thing.SaveBarCode \"C:\\a.txt\"\nEnd Sub",
            "while (bigblock.length<slackspace) bigblock+=bigblock; fillblock = bigblock.substring(0, slackspace);",
        ];
        for page in attacks {
            assert!(sureness(page) >= 70, "{page}: {}", sureness(page));
        }
        let pages = [
            "<html><body>Hello</body></html>",
            "document.write(unescape(\"%3Cscript src='http://a.example/b.js' type='text/javascript'%3E%3C/script%3E\"));",
            "var t='%u4e2d%u6587%u7f51%u9875%u6807%u9898%u4e2d%u6587%u7f51%u9875%u6807%u9898%u4e2d%u6587%u7f51%u9875%u6807';",
            "<object classid=\"clsid:D27CDB6E-AE6D-11cf-96B8-444553540000\" width=\"550\" height=\"400\"><param name=\"movie\" value=\"a.swf\"></object>",
            "fs.saveAs(\"report.pdf\"); console.log('c:\\\\temp');",
            "cache[i] = name + suffix;",
            "<a href=\"mailto:a@b.example?subject=../../x\">write</a> <img src=\"../../../a.png\">",
            "if (window.ActiveXObject) { x = new ActiveXObject(\"Microsoft.XMLHTTP\"); }",
        ];
        for page in pages {
            assert!(sureness(page) < 70, "{page}: {}", sureness(page));
        }
    }
}
