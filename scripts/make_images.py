"""Writes tests/images: one small picture in many encodings, by Pillow, for tests/color.rs.

    scripts/venv readers -- python scripts/make_images.py

The picture is 16 pixels wide and 12 high: red, green, blue and yellow quarters. Where an encoding knows transparency,
the yellow quarter is transparent, with other colours below it.
"""

import io
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent.parent / "tests" / "images"
WIDTH, HEIGHT = 16, 12
RED, GREEN, BLUE, YELLOW = (200, 40, 30), (20, 180, 60), (30, 60, 220), (240, 230, 20)


def picture(mode: str, colours: list) -> Image.Image:
    """Quarters of these colours: left to right, then top to bottom."""
    image = Image.new(mode, (WIDTH, HEIGHT))
    for at, colour in enumerate(colours):
        left, top = at % 2 * WIDTH // 2, at // 2 * HEIGHT // 2
        image.paste(colour, (left, top, left + WIDTH // 2, top + HEIGHT // 2))
    return image


def palette(n_colours: int = 4) -> Image.Image:
    """The same with a palette, in the order of the quarters."""
    image = picture("P", [0, 1, 2, 3])
    image.putpalette([value for colour in [RED, GREEN, BLUE, YELLOW][:n_colours] for value in colour])
    return image


def jpeg(image: Image.Image, **options: object) -> bytes:
    """The image as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def with_transform(data: bytes, transform: int) -> bytes:
    """The JPEG with another colour transform in its Adobe segment."""
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes([transform]) + data[at + 1 :]


def ycck(rgb: Image.Image) -> bytes:
    """A YCCK JPEG as Adobe writes it: YCbCr of the inks' own colours, and inverted black, of which there is none."""
    y, cb, cr = rgb.point(lambda value: 255 - value).convert("YCbCr").split()
    # Pillow inverts what it is given.
    inks = [band.point(lambda value: 255 - value) for band in (y, cb, cr)]
    image = Image.merge("CMYK", [*inks, Image.new("L", rgb.size, 0)])
    return with_transform(jpeg(image), 2)


def main() -> None:
    """Writes all of them anew."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    opaque = picture("RGB", [RED, GREEN, BLUE, YELLOW])
    clear = [(*RED, 255), (*GREEN, 255), (*BLUE, 255), (0, 0, 0, 0)]
    rgba = picture("RGBA", clear)
    greys = picture("L", [30, 90, 150, 210])
    for name, image, options in [
        ("rgb.png", opaque, {}),
        ("rgba.png", rgba, {}),
        ("rgb-key.png", opaque, {"transparency": YELLOW}),
        ("palette.png", palette(), {}),
        ("palette-clear.png", palette(), {"transparency": 3}),
        ("palette-alpha.png", palette(), {"transparency": bytes([255, 255, 255, 0])}),
        ("grey.png", greys, {}),
        ("grey-key.png", greys, {"transparency": 210}),
        ("grey-alpha.png", picture("LA", [(30, 255), (90, 255), (150, 255), (0, 0)]), {}),
        ("palette.gif", palette(), {}),
        ("clear.gif", palette(), {"transparency": 3}),
        ("rgb.bmp", opaque, {}),
        ("palette.bmp", palette(), {}),
        ("rgb.tif", opaque, {"compression": "tiff_lzw"}),
        ("rgba.tif", rgba, {"compression": "tiff_lzw"}),
        ("cmyk.tif", opaque.convert("CMYK"), {"compression": "tiff_lzw"}),
        ("rgb.webp", opaque, {"lossless": True}),
        ("rgba.webp", rgba, {"lossless": True}),
        ("rgb.ppm", opaque, {}),
    ]:
        image.save(FOLDER / name, **options)
    inks = Image.merge(
        "CMYK", [*(band.point(lambda v: 255 - v) for band in opaque.split()), Image.new("L", opaque.size)]
    )
    # Half black, so that black counts.
    dark = Image.merge("CMYK", [*inks.split()[:3], Image.new("L", opaque.size, 128)])
    for name, data in [
        ("ycbcr.jpg", jpeg(opaque, subsampling=0)),
        ("progressive.jpg", jpeg(opaque, subsampling=0, progressive=True)),
        ("adobe-rgb.jpg", jpeg(opaque, keep_rgb=True)),
        ("cmyk.jpg", jpeg(inks)),
        ("cmyk-dark.jpg", jpeg(dark)),
        ("ycck.jpg", ycck(opaque)),
        ("grey.jpg", jpeg(greys)),
    ]:
        (FOLDER / name).write_bytes(data)
    # Stored so that turning it as the Exif data says gives the picture.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, turn in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = jpeg(opaque.transpose(turn), subsampling=0, exif=exif)
        (FOLDER / f"turned-{orientation}.jpg").write_bytes(data)


if __name__ == "__main__":
    main()
