"""Where the servers under test are: `cargo xtask` starts them and says so in a file."""

import json
import os
from dataclasses import dataclass

VARIABLE = "CASEMATE_E2B_SERVERS"


@dataclass(frozen=True)
class Server:
    """One `casemate serve`."""

    url: str
    key: str
    # Another key of the same server: what it may not see is what `key` made.
    other_key: str
    # Keys of other rights, and of little.
    auditor_key: str
    operator_key: str
    bounded_key: str
    slow_key: str

    def options(self, key=None):
        """What the SDK is given to speak to this server and no other."""
        return {"api_url": self.url, "sandbox_url": self.url, "api_key": key or self.key}


def servers():
    """All servers by name: `default`, `small`, and as root `rooted`."""
    path = os.environ.get(VARIABLE)
    if not path:
        raise RuntimeError(f"{VARIABLE} is not set: run `cargo xtask test`, or `cargo xtask e2b`")
    with open(path, encoding="utf-8") as file:
        return {name: Server(**server) for name, server in json.load(file).items()}
