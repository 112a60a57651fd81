"""Commands over HTTP as WinRM has them: NTLM handshake, shell, commands, output. The server makes up what it says and runs nothing.

Call: winrm.py serve | winrm.py use --hosts H,H --commands N --pause-ms MS --seed N
"""

import argparse
import base64
import http.client
import os
import random
import struct
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SOAP = ('<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:wsman="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"><s:Header><wsa:Action>http://schemas.microsoft.com/wbem/wsman/1/windows/shell/{action}'
        '</wsa:Action><wsa:MessageID>uuid:{id}</wsa:MessageID><wsman:ResourceURI>http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd</wsman:ResourceURI>'
        "</s:Header><s:Body>{body}</s:Body></s:Envelope>")
COMMANDS = ["whoami /all", "ipconfig /all", "net user /domain", "net group \"Domain Admins\" /domain", "tasklist /svc", "systeminfo", "reg query HKLM\\SAM",
            "powershell -enc SQBFAFgA", "dir C:\\Users /s", "vssadmin list shadows", "nltest /dclist:", "quser"]


def ntlm(kind):
    head = b"NTLMSSP\x00" + struct.pack("<I", kind)
    return base64.b64encode(head + os.urandom({1: 28, 2: 180, 3: 300}[kind])).decode()


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Microsoft-HTTPAPI/2.0", ""
    trusted = False

    def log_message(self, *_):
        pass

    def do_POST(self):
        said = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = base64.b64decode(self.headers.get("Authorization", "").rpartition(" ")[2] or b"")
        if not self.trusted and token[8:12] != b"\x03\x00\x00\x00":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Negotiate " + (ntlm(2) if token else ""))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.trusted = True
        size = random.randint(300, 6000) if b"Receive" in said else 200
        body = SOAP.format(action="Response", id=uuid.uuid4(), body=f"<rsp>{base64.b64encode(os.urandom(size)).decode()}</rsp>").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/soap+xml;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def use(args):
    rng = random.Random(args.seed)
    for host in args.hosts.split(","):
        client = http.client.HTTPConnection(host, 5985, timeout=5)

        def post(action, body, token=None):
            text = SOAP.format(action=action, id=uuid.UUID(int=rng.getrandbits(128)), body=body)
            headers = {"Content-Type": "application/soap+xml;charset=UTF-8", "User-Agent": "Microsoft WinRM Client"}
            if token:
                headers["Authorization"] = "Negotiate " + token
            client.request("POST", "/wsman", text if token is None or "Create" in action else "", headers)
            client.getresponse().read()

        try:
            post("Negotiate", "", ntlm(1))
            post("Create", "<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams></rsp:Shell>", ntlm(3))
            for _ in range(args.commands):
                post("Command", f"<rsp:Command>{rng.choice(COMMANDS)}</rsp:Command>")
                post("Receive", "<rsp:Receive/>")
                time.sleep(rng.expovariate(1000 / args.pause_ms))
            post("Delete", "")
        except (OSError, http.client.HTTPException) as error:
            print(host, type(error).__name__, error)
        client.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve", "use"])
    parser.add_argument("--hosts", default="")
    parser.add_argument("--commands", type=int, default=5)
    parser.add_argument("--pause-ms", type=float, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.role == "serve":
        ThreadingHTTPServer(("0.0.0.0", 5985), Server).serve_forever()
    else:
        use(args)


main()
