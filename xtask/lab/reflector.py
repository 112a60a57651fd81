"""A UDP server that answers small questions with long answers: NTP monlist, SSDP, memcached, CLDAP. Call: reflector.py KIND PORT"""

import os
import socket
import struct
import sys

kind, port = sys.argv[1], int(sys.argv[2])


def ntp(_):
    # Mode 7, MON_GETLIST_1: packets of six hosts of 72 bytes each.
    return [b"\xd7\x00\x03\x2a" + struct.pack("!HH", 6, 72) + os.urandom(432) for _ in range(5)]


def ssdp(_):
    kinds = ("upnp:rootdevice", "urn:schemas-upnp-org:device:InternetGatewayDevice:1", "urn:schemas-upnp-org:service:WANIPConnection:1",
             "urn:schemas-upnp-org:device:WANDevice:1", "urn:schemas-upnp-org:service:Layer3Forwarding:1")
    return [(f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLOCATION: http://192.168.0.1:1900/igd.xml\r\n"
             f"SERVER: Linux/3.10 UPnP/1.0 IGD/1.00\r\nST: {kind}\r\nUSN: uuid:9f0865b3-f5da-4ad5-85b7-7404637fdf37::{kind}\r\n\r\n").encode() for kind in kinds]


def memcached(question):
    text = b"".join(b"STAT item%d %s\r\n" % (number, os.urandom(24).hex().encode()) for number in range(60)) + b"END\r\n"
    parts = [text[at:at + 1400] for at in range(0, len(text), 1400)]
    return [question[:2] + struct.pack("!HHH", number, len(parts), 0) + part for number, part in enumerate(parts)]


def cldap(_):
    body = os.urandom(900).hex().encode()
    return [b"\x30\x84" + struct.pack("!I", len(body)) + body[:1400]]


answers = {"ntp": ntp, "ssdp": ssdp, "memcached": memcached, "cldap": cldap}[kind]
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", port))
while True:
    question, peer = server.recvfrom(2048)
    for answer in answers(question):
        server.sendto(answer, peer)
