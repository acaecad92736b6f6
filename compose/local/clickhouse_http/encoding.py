"""Compressed bodies: HTTP's Content-Encoding and ClickHouse's own framing (`compress=1`)."""

from __future__ import annotations

import struct
from typing import Protocol

import cramjam

# HTTP's names; the order is the order of preference for answers: on one machine cheap wins.
_CODECS = {
    "lz4": cramjam.lz4,
    "zstd": cramjam.zstd,
    "gzip": cramjam.gzip,
    "br": cramjam.brotli,
    "deflate": cramjam.zlib,
    "xz": cramjam.xz,
    "bz2": cramjam.bzip2,
}
# Where the library's own level is made for files that are packed once and read often.
_LEVELS = {"br": 3, "gzip": 3, "deflate": 3}

# One frame of ClickHouse's framing: checksum, then method, size with this header, size without.
_FRAME = struct.Struct("<BII")
_CHECKSUM_BYTES = 16
_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02
FRAME_SIZE_BYTES_MAX = 1 << 20


class BadEncoding(Exception):
    """A body is not what its Content-Encoding, or its framing, says; the message says how."""


class Encoder(Protocol):
    """Compresses a body piece by piece."""

    def feed(self, data: bytes) -> bytes:
        """Take a piece and give what can be sent by now."""

    def end(self) -> bytes:
        """Give the rest."""


class Plain:
    """No compression."""

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b""


class HttpEncoder:
    """A Content-Encoding."""

    def __init__(self, name: str) -> None:
        level = _LEVELS.get(name)
        compressor = _CODECS[name].Compressor
        self._compressor = compressor() if level is None else compressor(level)

    def feed(self, data: bytes) -> bytes:
        self._compressor.compress(data)
        return bytes(self._compressor.flush())

    def end(self) -> bytes:
        return bytes(self._compressor.finish())


class Frames:
    """ClickHouse's own framing with LZ4, as asked for with `compress=1`."""

    def feed(self, data: bytes) -> bytes:
        # Part of the `local` extra, as the engine is.
        from clickhouse_cityhash.cityhash import CityHash128

        frames = []
        for start in range(0, len(data), FRAME_SIZE_BYTES_MAX):
            piece = data[start : start + FRAME_SIZE_BYTES_MAX]
            packed = bytes(cramjam.lz4.compress_block(piece, store_size=False))
            frame = _FRAME.pack(_LZ4, len(packed) + _FRAME.size, len(piece)) + packed
            # The low half of the hash comes first, each half little-endian.
            frames += [CityHash128(frame).to_bytes(_CHECKSUM_BYTES, "little"), frame]
        return b"".join(frames)

    def end(self) -> bytes:
        return b""


def choose(accepted: str) -> str | None:
    """The Content-Encoding for an answer, given the request's Accept-Encoding."""
    names = {each.split(";")[0].strip() for each in accepted.split(",")}
    return next((name for name in _CODECS if name in names), None)


def decode(data: bytes, encoding: str) -> bytes:
    """Undo a Content-Encoding; raises BadEncoding."""
    if encoding in ("", "identity"):
        return data
    if encoding not in _CODECS:
        raise BadEncoding(f"unknown Content-Encoding '{encoding}'")
    try:
        return bytes(_CODECS[encoding].decompress(data))
    except cramjam.DecompressionError as error:
        raise BadEncoding(f"the body is not {encoding}: {error}") from error


def unframe(data: bytes) -> bytes:
    """Undo ClickHouse's own framing; raises BadEncoding.

    Checksums are not verified: on one machine TCP's do.
    """
    pieces = []
    at = 0
    while at < len(data):
        if len(data) - at < _CHECKSUM_BYTES + _FRAME.size:
            raise BadEncoding("the last compressed block is cut off")
        at += _CHECKSUM_BYTES
        method, packed_size, size = _FRAME.unpack_from(data, at)
        packed = data[at + _FRAME.size : at + packed_size]
        if len(packed) != packed_size - _FRAME.size:
            raise BadEncoding("the last compressed block is cut off")
        pieces.append(_unpack(method, packed, size))
        at += packed_size
    return b"".join(pieces)


def _unpack(method: int, packed: bytes, size: int) -> bytes:
    try:
        if method == _LZ4:
            return bytes(cramjam.lz4.decompress_block(packed, output_len=size))
        if method == _ZSTD:
            return bytes(cramjam.zstd.decompress(packed))
    except cramjam.DecompressionError as error:
        raise BadEncoding(f"a compressed block is damaged: {error}") from error
    if method == _NONE:
        return packed
    raise BadEncoding(f"unknown compression method {method:#x}")
