"""Critters: the built-in pictures, drawn from a seed, with a mask for the whole animal and for each of its five parts.

They stand at the start of the flow (data -> model -> units -> ...): `data.py` makes tensors and splits of them.
Notebook 00 meets them; notebook 06 hides and swaps their parts to find out how much of an animal a network looks at.

Only shape tells the class. Every part carries a *form*, a small symmetric pattern, and shows its own class's form with
probability `reliability` only: no part can be trusted alone, so whoever wants to be sure looks at the whole animal.
Everything is integers made of raw random bits: the same seed gives the same bytes on every machine.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

CLASSES = ("ampo", "bilu", "crem", "dovi", "ezzo", "fimp", "gron", "hoom", "ibli", "jupo")
PARTS = ("head", "wing", "belly", "tail", "feet")
SIZE = 32  # height and width of a picture, in pixels
# Three varieties of animals that look to the left; which one says nothing about the class. A column is a part.
# '#' skin, 'o' room for a form, 'y' beak, horn and claw, 'w' white of the eye, 'k' pupil, '.' nothing.
_ANIMALS = """
...ww...ww...  ..........##.  .............  ..........##.  .............
..#kw#.#kw#..  ......##.###.  .............  .........###.  .............
..#########..  ....########.  ...#######...  ....######...  ....#####....
.###ooooo##..  ...#ooooo####  ..##ooooo##..  ...#ooooo##..  ...#ooooo#...
.##ooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
###ooooooo#..  ..#ooooooo###  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
###ooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
.##ooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
.##ooooooo#..  ..#ooooooo#..  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
..##ooooo##..  ...#ooooo#...  ..##ooooo##..  ...#ooooo#...  .###ooooo##..
...#######...  ....#####....  ...#######...  ....#####....  ##########...
.............  .............  .............  .............  y.yy.yy.y....

.yy..www..yy.  ........##...  .............  .............  .............
..y##wkw##y..  ......####.##  .............  .........y...  .............
..###www###..  ....#########  ...#######...  ....#####.yy.  ....#####....
...#ooooo##..  ...#ooooo###.  ..##ooooo##..  ...#ooooo###.  ...#ooooo#...
..#ooooooo#..  ..#ooooooo###  .##ooooooo##.  ..#ooooooo#yy  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo##.  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo###  .##ooooooo##.  ..#ooooooo#yy  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo##.  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo#..  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
..##ooooo##..  ...#ooooo#...  ..##ooooo##..  ...#ooooo#...  ..##ooooo##..
...#######...  ....#####....  ...#######...  ....#####....  .###..####...
.............  .............  .............  .............  .###..####...

.##.......##.  ...........#.  .............  .........###.  .............
.###kw.kw###.  .........####  .............  ........####.  .............
..##kw#kw##..  ....#########  ...#######...  ....########.  ....#####....
.y##ooooo##..  ...#ooooo####  ..##ooooo##..  ...#ooooo##..  ...#ooooo#...
yy#ooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
yyyooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
yy#ooooooo#..  ..#ooooooo#..  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo#..  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo#..  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
..##ooooo##..  ...#ooooo#...  ..##ooooo##..  ...#ooooo#...  ...#ooooo#...
...#######...  ....#####....  ...#######...  ....#####....  ..yy###yy....
.............  .............  .............  .............  .yyy..yyy....
"""
# The forms of the first five classes, part by part; the other five classes wear the same forms upside down.
# Each has 22 dark pixels of 45, and any two differ in at least 9, also when one of them is turned into its negative.
# A search chose them so that the five forms of a class have nearly the same spectrum together, whichever the class:
# with each part dark on light or light on dark at random, texture tells next to nothing, and shape tells all.
_FORMS = """
..###.. .#.#.#. ..#.#.. .#...#. .#.#.#.   ..#.#.. .#...#. .#...#. ..###.. ...#...
..#.#.. .#...#. ####### ...#... .#####.   ..#.#.. ##.#.## .#.#.#. ..###.. ###.###
...#... .#####. .#.#.#. #.###.# #..#..#   #.###.# #.#.#.# .#...#. #..#..# ..###..
.#####. #.#.#.# ....... ..###.. #..#..#   #..#..# #..#..# ##.#.## #.....# #######
###.### ##...## .#.#.#. #..#..# #.....#   .#.#.#. ##.#.## #.###.# ###.### ..#.#..
...#... ...#... .#...#. ##...## .##.##.   #.....# .#.#.#. ...#... .#####. ...#...
.##.##. .#.#.#. .#####. .##.##. ..#.#..   .#####. ....... .##.##. ....... .#...#.

