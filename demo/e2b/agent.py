"""An agent's everyday work with the official E2B SDK, which knows nothing of Casemate.

    agent.py ORDERS TOTALS

uploads the CSV file ORDERS, and leaves what was computed of it in TOTALS. Where the server is and the key to it are in
the environment, as for any program that uses E2B: E2B_API_URL, E2B_SANDBOX_URL, E2B_API_KEY.
"""

import sys
import time
from pathlib import Path

from e2b import CommandExitException, Sandbox, SandboxQuery, TimeoutException

ORDERS, TOTALS = map(Path, sys.argv[1:])
SCRIPT = Path(__file__).with_name("totals.py")
METADATA = {"job": "totals", "for": "größte Kundin & co"}


def say(text):
    print(text, flush=True)


def compute(sandbox):
    """A file goes in, a script runs over it, a file comes out."""
    sandbox.files.write_files(
        [
            {"path": "orders.csv", "data": ORDERS.read_bytes()},
            {"path": "totals.py", "data": SCRIPT.read_bytes()},
        ]
    )
    said = sandbox.commands.run("python3 totals.py").stdout.strip()
    TOTALS.write_bytes(sandbox.files.read("totals.csv", format="bytes"))
    say(f"uploaded {ORDERS.name}, ran totals.py: {said}; downloaded totals.csv")


def fail(sandbox):
    """A command that fails says how, and what it complained of."""
    try:
        sandbox.commands.run("sort --no-such-option orders.csv")
    except CommandExitException as failed:
        say(f"a command that fails: exit code {failed.exit_code}, {failed.stderr.splitlines()[0]}")
        return
    raise SystemExit("a command that fails was reported as a success")


def overrun(sandbox):
    """A command past its time is ended, here and there."""
    start = time.monotonic()
    try:
        sandbox.commands.run("exec sleep 600", timeout=1)
    except TimeoutException:
        say(f"a command past its timeout of 1 s: ended after {time.monotonic() - start:.1f} s")
    else:
        raise SystemExit("a command past its timeout went on")
    while sandbox.commands.list():
        if time.monotonic() - start > 5:
            raise SystemExit("a command past its timeout still runs inside")
        time.sleep(0.05)


def talk(sandbox):
    """A process in the background is spoken to, and heard as it speaks."""
    adder = "total = 0\nwhile True:\n    total += int(input())\n    print('sum', total, flush=True)"
    process = sandbox.commands.run(f'exec python3 -c "{adder}"', background=True, stdin=True)
    heard = []
    for number in (20, 22):
        sandbox.commands.send_stdin(process.pid, f"{number}\n")
        for stdout, _, _ in process:
            heard.append(stdout.strip())
            break
    if heard != ["sum 20", "sum 42"]:
        raise SystemExit(f"the process in the background said {heard}")
    if not process.kill() or sandbox.commands.kill(process.pid):
        raise SystemExit("the process in the background was not ended once")
    say(f"a process in the background, spoken to on its stdin: {', '.join(heard)}; then killed")


def find(sandbox):
    """A sandbox is found by what was said of it."""
    found = Sandbox.list(query=SandboxQuery(metadata=METADATA)).next_items()
    if [one.sandbox_id for one in found] != [sandbox.sandbox_id] or found[0].metadata != METADATA:
        raise SystemExit(f"the list has {found}")
    say(f"found in the list by its metadata: {found[0].metadata}")


def main():
    sandbox = Sandbox.create(timeout=120, metadata=METADATA)
    say(f"created {sandbox.sandbox_id}, with the metadata {METADATA}")
    compute(sandbox)
    fail(sandbox)
    overrun(sandbox)
    talk(sandbox)
    find(sandbox)
    if not sandbox.kill() or sandbox.kill() or sandbox.is_running():
        raise SystemExit("the sandbox was not ended once")
    say("killed the sandbox; a second kill finds none")


main()
