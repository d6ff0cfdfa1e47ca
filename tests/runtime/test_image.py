"""Pictures of every kind, as the model sees them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from oddeven.runtime.errors import DataError
from oddeven.runtime.images.decode import decode_image
from oddeven.runtime.images.preprocess import mnist, prepare, squash
from oddeven.runtime.spec import InputSpec

SPEC = InputSpec(28, 28, 1, polarity="light-on-dark", preprocessing="mnist", parameters={"stroke_side": 20.0})
NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def digit(raw):
    return raw["x_test"][0]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_lossless_formats_give_the_very_pixels(digit, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(digit), kind, **options), 1)[..., 0], digit)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"])
def test_every_mode_becomes_grey_and_colour(mode):
    image = Image.new("L", (6, 4), 255)
    wide = np.full((4, 6), 65535)
    image = (
        Image.fromarray(wide.astype(np.uint16 if mode == "I;16" else np.int32)) if "I" in mode else image.convert(mode)
    )
    kind = "TIFF" if mode in ("CMYK", "I") else "PNG"
    for channels in (1, 3):
        pixels = decode_image(encoded(image, kind), channels)
        assert (pixels.shape, pixels.dtype) == ((4, 6, channels), np.uint8)
        assert pixels.min() == 255


def test_exif_orientation_is_honoured(tmp_path):
    pixels = np.zeros((4, 8), np.uint8)
    pixels[:, 0] = 255
    exif = Image.Exif()
    exif[274] = 6  # shown turned by 90 degrees clockwise
    turned = decode_image(encoded(Image.fromarray(pixels), "PNG", exif=exif), 1)[..., 0]
    assert turned.shape == (8, 4)
    assert turned[0].min() == 255


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    content = encoded(Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)), "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert decode_image(content, 1)[..., 0].tolist() == np.asarray(upright).tolist()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damaged_exif_data_do_not_make_an_image_unreadable(kind):
    image = Image.new("L", (8, 4), 255)
    # Big-endian TIFF with two entries: the maker's name as a real number, and orientation 6.
    wrong_type = struct.pack(">2sHIHHHIfHHIHHI", b"MM", 42, 8, 2, 0x10F, 11, 1, 1.0, 0x112, 3, 1, 6, 0, 0)
    assert decode_image(encoded(image, kind, exif=b"Exif\0\0" + wrong_type), 1).shape == (8, 4, 1)
    assert decode_image(encoded(image, kind, exif=b"Exif\0\0nothing"), 1).shape == (4, 8, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_lies_on_white(channels):
    assert decode_image(encoded(Image.new("RGBA", (3, 3), (0, 0, 0, 0)), "PNG"), channels).min() == 255


@pytest.mark.parametrize(
    ("tone", "channels", "background"),
    [((200, 180, 40), 3, 255), ((20, 30, 40), 3, 255), ((250, 250, 245), 3, 0),  # in colour: white, black under white
     ((200, 200, 200), 1, 200), ((20, 20, 20), 1, 20)],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_where_most_is_visible_the_rest_has_one_background(tone, channels, background, mode):
    image = Image.new("RGBA", (8, 8), (*tone, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 2))
    pixels = decode_image(encoded(image.convert(mode), "PNG"), channels)
    assert (pixels[0, 0] == background).all()
    assert tuple(pixels[7, 7]) == tone[:channels]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_an_image_is_named(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        decode_image(path, 1)


def test_a_decompression_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="decompression bomb"):
        decode_image(encoded(Image.new("L", (30, 5)), "PNG"), 1)


def test_a_jpeg_over_the_limit_is_taken_where_it_is_decoded_at_a_lower_resolution(monkeypatch, tmp_path):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2100 * 2500)
    photo = Image.linear_gradient("L").resize((4000, 5000))
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[274] = 6
    photo.save(path, exif=exif)
    for source in (path, path.read_bytes()):
        assert decode_image(source, 3).shape == (2000, 2500, 3)
        assert decode_image(source, 1).shape == (2000, 2500, 1)
    progressive = encoded(photo, "JPEG", progressive=True)
    narrow, larger = (encoded(Image.new("L", size), "JPEG") for size in ((2000, 3000), (4300, 5000)))
    for bomb in (progressive, narrow, larger, encoded(photo, "PNG")):
        path.write_bytes(bomb)
        for source in (path, bomb):
            with pytest.raises(DataError, match="decompression bomb"):
                decode_image(source, 1)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match="is a folder; expected an image"):
        decode_image(tmp_path, 1)
    with pytest.raises(DataError, match=r"There is no file .*absent\.png"):
        decode_image(tmp_path / "absent.png", 1)
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match=r"loop\.png cannot be read as an image: Too many levels of symbolic links\.$"):
        decode_image(tmp_path / "loop.png", 1)


def test_mnist_leaves_its_own_pictures_as_they_are_and_turns_inverted_ones(digit):
    ready = digit[..., None]
    np.testing.assert_array_equal(mnist(ready, SPEC), ready)
    np.testing.assert_array_equal(mnist(255 - ready, SPEC), ready)


@pytest.mark.parametrize("inverted", [False, True])
def test_mnist_finds_a_big_off_centre_stroke_again(raw, inverted):
    """A test digit drawn large on uneven paper comes back close to MNIST's own normalisation of it."""
    random = np.random.default_rng(3)
    errors = []
    for digit in raw["x_test"][:50]:
        big = np.asarray(Image.fromarray(digit).resize((140, 140), Image.Resampling.BICUBIC), np.float64)
        canvas = np.zeros((240, 320))
        canvas[80:220, 150:290] = big
        shade = np.linspace(200, 230, 320)[None, :] + random.normal(0, 3, (240, 320))
        drawn = shade - canvas * 0.6
        drawn = np.clip(255 - drawn if inverted else drawn, 0, 255).astype(np.uint8)
        seen = mnist(drawn[..., None], SPEC)[..., 0].astype(float)
        errors.append(min(np.abs(np.roll(seen, step, (0, 1)) - digit).mean() for step in NEIGHBOURS))
    # A blank answer is off by the mean brightness, about 33; what remains here is resampling blur.
    assert np.mean(errors) < 12
    assert np.max(errors) < 20


def test_the_stroke_is_scaled_and_centred_by_its_mass():
    paper = np.full((100, 200, 1), 220, np.uint8)
    paper[20:60, 30:40] = 20
    seen = mnist(paper, SPEC)[..., 0]
    rows, columns = np.flatnonzero(seen.max(axis=1)), np.flatnonzero(seen.max(axis=0))
    assert (len(rows), len(columns)) == (20, 5)
    assert (rows.mean(), columns.mean()) == (pytest.approx(13.5, abs=0.5), pytest.approx(13.5, abs=0.5))


def test_a_blank_picture_is_not_answered():
    with pytest.raises(DataError, match="is blank"):
        prepare(np.full((50, 50, 1), 200, np.uint8), SPEC)


def test_a_picture_of_one_colour_is_blank():
    red = np.tile(np.uint8([200, 10, 10]), (50, 40, 1))
    for preprocessing in ("squash", "fit-shortest", "fit-longest"):
        with pytest.raises(DataError, match="is blank"):
            prepare(red, InputSpec(10, 20, 3, preprocessing=preprocessing))
    red[7, 9, 1] += 1
    assert prepare(red, InputSpec(10, 20, 3)).shape == (10, 20, 3)


def test_squash_resizes_to_any_spec():
    spec = InputSpec(10, 20, 3)
    picture = np.arange(50 * 40 * 3, dtype=np.uint8).reshape(50, 40, 3)
    assert squash(picture, spec).shape == (10, 20, 3)
