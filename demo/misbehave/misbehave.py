"""Tries to misbehave in five ways. One line per attempt: `stopped | WHAT | HOW`, or `DONE | …` if it got through.

Arguments: files of the host that it would like to read. It refuses to run where it could do harm: with a capability,
or without `no_new_privs`.
"""

import ctypes
import errno
import os
import signal
import socket
import struct
import sys
import tempfile
import time

libc = ctypes.CDLL(None, use_errno=True)
FORKS_MAX = 2000
FILL_BYTES_MAX = 1 << 30


def say(stopped, what, how):
    print(f"{'stopped' if stopped else 'DONE'} | {what} | {how}", flush=True)


def name(number):
    return errno.errorcode.get(number, str(number))


def call(what, number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    say(result < 0, what, name(ctypes.get_errno()) if result < 0 else f"returned {result}")


def way(number, title):
    print(f"way {number}: {title}", flush=True)


def attempt(what, action):
    try:
        say(False, what, action())
    except OSError as error:
        say(True, what, name(error.errno) if error.errno is not None else str(error))


def break_the_walls():
    buffer = ctypes.create_string_buffer(256)
    bpf_hash_map = ctypes.create_string_buffer(struct.pack("=4I", 1, 4, 4, 1), 72)
    perf_cpu_clock = ctypes.create_string_buffer(struct.pack("=2IQ", 1, 64, 0), 64)
    with tempfile.TemporaryDirectory() as place:
        call("mount a tmpfs", 165, b"none", place.encode(), b"tmpfs", 0, None)
    call("make a user namespace", 272, 0x10000000)
    call("trace its parent", 101, 16, os.getppid(), 0, 0)
    call("make a BPF map", 321, 0, bpf_hash_map, 72)
    call("set up io_uring", 425, 8, buffer)
    call("count events of the kernel", 298, perf_cpu_clock, 0, -1, -1, 0)


def reach_the_network():
    attempt("open a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    attempt("open a packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    attempt("connect to the internet", lambda: socket.create_connection(("192.0.2.1", 443), timeout=3))
    attempt("ask the cloud for its keys", lambda: socket.create_connection(("169.254.169.254", 80), timeout=3))
    attempt("send a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))


def read_what_is_not_its_own(files):
    for path in ["/etc/shadow", "/proc/1/root/etc/shadow", "/proc/kcore", *files]:
        attempt(f"read {path}", lambda: open(path, "rb").read(64))


def fork_without_end():
    children, how = [], f"{FORKS_MAX} processes"
    try:
        while len(children) < FORKS_MAX:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    except OSError as error:
        how = f"{name(error.errno)} after {len(children)} processes"
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    say(len(children) < FORKS_MAX, "fork without end", how)


def fill_the_disk():
    path, written, how, block = os.path.expanduser("~/filler"), 0, "all of it", bytes(1 << 20)
    try:
        with open(path, "wb", buffering=0) as file:
            while written < FILL_BYTES_MAX:
                written += file.write(block)
    except OSError as error:
        how = f"{name(error.errno)} after {written >> 20} MiB"
    os.unlink(path)
    say(written < FILL_BYTES_MAX, "fill the disk", how)


def refuse_to_do_harm():
    with open("/proc/self/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    if int(status["CapEff"], 16) or status["NoNewPrivs"] != "1":
        sys.exit("this program may only run inside a sandbox")


refuse_to_do_harm()
way(1, "break the walls")
break_the_walls()
way(2, "reach the network")
reach_the_network()
way(3, "read what is not its own")
read_what_is_not_its_own(sys.argv[1:])
way(4, "use up the processes")
fork_without_end()
way(5, "use up the disk")
fill_the_disk()
print("still alive", flush=True)
