//! What attacks on web applications look like, as patterns over decoded, lower-case text. Nothing here runs.
//!
//! Sureness: 80 and more for what no user or program writes by accident, about 50 for what is odd, 30 for what only
//! counts beside something else.

use super::{
    SignKind::{self, *},
    patterns::{Pattern, Place},
};

const T: u8 = Place::Target as u8;
const P: u8 = Place::Path as u8;
const Q: u8 = Place::Query as u8;
const B: u8 = Place::Body as u8;
const H: u8 = Place::Header as u8;
const A: u8 = Place::Agent as u8;

const fn rule(
    kind: SignKind,
    sureness: u8,
    places: u8,
    strings: &'static [&'static str],
    expression: &'static str,
) -> Pattern {
    Pattern { kind, sureness, places, strings, expression }
}

/// Words that a shell runs, for patterns of injected commands.
macro_rules! commands {
    () => {
        "(cat|ls|id|whoami|uname|wget|curl|nc|ncat|netcat|bash|sh|ping|nslookup|dig|sleep|echo|type|dir|net|ipconfig|\
         ifconfig|powershell|cmd|python[23]?|perl|php|ruby|chmod|rm|tftp|ftpget|busybox|ps|pwd|env|printf|tail|head|\
         base64|kill|touch|expr|certutil|bitsadmin|systeminfo|timeout|ver|set)"
    };
}

