#!/usr/bin/python3
"""pass_sockets.py FILE UNIX-PATH COMMAND...: becomes COMMAND with two listening sockets passed as systemd passes them:
a free loopback port, whose number goes into FILE, and UNIX-PATH."""
import os
import socket
import sys

port, path = socket.socket(), socket.socket(socket.AF_UNIX)
port.bind(("127.0.0.1", 0))
port.listen(64)
path.bind(sys.argv[2])
path.listen(64)
with open(sys.argv[1], "w") as file:
    file.write(str(port.getsockname()[1]))
# Out of the way of 3 and 4 first.
fds = [os.dup2(s.fileno(), 20 + i) for i, s in enumerate((port, path))]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[3], sys.argv[3:])
