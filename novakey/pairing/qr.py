"""The window's QR, as a picture in an owner-only file and drawn on a terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from novakey import files
from novakey.wire.uri import PairingUri

if TYPE_CHECKING:
    from qrcode.main import QRCode

_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def write_picture(path: Path, uri: PairingUri) -> None:
    """Write the PNG, owner-only and whole; it holds the token."""
    from qrcode.image.pure import PyPNGImage

    picture = io.BytesIO()
    _code(uri).make_image(image_factory=PyPNGImage).save(picture)
    files.replace_private(path, picture.getvalue())


def draw(uri: PairingUri, unicode: bool = True) -> list[str]:
    """The QR as lines of text, light on dark as most terminals are.

    With half blocks a line holds two rows; in plain ASCII a module is two
    characters wide, so that it stays square.
    """
    light = [[not dark for dark in row] for row in _code(uri).get_matrix()]
    if not unicode:
        return ["".join("##" if module else "  " for module in row) for row in light]
    if len(light) % 2:
        light.append([False] * len(light[0]))
    return [
        "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(light[::2], light[1::2], strict=True)
    ]


def _code(uri: PairingUri) -> QRCode:
    import qrcode  # only a window needs it, so only a window pays for the import

    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_L, border=2)
    code.add_data(uri.encode(), optimize=0)
    code.make(fit=True)
    return code
