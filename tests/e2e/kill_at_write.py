"""kill_at_write.py PID FOLDER SECONDS N: ends a process by SIGKILL as soon as the N-th temporary file appears in a folder.

Exit code 1 where they did not within the time; the process is ended all the same.
"""
import ctypes
import os
import select
import signal
import struct
import sys
import time

IN_CREATE = 0x100
pid, folder, until, n = int(sys.argv[1]), sys.argv[2], time.monotonic() + float(sys.argv[3]), int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init1(0)
assert fd >= 0 and libc.inotify_add_watch(fd, folder.encode(), IN_CREATE) >= 0, os.strerror(ctypes.get_errno())
print("watching", flush=True)
seen = 0
while seen < n and select.select([fd], [], [], max(0, until - time.monotonic()))[0]:
    events = os.read(fd, 65536)
    while events and seen < n:
        size = struct.unpack_from("iIII", events)[3]
        seen += events[16:16 + size].rstrip(b"\0").endswith(b".tmp")
        events = events[16 + size:]
os.kill(pid, signal.SIGKILL)
sys.exit(0 if seen >= n else 1)
