"""Requests as bytes: what the SDK would not send, and what it would not show of the answer."""

import base64
import json
import socket
import struct
import time
from urllib.parse import urlsplit

import httpx

ENVD_PORT = "49983"
END_OF_STREAM = 0x02


class Raw:
    """HTTP to one server, without an SDK's retries, redirects and headers."""

    def __init__(self, server):
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=30, trust_env=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def control(self, method, path, key=None, **options):
        """A request to the control plane with a key: the server's own, unless another is given (or "" for none)."""
        headers = dict(options.pop("headers", {}))
        key = self.server.key if key is None else key
        if key:
            headers["X-API-KEY"] = key
        return self.http.request(method, path, headers=headers, **options)

    def data(self, sandbox, method, path, token=None, **options):
        """A request to a sandbox."""
        headers = {**routing(sandbox, token), **options.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **options)

    def unary(self, sandbox, procedure, message, **options):
        """A unary RPC: `process.Process/List`."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        headers = {"Content-Type": "application/json", "Connect-Protocol-Version": "1"}
        headers.update(options.pop("headers", {}))
        return self.data(sandbox, "POST", f"/{procedure}", content=body, headers=headers, **options)

    def stream(self, sandbox, procedure, message, **options):
        """A streaming RPC to its end: the answer and its messages."""
        response = self.data(sandbox, "POST", f"/{procedure}", content=frame(message), **streaming(options))
        return response, frames(response.content)

    def opened(self, sandbox, procedure, message, **options):
        """A streaming RPC whose messages are read as they come."""
        headers = {**routing(sandbox, None), **streaming(options).pop("headers")}
        return self.http.stream("POST", f"/{procedure}", content=frame(message), headers=headers, timeout=30)

    def bytes(self, text, wait_seconds=10.0):
        """What is answered to these bytes, until the server closes or nothing comes any more."""
        address = urlsplit(self.server.url)
        with socket.create_connection((address.hostname, address.port), timeout=wait_seconds) as connection:
            try:
                connection.sendall(text)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return received(connection, wait_seconds)


def received(connection, wait_seconds):
    answer, end = b"", time.monotonic() + wait_seconds
    while time.monotonic() < end:
        connection.settimeout(max(0.01, end - time.monotonic()))
        try:
            piece = connection.recv(65536)
        except (TimeoutError, ConnectionResetError):
            break
        if not piece:
            break
        answer += piece
        if whole(answer):
            break
    return answer


def whole(answer):
    """Whether an answer with a length is there in full."""
    head, gap, body = answer.partition(b"\r\n\r\n")
    if not gap:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return False


def routing(sandbox, token):
    """The headers that lead to a sandbox. A token of "" is left out."""
    token = sandbox._envd_access_token if token is None else token
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": ENVD_PORT}
    if token:
        headers["X-Access-Token"] = token
    return headers


def streaming(options):
    headers = {"Content-Type": "application/connect+json", "Connect-Protocol-Version": "1"}
    headers.update(options.pop("headers", {}))
    return {**options, "headers": headers}


def frame(message, flags=0):
    """One frame: flags, length, payload."""
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">BI", flags, len(payload)) + payload


def frames(body):
    """The frames of a streamed answer: `(flags, message)`, the last one the end of the stream."""
    found = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        payload = body[5 : 5 + length]
        assert len(payload) == length, "a frame is cut off"
        found.append((flags, json.loads(payload)))
        body = body[5 + length :]
    return found


def ended_with(stream):
    """The end frame of a streamed answer, which must be its last and only one."""
    assert [flags for flags, _ in stream].count(END_OF_STREAM) == 1, stream
    assert stream[-1][0] == END_OF_STREAM
    return stream[-1][1]


def events(stream):
    """The process events of a streamed answer, keepalives left out."""
    found = [message["event"] for flags, message in stream if flags == 0]
    return [event for event in found if "keepalive" not in event]


def output(stream, name="stdout"):
    """The bytes that a process wrote."""
    pieces = [event["data"].get(name, "") for event in events(stream) if "data" in event]
    return b"".join(base64.b64decode(piece) for piece in pieces)


def bash(command, **more):
    """What the SDK sends to start a command."""
    process = {"cmd": "/bin/bash", "args": ["-l", "-c", command], **more.pop("process", {})}
    return {"process": process, "stdin": False, **more}


def each(cases, check):
    """Checks every case, and tells of all that fail."""
    failed = []
    for case in cases:
        try:
            check(case)
        except Exception as error:  # noqa: BLE001
            failed.append(f"{case}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)


def is_error(response, status, *words):
    """An error of the control plane: JSON with the status as code, and these words in its message."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"].split(";")[0] == "application/json"
    body = response.json()
    assert set(body) <= {"code", "message", "error_code"}, body
    assert body["code"] == status
    for word in words:
        assert word in body["message"], body
    return True


def is_connect_error(response, status, code, *words):
    """An error of a unary RPC."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"].split(";")[0] == "application/json"
    body = response.json()
    assert body["code"] == code, body
    for word in words:
        assert word in body["message"], body
    return True
