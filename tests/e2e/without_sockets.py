"""Run expkit in a process in which nothing can reach out; attempts are written to sockets.txt."""

import runpy
import sys
from pathlib import Path

BLOCKED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
attempts = Path("sockets.txt")
attempts.write_text("")


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: note the attempt, then fail it."""
    if event in BLOCKED:
        with attempts.open("a") as file:
            file.write(f"{event} {arguments}\n")
        raise OSError(f"{event} is blocked")


sys.addaudithook(refuse)
runpy.run_module("expkit", run_name="__main__")
