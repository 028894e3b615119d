"""Critters: the built-in pictures, drawn from a seed, with a mask for the whole animal and for each of its five parts.

They stand at the very start of the flow (data -> model -> grow -> ...): `data.py` turns them into tensors and splits.
Notebook 00 meets them; notebook 06 hides and swaps their parts to find out how much of the animal a network looks at.

Only shape tells the class. Every part carries a *form*, a small symmetric pattern of markings, and shows its own class's
form with probability `reliability` only: no part can be trusted alone, so it pays to look at the whole animal.
Everything is drawn with integers from raw random bits: the same seed gives the same bytes on every machine.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

CLASSES = ("ampo", "bilu", "crem", "dovi", "ezzo", "fimp", "gron", "hoom", "ibli", "jupo")
PARTS = ("head", "wing", "belly", "tail", "feet")
SIZE = 32  # height and width of a picture, in pixels

# The animals, looking to the left, in three varieties; which one says nothing about the class. A column is a part.
# '#' skin, 'o' the room for a form (the same for all), 'y' beaks, horns and claws, 'w' and 'k' the eyes, '.' nothing.
VARIETIES = """
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
...#######...  ....#####....  ...#######...  ....#####....  ###########..
.............  .............  .............  .............  y.y.y.y.y....
.............  .............  .............  .............  .............

