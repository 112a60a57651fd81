"""Nanoseconds an entry that reading and deleting a BPF hash map in batches takes: `batched.py ENTRIES KEY_BYTES VALUE_BYTES`.

Calls bpf(2) itself (BPF_MAP_LOOKUP_AND_DELETE_BATCH, Linux 5.6); a call handles thousands of entries, so that the time is the
kernel's, not this interpreter's.
"""

import ctypes
import errno
import platform
import struct
import sys
import time

SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
MAP_CREATE, LOOKUP_AND_DELETE_BATCH, UPDATE_BATCH = 0, 25, 26
HASH = 1
BATCH = 4096

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attribute):
    """Gives the result, or the negative error number; the attribute is changed in place."""
    result = libc.syscall(SYSCALL, command, attribute, ctypes.c_uint(len(attribute) - 1))
    return -ctypes.get_errno() if result < 0 else result


def main():
    entries, key_bytes, value_bytes = (int(word) for word in sys.argv[1:4])
    created = ctypes.create_string_buffer(struct.pack("=5I", HASH, key_bytes, value_bytes, entries, 0).ljust(120, b"\0"))
    descriptor = bpf(MAP_CREATE, created)
    if descriptor < 0:
        sys.exit(f"a hash map cannot be made: {errno.errorcode[-descriptor]}")
    keys = ctypes.create_string_buffer(b"".join(n.to_bytes(key_bytes, "little") for n in range(entries + BATCH)))
    # A batch that has no room for a whole bucket is refused, so the last one has more room than it needs.
    values = ctypes.create_string_buffer(b"\1" * ((entries + BATCH) * value_bytes))
    place = ctypes.create_string_buffer(256)

    def batch(command, first, count, at):
        attribute = ctypes.create_string_buffer(
            struct.pack(
                "=4Q2I2Q",
                ctypes.addressof(place) if first is not None else 0,
                ctypes.addressof(place),
                ctypes.addressof(keys) + at * key_bytes,
                ctypes.addressof(values) + at * value_bytes,
                count,
                descriptor,
                0,
                0,
            )
        )
        result = bpf(command, attribute)
        return result, struct.unpack_from("=I", attribute, 32)[0]

    filled, _ = batch(UPDATE_BATCH, None, entries, 0)
    if filled < 0:
        sys.exit(f"the map cannot be filled: {errno.errorcode[-filled]}")
    begin = time.perf_counter_ns()
    read, first, result = 0, None, 0
    while result == 0 and read < entries:
        result, count = batch(LOOKUP_AND_DELETE_BATCH, first, BATCH, read)
        read, first = read + count, True
    taken = time.perf_counter_ns() - begin
    if read != entries:
        sys.exit(f"{read} of {entries} entries were read ({errno.errorcode.get(-result, result)})")
    print(taken / entries)


main()
