"""Takes uploads and throws them away. Call: upload_server.py PORT [--tls PREFIX]"""

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nginx", ""

    def log_message(self, *_):
        pass

    def take(self):
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            left -= len(self.rfile.read(min(left, 65536))) or left
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST = take


server = ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Sink)
if "--tls" in sys.argv:
    prefix = sys.argv[sys.argv.index("--tls") + 1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(prefix + ".crt", prefix + ".key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