..###.. ..###.. ..###.. .#####. .......   ..###.. ....... ....... .#.#.#. .#.#.#.
####### .#.#.#. .#...#. .#.#.#. #######   ....... ##...## .##.##. ##.#.## ##...##
.#...#. ...#... .#.#.#. ..#.#.. #..#..#   #.###.# ####### .#.#.#. #..#..# .#.#.#.
#..#..# .#.#.#. .##.##. ..#.#.. #.....#   #.#.#.# ..###.. .#...#. #.#.#.# ..#.#..
#.#.#.# ##...## ..###.. #.###.# .#...#.   ..###.. ##...## ####### .##.##. ...#...
....... .##.##. ##.#.## ..###.. .#####.   .#.#.#. ...#... #..#..# #..#..# .#####.
..###.. .##.##. .#...#. .#...#. .#.#.#.   .##.##. .#.#.#. ..###.. ....... .##.##.

.#####. ..###.. ...#... ..###.. ..###..
#..#..# .#####. ####### ..###.. .#...#.
.#.#.#. ##...## ..###.. ..#.#.. ..#.#..
.#...#. ...#... .#.#.#. .#...#. .#####.
.##.##. .##.##. .#...#. .#.#.#. .#...#.
#.#.#.# ##.#.## ##...## ####### .#####.
...#... ....... .#...#. ..#.#.. .#.#.#.
"""


def _read(art, marks):
    """The drawings above, strip by strip, as numbers (drawings, rows, columns): the place of each sign in `marks`."""
    strips = [[line.split() for line in strip.split("\n")] for strip in art.strip().split("\n\n")]
    return np.array(
        [[[marks.index(mark) for mark in row] for row in drawing] for strip in strips for drawing in zip(*strip)],
        np.uint8,
    )


NOTHING, OUTLINE, SKIN, SHADE, LIGHT, DARK, HORN, WHITE, PUPIL = range(9)  # the entries of a picture's palette
ANIMALS = _read(_ANIMALS, ".-#,o*ywk").reshape(-1, 5, 12, 13)  # (varieties, parts, height, width)
LIMB = SKIN * np.array([[0, 1, 1, 1, 0], [1] * 5, [1] * 5, [1] * 5, [0, 1, 1, 1, 0]], np.uint8)
ROOM = ANIMALS[0, 0, 3:10, 3:10] == LIGHT  # (7, 7): the 45 pixels of a form, the same for every part and class
FORMS = _read(_FORMS, ".#").astype(bool).reshape(5, 5, 7, 7).swapaxes(0, 1)
FORMS = np.concatenate([FORMS, FORMS[:, :, ::-1]], 1)  # (parts, classes, 7, 7), True where dark
# Where the centre of a part may lie: first y, last y, first x, last x. Any two parts stay at least 8 pixels apart.
PLACES = np.array([(7, 8, 6, 11), (6, 7, 20, 25), (16, 17, 14, 16), (15, 17, 25, 26), (25, 26, 8, 22)])
HUES = np.array(
    [  # of the background, in red, green, blue; with a shortcut, hue i goes with class i
        (214, 132, 132),
        (218, 162, 112),
        (210, 196, 110),
        (162, 196, 106),
        (118, 194, 134),
        (106, 194, 190),
        (118, 168, 214),
        (140, 140, 216),
        (178, 132, 212),
        (214, 132, 190),
    ],
    np.int16,
)
SKINS = np.array(
    [  # of the animal: deeper than any background, and coupled to nothing
        (196, 62, 58),
        (208, 110, 36),
        (176, 136, 30),
        (104, 142, 40),
        (38, 140, 78),
        (28, 132, 140),
        (44, 104, 178),
        (88, 84, 190),
        (138, 68, 172),
        (184, 60, 126),
    ],
    np.int16,
)
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
    _require(isinstance(n, (int, np.integer)) and n >= 1, f"n must be a whole number of pictures, 1 or more, got {n!r}")
    _require(isinstance(seed, (int, np.integer)) and seed >= 0, f"seed must be a whole number, 0 or more, got {seed!r}")
    _require_reliability(reliability)
    _require(0 <= shortcut <= 1, f"shortcut must be a probability in [0, 1], got {shortcut!r}: 0 cheats nowhere")
    stream, chunks = np.random.PCG64(seed), []
    for start in range(0, n, 500):  # a few at a time, to stay small in memory and fast
        words = stream.random_raw(min(500, n - start) * _WORDS).reshape(-1, _WORDS)
        chunks.append(_draw(words, reliability, shortcut, _parts("hide", hide), _parts("swap", swap), new_backgrounds))
    return Critters(*map(np.concatenate, zip(*chunks)))


def best_accuracy(parts, reliability):
    """The best possible accuracy from `parts` parts (0 to 5), read without error: exact, by going through all votes.

    The best guess is the class with most votes; between equals it is drawn at random, so a tie of two counts one half.
    At reliability 0.6: 0.10, 0.60, 0.60, 0.73, 0.83, 0.88 for 0 to 5 parts. Notebooks 00 and 06.
    """
    _require(parts in range(6), f"parts must be 0, 1, 2, 3, 4 or 5, got {parts!r}: an animal has five")
    _require_reliability(reliability)
    votes = np.array(list(product(range(10), repeat=parts)), int)  # (10^parts, parts): what class 0 may show
    counts = (votes[:, :, None] == np.arange(10)).sum(1)  # (10^parts, 10)
    probability = reliability ** counts[:, 0] * ((1 - reliability) / 9) ** (parts - counts[:, 0])
    winners = counts == counts.max(1, keepdims=True)
    return float(probability @ (winners[:, 0] / winners.sum(1)))


def _draw(words, reliability, shortcut, hide, swap, new_backgrounds):
    """The fields of Critters, for one picture per row of random words. Every array here begins with (n, ...)."""
    n, used, part = len(words), 0, np.arange(5)

    def throw(sides, dice=1):  # (n, dice) whole numbers in 0 ... sides - 1
        nonlocal used
        used += dice
        return ((words[:, used - dice : used] >> 32) * np.asarray(sides, np.uint64) >> 32).astype(np.int64)

    def chance(p, dice=1):
        return throw(2**32, dice) < p * 2**32

    # What is there. All dice are thrown, needed or not, so that an intervention disturbs nothing else.
    labels = throw(10)
    forms = np.where(chance(reliability, 5), labels, (labels + 1 + throw(9, 5)) % 10)
    rank, donor = throw(2**32, 5).argsort(1, kind="stable"), (labels + 1 + throw(9)) % 10
    hidden, swapped = hide(rank), swap(4 - rank)
    _require(not (hidden & swapped).any(), "hide and swap ask for the same part: hide and swap different parts")
    forms = np.where(hidden, -1, np.where(swapped, donor, forms))
    backgrounds = np.where(chance(shortcut), labels, throw(10))
    elsewhere = (labels + 1 + throw(9)) % 10
    if new_backgrounds:
        backgrounds = elsewhere

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

    # The colours, and a soft texture behind the animal: 5x5 random greys with straight lines between them.
    skin, white = SKINS[throw(10)[:, 0]], np.full((n, 3), 255, np.int16)
    behind = HUES[backgrounds[:, 0]] + (throw(13, 3) - 6)
    palette = np.stack(
        [
            behind,
            skin * 3 // 10,
            skin,
            skin * 3 // 4,
            (3 * skin + 2 * white) // 5,
            skin * 2 // 5,
            white * (50, 41, 18) // 51,
            white,
            white // 10,
        ],
        1,
    ).astype(np.uint8)  # (n, 9, 3)
    near = np.maximum(0, 8 - abs(np.arange(SIZE)[:, None] - 8 * np.arange(5)))  # (32, 5)
    texture = (near @ throw(64, 25).reshape(n, 5, 5) @ near.T >> 6) - 32
    colours = palette.reshape(-1, 3).T[:, canvas + 9 * np.arange(n)[:, None, None]]  # (3, n, 32, 32)
    images = np.ascontiguousarray(colours.swapaxes(0, 1))
    images += (texture * (canvas == NOTHING)).astype(np.uint8)[:, None]  # uint8 wraps, so this subtracts, too

    # Half of them look to the right. (Forms are symmetric, so they stay what they are.)
    right = throw(2)[:, 0] == 1
    objects = canvas != NOTHING
    for array in (images, masks, objects):
        array[right] = array[right, ..., ::-1]
    return images, labels[:, 0], masks, objects, forms, hidden | swapped, backgrounds[:, 0]


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
    below, around = there.copy(), there.copy()
    below[:, :-1] = there[:, 1:]
    around[:, 1:] |= there[:, :-1]
    around[:, :, 1:] |= there[:, :, :-1]
    around[:, :, :-1] |= there[:, :, 1:]
    canvas[(canvas == SKIN) & ~below] = SHADE
    canvas[(around | below) & ~there] = OUTLINE
    inside = np.s_[..., _EDGE:-_EDGE, _EDGE:-_EDGE]
    return canvas[inside], masks[inside].reshape(n, 5, SIZE, SIZE)


def _stamp(canvas, stamps, y, x):
    """Put stamps (n, k, height, width) on the canvas (n, ...), centres at y, x (n, k); their zeros are transparent."""
    i, j, row, column = np.nonzero(stamps)
    rows, columns = y[i, j] + row - stamps.shape[2] // 2, x[i, j] + column - stamps.shape[3] // 2
    canvas[i, rows + _EDGE, columns + _EDGE] = stamps[i, j, row, column]


def _parts(name, choice):
    """What `hide` or `swap` means: a function from random ranks (n, 5) to the chosen parts, bool (n, 5)."""
    if isinstance(choice, (int, np.integer)):
        _require(0 <= choice <= 5, f"{name} must be a number of parts, 0 to 5, or names from {PARTS}, got {choice!r}")
        return lambda rank: rank < choice
    names = (choice,) if isinstance(choice, str) else tuple(choice)
    _require(set(names) <= set(PARTS), f"{name} must be names from {PARTS}, or a number of parts, got {choice!r}")
    return lambda rank: np.broadcast_to(np.isin(PARTS, names), rank.shape)


def _require_reliability(q):
    _require(0.1 <= q <= 1, f"reliability must be a probability in [0.1, 1], got {q!r}: 0.1 is chance, 1 is certain")


def _require(holds, message):
    if not holds:
        raise ValueError(message)
