"""Critters: the built-in pictures, drawn from a seed, with a mask for the whole animal and for each of its five parts.

They stand at the start of the flow (data -> model -> units -> ...): `sources.py` makes tensors and splits of them.
Notebook 00 meets them; notebook 06 hides and swaps their parts to find out how much of an animal a network looks at.

Only shape tells the class. Every part carries a *form*, a small symmetric pattern, and shows its own class's form with
probability `reliability` only: no part can be trusted alone, so whoever wants to be sure looks at the whole animal.
Everything is integers made of raw random bits: the same seed gives the same bytes on every machine.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from numbers import Integral
from pathlib import Path

import numpy as np

from growlab.checks import flag, number, whole

CLASSES = ("ampo", "bilu", "crem", "dovi", "ezzo", "fimp", "gron", "hoom", "ibli", "jupo")
PARTS = ("head", "wing", "belly", "tail", "feet")
SIZE = 32  # height and width of a picture, in pixels


def _read(file, marks):
    """Drawings beside this file, strip by strip, as numbers (drawings, rows, columns): each sign's place in `marks`."""
    art = Path(__file__).with_name(file).read_text().strip()
    strips = [[line.split() for line in strip.split("\n")] for strip in art.split("\n\n")]
    drawings = [drawing for strip in strips for drawing in zip(*strip)]
    return np.array([[[marks.index(mark) for mark in row] for row in drawing] for drawing in drawings], np.uint8)


def _colours(codes):  # (colours, 3): red, green, blue
    return np.array([[*bytes.fromhex(code)] for code in codes.split()], np.int16)


NOTHING, OUTLINE, SKIN, SHADE, LIGHT, DARK, HORN, WHITE, PUPIL = range(9)  # the entries of a picture's palette
VARIETIES = [[0, 3, 6, 7, 10], [1, 4, 6, 8, 11], [2, 5, 6, 9, 12]]  # head, wing, belly, tail and feet of each
# Animals that look to the left: three heads, three wings, one belly; three tails, three feet. None tells the class.
# '#' skin, 'o' room for a form, 'y' beak, horn and claw, 'w' white of the eye, 'k' pupil, '.' nothing.
ANIMALS = _read("animals.txt", ".-#,o*ywk")[VARIETIES]  # (varieties, parts, 12, 13)
LIMB = SKIN * np.array([[0, 1, 1, 1, 0], [1] * 5, [1] * 5, [1] * 5, [0, 1, 1, 1, 0]], np.uint8)
ROOM = ANIMALS[0, 0, 3:10, 3:10] == LIGHT  # (7, 7): the 45 pixels of a form, the same for every part and class
# The five forms of each of the first five classes; the other five classes wear the same forms upside down.
# Each has 22 dark pixels of 45, and any two differ in at least 9, also when one of them is turned into its negative.
# A search chose them so that the five forms of a class have nearly the same spectrum together, whichever the class:
# with each part dark on light or light on dark at random, texture tells next to nothing, and shape tells all.
FORMS = _read("forms.txt", ".#").astype(bool).reshape(5, 5, 7, 7).swapaxes(0, 1)
FORMS = np.concatenate([FORMS, FORMS[:, :, ::-1]], 1)  # (parts, classes, 7, 7), True where dark
# Where the centre of a part may lie: first y, last y, first x, last x. Any two parts stay at least 8 pixels apart.
PLACES = np.array([(7, 8, 6, 11), (6, 7, 20, 25), (16, 17, 14, 16), (15, 17, 25, 26), (25, 26, 8, 22)])
# Of the background; with a shortcut, hue i goes with class i. Skins are deeper than any background, coupled to nothing.
HUES = _colours("d68484 daa270 d2c46e a2c46a 76c286 6ac2be 76a8d6 8c8cd8 b284d4 d684be")
SKINS = _colours("c43e3a d06e24 b0881e 688e28 268c4e 1c848c 2c68b2 5854be 8a44ac b83c7e")
_WORDS = 320  # 64-bit random words kept for each picture, so that a longer draw begins with the shorter one
_EDGE = 8  # pixels around a picture while it is painted, so that a horn may stick out


@dataclass(frozen=True)
class Critters:
    """n pictures and what is known about them, as numpy arrays; parts are in the order of PARTS."""

    images: np.ndarray  # uint8 (n, 3, 32, 32): red, green, blue
    labels: np.ndarray  # int64 (n,): index into CLASSES
    masks: np.ndarray  # bool (n, 5, 32, 32): the 45 pixels of each part's form
    objects: np.ndarray  # bool (n, 32, 32): the whole animal
    forms: np.ndarray  # int64 (n, 5): the class whose form a part shows, -1 if it is hidden
    touched: np.ndarray  # bool (n, 5): the parts that `hide` and `swap` chose
    backgrounds: np.ndarray  # int64 (n,): index into HUES; hue i is that of class i


