"""A server that asks for user and password over Telnet, SMTP, POP3 or VNC and knows some accounts.

Call: login_server.py --kind KIND --port PORT --delay-ms MS USER:PASSWORD...
"""

import argparse
import asyncio
import base64
import os


async def line_of(reader):
    data = await asyncio.wait_for(reader.readline(), 60)
    if not data:
        raise EOFError
    return data.rstrip(b"\r\n").decode("latin-1")


def without_telnet_options(text):
    out, data = bytearray(), text.encode("latin-1")
    at = 0
    while at < len(data):
        if data[at] == 0xFF and at + 2 < len(data) + 1:
            at += 3
            continue
        if data[at] != 0:
            out.append(data[at])
        at += 1
    return out.decode("latin-1").strip()


class Server:
    def __init__(self, args):
        self.delay = args.delay_ms / 1000
        self.accounts = dict(account.split(":", 1) for account in args.accounts)

    async def known(self, user, password):
        if self.accounts.get(user) == password:
            return True
        await asyncio.sleep(self.delay)
        return False

    async def telnet(self, reader, writer):
        # WILL ECHO, WILL SUPPRESS-GO-AHEAD, DO NAWS: what BusyBox offers.
        writer.write(b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x1f\r\n")
        for _ in range(3):
            writer.write(b"router login: ")
            user = without_telnet_options(await line_of(reader))
            writer.write(user.encode() + b"\r\nPassword: ")
            password = without_telnet_options(await line_of(reader))
            writer.write(b"\r\n")
            if await self.known(user, password):
                writer.write(b"\r\nBusyBox v1.35.0 built-in shell (ash)\r\n\r\n~ # ")
                while True:
                    command = without_telnet_options(await line_of(reader))
                    writer.write(command.encode() + b"\r\n-sh: " + command.encode()[:40] + b": not found\r\n~ # ")
            writer.write(b"Login incorrect\r\n")

    async def smtp(self, reader, writer):
        writer.write(b"220 mail ESMTP ready\r\n")
        wrong = 0
        while wrong < 5:
            line = await line_of(reader)
            verb = line.upper()
            if verb.startswith("EHLO"):
                writer.write(b"250-mail\r\n250-SIZE 20480000\r\n250-8BITMIME\r\n250 AUTH LOGIN PLAIN\r\n")
            elif verb.startswith("AUTH LOGIN"):
                words = line.split()
                if len(words) > 2:
                    user = words[2]
                else:
                    writer.write(b"334 VXNlcm5hbWU6\r\n")
                    user = await line_of(reader)
                writer.write(b"334 UGFzc3dvcmQ6\r\n")
                wrong += await self.answer(writer, user, await line_of(reader))
            elif verb.startswith("AUTH PLAIN"):
                words = line.split()
                if len(words) > 2:
                    text = words[2]
                else:
                    writer.write(b"334 \r\n")
                    text = await line_of(reader)
                parts = base64.b64decode(text + "===").decode("latin-1").split("\0")
                parts += ["", ""]
                wrong += await self.answer(writer, parts[1], parts[2], coded=False)
            elif verb.startswith("QUIT"):
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"250 ok\r\n")

    async def answer(self, writer, user, password, coded=True):
        if coded:
            user, password = (base64.b64decode(text + "===").decode("latin-1") for text in (user, password))
        if await self.known(user, password):
            writer.write(b"235 2.7.0 Authentication successful\r\n")
            return 0
        writer.write(b"535 5.7.8 Error: authentication failed\r\n")
        return 1

    async def pop3(self, reader, writer):
        writer.write(b"+OK POP3 ready\r\n")
        user, wrong = "", 0
        while wrong < 3:
            verb, _, rest = (await line_of(reader)).partition(" ")
            verb = verb.upper()
            if verb == "USER":
                user = rest
                writer.write(b"+OK\r\n")
            elif verb == "PASS":
                if await self.known(user, rest):
                    writer.write(b"+OK Logged in.\r\n")
                else:
                    wrong += 1
                    writer.write(b"-ERR [AUTH] Authentication failed.\r\n")
            elif verb == "CAPA":
                writer.write(b"+OK\r\nUSER\r\nUIDL\r\n.\r\n")
            elif verb == "STAT":
                writer.write(b"+OK 3 4711\r\n")
            elif verb == "QUIT":
                writer.write(b"+OK Logging out.\r\n")
                return
            else:
                writer.write(b"-ERR Unknown command.\r\n")

    async def vnc(self, reader, writer):
        writer.write(b"RFB 003.008\n")
        await asyncio.wait_for(reader.readexactly(12), 30)
        writer.write(b"\x01\x02")
        await asyncio.wait_for(reader.readexactly(1), 30)
        writer.write(os.urandom(16))
        await asyncio.wait_for(reader.readexactly(16), 30)
        # No password is right: this screen is shown to nobody.
        await asyncio.sleep(self.delay)
        reason = b"Authentication failed"
        writer.write(b"\x00\x00\x00\x01" + len(reason).to_bytes(4, "big") + reason)

    def talk(self, kind):
        speak = getattr(self, kind)

        async def session(reader, writer):
            try:
                await speak(reader, writer)
                await writer.drain()
            except (OSError, EOFError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError):
                pass
            finally:
                writer.close()

        return session


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["telnet", "smtp", "pop3", "vnc"], required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("accounts", nargs="*")
    args = parser.parse_args()
    await asyncio.start_server(Server(args).talk(args.kind), None, args.port, backlog=256)
    await asyncio.Event().wait()


asyncio.run(main())
