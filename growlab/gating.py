"""Similarity-gated growth: candidates too much like neurons that are there already do not get in.

A rule that a second-hand summary ascribes to Sakai & Hotta (2024); their paper lets all candidates in and moves the
weights afterwards (``decorrelate``). Flow: propose, **gate**, budget, apply. Notebook 04 shows how the two differ.
"""

import torch
from torch import Tensor, nn

from growlab.checks import flag, number, one_of
from growlab.machine import in_double
from growlab.seeds import random_stream
from growlab.structure.graph import named_tensors
from growlab.structure.units import Unit
from growlab.watching import evaluating, hooked


@torch.no_grad()
def gate(model: nn.Module, found: dict[str, Unit], candidates: list, max_cosine: float, *, on, batches, soft, seed):
    """``GrowthPlan.gate``, which see: candidates that get in, and [(candidate, reason)] of those that do not.

    They are looked at in their order; each that gets in counts for the next.
    """
    check_gate(max_cosine, on, soft)
    if on != "weights" and batches is None:
        raise ValueError(f'on="{on}" compares outputs: pass batches=, an iterable of (pictures, labels)')
    luck = torch.rand(len(candidates), generator=random_stream(seed, "gate"), dtype=torch.float64).tolist()
    own = {name: [c for c in candidates if c.unit == name] for name in {c.unit: None for c in candidates}}
    filters = {name: _filters(model, found[name], own[name]) for name in own}
    products = []  # for each reading {unit: inner products (n + m, n + m) of old filters and candidates' values}
    if on != "activations":
        products.append({name: _inner_products(filters[name]) for name in own})
    if on != "weights":
        products.append(_covariances(model, filters, batches))
    layers = {name: _Built(found[name].neurons, [table[name] for table in products]) for name in own}

    accepted, refused, seen = [], [], dict.fromkeys(own, 0)
    for candidate, chance in zip(candidates, luck):
        layer, index = layers[candidate.unit], seen[candidate.unit]
        seen[candidate.unit] += 1
        cosine, other = layer.nearest(candidate.parent, index)
        # Hard: nothing above the threshold. Soft: the chance falls from 1 at the threshold to 0 for an exact copy.
        limit = max_cosine + chance * (1 - max_cosine) if soft else max_cosine
        if cosine > min(limit, 1 - 1e-12) and max_cosine < 1:
            kind = "neuron" if other < found[candidate.unit].neurons else "accepted candidate, neuron"
            what = {"weights": "", "activations": " of activations", "both": " of weights and of activations"}[on]
            refused.append((candidate, f"cosine{what} {cosine:.3f} with {kind} {other}: more than {limit:.3f}"))
        else:
            layer.accept(candidate.parent, index)
            accepted.append(candidate)
    return accepted, refused


def check_gate(max_cosine=0.9, on="weights", soft=False) -> None:
    """Raise ``ValueError`` for options out of range."""
    number("max_cosine", max_cosine, "[0, 1]", "0.9 keeps out what is within 26° of another")
    one_of("on", on, ("weights", "activations", "both"))
    flag("soft", soft, "True lets some of the similar ones in")


class _Built:
    """The neurons of one unit as they would be built, each a combination of old filters and candidates' values.

    With inner products of those known, cosines of weights and of activations are the same few lines: a neuron's
    output is the same combination of their outputs.
    """

    def __init__(self, neurons: int, products: list[Tensor]):
        self.neurons, self.products = neurons, products  # each (n + m, n + m)
        self.rows = torch.eye(neurons, len(products[0]), dtype=torch.float64, device=products[0].device)

    def nearest(self, parent, index) -> tuple[float, int]:
        """The largest cosine of a candidate with any neuron, and which one. With two readings the smaller counts."""
        grown, cosines = self._with(parent, index), []
        rows, child = grown[:-1], grown[-1]
        for product in self.products:
            image, squares = product @ child, (rows @ product * rows).sum(1)
            cosine = rows @ image / (child @ image * squares).clamp_min(0).sqrt()
            cosines.append(cosine.nan_to_num(0, 0, 0).clamp(-1, 1))  # zeros have no direction
        cosine, other = torch.stack(cosines).amin(0).max(0)
        return cosine.item(), other.item()

    def accept(self, parent, index) -> None:
        self.rows = self._with(parent, index)

    def _with(self, parent, index):
        """The rows with the candidate behind them: w + v of the old filter w, while its parent moves the other way."""
        rows, child = self.rows.clone(), torch.zeros_like(self.rows[0])
        child[self.neurons + index] = 1
        if parent is not None:
            rows[parent] -= child
            child[parent] = 1
        return torch.cat([rows, child[None]])


def _filters(model, unit: Unit, candidates) -> dict[str, tuple[Tensor, int]]:
    """By producer: its filters and, behind them, the candidates' values, ``n + m`` along the axis that comes along."""
    tensors, result = named_tensors(model), {}
    for edit in unit.edits:
        if edit.kind == "copy" and edit.tensor.removesuffix(".weight") in unit.layers:
            weight = tensors[edit.tensor].detach().movedim(edit.axis, 0)
            zero = torch.zeros_like(weight[0])
            rows = [c.values[edit].to(weight).reshape(zero.shape) if edit in c.values else zero for c in candidates]
            result[edit.tensor] = torch.stack([*weight, *rows]).movedim(0, edit.axis), edit.axis
    return result


def _inner_products(filters) -> Tensor:
    rows = torch.cat([rows.movedim(axis, 0).flatten(1) for rows, axis in filters.values()], 1)
    rows = in_double(rows)
    return rows @ rows.T


def _covariances(model, filters, batches) -> dict[str, Tensor]:
    """By unit: covariances over pictures and positions of what its filters put out; their cosines are correlations.

    Of the producers' outputs, before batch norm: shifting and scaling do not change a correlation.
    """
    rows_of = {tensor: rows for parts in filters.values() for tensor, rows in parts.items()}
    layers = {tensor: model.get_submodule(tensor.removesuffix(".weight")) for tensor in rows_of}
    inputs = {layer: [] for layer in layers.values()}
    notes = dict.fromkeys(inputs, lambda layer, given, _: inputs[layer].append(given[0]))
    count, total, squares = (dict.fromkeys(layers, 0) for _ in range(3))
    used = False
    for images, _ in batches:
        used = True
        with evaluating(model), hooked(notes):
            model(images)
        for tensor, (rows, axis) in rows_of.items():
            for x in inputs[layers[tensor]]:
                outputs = _outputs(layers[tensor], rows, axis, x)  # (pictures · positions, n + m)
                count[tensor] += len(outputs)
                total[tensor] += outputs.sum(0)
                squares[tensor] += outputs.T @ outputs
        for seen in inputs.values():
            seen.clear()
    if not used:
        raise ValueError("no batches: pass an iterable of at least one (pictures, labels)")
    result = {}
    for name, parts in filters.items():
        result[name] = 0
        for tensor in parts:
            mean, second = total[tensor] / count[tensor], squares[tensor] / count[tensor]
            covariance = second - torch.outer(mean, mean)
            constant = covariance.diagonal() <= 1e-12 * second.diagonal()  # the rest is rounding
            result[name] = result[name] + covariance.masked_fill(constant | constant[:, None], 0)
    return result


def _outputs(layer, rows, axis, x):
    tensors = {"weight": rows} | ({} if layer.bias is None else {"bias": layer.bias.new_zeros(rows.shape[axis])})
    outputs = torch.func.functional_call(layer, tensors, (x,))
    return in_double(outputs.movedim(-1 if isinstance(layer, nn.Linear) else 1, -1).flatten(0, -2))