def draw(n, seed, reliability=0.6, shortcut=0.0, hide=0, swap=0, new_backgrounds=False):
    """Draw n pictures; the first of them are the same for every n.

    reliability: probability, in [0.1, 1], that a part shows its own class's form; if not, it shows one of the other
        nine classes' forms. Parts are independent of each other, and dark on light or light on dark at random.
    shortcut: probability, in [0, 1], that the background has the class's hue; if not, it has any of the ten.
        For training splits, where a network may learn to cheat. Test splits have 0.
    hide, swap: interventions for test splits: a part's name, several names, or how many parts, drawn for each picture.
        A hidden part gets its dark and light pixels shuffled: same mean, same variance, no form.
        Swapped parts show the forms of one other class, the donor (which they may happen to have shown before).
    new_backgrounds: gives every background the hue of another class.

    For one seed, an intervention changes the pixels that it is about, and no others.
    Returns Critters. Raises ValueError for a value out of range. Notebooks 00 and 06.
    """
    n = whole("n", n, 1, "so many pictures are drawn")
    stream, chunks = np.random.PCG64(whole("seed", seed, 0, "another one draws other pictures")), []
    reliability = _reliability(reliability)
    shortcut = number("shortcut", shortcut, "[0, 1]", "the probability of a background of the class's own hue")
    flag("new_backgrounds", new_backgrounds, "True gives every background the hue of another class")
    for start in range(0, n, 500):  # a few at a time, to stay small in memory and fast
        words = stream.random_raw(min(500, n - start) * _WORDS).reshape(-1, _WORDS)
        chunks.append(_draw(words, reliability, shortcut, _parts("hide", hide), _parts("swap", swap), new_backgrounds))
    return Critters(*map(np.concatenate, zip(*chunks)))


def best_accuracy(parts, reliability):
    """The best possible accuracy from `parts` parts (0 to 5), read without error: exact, by going through all votes.

    The best guess is the class with most votes; between equals it is drawn at random, so a tie of two counts one half.
    At reliability 0.6: 0.10, 0.60, 0.60, 0.73, 0.83, 0.88 for 0 to 5 parts. Notebooks 00 and 06.
    """
    parts = whole("parts", number("parts", parts, "[0, 5]", "an animal has five"), 0, "an animal has five")
    reliability = _reliability(reliability)
    votes = np.array(list(product(range(10), repeat=parts)), int)  # (10^parts, parts): what class 0 may show
    counts = (votes[:, :, None] == np.arange(10)).sum(1)  # (10^parts, 10)
    probability = reliability ** counts[:, 0] * ((1 - reliability) / 9) ** (parts - counts[:, 0])
    winners = counts == counts.max(1, keepdims=True)
    return float(probability @ (winners[:, 0] / winners.sum(1)))


def _draw(words, reliability, shortcut, hide, swap, new_backgrounds):
    """The fields of Critters, for one picture per row of random words. Every array here begins with (n, ...)."""
    n, throw, part = len(words), _dice(words), np.arange(5)
    chance = lambda p, dice=1: throw(2**32, dice) < p * 2**32

    # What is there. All dice are thrown, needed or not, so that an intervention disturbs nothing else.
    labels = throw(10)
    forms = np.where(chance(reliability, 5), labels, (labels + 1 + throw(9, 5)) % 10)
    rank, donor = throw(2**32, 5).argsort(1, kind="stable"), (labels + 1 + throw(9)) % 10
    hidden, swapped = hide(rank), swap(4 - rank)
    if (hidden & swapped).any():
        raise ValueError("hide and swap ask for the same part: hide and swap different parts")
    forms = np.where(hidden, -1, np.where(swapped, donor, forms))
    backgrounds = np.where(chance(shortcut), labels, throw(10))
    elsewhere = (labels + 1 + throw(9)) % 10
    backgrounds = (elsewhere if new_backgrounds else backgrounds)[:, 0]

    # The forms: their dark pixels, shuffled where hidden, then dark on light or light on dark.
    dark = FORMS[part, forms]  # (n, 5, 7, 7)
    shuffle = throw(2**32, 5 * ROOM.sum()).reshape(n, 5, -1)
    if hidden.any():
        shuffled = shuffle.argsort(2, kind="stable") < FORMS[0, 0].sum()
        dark[..., ROOM] = np.where(hidden[..., None], shuffled, dark[..., ROOM])
    dark ^= chance(0.5, 5)[..., None, None]

    low_y, high_y, low_x, high_x = PLACES.T
    y, x = low_y + throw(high_y - low_y + 1, 5), low_x + throw(high_x - low_x + 1, 5)
    canvas, masks = _paint(ANIMALS[throw(len(ANIMALS), 5), part], dark, y, x)
    images, objects = _coloured(canvas, HUES[backgrounds], throw), canvas != NOTHING

    # Half of them look to the right. (Forms are symmetric, so they stay what they are.)
    right = throw(2)[:, 0] == 1
    for array in (images, masks, objects):
        array[right] = array[right, ..., ::-1]
    return images, labels[:, 0], masks, objects, forms, hidden | swapped, backgrounds


