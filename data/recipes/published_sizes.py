"""Parameters of VGG16 after four growths whose budgets are shared over layers as in a public program: 1,000 draws.

    python data/recipes/published_sizes.py    writes data/results/published_sizes.json (seconds)

From width 16, 35 % more neurons four times (``lab.published.layer_budgets``). Nothing is trained. Notebook 02.
"""

import json
from pathlib import Path

import growlab as gl
from growlab.files import write_atomically
from growlab.lab.published import layer_budgets
from growlab.seeds import random_stream

DRAWS, GROWTHS, LAYERS = 1000, 4, 13


sizes = []
for seed in range(DRAWS):
    widths, generator = [16] * LAYERS, random_stream(seed, "sizes")
    for _ in range(GROWTHS):
        new = layer_budgets(int(0.35 * sum(widths)), LAYERS, generator)
        widths = [width + more for width, more in zip(widths, reversed(new))]  # budgets go from the last layer on
    sizes.append(gl.parameter_count(gl.vgg16(widths)))
record = {
    "what": "written by published_sizes.py: parameters of VGG16 after four growths, a draw for each seed",
    "runs": {"arm": "published random", "seed": list(range(DRAWS)), "parameters": sizes},
}
file = Path(__file__).resolve().parents[1] / "results" / "published_sizes.json"
write_atomically(file, (json.dumps(record) + "\n").encode())