/// Patterns for what clients send.
pub(super) static REQUEST: &[Pattern] = &[
    // SQL.
    rule(
        SqlInjection,
        92,
        P | Q | H,
        &["union"],
        r"\bunion( all| distinct)?[ (]+select\b.{0,300}?(,|\bfrom\b|\bnull\b|@@|char\(|concat|0x[0-9a-f]|version\(|--|#|'|\x22)",
    ),
    rule(SqlInjection, 85, P | Q | H, &["union"], r"['\x22`)\\0-9] ?\)* ?(and |or )?union( all| distinct)?[ (]+select\b"),
    rule(SqlInjection, 45, P | Q, &["union"], r"\bunion( all| distinct)?[ (]+select\b"),
    rule(
        SqlInjection,
        92,
        P | Q | H,
        &["information_schema", "sysobjects", "syscolumns", "pg_catalog", "sqlite_master", "all_tables", "msysobjects", "pg_shadow", "mysql.user", "v$version", "sysusers", "rdb$"],
        r"\b(select|from|where|and|or)\b.{0,200}(information_schema|sysobjects|syscolumns|pg_catalog|sqlite_master|all_tables|msysobjects|pg_shadow|mysql\.user|v\$version|sysusers|rdb\$)",
    ),
    rule(
        SqlInjection,
        85,
        Q | P | H,
        &["'", "\""],
        r#"['"][ )]*(or|and|\|\||&&|xor|having)[ (]+(not )?['"(]*[a-z0-9_.]*['")]* ?(=|<|>|!=|<=>|like\b|rlike\b|between\b|in ?\(|is (not )?null)"#,
    ),
    rule(
        SqlInjection,
        82,
        Q | P,
        &["or ", "and ", "or(", "and("],
        r"[0-9a-z_%')] ?\)* ?\b(or|and)[ (]+(not )?\(*['\x22]?[0-9]{1,9}['\x22]?\)* ?(=|<>|!=|<=>|>|<|like|rlike) ?\(*['\x22]?[0-9]{1,9}['\x22]?",
    ),
    rule(SqlInjection, 80, Q | H, &["like "], r"\b(or|and)[ (]+['\x22]?([a-z0-9]{1,9})['\x22]? (r?like|=) ?['\x22]"),
    rule(
        SqlInjection,
        88,
        Q | P | H,
        &["drop ", "insert ", "delete ", "update ", "exec ", "exec(", "execute ", "declare ", "shutdown", "truncate ", "waitfor ", "create ", "alter ", "select "],
        r"[;'\x22)] ?; ?(drop (table|database|user|view)|insert into|delete from|update [a-z_]+ set|exec(ute)?[ (]+(master|xp_|sp_|immediate|@|\()|declare @|shutdown\b|truncate table|waitfor |create (table|user|function|or replace)|alter (table|user|login)|select (pg_sleep|sleep|\*|load_|[a-z_@]+\())",
    ),
    rule(
        SqlInjection,
        80,
        Q | H,
        &["drop ", "exec ", "declare ", "insert ", "delete ", "shutdown"],
        r"; ?(drop (table|database)|exec(ute)? (master|xp_|sp_)|declare @|insert into [a-z_.]+ ?\(|delete from [a-z_]+ where|shutdown ?(--|;|with nowait))",
    ),
    rule(SqlInjection, 92, Q | P | H, &["waitfor"], r"\bwaitfor[ (]+(delay|time)\b"),
    rule(
        SqlInjection,
        92,
        Q | P | H | B,
        &["pg_sleep", "dbms_pipe", "dbms_lock", "utl_inaddr", "utl_http", "dbms_ldap", "xp_cmdshell", "xp_dirtree", "randomblob", "sp_executesql", "sp_oacreate", "ctxsys.", "xmltype", "generate_series"],
        r"\b(pg_sleep ?\(|dbms_pipe\.receive|dbms_lock\.sleep|utl_inaddr\.|utl_http\.request|dbms_ldap\.|(master\.+)?xp_cmdshell|xp_dirtree|randomblob ?\([0-9]|sp_executesql\b|sp_oacreate|ctxsys\.drithsx|xmltype ?\( ?chr|generate_series ?\([0-9])",
    ),
    rule(
        SqlInjection,
        88,
        Q | P | H,
        &["sleep", "benchmark"],
        r"(\b(and|or|if|select|case|when|xor|union|rlike|like)\b|['\x22|+*,;)-]) ?\(*(\bselect\b ?\(?)? ?(0[ +^]?\+?)?(\bif ?\([^)]{0,80}, ?)?(sleep ?\( ?[0-9.]+ ?\)|benchmark ?\( ?[0-9]{4,},)",
    ),
    rule(
        SqlInjection,
        88,
        Q | P | H,
        &["extractvalue", "updatexml", "load_file", "outfile", "dumpfile", "procedure analyse", "group_concat", "gtid_subset", "json_keys", "exp(~", "elt(", "make_set("],
        r"\b(extractvalue ?\( ?[0-9a-z'\x22]|updatexml ?\( ?[0-9a-z'\x22]|load_file ?\(|into (outfile|dumpfile)\b|procedure analyse ?\(|group_concat ?\(|gtid_subset ?\(|json_keys ?\(|exp ?\(~|(elt|make_set) ?\([0-9-]+[=,])",
    ),
    rule(
        SqlInjection,
        80,
        Q | P | H,
        &["select"],
        r"\(? ?\bselect\b.{1,120}\b(from|concat|count ?\(|char ?\(|chr ?\(|cast ?\(|case when|@@[a-z]|user ?\(|database ?\(|version ?\(|substr|ascii ?\()[^a-z].{0,200}(where|limit|--|#|/\*|\)|group by|and |or |from [a-z_]+$)",
    ),
    rule(SqlInjection, 55, Q, &["order by", "group by", "having "], r"['\x22)0-9]\)* (order by [0-9]+|group by [a-z0-9_., ]+ having|having [0-9]+ ?=)"),
    rule(SqlInjection, 75, Q | P, &["order by", "having"], r"(order by|having) [0-9=, ]+ ?(--|#|/\*)"),
    rule(
        SqlInjection,
        82,
        Q | H,
        &["char(", "chr(", "@@version", "@@datadir", "@@hostname", "cast(", "convert("],
        r"(char|chr) ?\([0-9]{1,3}\) ?(\|\||\+|,) ?(char|chr) ?\(|char ?\([0-9]{2,3}, ?[0-9]{2,3},|@@(version|datadir|hostname|servername)\b|\b(and|or|select)\b.{0,40}(cast|convert) ?\(.{0,60}( as |\bint\b|using )",
    ),
    rule(SqlInjection, 82, Q | H, &["ascii(", "substr", "mid(", "ord(", "length("], r"\b(and|or|if|select|where)\b.{0,40}\b(ascii|substr|substring|mid|ord|length|lpad|left) ?\(.{1,120}(=|<|>|between)"),
    rule(SqlInjection, 60, Q | P, &["'--", "' --", "'#", "\"--", "') --", "';", "'/*", "')#", "')--"], r"['\x22]\)* ?;? ?(--|#|/\*)[^=&]{0,12}(&|$)"),
    // A lone quote behind a number: the first thing that a person or a tool tries.
    rule(SqlInjection, 35, Q, &["'"], r"=-?[0-9]+['\x22]+(&|$)"),
    rule(SqlInjection, 35, Q, &["--"], r"=-?[0-9]+( or | and |\)| )[^&]{0,40}--"),
    rule(
        SqlInjection,
        85,
        Q | H,
        &["'", "\""],
        r#"[.,()'"]{7,}(&|$|[a-z])"#,
    ),
    rule(NosqlInjection, 82, Q | P, &["[$"], r"\[\$(ne|gt|gte|lt|lte|regex|where|in|nin|exists|or|and|eq|not|expr)\]"),
    rule(NosqlInjection, 60, B | Q, &["\"$", "'$"], r#"\{ ?["']\$(ne|gt|gte|regex|where|nin|exists)["'] ?:"#),
    rule(NosqlInjection, 80, Q, &["sleep(", "this."], r"'.{0,20}(\|\||&&|; ?)(.{0,20}\bsleep\([0-9]+\)| ?this\.[a-z]+ ?(==|!=|\.match))"),
    rule(SqlInjection, 75, Q, &[")(|", "*)(", ")(&"], r"\*?\)\([|&]?\(?[a-z]+=\*?|\*\)\([a-z]+=|\)\(\|\("),
    // Scripts in requests.
    rule(CrossSiteScripting, 85, T | P | Q | H, &["<script", "<scr<script"], r"<scr(<script>)?ipt[ />\t]|<script"),
    rule(
        CrossSiteScripting,
        88,
        P | Q | H,
        &["on"],
        r#"<[a-z!/][a-z0-9:-]{0,20}[ /"'+\x0c][^>]{0,200}?\bon[a-z]{3,24} ?= ?[^&=]"#,
    ),
    rule(CrossSiteScripting, 80, P | Q | H, &["on"], r#"["'][ /]+(on(mouse[a-z]+|error|load|click|focus|blur|key[a-z]+|submit|toggle|change|pointer[a-z]+|animation[a-z]+|wheel|begin|start)|autofocus|style) ?="#),
    rule(CrossSiteScripting, 82, P | Q | H, &["javascript:", "vbscript:", "livescript:"], r"(javascript|vbscript|livescript) ?: ?[^&]{0,40}(alert|eval|prompt|confirm|document[.\[]|fromcharcode|window[.\[]|msgbox|fetch ?\(|atob|settimeout|import ?\()"),
    rule(
        CrossSiteScripting,
        75,
        P | Q | H,
        &["alert", "prompt", "confirm", "document.cookie", "document.domain", "fromcharcode", "document.write", "eval(", "document.location", "msgbox"],
        r#"[<>"'`;(/:=] ?(alert|prompt|confirm|msgbox)( ?\(|`|&#40)|(document\.(cookie|domain|write|location)|string\.fromcharcode|window\.location)[^&]{0,60}[<>"'()]|\beval ?\( ?(string|unescape|atob|name|location|/)"#,
    ),
    rule(CrossSiteScripting, 65, P | Q, &["<i", "<o", "<e", "<s", "<b", "<m", "<f", "<l", "<v", "<a", "<h", "<d", "<t"], r"<(iframe|object|embed|svg|img|image|body|meta|base|form|link|video|audio|marquee|math|isindex|applet|details|style|layer|xss|html|title|textarea|h1|a href)[ />]"),
    rule(CrossSiteScripting, 50, B, &["<script", "onerror", "onload", "javascript:"], r#"<script[^>]{0,80}>.{0,80}(alert|document\.cookie|eval|prompt|fromcharcode|xss)|<(img|svg|body|iframe)[^>]{0,120}on(error|load) ?= ?["']?[a-z]+|javascript: ?(alert|eval|prompt)"#),
    rule(CrossSiteScripting, 40, P | Q, &["\"><", "'><", "\">", "'>"], r#"["'] ?/?> ?<[a-z/!]"#),
    rule(CrossSiteScripting, 70, Q | P | H, &["data:text/html", "srcdoc", "expression("], r"data:text/html[;,]|srcdoc ?=|style ?=[^&]{0,80}expression ?\("),
    // Paths and files.
    rule(PathTraversal, 82, T, &["%2e", "%5c", "%c0%af", "%c0%ae", "%c1%9c", "%c1%1c", "%252f", "%255c", "%%32", "%u2215", "%u2216"], r"(%2e%2e|%252e%252e|\.%2e|%2e\.)(/|%2f|%5c|\\|%252f|%255c|;)|\.\.(%5c|%255c|%252f|%c0%af|%c1%9c|%c1%1c|%c0%2f|%%32%66|%%35%63|%u2215|%u2216)|%c0%ae%c0%ae"),
    rule(PathTraversal, 60, T | P | Q | H, &["../", "..\\"], r"(\.\.[/\\]+){2}"),
    rule(PathTraversal, 65, T | P | Q | H, &["../", "..\\"], r"(\.\.[/\\]+){3}"),
    rule(PathTraversal, 85, T, &["..;/", "/.../", "....//", "..//", "....\\/"], r"/\.\.;/|(/\.\.\./){2}|(\.{3,4}[/\\]{1,2}){2}|\.\.//\.\.//"),
    rule(
        PathTraversal,
        80,
        P | Q | H,
        &["etc/passwd", "etc/shadow", "etc\\passwd", "proc/self", "boot.ini", "win.ini", "etc/hosts", "etc/group", "etc/issue", "web-inf", ".ssh/id_", ".bash_history", ".htpasswd", "global.asa", "system32", "var/log/", "etc/mysql", "php.ini", "httpd.conf", "sam._", "windows/repair", "etc/crontab"],
        r"(etc[/\\]+(passwd|shadow|hosts|group|issue|crontab|mysql)\b|proc[/\\]+self[/\\]+(environ|cmdline|fd|maps|status|exe|cwd)|boot\.ini|win(dows|nt)?[/\\]+win\.ini|[=/\\]win\.ini|web-inf[/\\]+(web\.xml|classes|applicationcontext|lib)|\.ssh[/\\]+id_|\.bash_history|\.htpasswd|global\.asax?$|system32[/\\]+(drivers|config|cmd|inetsrv|[a-z]+\.exe)|var[/\\]+log[/\\]+(apache|httpd|nginx|auth|secure|mail|lastlog|wtmp)|[/\\]php\.ini|httpd\.conf|windows[/\\]repair)",
    ),
    rule(PathTraversal, 45, T, &["%00"], r"(\.|/)[a-z0-9_./-]*%00"),
    rule(FileInclusion, 90, Q | P | H, &["php://", "expect://", "phar://", "zip://", "data://", "zlib:", "glob://", "ogg://", "ssh2."], r"(php://(filter|input|fd|memory|temp)|expect://[a-z]|phar://|[=&]zip://|data://text|compress\.zlib://|glob:///|ssh2\.(exec|shell)://)"),
    rule(FileInclusion, 80, Q, &["file:/"], r"file:/{1,4}(etc|proc|c[:|]|var|windows|root|home|opt|usr|dev)"),
    rule(
        FileInclusion,
        75,
        Q,
        &["http://", "https://", "ftp://"],
        r"(^|[?&])(page|file|include|inc|incl|path|template|tpl|module|mod|load|doc|document|root|basepath|base_path|root_path|rootpath|abspath|absolute_path|[a-z_]*(_path|_root|_dir|_include|absolute_path|rootdir)|dir|conf|config\[[^\]]*\]|skin|theme|lang|language|pg|content|site|view|layout|main)=(https?|ftps?)://[^&]{3,120}(\.(txt|php[0-9]?|gif|jpg|png|dat|inc|htm|do|sh)\?*|\?+)(&|$)",
    ),
    rule(FileInclusion, 70, Q, &["http://", "ftp://"], r"=(https?|ftp)://[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}[^&]{0,80}\.(txt|php|sh|jsp|asp|pl|bin|elf)\??(&|$)"),
    rule(FileInclusion, 92, Q, &["mosconfig_absolute_path", "globals[", "_request[option]", "phpbb_root_path", "auto_prepend_file", "allow_url_include"], r"(mosconfig_absolute_path|phpbb_root_path|globals\[[a-z_]*\]|_request\[option\]).{0,60}(https?|ftp)://|auto_prepend_file|allow_url_include"),
    // Commands and code.
    rule(CommandInjection, 92, P | Q | H, &["wget", "curl", "tftp", "ftpget", "busybox", "lwp-download", "fetch "], r"[;|&`(\n] ?(cd [/a-z]+ ?[;&]+ ?)?(/bin/|/usr/bin/|/?busybox )?(wget|curl|tftp|ftpget|lwp-download|fetch)[ $+]+[^&]{0,40}(http|ftp|[0-9]{1,3}\.[0-9]{1,3}\.|-o|-g|-r)"),
    rule(CommandInjection, 90, P | Q | H, &["cat ", "cat<", "cat${", "type ", "more ", "tac ", "head ", "tail "], r"([;|&`\n]|\$\(|%0a) ?(/bin/)?(cat|tac|more|less|head|tail|type|nl|od|strings)( |<|\$\{?ifs\}?)+[-./\\\w]*(/etc/|/proc/|c:\\|%|\.\./|passwd|boot\.ini|win\.ini|config|index\.|wp-)"),
    rule(
        CommandInjection,
        82,
        P | Q | H,
        &["$(", "`", "|", ";", "&&"],
        concat!(r"(\$\(|`) ?(/[a-z/]*)?", commands!(), r"\b[^a-z=&][^&]{0,80}(\)|`)|\$\((id|whoami|hostname|uname|pwd)\)|`(id|whoami|hostname|uname|pwd)`"),
    ),
    rule(CommandInjection, 85, Q | H, &["|", ";", "&"], r"(=|['\x22a-z0-9.)]) ?(\|\|?|;|&&|&|%0a) ?(/bin/|/usr/bin/)?(id|whoami|uname -a|uname|ifconfig|ipconfig( /all)?|netstat( -an)?|systeminfo|net (user|localgroup|view)( [^&]{0,20})?|ls( -[a-z]+)?( /[a-z/]*)?|dir( c:\\?)?|pwd|hostname) ?([;|&#]|\x22|'|$)"),
    rule(CommandInjection, 82, Q | H, &["ping ", "sleep ", "nslookup ", "timeout ", "dig "], r"([;|&`\n]|\$\() ?(/bin/|/usr/bin/)?(ping -[nciw] ?[0-9]+|sleep [0-9]+|nslookup [a-z0-9-]+\.|timeout /?t? ?[0-9]+|dig [a-z0-9.+@-]+)"),
    rule(CommandInjection, 80, P | Q | H, &["/bin/", "/dev/tcp/", "cmd.exe", "cmd /c", "command.com", "powershell"], r"(^|[^a-z0-9])(/(usr/)?bin/(ba|z|c|k|da|tc)?sh\b|/bin/(cat|nc|ls|id|ping|uname|busybox|echo)\b|/dev/tcp/[0-9a-z]|cmd(\.exe)?['\x22]?[ ,]+['\x22]?/[ckr]|cmd\.exe\?|command\.com ?/c|powershell(\.exe)? ?-?(-e|-nop|-w |-c |-ex|iex|\(|-command))"),
    rule(CommandInjection, 88, P | Q | H, &["${ifs}", "$ifs", "chmod ", "rm -", "cd /tmp", "cd /var", "mkfifo", "nc -", "ncat -", "netcat -"], r"\$\{?ifs\b|chmod (-r )?(0?777|\+x|755)|rm -rf? |cd /(tmp|var/run|mnt|dev)[;& ]|mkfifo /|\b(nc|ncat|netcat) (-[a-z]+ )*(-e|-c|-l|[0-9]{1,3}\.[0-9]{1,3}\.)"),
    rule(CommandInjection, 85, P, &["cmd.exe", "root.exe", "shell?"], r"/(cmd|root)\.exe$"),
    rule(Shellshock, 97, P | Q | H, &["() {", "(){"], r"\(\) ?\{"),
    rule(
        CodeInjection,
        88,
        P | Q | H,
        &["<?php", "<?=", "eval(", "system(", "passthru(", "shell_exec(", "exec(", "phpinfo(", "assert(", "popen(", "base64_decode(", "proc_open(", "file_put_contents(", "call_user_func"],
        r"<\?(php\b|=)|\b(system|passthru|shell_exec|exec|popen|proc_open|assert|pcntl_exec) ?\( ?['\x22$@a-z]|\beval ?\( ?(base64_decode|\$_|gzinflate|stripslashes|chr\()|\bphpinfo ?\( ?[0-9-]*\)|base64_decode ?\(['\x22$]|file_put_contents ?\(|call_user_func(_array)?\b|\$\{@?(print|eval|system|phpinfo)",
    ),
    rule(CodeInjection, 95, Q | P | T, &["invokefunction", "think\\", "think%5c", "_method=__construct", "auto_prepend"], r"invokefunction|\\?think\\+(app|container|request|template|module|view)|_method=__construct&(filter|method)"),
    rule(CodeInjection, 90, Q | T, &["-d+", "-d ", "%add", "-dallow"], r"^[?]?(-|%ad)d[ +]?[a-z_]+(=|%3d| ?on\b)|[?](-|%ad)d[ +]+(allow_url|auto_prepend|safe_mode|disable_functions)"),
    rule(CodeInjection, 96, B, &["<?php", "<?=", "<%"], r"<\?(php|=).{0,200}\b(eval|system|exec|shell_exec|passthru|assert|popen|base64_decode|gzinflate|create_function|preg_replace) ?\(|\$_(get|post|request|cookie|server) ?\[.{0,40}\] ?\(|<%.{0,80}(eval|execute)(global)? ?\(?request|<%.{0,200}runtime\.getruntime|<%.{0,200}(processbuilder|wscript\.shell)"),
    rule(CodeInjection, 75, B, &["<?php", "<%@"], r"(filename|put|name)[^>]{0,200}<\?php|<%@ ?page.{0,200}<%"),
    rule(
        TemplateInjection,
        95,
        P | Q | H | B,
        &["ognl", "#_memberaccess", "getruntime", "processbuilder", "classloader", "#context", "java.lang.", "scriptenginemanager", "freemarker.template", "@java.", "#cmd", "springframework"],
        r"@?ognl[.@]|ognlcontext|#_?memberaccess|getruntime ?\( ?\)|java\.lang\.(runtime|process|thread|class|system|string)|processbuilder ?\(|class\.(module\.)?(classloader|protectiondomain)[.\[]|#context ?\[|scriptenginemanager|freemarker\.template\.utility|%\{ ?\(?#|springframework\.(context|expression)|#cmd ?=",
    ),
    rule(TemplateInjection, 85, P | Q | H | T, &["${", "{{", "<%=", "#{", "%{", "*{", "@("], r"[$#%*@]\{ ?[0-9]{1,9} ?[*+-] ?'?[0-9]{1,9}'? ?\}|\{\{ ?'?[0-9]{1,9}'? ?[*+] ?'?[0-9]{1,9}'? ?\}\}|<%= ?[0-9]{1,9} ?[*+] ?[0-9]{1,9} ?%>|@\([0-9]{1,6}[*+][0-9]{1,6}\)|[$%]\{ ?(#|new |t\(|@|\(|applicationscope|facescontext|session\.|request\.)"),
    rule(TemplateInjection, 90, P | Q | H | B, &["__class__", "__mro__", "__subclasses__", "__globals__", "__builtins__", "__import__", "__proto__", "lipsum.", "cycler.", "_self.env"], r"__(class|mro|subclasses|globals|builtins|base)__|__import__ ?\(|__proto__(\[|\.[a-z]+=|%5b)|\{\{.{0,80}(lipsum|cycler|joiner|config|request|self)\.|_self\.env"),
    rule(JndiLookup, 97, T | P | Q | H | B, &["jndi"], r"jndi ?[:}]|j\}?n\}?d\}?i\}? ?:"),
    rule(JndiLookup, 92, T | P | Q | H | B, &["${"], r"\$\{ ?[^}]{0,12}\$\{|\$\{ ?(lower|upper|env|sys|java|base64|date|ctx|main|bundle|::-[a-z]|:-)[:}][^}]{0,60}\}.{0,60}(\$\{|ldap|rmi|dns)|\$\{::-"),
    rule(ExternalEntity, 95, B | Q, &["<!entity"], r#"<!entity[^>]{0,80}(system|public)[^>]{0,80}['"](file|https?|php|ftp|expect|netdoc|jar|gopher|data|/)"#),
    rule(ExternalEntity, 80, B | Q, &["<!entity", "<!doctype"], r"<!entity +% |<!doctype [^>\[]{0,60}\[ ?<!entity"),
    rule(ExternalEntity, 75, B | Q, &["xi:include", "xinclude"], r"xi:include[^>]{0,80}href ?="),
    rule(Deserialization, 85, Q | H | B, &["ro0ab", "o:", "a:", "ac ed", "aaeaaad", "ysoserial", "!!javax", "!!python"], r#"(^|[=: ;"])ro0abx[np]|[=;"{]o:[0-9]{1,3}:"[a-z_\\]+":[0-9]{1,3}:\{|aaeaaad/////|ysoserial|!!javax\.script|!!python/(object|name)"#),
    rule(RequestForgery, 90, T | P | Q | B, &["169.254.169.254", "metadata.google", "100.100.100.200", "[::ffff:a9fe", "2852039166", "0xa9fea9fe"], r"[=/:\x22'>@ ](169\.254\.169\.254|metadata\.google\.internal|100\.100\.100\.200|\[::ffff:a9fe|2852039166|0xa9fea9fe)"),
    rule(RequestForgery, 85, Q | B, &["gopher:", "dict:", "jar:http", "netdoc:", "tftp:", "ldap:"], r"[=\x22'>](gopher|dict|netdoc|tftp|ldap)://|[=\x22'>]jar:https?:"),
    rule(RequestForgery, 35, Q, &["127.0.0.1", "localhost", "0.0.0.0", "[::1]"], r"=https?://(127\.0\.0\.1|localhost|0\.0\.0\.0|\[::1?\])[:/]"),
    // Web shells.
    rule(WebShell, 78, P, &[".php", ".asp", ".jsp", ".cfm", ".aspx"], r"/(c99|r57|b374k|wso[0-9.]*|weevely[0-9]*|webshell|web-shell|shell[0-9]?|cmd(asp|jsp)?|cmdshell|backdoor|alfa(shell|-?rex)?|indoxploit|priv8|madspot|antichat|phpspy|jspspy|aspxspy|aspydrv|jfolder|chopper|behinder|godzilla|marijuana|simple-backdoor|php-reverse-shell|fx29sh|0byt3m1n1|gel4y|mini_?shell|bypass|up_shell)[0-9]?\.(php[0-9s]?|phtml|aspx?|jspx?|cfm)$"),
    rule(WebShell, 88, Q, &["cmd=", "exec=", "command=", "c=", "shell=", "execute=", "run=", "do=", "e=", "x=", "code=", "q="], r"(^|[?&])(cmd|exec|command|execute|c|e|shell|run|x|code|q|pass|action|0)=(cmd(\.exe)? /c|whoami|id|uname|net (user|localgroup|view|start)|ipconfig|ifconfig|cat /|dir c:|ls( -[a-z]+)?( /|$|&)|pwd|ps( -?aux?)|systeminfo|tasklist|netstat|type c:|wget |curl |certutil |powershell|/bin/|echo [a-z0-9]+$)"),
    rule(WebShell, 95, Q | B, &["eval(", "execute(", "z0=", "response.write(", "assert("], r#"=@?(eval|assert|execute)[ (]+(base64_decode|get_magic|\$_|gzinflate|request|response|@?ini_set|chr\()|=@eval|[&?]z0=[a-z0-9%+/=]{16,}|response\.write\("->\|"\)|@ini_set\("display_errors"#),
    rule(WebShell, 50, B, &["filename="], r#"filename="[^"]{1,120}\.(php[0-9s]?|phtml|phar|aspx?|ashx|jspx?|cgi|war|cfm)[.;% ]?[a-z.]{0,5}""#),
    rule(WebShell, 35, B, &["filename="], r#"filename="[^"]{1,120}\.(php[0-9s]?|phtml|aspx?|jspx?)(\.|;|%00| )[a-z]{3,4}""#),
    rule(WebShell, 82, T, &[".asp;", ".aspx;", ".php/", ".jsp/", "::$data", ".htr"], r"\.(asp|aspx);\.?[a-z]{3,4}|::\$data|\+\.htr"),
    // Weak spots that everybody is probed for.
    rule(
        ExploitPath,
        92,
        P | T,
        &["eval-stdin.php", "/gponform/diag_form", "/boaform/admin/formlogin", "_ignition/execute-solution", "wls-wsat/", "_async/asyncresponseservice", "/mgmt/tm/util/bash", "/tmui/login.jsp/", "/fgt_lang", "/vpn/../", "ctrlt/deviceupgrade", "netgear.cfg", "/setup.cgi?next_file", "/ping_response.cgi", "/shell?cd", "/level/15/exec", "default.ida?", "autodiscover.json?@", "/stok=/locale", "/cgi-bin/viewlog.asp", "/picdesc.xml", "/wanipcn.xml", "/ubi/", "/command.php", "/console/css/", "/dana-na/../", "/rest/tinymce/1/macro/preview", "/services/atlassian", "/+cscot+/", "/solr/admin/cores?", "/debug/default/view", "/hedwig.cgi", "/cgi-bin/supervisor/cloudsetup.cgi", "/cgi-bin/nobody/search.cgi", "/goform/set_limitclient", "/tos/index.php?explorer", "/cgi-bin/mainfunction.cgi", "/card_scan_decoder.php", "/ztp/cgi-bin/handler", "/sdk/weblanguage", "/device.rsp?opt=", "/cgi-bin/kerbynet", "/language/swedish", "/user/register?element_parents", "node&destination=node", "/api/jsonws/invoke", "/securityrealm/user/admin", "/jenkins/script", "/struts2-rest-showcase/orders", "/fckeditor/editor/filemanager/connectors", "/elfinder/php/connector", "/cgi-sys/defaultwebpage", "/cgi/conf.bin", "/currentsetting.htm", "/web_shell_cmd.gch", "/tmpfs/auto.jpg", "/invoker/jmxinvokerservlet", "/jmx-console/htmladaptor", "/scripts/setup.php", "w00tw00t", "/muieblackcat", "/+.htr", "/_vti_bin/_vti_aut/author.dll", "/owa/auth/x.js", "/ecp/y.js", "/proxylogon", "/hnap1/?", "/upnp/control/wanip", "/tools/nessus", "/nmaplowercheck", "/nice ports,", "/trinity.txt.bak", "/sdk/../../", "/cgi-bin/test-cgi?", "/cgi-bin/phf"],
        "",
    ),
    rule(ExploitPath, 72, P, &["/.env", "/.git/", "/.svn/", "/.aws/", "/.ssh/", "/.ds_store", "/.hg/", "/.htpasswd", "/.vscode/sftp", "/.npmrc", "/.docker/", "/.kube/", "/.bash"], r"/\.(env(\.[a-z]+)?|git/(config|head|index|logs|objects)|svn/(entries|wc\.db)|aws/(credentials|config)|ssh/[a-z_]+|ds_store|hg/hgrc|htpasswd|vscode/sftp\.json|npmrc|docker/config\.json|kube/config|bash_history|bashrc)$"),
    rule(ExploitPath, 82, P, &["wp-config", "configuration.php", "web.config", "database.yml", "settings.php", "config.php", "localsettings.php"], r"/(wp-config|configuration|config|settings|localsettings|database|db)(\.php|\.yml|\.inc)?([.~_-](bak|old|save|swp|txt|orig|backup|sql|zip|tar|tar\.gz)|~|\.php\.(bak|old|save|swp|txt|orig))[0-9]?$"),
    rule(ExploitPath, 75, P, &["/actuator/", "/druid/", "/jolokia", "/heapdump", "/phpmyadmin/", "/server-status", "/geoserver/", "/v1/agent/self", "/_cat/", "/solr/", "/hudson", "/telescope/", "/cgi-bin/"], r"^/(manage/|admin/)?actuator/(env|heapdump|gateway/routes|jolokia|trace|logfile)$|^/druid/(index\.html|login\.html|indexer/)|/jolokia/(list|exec|read)|/telescope/requests$|/cgi-bin/[a-z0-9_./-]{0,40}(/\.\.|\.\./|%2e%2e|;|\x60|\|)"),
    rule(ExploitPath, 60, P, &["/manager/html", "/phpmyadmin", "/pma/", "/myadmin", "/hnap1", "/boaform", "/goform/", "/evox/about", "/sdk", "/wp-content/plugins/", "/phpinfo.php", "/info.php", "/_profiler/", "/xampp/"], r"^/(manager/html|hnap1/?|boaform/[a-z/]+|evox/about|sdk|phpinfo\.php|_profiler/phpinfo|xampp/phpinfo\.php)$|^/goform/[a-z]+$|^/(phpmyadmin|pma|myadmin)[a-z0-9._-]*/(index\.php|scripts/setup\.php)?$"),
    rule(ExploitPath, 92, Q, &["next_file=", "xdebug_session_start", "/etc/init.d", "element_parents=", "#post_render", "name[0", "rest_route=/wp/v2/users", "author=1", "img=../", "sl_skin", "mfr_nonce"], r"next_file=[a-z]+\.cfg|element_parents=.{0,40}#|#post_render|name\[0[^&]{0,40}(;|select|insert)|img=\.\./wp-config"),
    rule(ExploitPath, 72, Q, &["xdebug_session_start"], ""),
    // Tools that name themselves.
    rule(ScanTool, 92, A, &["sqlmap", "nikto", "havij", "w3af", "wapiti", "arachni", "skipfish", "acunetix", "wpscan", "joomscan", "commix", "xsser", "nuclei", "netsparker", "appscan", "webinspect", "zaproxy", "owasp", "fuzz faster", "wfuzz", "dirbuster", "gobuster", "feroxbuster", "dirsearch", "sqlninja", "bsqlbf", "hydra", "medusa", "brutus", "openvas", "nessus", "jorgee", "zmeu", "morfeus", "muieblackcat", "whatweb", "burpcollab", "jbrofuzz", "webshag", "golismero", "vega/", "xenotix", "patator", "cobalt strike", "metasploit", "tplmap", "dalfox", "xsstrike", "gospider", "hakrawler", "sqlsus", "grendel", "n-stealth", "paros", "webcruiser", "pangolin", "absinthe", "whisker", "fimap", "uniscan", "vbulletin_scan", "cgichk"], ""),
    rule(Discovery, 75, A, &["masscan", "zgrab", "nmap scripting", "censys", "internetmeasurement", "internet-measurement", "shodan", "nmap nse", "netsystemsresearch", "expanse", "leakix", "zmap", "projectdiscovery", "httpx -", "hello, world", "hello world", "paloaltonetworks"], ""),
    rule(ScanTool, 85, H, &["acunetix", "burpcollaborator", "oastify", "interact.sh", "dnslog", "oast.", "xss.ht", "bxss.me", "r87.com", "sqlmap.org", "nessus", "x-scanner", "x-wvs-id"], ""),
    rule(ScanTool, 80, T | P | Q, &["acunetix", "burpcollaborator", "oastify.com", "interact.sh", "dnslog.cn", ".oast.", "bxss.me", "r87.com", "ceye.io", "appscan", "netsparker", "nessus", "sqlmap", "nikto", "wvs_test", "openvas", "whatweb"], r"acunetix|burpcollaborator|oastify\.com|interact\.sh|dnslog\.cn|\.oast\.(pro|live|site|online|fun|me)|bxss\.me|\.r87\.com|ceye\.io|appscan_fingerprint|netsparker|nessus[._-]|wvs_test|openvas"),
];

/// Patterns for what servers answer.
pub(super) static ANSWER: &[Pattern] = &[
    rule(
        SqlError,
        60,
        B,
        &["sql syntax", "unclosed quotation mark", "ora-0", "quoted string not properly", "mysql_fetch", "mysql_num_rows", "pg_query()", "sqlstate[", "sqlite3::", "sqlite error", "odbc", "jet database engine", "valid mysql result", "postgresql query failed", "db2 sql error", "syntax error at or near", "incorrect syntax near", "unterminated quoted string", "mysqli_"],
        r"you have an error in your sql syntax|unclosed quotation mark|ora-0[0-9]{4}|quoted string not properly terminated|warning.{0,20}mysqli?_(fetch|num|query)|pg_query\(\)|sqlstate\[|sqlite3::|\[(microsoft|mysql|postgresql)\]\[?odbc|jet database engine|not a valid mysql result|db2 sql error|syntax error at or near|incorrect syntax near|unterminated quoted string",
    ),
    rule(FileLeak, 92, B, &["root:"], r"\broot:[^:\s]{0,120}:0:0:[^:\n]{0,40}:/"),
    rule(FileLeak, 88, B, &["[boot loader]", "for 16-bit app support"], r"\[boot loader\] ?timeout=|; for 16-bit app support"),
    rule(FileLeak, 75, B, &["db_password", "aws_secret_access_key", "-----begin rsa private", "-----begin openssh private", "-----begin private key"], r"define\( ?'db_password'|db_password ?=|aws_secret_access_key ?=|-----begin (rsa |openssh |ec )?private key"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::signs::patterns::check_table;

    #[test]
    fn the_tables_build() {
        check_table(REQUEST);
        check_table(ANSWER);
    }
}