def _dice(words):
    """A function from so many sides to whole numbers (n, dice) in 0 ... sides - 1, from the next words of each row."""
    columns = iter(words.T)

    def throw(sides, dice=1):
        thrown = np.stack([next(columns) for _ in range(dice)], 1)
        return ((thrown >> 32) * np.asarray(sides, np.uint64) >> 32).astype(np.int64)

    return throw


def _paint(sprites, dark, y, x):
    """The animals as palette entries (n, 32, 32), and the masks of their parts (n, 5, 32, 32).

    From sprites (n, 5, 12, 13), forms (n, 5, 7, 7) and the centres y, x (n, 5) of the parts.
    """
    n, step, outer = len(y), np.arange(1, 8), [0, 1, 3, 4]  # a limb is seven dabs between the belly and another part
    dabs = [((z[:, 2:3, None] * step + z[:, outer, None] * (8 - step)) // 8).reshape(n, -1) for z in (y, x)]
    canvas = np.zeros((n, SIZE + 2 * _EDGE, SIZE + 2 * _EDGE), np.uint8)
    _stamp(canvas, np.broadcast_to(LIMB, (n, 28, 5, 5)), *dabs)
    _stamp(canvas, sprites, y, x)
    _stamp(canvas, np.where(dark, DARK, LIGHT).astype(np.uint8) * ROOM, y, x)
    masks = np.zeros((n * 5, *canvas.shape[1:]), bool)
    _stamp(masks, np.broadcast_to(ROOM, (n * 5, 1, 7, 7)), y.reshape(-1, 1), x.reshape(-1, 1))

    there = canvas != NOTHING
    below, above, right, left = (np.roll(there, by, axis) for axis in (1, 2) for by in (-1, 1))  # the edge is empty
    canvas[(canvas == SKIN) & ~below] = SHADE
    canvas[(below | above | right | left) & ~there] = OUTLINE
    inside = np.s_[..., _EDGE:-_EDGE, _EDGE:-_EDGE]
    return canvas[inside], masks[inside].reshape(n, 5, SIZE, SIZE)


def _stamp(canvas, stamps, y, x):
    """Put stamps (n, k, height, width) on the canvas (n, ...), centres at y, x (n, k); their zeros are transparent."""
    i, j, row, column = np.nonzero(stamps)
    rows, columns = y[i, j] + row - stamps.shape[2] // 2, x[i, j] + column - stamps.shape[3] // 2
    canvas[i, rows + _EDGE, columns + _EDGE] = stamps[i, j, row, column]


def _coloured(canvas, hues, throw):
    """Images (n, 3, 32, 32) of palette entries (n, 32, 32), before backgrounds of these hues (n, 3)."""
    n = len(canvas)
    skin, white = SKINS[throw(10)[:, 0]], np.full((n, 3), 255, np.int16)
    palette = np.stack([
        hues + (throw(13, 3) - 6), skin * 3 // 10, skin, skin * 3 // 4, (3 * skin + 2 * white) // 5, skin * 2 // 5,
        white * (50, 41, 18) // 51, white, white // 10,
    ], 1).astype(np.uint8)  # (n, 9, 3)  # fmt: skip
    colours = palette.reshape(-1, 3).T[:, canvas + 9 * np.arange(n)[:, None, None]]  # (3, n, 32, 32)
    images = np.ascontiguousarray(colours.swapaxes(0, 1))
    # A soft texture behind the animal: 5x5 random greys with straight lines between them.
    near = np.maximum(0, 8 - abs(np.arange(SIZE)[:, None] - 8 * np.arange(5)))  # (32, 5)
    texture = (near @ throw(64, 25).reshape(n, 5, 5) @ near.T >> 6) - 32
    images += (texture * (canvas == NOTHING)).astype(np.uint8)[:, None]  # uint8 wraps, so this subtracts, too
    return images


def _parts(name, choice):
    """What `hide` or `swap` means: a function from random ranks (n, 5) to the chosen parts, bool (n, 5)."""
    if isinstance(choice, Integral) and not isinstance(choice, bool) and 0 <= choice <= 5:
        return lambda rank: rank < choice
    names = [choice] if isinstance(choice, str) or not isinstance(choice, Iterable) else [*choice]
    if not all(part in PARTS for part in names):
        raise ValueError(f"{name} must be names from {PARTS}, or a number of parts, 0 to 5, got {choice!r}")
    return lambda rank: np.broadcast_to(np.isin(PARTS, names), rank.shape)


def _reliability(q):
    return number("reliability", q, "[0.1, 1]", "0.1 is chance, 1 is certain")
