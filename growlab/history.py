"""The history of a run: what happened, as plain values, and how alike the neurons of each layer were meanwhile.

Beside the flow: ``train`` and each growth write into it. Notebooks 00 and 04.
"""

import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, fields

import pandas as pd
import torch
from torch import Tensor

from growlab.checks import plain
from growlab.files import JSON, read_sealed, write_sealed
from growlab.machine import in_double
from growlab.plans import twins_of
from growlab.similarity import cosine_map, effective_rank, mean_cosine, null_bands, twin_angle, welch_bound
from growlab.structure.units import units

HISTOGRAM_BINS = 40  # of width 0.05 from −1 to 1
NO_RECORD = "is no record of a run, or damaged: move it away, and gl.train writes it again from the checkpoint"


@dataclass
class History:
    """What happened in a run: plain lists and numbers, the same in memory and in JSON.

    ``epochs``: a row each (loss, accuracies, learning rate, widths, parameters, seconds by phase). ``growths``: a row
    each (after which epoch, the new neurons as a table, parameters, seconds, how many candidates a gate refused).
    ``decorrelations``: a row each (after which epoch, the first and the last row of the trace, seconds).
    ``similarity``: the figures of every layer before and after each growth, after the K steps, and at the end.
    ``result``: what the final network scores.
    """

    settings: dict
    environment: dict
    epochs: list[dict] = field(default_factory=list)
    growths: list[dict] = field(default_factory=list)
    decorrelations: list[dict] = field(default_factory=list)
    similarity: list[dict] = field(default_factory=list)
    result: dict = field(default_factory=dict)

    def __post_init__(self):
        for part in fields(self):
            value = getattr(self, part.name)
            rows = [value] if part.type is dict else value
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                kind = "a dict" if part.type is dict else "a list of dicts"
                raise ValueError(f"{part.name} must be {kind}, got {value!r:.80}: History.__doc__ says what it holds")

    def table(self) -> pd.DataFrame:
        """A row per epoch."""
        return pd.DataFrame(self.epochs)

    @property
    def twins(self) -> dict[str, list[tuple[int, int]]]:
        """Pairs (parent, child) by unit, of all growth so far: new neurons go to the end, so indices stay valid."""
        twins = defaultdict(list)
        for event in self.growths:
            for unit, pairs in twins_of(event["new"]).items():
                twins[unit] += pairs
        return twins

    def note_similarity(self, model, epoch: int, when: str) -> None:
        """Keep the figures of every layer's filters."""
        twins = self.twins
        layers = {unit.name: similarity_figures(unit.weight, twins.get(unit.name, ())) for unit in units(model)}
        self.similarity.append({"epoch": epoch, "when": when, "layers": layers})

    def contents(self) -> dict:
        """As a dict of plain values. Raises ``ValueError`` for what JSON lacks, and for a setting that is NaN."""
        found = plain({part.name: getattr(self, part.name) for part in fields(self)})
        for name, value in found.items():
            _check_plain(name, value)
        settings, constants = json.dumps(found["settings"]), []
        json.loads(settings, parse_constant=constants.append)
        if "NaN" in constants:
            hint = "it is never the same, so no run could go on"
            raise ValueError(f"settings must be without NaN, got {settings}: {hint}")
        return found

    def save(self, path) -> None:
        """Write it as JSON, one line per row. A file that says the same already is left as it is."""
        parts = []
        for name, value in self.contents().items():
            rows = value if isinstance(value, list) else None
            text = json.dumps(value) if not rows else "[\n  " + ",\n  ".join(map(json.dumps, rows)) + "\n ]"
            parts.append(f' "{name}": {text}')
        contents = ("{\n" + ",\n".join(parts) + "\n}\n").encode()
        with suppress(OSError, ValueError):
            if read_sealed(path, JSON, bytes, NO_RECORD) == contents:
                return  # so a finished run can be looked at where nothing can be written
        write_sealed(path, contents)

    @classmethod
    def load(cls, path) -> "History":
        """What ``save`` wrote. Raises ``ValueError`` for a damaged file, or for another one."""
        return read_sealed(path, JSON, lambda text: cls(**json.loads(text)), NO_RECORD)


def _check_plain(name, value):
    """Raise a ValueError that names the first value in it that JSON lacks."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        pass
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        inner = {f"{name}.{key}": inner for key, inner in value.items()}
    else:
        inner = {f"{name}[{i}]": inner for i, inner in enumerate(value)} if isinstance(value, list | tuple) else {}
    for name_of_inner, inner_value in inner.items():
        _check_plain(name_of_inner, inner_value)
    hint = "a run is recorded as JSON; give numbers, text, None, lists, or dicts with text as keys"
    raise ValueError(f"{name} must be plain values, got {value!r:.80}: {hint}")


@torch.no_grad()
def similarity_figures(weight: Tensor, twins: list[tuple[int, int]] = ()) -> dict:
    """What a record keeps of one layer's filters ``(n, D)``: plain numbers, ready for JSON.

    μ, also in null deviations, the mean |cosine|, the mean squared cosine and its Welch bound, the effective rank,
    the mean angle in radians of ``twins`` (pairs of indices), and the histogram of the off-diagonal cosines, each
    pair once, in 40 bins from −1 to 1.
    """
    weight = in_double(weight.detach().flatten(1)).cpu()
    n, d = weight.shape
    cosines = cosine_map(weight)[tuple(torch.triu_indices(n, n, 1))]
    mu = mean_cosine(weight).item()
    figures = {
        "neurons": n,
        "mean_cosine": mu,
        "mean_absolute_cosine": cosines.abs().mean().item() if n > 1 else 0.0,
        "mean_square_cosine": cosines.square().mean().item() if n > 1 else 0.0,
        "welch_bound": welch_bound(n, d),
        "effective_rank": effective_rank(weight),
        "null_z": mu / null_bands(n, d)[1] if n > 1 else None,
        "histogram": torch.histc(cosines.clamp(-1, 1), HISTOGRAM_BINS, -1, 1).int().tolist(),
    }
    if twins:
        first, second = (list(index) for index in zip(*twins))
        figures["twin_angle"] = twin_angle(weight[first], weight[second]).mean().item()
    return figures
