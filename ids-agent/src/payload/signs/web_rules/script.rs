//! Scripts in requests.

use super::{B, H, P, Pattern, Q, SignKind::*, T, rule};

pub(super) static PATTERNS: &[Pattern] = &[
    rule(CrossSiteScripting, 85, T | P | Q | H, &["<script", "<scr<script"], r"<scr(<script>)?ipt[ />\t]|<script"),
    rule(
        CrossSiteScripting,
        88,
        P | Q | H,
        &["<"],
        r#"<[a-z!/][a-z0-9:-]{0,20}[ /"'+\x0c][^>]{0,200}?\bon[a-z]{3,24} ?= ?[^&=]"#,
    ),
    rule(
        CrossSiteScripting,
        80,
        P | Q | H,
        &["on"],
        r#"["'][ /]+(on(mouse[a-z]+|error|load|click|focus|blur|key[a-z]+|submit|toggle|change|pointer[a-z]+|animation[a-z]+|wheel|begin|start)|autofocus|style) ?="#,
    ),
    rule(
        CrossSiteScripting,
        82,
        P | Q | H,
        &["javascript:", "vbscript:", "livescript:"],
        r"(javascript|vbscript|livescript) ?: ?[^&]{0,40}(alert|eval|prompt|confirm|document[.\[]|fromcharcode|window[.\[]|msgbox|fetch ?\(|atob|settimeout|import ?\()",
    ),
    rule(
        CrossSiteScripting,
        75,
        P | Q | H,
        &[
            "alert",
            "prompt",
            "confirm",
            "document.cookie",
            "document.domain",
            "fromcharcode",
            "document.write",
            "eval(",
            "document.location",
            "msgbox",
        ],
        r#"[<>"'`;(/:=] ?(alert|prompt|confirm|msgbox)( ?\(|`|&#40)|(document\.(cookie|domain|write|location)|string\.fromcharcode|window\.location)[^&]{0,60}[<>"'()]|\beval ?\( ?(string|unescape|atob|name|location|/)"#,
    ),
    rule(
        CrossSiteScripting,
        65,
        P | Q,
        &["<i", "<o", "<e", "<s", "<b", "<m", "<f", "<l", "<v", "<a", "<h", "<d", "<t"],
        r"<(iframe|object|embed|svg|img|image|body|meta|base|form|link|video|audio|marquee|math|isindex|applet|details|style|layer|xss|html|title|textarea|h1|a href)[ />]",
    ),
    rule(
        CrossSiteScripting,
        50,
        B,
        &["<script", "onerror", "onload", "javascript:"],
        r#"<script[^>]{0,80}>.{0,80}(alert|document\.cookie|eval|prompt|fromcharcode|xss)|<(img|svg|body|iframe)[^>]{0,120}on(error|load) ?= ?["']?[a-z]+|javascript: ?(alert|eval|prompt)"#,
    ),
    rule(CrossSiteScripting, 40, P | Q, &["\"><", "'><", "\">", "'>"], r#"["'] ?/?> ?<[a-z/!]"#),
    rule(
        CrossSiteScripting,
        70,
        Q | P | H,
        &["data:text/html", "srcdoc", "expression("],
        r"data:text/html[;,]|srcdoc ?=|style ?=[^&]{0,80}expression ?\(",
    ),
];
