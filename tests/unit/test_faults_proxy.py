"""The proxy of the fault runs: what it does to a connection, and that it does nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults.proxy import HOST, Proxy, proxies

#: A byte that is expected not to come is waited for so long, in seconds.
SILENCE_SECONDS = 0.2


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with proxies(["echo"]) as made:
        made["echo"].lead_to(echo)
        yield made["echo"]


async def connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(HOST, proxy.port)


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes) -> None:
    writer.write(said)
    assert await reader.readexactly(len(said)) == said


async def refused(proxy: Proxy) -> None:
    """The reset comes while connecting, or right after."""
    with pytest.raises(ConnectionResetError):
        reader, writer = await connect(proxy)
        try:
            await reader.readexactly(1)
        finally:
            writer.close()


async def test_bytes_pass_unchanged_and_in_order(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    sent = os.urandom(3_000_000)
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()


async def test_a_cut_resets_open_connections_and_takes_new_ones(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    await answered(reader, writer, b"before")
    assert proxy.cut() == 2
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    reader, writer = await connect(proxy)
    await answered(reader, writer, b"after")
    writer.close()


async def test_refused_connections_end_without_a_byte(proxy: Proxy) -> None:
    proxy.refuse(True)
    await refused(proxy)
    proxy.refuse(False)
    reader, writer = await connect(proxy)
    await answered(reader, writer, b"again")
    writer.close()


async def test_a_stalled_connection_is_silent_and_loses_nothing(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    await answered(reader, writer, b"before")
    proxy.stall(True)
    writer.write(b"held")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), SILENCE_SECONDS)
    proxy.stall(False)
    assert await reader.readexactly(4) == b"held"
    writer.close()


async def test_a_delay_holds_bytes_back(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    await answered(reader, writer, b"quick")
    proxy.delay(SILENCE_SECONDS)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await answered(reader, writer, b"slow")
    # There and back.
    assert loop.time() - began >= 2 * SILENCE_SECONDS
    proxy.delay(0)
    await answered(reader, writer, b"quick again")
    writer.close()


async def test_without_a_server_connections_end() -> None:
    with proxies(["nowhere"]) as made:
        await refused(made["nowhere"])