.yy.......yy.  ........##...  .............  .............  .............
..y##www##y..  ......####.##  .............  .........y...  .............
..###kkw###..  ....#########  ...#######...  ....#####.yy.  ....#####....
...#ooooo##..  ...#ooooo###.  ..##ooooo##..  ...#ooooo###.  ...#ooooo#...
..#ooooooo#..  ..#ooooooo###  .##ooooooo##.  ..#ooooooo#yy  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo##.  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo###  .##ooooooo##.  ..#ooooooo#yy  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo##.  .##ooooooo##.  ..#ooooooo##.  ..#ooooooo#..
..#ooooooo#..  ..#ooooooo#..  .##ooooooo##.  ..#ooooooo#..  ..#ooooooo#..
..##ooooo##..  ...#ooooo#...  ..##ooooo##..  ...#ooooo#...  ..##ooooo##..
...#######...  ....#####....  ...#######...  ....#####....  .###..####...
.............  .............  .............  .............  .###..####...
.............  .............  .............  .............  .............

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
.............  .............  .............  .............  .............
"""
NOTHING, OUTLINE, SKIN, SHADE, LIGHT, INK, HORN, WHITE, PUPIL = range(9)  # the entries of a picture's palette
SPRITES = np.array([[[[".-#,o*ywk".index(mark) for mark in line.split()[part]] for line in block.split("\n")]
                     for part in range(5)] for block in VARIETIES.strip().split("\n\n")], np.uint8)
ROOM = SPRITES[0, 0, 3:10, 3:10] == LIGHT  # (7, 7): the 45 pixels of a form, the same for all parts and classes

# Where a part's centre may lie while the animal looks to the left: first y, last y, first x, last x.
# Any two parts stay at least 8 pixels apart.
PLACES = ((7, 8, 5, 10), (6, 7, 20, 25), (16, 17, 14, 16), (15, 17, 25, 26), (25, 26, 8, 22))

HUES = np.array([  # of the background, as red, green, blue; with a shortcut, hue i goes with class i
    (214, 132, 132), (218, 162, 112), (210, 196, 110), (162, 196, 106), (118, 194, 134),
    (106, 194, 190), (118, 168, 214), (140, 140, 216), (178, 132, 212), (214, 132, 190)], np.int16)
SKINS = np.array([  # of the animal, never coupled to anything
    (196, 62, 58), (208, 110, 36), (176, 136, 30), (104, 142, 40), (38, 140, 78),
    (28, 132, 140), (44, 104, 178), (88, 84, 190), (138, 68, 172), (184, 60, 126)], np.int16)


def _make_forms(seed=0, pool=4096, apart=14, edges=(26,40)):
    raw = np.random.PCG64(seed).random_raw(pool * 28).reshape(pool, 7, 4)
    half = np.zeros((pool, 7, 4), bool)
    raw[:, [0, -1], 0] = 2**64 - 1  # the corners stay outside
    for columns, ink in ((slice(0, 3), 9), (slice(3, 4), 4)):  # 2 * 9 + 4 = 22 dark pixels
        order = np.argsort(np.argsort(raw[:, :, columns].reshape(pool, -1), 1, kind="stable"), 1, kind="stable")
        half[:, :, columns] = (order < ink).reshape(pool, 7, -1)
    forms = np.concatenate([half, half[:, :, 2::-1]], 2)
    h = (forms[:, :, 1:] ^ forms[:, :, :-1]) & ROOM[:, 1:] & ROOM[:, :-1]
    v = (forms[:, 1:] ^ forms[:, :-1]) & ROOM[1:] & ROOM[:-1]
    h, v = h.sum((1, 2)), v.sum((1, 2))

    forms = forms[(h+v>=edges[0])&(h + v <= edges[1])]

    chosen = [0]
    free = np.ones(len(forms), bool)
    while len(chosen) < 50:
        free &= (forms != forms[chosen[-1]]).sum((1, 2)) >= apart
        assert free.any(), len(chosen)
        chosen.append(int(np.argmax(free)))
    return forms[chosen].reshape(5, 10, 7, 7), np.delete(forms, chosen, 0)


FORMS, STRAYS = _make_forms()


def _stamp(canvas, sprites, y, x):
    n, k, size, _ = sprites.shape
    i, j, row, column = np.nonzero(sprites)
    canvas[i, y[i, j] + row - size // 2 + 8, x[i, j] + column - size // 2 + 8] = sprites[i, j, row, column]


DOT = SKIN * np.array([[0, 1, 1, 1, 0], [1] * 5, [1] * 5, [1] * 5, [0, 1, 1, 1, 0]], np.uint8)
WORDS = 60

def draw(n, seed, reliability=.6, shortcut=0.):
    words = np.random.PCG64(seed).random_raw(n * WORDS).reshape(n, WORDS)
    column = iter(words.T)
    def throw(k, m=None):
        if m is None: return ((next(column) >> 32) * int(k) >> 32).astype(np.int64)
        return np.stack([throw(k) for _ in range(m)], 1)
    def chance(p, m=None):
        if m is None: return (next(column) >> 11) < p * 2.0**53
        return np.stack([chance(p) for _ in range(m)], 1)
    labels = throw(10)
    forms = np.where(chance(reliability, 5), labels[:, None], (labels[:, None] + 1 + throw(9, 5)) % 10)
    hue = np.where(chance(shortcut), labels, throw(10))
    y = np.stack([a + throw(b - a + 1) for a, b, _, _ in PLACES], 1)
    x = np.stack([a + throw(b - a + 1) for _, _, a, b in PLACES], 1)
    right = throw(2) == 1
    kind = throw(len(SPRITES), 5)
    skin = throw(10)
    canvas = np.zeros((n, 48, 48), np.uint8)
    k = np.arange(1, 8)
    ly, lx = (((a[:, 2:3, None] * k + a[:, [0, 1, 3, 4], None] * (8 - k)) // 8).reshape(n, 28) for a in (y, x))
    _stamp(canvas, np.broadcast_to(DOT, (n, 28, 5, 5)), ly, lx)
    p = np.arange(5)
    _stamp(canvas, SPRITES[kind, p], y, x)
    _stamp(canvas, np.where(FORMS[p, forms] ^ (throw(2, 5) == 1)[..., None, None], INK, LIGHT).astype(np.uint8) * ROOM, y, x)
    masks = np.zeros((n * 5, 48, 48), bool)
    _stamp(masks, np.broadcast_to(ROOM, (n * 5, 1, 7, 7)), y.reshape(-1, 1), x.reshape(-1, 1))
    masks = masks.reshape(n, 5, 48, 48)[..., 8:40, 8:40]
    animal = canvas > 0
    near = animal.copy()
    near[:, 1:] |= animal[:, :-1]; near[:, :-1] |= animal[:, 1:]
    near[:, :, 1:] |= animal[:, :, :-1]; near[:, :, :-1] |= animal[:, :, 1:]
    low = (canvas == SKIN); low[:, :-1] &= ~animal[:, 1:]
    canvas[low] = SHADE
    canvas[near & ~animal] = OUTLINE
    canvas = canvas[:, 8:40, 8:40]
    S = SKINS[skin]
    c = lambda *rgb: S * 0 + np.array(rgb)
    palette = np.stack([HUES[hue], S * 3 // 10, S, S * 3 // 4, (S*LM[0] + LM[1]* 255) // (LM[0]+LM[1]), S * 3 // 10, c(250, 206, 92), c(255, 255, 255), c(24, 20, 32)], 1)
    grid = (words[:, -4:].astype("<u8").view(np.uint8).reshape(n, 32)[:, :25].reshape(n, 5, 5)).astype(np.int32)
    hat = np.maximum(0, 8 - abs(np.arange(32)[:, None] - 8 * np.arange(5))).astype(np.int32)
    tex = ((hat @ grid @ hat.T) // 64 - 128) // 4
    index = canvas + 9 * np.arange(n)[:, None, None]
    img = np.moveaxis(palette.reshape(-1, 3).T[:, index], 0, 1) + (tex * (canvas == 0))[:, None]
    img[right] = img[right, :, :, ::-1]
    masks[right] = masks[right, :, :, ::-1]
    return img.astype(np.uint8), labels, masks, canvas > 0, forms
LM = (1, 1)
