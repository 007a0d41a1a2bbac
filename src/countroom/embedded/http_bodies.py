"""Bodies of HTTP requests as pieces: chunked or not, compressed or not, never whole in memory."""

import sys
import zlib
from collections.abc import Callable, Iterator
from email.message import Message
from io import BufferedIOBase
from typing import Final, Protocol

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES: Final = 1 << 20


class BadBody(Exception):  # noqa: N818 - it answers a request
    """A body that cannot be read: wrong chunks, an unknown or broken compression."""


class _Frame(Protocol):
    """One frame of a compressed body."""

    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""

    @property
    def unused_data(self) -> bytes | None:
        """What came after its end."""

    def decompress(self, data: bytes, /) -> bytes:
        """Take bytes, give bytes."""


FRAMES: Final[dict[str, Callable[[], _Frame]]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": zlib.decompressobj,
}


def pieces(stream: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    """Give the body that belongs to these headers, decoded, piece by piece.

    Raises:
        BadBody: when it cannot be read.
    """
    raw = _chunked(stream) if "chunked" in headers.get("Transfer-Encoding", "").lower() else _counted(stream, headers)
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return raw
    if encoding not in FRAMES:
        raise BadBody(f"Content-Encoding {encoding} is not known; use {', '.join(FRAMES)}.")
    return _decompressed(raw, FRAMES[encoding])


def _exactly(stream: BufferedIOBase, left: int) -> Iterator[bytes]:
    while left:
        piece = stream.read(min(left, PIECE_BYTES))
        if not piece:
            raise BadBody("The body ended early.")
        left -= len(piece)
        yield piece


def _counted(stream: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    text = headers.get("Content-Length") or "0"
    if not text.isascii() or not text.isdigit():
        raise BadBody("Content-Length is not a number.")
    yield from _exactly(stream, int(text))


def _chunked(stream: BufferedIOBase) -> Iterator[bytes]:
    while True:
        head = stream.readline(1024).split(b";")[0].strip()
        try:
            left = int(head, 16)
        except ValueError:
            raise BadBody("A chunk has no length.") from None
        if left == 0:
            while stream.readline(1024).strip():
                pass  # trailers
            return
        yield from _exactly(stream, left)
        stream.readline(8)


def _decompressed(raw: Iterator[bytes], new_frame: Callable[[], _Frame]) -> Iterator[bytes]:
    """Read every frame: clients send one for each block, and a decoder that stops after one loses data silently."""
    frame = new_frame()
    is_inside = False
    for compressed in raw:
        rest = compressed
        while rest:
            try:
                piece = frame.decompress(rest)
            except (RuntimeError, zlib.error, zstd.ZstdError) as error:
                raise BadBody(f"The compressed body is broken: {error}") from error
            if piece:
                yield piece
            is_inside = not frame.eof
            rest = b""
            if not is_inside:
                rest = frame.unused_data or b""
                frame = new_frame()
    if is_inside:
        raise BadBody("The compressed body ended in the middle of a frame.")
