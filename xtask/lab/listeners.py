"""Listens on TCP and UDP ports as a machine with some services does: greets, answers a request with a line, closes after a while.

Call: listeners.py WORD... where a word is PORT, PORT:KIND or udp:PORT; kinds are http, banner, echo, silent.
"""

import asyncio
import socket
import sys

BANNERS = {
    21: b"220 (vsFTPd 3.0.3)\r\n",
    22: b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    23: b"\xff\xfd\x18\xff\xfd\x20login: ",
    25: b"220 mail ESMTP Postfix\r\n",
    110: b"+OK Dovecot ready.\r\n",
    143: b"* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n",
    3306: b"J\x00\x00\x00\n5.5.5-10.11.6-MariaDB\x00\x08\x00\x00\x00abcdefgh\x00\xfe\xf7-\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x00",
    5900: b"RFB 003.008\n",
}
PAGE = b"<html><head><title>It works</title></head><body><p>It works!</p></body></html>\n"


def kind_of(port, kind):
    if kind:
        return kind
    if port in BANNERS:
        return "banner"
    return "http" if port in (80, 8080, 8000, 8443, 443, 631, 5000, 9000) else "silent"


async def serve(port, kind):
    async def talk(reader, writer):
        try:
            if kind == "banner":
                writer.write(BANNERS.get(port, b"ready\r\n"))
                await writer.drain()
            data = await asyncio.wait_for(reader.read(4096), 20)
            if data and kind == "http":
                head = b"HTTP/1.1 200 OK\r\nServer: Apache/2.4.57 (Debian)\r\nContent-Type: text/html\r\nConnection: close\r\n"
                writer.write(head + b"Content-Length: %d\r\n\r\n" % len(PAGE) + (b"" if data.startswith(b"HEAD") else PAGE))
            elif data and kind == "banner":
                writer.write(b"500 unknown command\r\n")
            elif data and kind == "echo":
                writer.write(data)
            await writer.drain()
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    await asyncio.start_server(talk, None, port, backlog=512)
    return port


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        if data:
            self.transport.sendto(data[:64], peer)


async def main():
    for word in sys.argv[1:]:
        if word.startswith("udp:"):
            loop = asyncio.get_running_loop()
            both = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            both.bind(("::", int(word[4:])))
            await loop.create_datagram_endpoint(Echo, sock=both)
        else:
            port, _, kind = word.partition(":")
            await serve(int(port), kind_of(int(port), kind))
    await asyncio.Event().wait()


asyncio.run(main())
