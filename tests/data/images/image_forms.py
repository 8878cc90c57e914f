"""Every form in which an image may come, what becomes of it, and what it shows.

``FORMS`` is the table: a name, the file's bytes, and the outcome. Pillow makes the bytes; those of
forms that it cannot write are written by hand.
"""

import io
import struct
import warnings
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

_RANDOM = np.random.default_rng(0)
_SHAPE = (24, 36)

READ = "read"
SKIPPED = "refused by its header"
BROKEN = "refused when decoded"


class Form(NamedTuple):
    """One form.

    Attributes:
        content: the file's bytes.
        outcome: one of the above.
        words: what the refusal says.
        suffix: of the file's name.
        served: whether the served model reads it, though files of this form are refused.
    """

    content: bytes
    outcome: str = READ
    words: str = ""
    suffix: str = ".jpg"
    served: bool = False


def shown(content: bytes) -> np.ndarray:
    """Returns what an image shows, uint8 [H, W, 3], by Pillow, which clips 16 bits of grey."""
    with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
        warnings.simplefilter("ignore")
        if image.mode == "I;16":
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def pixels(channels: int, levels: int = 256, shape: tuple[int, int] = _SHAPE) -> np.ndarray:
    """Returns coloured blocks, no two corners alike: they survive JPEG and show every turn."""
    height, width = shape
    blocks = _RANDOM.integers(0, levels, (-(-height // 8), -(-width // 8), channels))
    return np.kron(blocks, np.ones((8, 8, 1), int))[:height, :width]


def saved(array: np.ndarray, form: str, **options) -> bytes:
    """Returns a file that Pillow writes of numbers [H, W, C]: grey, RGB or CMYK."""
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[array.shape[2]]
    image = Image.frombytes(mode, array.shape[1::-1], array.astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif_of(orientation: int, order: str = "<") -> bytes:
    """Returns EXIF data with nothing but an orientation."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 1)
    return b"Exif\0\0" + head + struct.pack(f"{order}HHIHHI", 0x0112, 3, 1, orientation, 0, 0)


def png(
    values: np.ndarray, depth: int, colour: int, *, interlaced: bool = False, chunks=(), late=()
) -> bytes:
    """Writes a PNG.

    Args:
        values: whole numbers [H, W, C].
        depth: bits of a number.
        colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
        interlaced: whether the pixels come in Adam7's seven passes.
        chunks: ``(name, content)`` before the pixels.
        late: likewise, after them.
    """
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                  (1, 0, 2, 2), (0, 1, 1, 2)]  # fmt: skip
    raw = b""
    for x, y, step_x, step_y in passes:
        for row in values[y::step_y, x::step_x] if values[y::step_y, x::step_x].size else ():
            if depth == 16:
                packed = row.astype(">u2").tobytes()
            else:
                bits = row.reshape(-1, 1) >> np.arange(depth)[::-1] & 1
                packed = np.packbits(bits.astype(np.uint8)).tobytes()
            raw += b"\0" + packed
    height, width = values.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(raw)), *late, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def with_sof(content: bytes, height: int, width: int) -> bytes:
    """Lets a baseline JPEG's header claim another size."""
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def with_ihdr(content: bytes, height: int, width: int) -> bytes:
    """Lets a PNG's header claim another size."""
    head = struct.pack(">II", width, height) + content[24:29]
    return content[:8] + _chunk(b"IHDR", head) + content[33:]


def without_segment(content: bytes, name: bytes) -> bytes:
    """Cuts the segment of a JPEG out whose content begins with a name."""
    place = content.index(name) - 4
    return content[:place] + content[place + 2 + struct.unpack_from(">H", content, place + 2)[0] :]


def with_segment(content: bytes, marker: int, part: bytes) -> bytes:
    """Puts a segment right behind a JPEG's beginning."""
    return content[:2] + struct.pack(">BBH", 0xFF, marker, len(part) + 2) + part + content[2:]


def _jpegs() -> dict[str, Form]:
    rgb, cmyk = pixels(3), saved(pixels(4), "JPEG", quality=95)
    plain = saved(rgb, "JPEG", quality=95)
    file = io.BytesIO()
    first, second = (Image.fromarray(pixels(3).astype(np.uint8)) for _ in range(2))
    first.save(file, "MPO", save_all=True, append_images=[second])
    transform = cmyk.index(b"Adobe") + 11
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6'/>"
    forms = {
        "jpeg": plain,
        "jpeg progressive": saved(rgb, "JPEG", progressive=True),
        "jpeg without subsampling": saved(rgb, "JPEG", subsampling=0),
        "jpeg grey": saved(pixels(1), "JPEG"),
        "jpeg stored as rgb": saved(rgb, "JPEG", keep_rgb=True),
        "jpeg cmyk": cmyk,
        "jpeg cmyk progressive": saved(pixels(4), "JPEG", progressive=True),
        "jpeg ycck": cmyk[:transform] + b"\2" + cmyk[transform + 1 :],
        "mpo": file.getvalue(),
        "jpeg and more behind its end": plain + b"more",
        "jpeg of one pixel": saved(pixels(3, shape=(1, 1)), "JPEG"),
        "jpeg one pixel wide": saved(pixels(3, shape=(3000, 1)), "JPEG"),
        "jpeg one pixel high": saved(pixels(3, shape=(1, 3000)), "JPEG"),
        "jpeg with broken exif": with_segment(plain, 0xE1, exif_of(6)[:20]),
        "jpeg with an orientation that is none": with_segment(plain, 0xE1, exif_of(9)),
        "jpeg with a preview in its exif": with_segment(plain, 0xE1, exif_of(6) + plain),
        "jpeg turned, exif after others": with_segment(
            with_segment(plain, 0xE1, exif_of(8)), 0xE1, xmp
        ),
        "jpeg that claims fewer rows": with_sof(plain, 16, 36),
        "jpeg that claims more rows": with_sof(plain, 640, 36),
    }
    for n in range(1, 9):
        forms[f"jpeg turned {n}"] = with_segment(plain, 0xE1, exif_of(n, "<>"[n % 2]))
    found = {name: Form(content) for name, content in forms.items()}
    scan = plain.index(b"\xff\xda")
    middle = (scan + len(plain)) // 2
    two_ways = "CMYK without Adobe's marker"
    found["jpeg cmyk of no program"] = Form(without_segment(cmyk, b"Adobe"), SKIPPED, two_ways,
                                            served=True)  # fmt: skip
    found["jpeg of half the pixels"] = Form(plain[:middle], SKIPPED, "truncated")
    found["jpeg short of its end"] = Form(plain[:-20], SKIPPED, "truncated")
    found["jpeg beginning"] = Form(plain[:4], SKIPPED, "damaged header")
    found["jpeg bomb"] = Form(with_sof(plain, 65000, 65000), SKIPPED, "")
    found["jpeg above the limit"] = Form(with_sof(plain, 9001, 9001), SKIPPED, "refused")
    amid = plain[:middle] + b"\xff\xfe" + plain[middle:]  # the marker of a comment
    found["jpeg with a marker amid its pixels"] = Form(amid, BROKEN, "cannot be decoded")
    found["jpeg without pixels"] = Form(plain[:scan] + plain[-2:], BROKEN, "cannot be decoded")
    return found


def _pngs() -> dict[str, Form]:
    rgb, whole = pixels(3), png(pixels(3), 8, 2)
    palette = (b"PLTE", pixels(3, shape=(128, 128))[::8, ::8].astype(np.uint8).tobytes())
    clear = np.dstack([rgb, np.zeros(_SHAPE, int)])
    frames = io.BytesIO()
    first, second = (Image.fromarray(pixels(3).astype(np.uint8)) for _ in range(2))
    first.save(frames, "PNG", save_all=True, append_images=[second])
    xmp = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>")
    grey = pixels(1)
    forms = {
        "png": whole,
        "png of 16 bits": png(pixels(3, 65536), 16, 2),
        "png with alpha": png(pixels(4), 8, 6),
        "png with alpha of 16 bits": png(pixels(4, 65536), 16, 6),
        "png fully transparent": png(clear, 8, 6),
        "png grey and alpha": png(pixels(2), 8, 4),
        "png grey and alpha of 16 bits": png(pixels(2, 65536), 16, 4),
        "png grey of 16 bits": png(pixels(1, 65536), 16, 0),
        "png grey of 16 bits, dark": png(pixels(1, 4096), 16, 0),
        "png one colour transparent": png(
            rgb, 8, 2, chunks=[(b"tRNS", rgb[0, 0].astype(">u2").tobytes())]
        ),
        "png one grey transparent": png(
            grey, 8, 0, chunks=[(b"tRNS", grey[0, 0].astype(">u2").tobytes())]
        ),
        "png palette, some transparent": png(
            pixels(1), 8, 3, chunks=[palette, (b"tRNS", bytes(range(200)))]
        ),
        "png interlaced": png(rgb, 8, 2, interlaced=True),
        "png interlaced, of 16 bits": png(pixels(1, 65536), 16, 0, interlaced=True),
        "png interlaced, of 1 bit": png(pixels(1, 2), 1, 0, interlaced=True),
        "png animated": frames.getvalue(),
        "png of one pixel": png(pixels(3, shape=(1, 1)), 8, 2),
        "png one pixel wide": png(pixels(3, shape=(3000, 1)), 8, 2),
        "png one pixel high": png(pixels(3, shape=(1, 3000)), 8, 2),
        "png and more behind its end": whole + b"more" * 50,
        "png with broken exif": png(rgb, 8, 2, chunks=[(b"eXIf", exif_of(6)[6:20])]),
        "png with exif behind its pixels": png(rgb, 8, 2, chunks=[xmp], late=[xmp]),
        "png turned, exif after others": png(rgb, 8, 2, chunks=[xmp, (b"eXIf", exif_of(8)[6:])]),
        "png turned, palette": png(
            pixels(1), 8, 3, chunks=[palette, (b"eXIf", exif_of(6, ">")[6:])]
        ),
        "png that claims fewer rows": with_ihdr(whole, 16, 36),
    }
    for depth in (1, 2, 4, 8):
        forms[f"png grey of {depth} bits"] = png(pixels(1, 2**depth), depth, 0)
        forms[f"png palette of {depth} bits"] = png(
            pixels(1, 2**depth), depth, 3, chunks=[(palette[0], palette[1][: 3 << depth])]
        )
    for n in range(1, 9):
        forms[f"png turned {n}"] = png(rgb, 8, 2, chunks=[(b"eXIf", exif_of(n, "<>"[n % 2])[6:])])
    found = {name: Form(content, suffix=".png") for name, content in forms.items()}
    damaged = bytearray(whole)
    damaged[whole.index(b"IDAT") + 20] ^= 255
    found |= {
        "png named jpg": Form(whole),
        "png half": Form(whole[: len(whole) // 2], SKIPPED, "cut off", ".png"),
        "png short of its end": Form(whole[:-12], SKIPPED, "cut off", ".png"),
        "png beginning": Form(whole[:9], SKIPPED, "damaged header", ".png"),
        "png above the limit": Form(with_ihdr(whole, 9001, 9001), SKIPPED, "refused", ".png"),
        "png bomb": Form(with_ihdr(whole, 2**31 - 1, 2**31 - 1), SKIPPED, "", ".png"),
        "png with damaged pixels": Form(bytes(damaged), BROKEN, "cannot be decoded", ".png"),
        "png that claims more rows": Form(with_ihdr(whole, 30, 36), BROKEN, "", ".png"),
    }
    return found


def _others() -> dict[str, Form]:
    rgb = pixels(3)
    frames = [Image.fromarray(pixels(3).astype(np.uint8)) for _ in range(3)]
    found = {}
    for form in ("GIF", "WEBP", "TIFF"):
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:])
        name = {"WEBP": "WebP"}.get(form, form)
        found[f"{name} of many images"] = Form(file.getvalue(), SKIPPED, f"found {name}")
    return found | {
        "BMP": Form(saved(rgb, "BMP"), SKIPPED, "found BMP"),
        "HEIC": Form(b"\0\0\0\x18ftypheic" + bytes(64), SKIPPED, "found HEIC"),
        "nothing": Form(b"", SKIPPED, "empty"),
        "a text": Form(b"no image", SKIPPED, "found something else"),
        "zeros": Form(bytes(4096), SKIPPED, "found something else"),
    }


FORMS = _jpegs() | _pngs() | _others()
