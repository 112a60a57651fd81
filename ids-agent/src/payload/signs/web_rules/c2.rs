//! How programs that are controlled from afar ask for their orders over HTTP.

use super::{A, B, C, P, Pattern, Q, SignKind::*, T, rule};

pub(super) static PATTERNS: &[Pattern] = &[
    // Default profiles of published frameworks: an address and a cookie that only count together.
    rule(
        C2Profile,
        50,
        P,
        &["/admin/get.php", "/news.php", "/login/process.php"],
        r"^/(admin/get|news|login/process)\.php$",
    ),
    rule(C2Profile, 50, C, &["session="], r"^session=[a-z0-9+/]{26,28}=?$"),
    rule(C2Profile, 45, P, &["/en-us/"], r"^/en-us/(index|docs|test)\.html$"),
    rule(C2Profile, 45, A, &["chrome/41.0.2228.0"], ""),
    rule(C2Profile, 76, P, &["/submit.php"], r"^/submit\.php$"),
    rule(C2Profile, 30, Q, &["id="], r"^\?id=[0-9]{3,10}$"),
    rule(
        C2Profile,
        40,
        P,
        &[
            "/ca",
            "/dpixel",
            "/__utm.gif",
            "/pixel",
            "/g.pixel",
            "/dot.gif",
            "/updates.rss",
            "/fwlink",
            "/cm",
            "/cx",
            "/match",
            "/visit.js",
            "/load",
            "/push",
            "/ptj",
            "/j.ad",
            "/ga.js",
            "/en_us/all.js",
            "/activity",
            "/ie9compatviewlist.xml",
        ],
        r"^/(ca|dpixel|__utm\.gif|pixel(\.gif)?|g\.pixel|dot\.gif|updates\.rss|fwlink|cm|cx|match|visit\.js|load|push|ptj|j\.ad|ga\.js|en_us/all\.js|activity|ie9compatviewlist\.xml)$",
    ),
    // A cookie without a name is no cookie.
    rule(C2Profile, 66, C, &["="], r"^[a-z0-9+/]{120,}={0,2}$"),
    rule(
        C2Profile,
        80,
        A,
        &["msie 6.1; windows nt)", "msie 7.0b; windows nt 5.0", "meterpreter", "beacon"],
        r"msie 6\.1; windows nt\)|meterpreter|^beacon",
    ),
    // Addresses that bot kits are delivered with.
    rule(
        C2Profile,
        90,
        P,
        &[
            "/fre.php",
            "/_dispatch.",
            "/linuxsucks.php",
            "/apache_handler.php",
            "/checkupdate",
            "/imageload.cgi",
            "/message.php",
            "/bot.php",
            "/botnet",
            "/zeus/",
            "/panel/gate.php",
            "/gate.php",
        ],
        r"/five/fre\.php$|/fre\.php$|/upload/_dispatch\.php$|/(linuxsucks|apache_handler)\.php$|/imageload\.cgi$|/(panel|bot|zeus|admin|core|forum)/gate\.php$",
    ),
    rule(
        C2Profile,
        55,
        P,
        &[
            "/gate.php",
            "/gate.asp",
            "/cfg.bin",
            "/config.bin",
            "/bot.exe",
            "/ip.php",
            "/cmd.php",
            "/task.php",
            "/getcmd",
            "/knock.php",
            "/checkin",
            "/getcfg.php",
            "/s_alive.php",
            "/s_task.php",
        ],
        r"/(gate\.(php|asp)|cfg\.bin|config\.bin|bot\.exe|knock\.php|getcmd[a-z.]*|task\.php|getcfg\.php|s_(alive|task)\.php)$",
    ),
    rule(
        C2Profile,
        72,
        Q | B,
        &["guid=", "botid=", "bot_id=", "hwid=", "uid=", "botver="],
        r"(^|[?&])(guid|hwid|botid|bot_id|uid)=[^&]{6,60}&([a-z_]{1,8}=[^&]{0,40}&){0,6}(os|osver|ver|build|av|antivirus|priv|admin|cpu|botver|botnet|computer|pcname|winver|bits)=",
    ),
    rule(
        C2Profile,
        82,
        Q,
        &["action=bot", "act=bot", "cmd=knock", "mode=bot", "act=knock", "type=knock"],
        r"(^|[?&])(action|act|cmd|mode|type)=(bot|knock)(&|$)",
    ),
    rule(C2Profile, 45, B, &["="], r"^[a-z]=[0-9a-f]{80,}$"),
    rule(C2Profile, 30, T, &[".php?"], r"^/[a-z0-9]{4,10}\.php\?[a-z]=[a-z0-9]{10,18}$"),
    // A report of name and version of the system, a step a time.
    rule(C2Profile, 90, P, &["-sp"], r"^/[a-z0-9]{2,12}/[^/]{1,24}/[0-9]{1,2}/[0-9]{2}-sp[0-9]/[0-9]/"),
    // Programs for boards that only worms ask for by name.
    rule(
        C2Profile,
        82,
        P,
        &[".mips", ".mpsl", ".arm", ".sh4", ".ppc", ".m68k", ".x86", ".spc"],
        r"/[a-z0-9_.-]{1,24}\.(mips|mipsel|mpsl|arm[4-7]?|sh4|ppc|powerpc|m68k|spc|sparc|x86|x86_64|i[56]86)$",
    ),
    // A picture that is asked for with one number in both notations: the call of Sality (ET sid 2804655 and kin).
    rule(C2Profile, 88, T, &[".gif?", ".jpg?", ".png?"], r"\.(gif|jpg|png)\?[0-9a-f]{4,6}=[0-9]{5,8}$"),
    // Who asks, from which machine, and which of all infected: a GUID beside them.
    rule(
        C2Profile,
        66,
        Q,
        &["&u=", "&user=", "&username="],
        r"[?&]c[a-z]{0,11}=[^&]{1,40}&u[a-z]{0,7}=[^&]{1,40}&([a-z]{1,8}=[^&]{0,40}&){0,6}[a-z]{1,8}=[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(&|$)",
    ),
    // A name that carries data, and versions that were never released.
    rule(C2Profile, 80, A, &["="], r"^[a-z_]{1,10}=[^&;() ]{1,64}&[a-z_]{1,10}=[^;()]*$"),
    rule(
        C2Profile,
        74,
        A,
        &["mozilla/6", "mozilla/7", "mozilla/8", "mozilla/9", "mozilla/2.0", "wget 3.0"],
        r"^mozilla/[6-9]\.|wget 3\.0",
    ),
    rule(
        C2Profile,
        45,
        A,
        &["mozilla/4.0 (compatible)", "xml", "agent", "test", "asd", "mozila", "moxilla", "internet explore"],
        r"^(mozilla/[345]\.0 ?\(compatible\)|xml|agent|test|asd|mozila.*|moxilla.*|microsoft internet explorer ?|-|1|a|x|http|get)$",
    ),
    // A browser's name with a part that it never had, or that only stands in front of another's.
    rule(C2Profile, 84, A, &["; na; "], r"\(compatible; msie [0-9.]+; na; ?\)"),
    rule(C2Profile, 60, A, &["; en)", "; vs2)"], r"msie [0-9.]+; windows nt [0-9.]+; (en|vs2)\)$"),
    // What programs written with Delphi call themselves until somebody changes it: tools of firms, and many bots.
    rule(C2Profile, 45, A, &["indy library"], r"^mozilla/[34]\.0 \(compatible; indy library\)$"),
    // What Windows calls a machine that nobody gave a name: who reports it to a site, in clear, tells which machine it is on.
    rule(
        C2Profile,
        48,
        Q | B,
        &["=desktop-", "=laptop-", "=win-"],
        r"=((desktop|laptop)-[a-z0-9]{7}|win-[a-z0-9]{11})(&|$)",
    ),
    rule(
        C2Profile,
        48,
        Q | B,
        &["-"],
        r"(^|[?&])[a-z_]{1,12}=[a-z][a-z0-9]{0,7}-([0-9]{1,6}[a-f][0-9a-f]{0,5}[0-9]|[a-f][0-9a-f]{5}[0-9])(&|$)",
    ),
    // Names that no browser has alone.
    rule(
        C2Profile,
        40,
        A,
        &["mozilla/4.0", "mozilla/5.0", "mozilla/3.0", "internet explorer", "explorer", "opera", "firefox"],
        r"^(mozilla/[345]\.0|internet explorer|explorer|opera|firefox|chrome|ie)$",
    ),
];
