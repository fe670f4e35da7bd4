"""The window's QR, as a picture in an owner-only file and drawn on a terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from novakey.system import files
from novakey.terminal import Screen
from novakey.wire.uri import PairingUri

if TYPE_CHECKING:
    from qrcode.main import QRCode

# SGR of ECMA-48: bright white background, black foreground; all off.
_BLACK_ON_WHITE, _PLAIN = "\x1b[30;107m", "\x1b[0m"
_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def write_picture(path: Path, uri: PairingUri) -> None:
    """Write the PNG, owner-only and whole; it holds the token."""
    from qrcode.image.pure import PyPNGImage

    picture = io.BytesIO()
    _code(uri).make_image(image_factory=PyPNGImage).save(picture)
    files.replace_private(path, picture.getvalue(), durable=False)  # a start removes an old one


class Drawing(NamedTuple):
    """A QR as lines of text, and how many columns they take."""

    lines: list[str]
    width: int


def draw(uri: PairingUri, screen: Screen) -> Drawing:
    """Return the QR as this screen can show it.

    With colour it is black on white under every theme of the terminal. Without,
    the light modules are drawn, which on the usual dark terminal is the same.
    With half blocks a line holds two rows; in plain ASCII a module is two
    characters wide, so that it stays square.
    """
    light = [[not dark for dark in row] for row in _code(uri).get_matrix()]
    if not screen.utf8:
        on = f"{_BLACK_ON_WHITE}  {_PLAIN}" if screen.colour else "##"
        return Drawing(["".join(on if module else "  " for module in row) for row in light], 2 * len(light))
    if screen.colour:
        light = [[not module for module in row] for row in light]
    if len(light) % 2:
        light.append([False] * len(light[0]))
    lines = [
        "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(light[::2], light[1::2], strict=True)
    ]
    if screen.colour:
        lines = [f"{_BLACK_ON_WHITE}{line}{_PLAIN}" for line in lines]
    return Drawing(lines, len(light[0]))


def _code(uri: PairingUri) -> QRCode:
    import qrcode  # only a window needs it, so only a window pays for the import

    # 16 pixels a module: a viewer shows the picture as large as a hand.
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_L, border=2, box_size=16)
    code.add_data(uri.encode(), optimize=0)
    code.make(fit=True)
    return code
