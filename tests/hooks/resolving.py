"""Host names, their addresses and their forms, for tests of the way out: no test asks the DNS."""

import socket
from dataclasses import dataclass, field

import httpx

PUBLIC_V4, PUBLIC_V6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
TIMEOUT = httpx.Timeout(5)


@dataclass
class Table:
    """A resolver with fixed names: each gives its answers in turn, and repeats the last one."""

    answers: dict[str, list[list[str]]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        left = self.answers[host]
        return left.pop(0) if len(left) > 1 else left[0]


def always(**hosts: list[str]) -> Table:
    """example.com by the keyword ``example``; underscores are dots."""
    return Table({f"{name.replace('_', '.')}.com": [addresses] for name, addresses in hosts.items()})


FORMS = [
    ("http://example.com/", "scheme"),
    ("ftp://example.com/", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("gopher://example.com/", "scheme"),
    ("//example.com/", "scheme"),
    ("/only/a/path", "scheme"),
    ("", "scheme"),
    ("https://example.com:444/", "port"),
    ("https://example.com:80/", "port"),
    ("https://example.com:0/", "port"),
    ("https://example.com:6379/", "port"),
    ("https://user:password@example.com/", "userinfo"),
    ("https://user@example.com/", "userinfo"),
    ("https://:@example.com/", "userinfo"),
    ("https://example.com\\@127.0.0.1/", "userinfo"),
    ("https:///path", "host"),
    ("https:example.com", "host"),
    ("https://intranet/", "host"),
    ("https://localhost/", "host"),
    ("https://example.com./", "host"),
    ("https://.example.com/", "host"),
    ("https://a..b/", "host"),
    ("https://exa%6dple.com/", "host"),
    ("https://exa mple.com/", "host"),
    ("https://127.0.0.1%2f.example.com/", "host"),
    (f"https://{'a' * 64}.com/", "host"),
    (f"https://{'a.' * 127}com/", "host"),
    ("https://xn--a.com/", "host"),
    ("https://printer.local/", "host"),
    ("https://metadata.google.internal/", "host"),
    ("https://app.localhost/", "host"),
    ("https://nowhere.example.org/", "unresolved"),
]
LITERALS = [
    "127.0.0.1", "8.8.8.8", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]",
    "[2606:4700:4700::1111]", "[::]", "2130706433", "0x7f000001", "127.1", "0x7f.1", "017700000001", "0", "0.0",
    "127.0.0.1.", "0X7F.1", "0x", "1.2.3", "4294967295", "127.0.0.0x1", "example.1", "127\u30020\uff0e0\uff611",
]  # fmt: skip

LOCAL = Table({"localhost": [["127.0.0.1", "::1"]], "127.0.0.1": [["127.0.0.1"]], "::1": [["::1"]]})
