"""One face for both halves of the SDK, so that a test is written once and holds for both.

The asynchronous half is used as it is, on an event loop of its own thread; [`Awaited`] waits for what it returns.
"""

import asyncio
import inspect
import threading

from e2b import AsyncSandbox, Sandbox

# A call of the SDK that takes longer than this hangs.
CALL_SECONDS_MAX = 80


class Loop:
    """An event loop that runs until the tests end."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_SECONDS_MAX)


class Awaited:
    """An object of the SDK's asynchronous half whose every call is waited for."""

    def __init__(self, inner, loop):
        self._inner = inner
        self._loop = loop

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        return self._waiting(found) if callable(found) else self._wrapped(found)

    def _waiting(self, call):
        async def called(arguments, options):
            result = call(*arguments, **options)
            return await result if inspect.isawaitable(result) else result

        def wait(*arguments, **options):
            return self._wrapped(self._loop.wait(called(arguments, options)))

        return wait

    def _wrapped(self, value):
        if isinstance(value, list):
            return [self._wrapped(item) for item in value]
        of_asynchronous_half = type(value).__module__.startswith("e2b.sandbox_async")
        if of_asynchronous_half or hasattr(value, "__anext__"):
            return Awaited(value, self._loop)
        return value

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self._loop.wait(self._inner.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class Sdk:
    """`Sandbox`, or `AsyncSandbox` awaited, bound to one server and one key. What it makes it kills at the end."""

    def __init__(self, half, server, loop, key=None):
        self.half = half
        self.server = server
        self.options = server.options(key)
        self.sandbox = Sandbox if half == "sync" else Awaited(AsyncSandbox, loop)
        self._made = []

    def create(self, *arguments, **options):
        sandbox = self.sandbox.create(*arguments, **{**self.options, **options})
        self._made.append(sandbox.sandbox_id)
        return sandbox

    def connect(self, sandbox_id, **options):
        return self.sandbox.connect(sandbox_id, **{**self.options, **options})

    def info(self, sandbox_id):
        return self.sandbox.get_info(sandbox_id, **self.options)

    def kill(self, sandbox_id):
        return self.sandbox.kill(sandbox_id, **self.options)

    def set_timeout(self, sandbox_id, seconds):
        return self.sandbox.set_timeout(sandbox_id, seconds, **self.options)

    def pages(self, **options):
        return self.sandbox.list(**{**self.options, **options})

    def listed(self, **options):
        """All pages of a list as one."""
        pages, found = self.pages(**options), []
        while pages.has_next:
            found += pages.next_items()
        return found

    def end(self):
        for sandbox_id in self._made:
            self.kill(sandbox_id)
