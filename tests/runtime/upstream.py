"""A stand-in for web or realtime behind the front: says what it got, streams, echoes, and notices who goes away."""

import asyncio
import json
import threading
from pathlib import Path

__all__ = ["Upstream"]


class Upstream:
    """An HTTP/1.1 server on a Unix socket, in a thread of its own."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.gone = threading.Event()
        self.next_part, self.holds = threading.Event(), threading.Event()
        self.dropped = 0
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Upstream":
        self._thread.start()
        assert self._up.wait(10)
        return self

    def stop(self) -> None:
        """Refuse connections from now on and end those that there are."""

        def end() -> None:
            self._server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_later(0.05, self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)

    def _run(self) -> None:
        async def serve() -> None:
            self._server = await asyncio.start_unix_server(self._connection, self.path, limit=2**20)
            self._up.set()

        self._loop.create_task(serve())
        self._loop.run_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        path = first.split(" ")[1]
        length = int(headers.get("content-length", 0))
        size = 0
        while size < length:
            size += len(await reader.read(min(2**18, length - size)))
        if headers.get("upgrade", "").lower() == "websocket":
            await self._echo(headers, reader, writer)
        elif path == "/drop":
            self.dropped += 1
            raise ConnectionError
        elif path.endswith("?hold"):
            self.holds.set()
            await self._loop.run_in_executor(None, self.next_part.wait, 20)
            await self._tell(path, headers, size, lines, writer)
        elif path.endswith("/stream"):
            await self._stream(reader, writer)
        else:
            await self._tell(path, headers, size, lines, writer)

    async def _tell(
        self, path: str, headers: dict[str, str], size: int, lines: list[str], writer: asyncio.StreamWriter
    ) -> None:
        facts = {
            "by": self.name, "at": self.path.name, "path": path, "headers": headers, "size": size, "lines": lines,
        }  # fmt: skip
        body = json.dumps(facts).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Server-sent events: one at once, the next when the test says so; then until the client goes."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"data: one\n\n", b"data: two\n\n"):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            await self._loop.run_in_executor(None, self.next_part.wait, 20)
        if not await reader.read(1):
            self.gone.set()
        raise ConnectionError

    async def _echo(self, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from websockets.utils import accept_key

        accept = accept_key(headers["sec-websocket-key"]).encode()
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while True:
            opcode, length = await reader.readexactly(2)
            mask = await reader.readexactly(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await reader.readexactly(length & 0x7F)))
            writer.write(bytes([opcode, len(data)]) + data)
            await writer.drain()
            if opcode & 0x0F == 8:
                # The server ends the connection, which its client waits for.
                raise ConnectionError
