"""Damaged and hostile copies of whatever a reader reads; the same seed gives the same copy."""

import random
import re
import zlib

NUMBERS = (
    *(b"0", b"-1", b"-0.0", b"1e308", b"1e999", b"-1e999", b"nan", b"NaN", b"inf", b"Infinity"),
    *(b"9" * 20, b"9" * 5000, b"0x10", b"1_0", b"1,5", b"\xd9\xa3", b"1e-400", b"2147483648"),
)
PATHS = (
    *(
        b"../../secret",
        b"../secret.jpg",
        b"/etc/passwd",
        b"..",
        b".",
        b"~/.ssh/id_rsa",
        b"a/../../secret",
        b"//host/x",
    ),
    *(
        b"..\\\\..\\\\secret",
        b"C:\\\\x",
        b"file:///etc/passwd",
        b"http://127.0.0.1:9/x.jpg",
        b"CON",
    ),
    *(b"/dev/zero", b"/dev/stdin", b"/proc/self/environ", b"\\u0000", b"x\\u0000.jpg", b"x" * 5000),
)
WORDS = (
    *(b"", b" ", b"\x00", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\\ud800", b"\xe2\x80\xae"),
    *(b"true", b"null", b"[]", b"{}", b'"', b"'", b"\n", b"\r\n", b"\x85", b"\xe2\x80\xa8", b"#"),
    *(b"\xf0\x9f\x98\x80", b"--", b"=", b",", b":", b"%s%n", b"{0.__class__}", b"$HOME", b"`id`"),
)
MARKUP = (
    *(b"<", b">", b"</", b"&", b"&amp;", b"&#0;", b"&#x110000;", b"]]>", b"<!--", b"<object/>"),
    *(b"<object>" * 500, b"<!DOCTYPE a [", b"<!ENTITY a 'b'>", b"<?xml version='1.0'?>"),
    b"<?xml version='1.0' encoding='utf-7'?>",
    b"<?xml version='1.0' encoding='no-such-code'?>",
    b"<!DOCTYPE a [<!ENTITY b '" + b"x" * 1000 + b"'>" + b"<!ENTITY c '&b;&b;&b;&b;'>]>",
    b"<!DOCTYPE a SYSTEM 'http://127.0.0.1:9/x.dtd'>",
    b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
    b"<!DOCTYPE a [<!ENTITY a0 'aaaaaaaaaa'>"
    + b"".join(b"<!ENTITY a%d '%b'>" % (n + 1, b"&a%d;" % n * 10) for n in range(8))
    + b"<!ENTITY x '&a8;'>]>",
    *(b"[" * 2000, b"{\"a\":" * 2000, b"[[[[]]]]", b"}", b"]"),
)  # fmt: skip
IMAGE = (
    *(b"\xff\xd8", b"\xff\xda", b"\xff\xd9", b"\xff\xc0", b"\xff\xc2", b"\xff\xe1", b"\xff\xff"),
    *(b"IDAT", b"IEND", b"eXIf", b"PLTE", b"tRNS", b"zTXt", b"Exif\0\0", b"Adobe", b"MPF\0"),
    *(b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x00\x01", b"II*\0"),
)
HOSTILE = (*NUMBERS, *PATHS, *WORDS, *MARKUP, *IMAGE)

_WORD = re.compile(rb"[\w.+-]+")


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Returns a content with a few random edits.

    Half of the copies have edits of bytes: flipped bits, cuts, doubled, moved and random parts,
    hostile words anywhere. In the others whole words and numbers are replaced, by hostile ones or
    by others of the content (which swaps tags), so that the form stays and the meaning goes.
    """
    edit = rng.choice((_edit_bytes, _edit_words))
    for _ in range(rng.choice((1, 1, 1, 1, 2, 5))):
        content = edit(content, rng)
    return content


def with_checksums(content: bytes) -> bytes:
    """Returns a PNG whose chunks have the right checksums, so that damage goes deeper."""
    content, place = bytearray(content), 8
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        if end + 4 <= len(content):
            content[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(content)


def _edit_bytes(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    end = min(len(content), start + rng.choice((1, 1, 4, 30, 200)))
    before, part, after = content[:start], content[start:end], content[end:]
    kind = rng.randrange(8)
    if kind == 0 and part:
        return before + bytes([part[0] ^ 1 << rng.randrange(8)]) + part[1:] + after
    if kind == 1:
        return before + after
    if kind == 2:
        return before + part * rng.choice((2, 2, 100)) + after
    if kind == 3:
        return before + rng.choice(HOSTILE) + after
    if kind == 4 and rng.random() < 0.2:
        return before
    if kind == 5:  # a part of it, elsewhere
        place = rng.randrange(len(content) + 1)
        return before + content[place : place + len(part)] + after
    return before + rng.randbytes(end - start) + after


def _edit_words(content: bytes, rng: random.Random) -> bytes:
    words = list(_WORD.finditer(content))
    if not words:
        return content + rng.choice(HOSTILE)
    word = rng.choice(words)
    by = rng.choice(words).group() if rng.random() < 0.3 else rng.choice(HOSTILE)
    return content[: word.start()] + by + content[word.end() :]
