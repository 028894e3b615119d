"""The exercises of notebook 03: a layer with all its candidates, what they are worth, and which are built."""

import torch

from growlab.course.exercises.exercise import Exercise, normal


def candidates(n, D, C, m, seed):
    """A layer of ``n`` neurons, w (n, D), out (C, n), directions v (n, D); ``m`` fresh neurons u (m, D), o (C, m)."""
    shapes = (n, D), (C, n), (n, D), (m, D), (C, m)
    return [normal(*shape, seed=10 * seed + i) for i, shape in enumerate(shapes)]


def tanh_layer(x, w, out):
    return torch.tanh(x @ w.T) @ out.T


def perturbed_layer(x, w, out, v, u, o, gates):
    n = len(w)
    step = gates[:n, None] * v
    twins = (torch.tanh(x @ (w + step).T) + torch.tanh(x @ (w - step).T)) / 2
    fresh = torch.tanh(x @ u.T) * gates[n:]
    return twins @ out.T + fresh @ o.T


def layers():
    for seed, (n, D, C, m) in enumerate([(1, 1, 1, 1), (2, 3, 1, 2), (3, 2, 4, 1)]):
        gates = torch.rand(n + m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        yield normal(2, D, seed=5), *candidates(n, D, C, m, seed), gates


def is_the_plain_layer_at_zero(answer, x, w, out, v, u, o, gates):
    if not torch.allclose(answer(x, w, out, v, u, o, 0 * gates), tanh_layer(x, w, out)):
        return "With all gates at 0 it must be the plain layer: tanh(x wᵀ) outᵀ."


def without_half(x, w, out, v, u, o, gates):
    step = gates[: len(w), None] * v
    twins = torch.tanh(x @ (w + step).T) + torch.tanh(x @ (w - step).T)
    return twins @ out.T + (torch.tanh(x @ u.T) * gates[len(w) :]) @ o.T


def same_sign_twice(x, w, out, v, u, o, gates):
    twins = torch.tanh(x @ (w + gates[: len(w), None] * v).T)
    return twins @ out.T + (torch.tanh(x @ u.T) * gates[len(w) :]) @ o.T


def gated_activation(x, w, out, v, u, o, gates):
    twins = (torch.tanh(x @ (w + v).T) + torch.tanh(x @ (w - v).T)) / 2 * gates[: len(w)]
    return twins @ out.T + (torch.tanh(x @ u.T) * gates[len(w) :]) @ o.T


def gate_on_incoming(x, w, out, v, u, o, gates):
    step = gates[: len(w), None] * v
    twins = (torch.tanh(x @ (w + step).T) + torch.tanh(x @ (w - step).T)) / 2
    return twins @ out.T + torch.tanh(x @ (gates[len(w) :, None] * u).T) @ o.T


PERTURBED_LAYER = Exercise(
    "perturbed-layer", perturbed_layer, layers,
    mistakes={
        "Two twins, each with the full outgoing weight, say everything twice: the ½ is missing.": without_half,
        "Both twins moved the same way. One takes w + y·v, the other w − y·v.": same_sign_twice,
        "Your gate silences the neuron itself. It multiplies the step v, so that y = 0 leaves the neuron as it was.":
            gated_activation,
        "The gate of a fresh neuron multiplies its outgoing weights o. Its incoming ones, u, stay as they are.":
            gate_on_incoming,
    }, properties=(is_the_plain_layer_at_zero,),
)  # fmt: skip


def gate_score(direction, gradient, gate):
    return -(direction * gradient).sum(1) / gate


def directions():
    for seed, (count, D, gate) in enumerate([(2, 2, 0.5), (3, 4, 0.25), (4, 1, 0.5), (2, 5, 1.0)]):
        yield normal(count, D, seed=seed), normal(count, D, seed=seed + 50), gate


def is_the_slope_of_a_gate(answer, direction, gradient, gate):
    """In a network of its own, with gates as variables."""
    v, y = direction.requires_grad_(), torch.full((len(direction),), gate, dtype=torch.float64, requires_grad=True)
    inputs = normal(6, direction.shape[1], seed=9)
    loss = (torch.tanh(inputs @ (1 + y[:, None] * v).T).sum(1) - 1).square().mean()
    with_respect_to_v, with_respect_to_y = torch.autograd.grad(loss, (v, y))
    if not torch.allclose(answer(v.detach(), with_respect_to_v, gate), -with_respect_to_y):
        return "It is not minus the slope of the loss along each gate."


GATE_SCORE = Exercise(
    "gate-score", gate_score, directions,
    mistakes={
        "The sign is turned around: a candidate is good if more of it lowers the loss.":
            lambda direction, gradient, gate: (direction * gradient).sum(1) / gate,
        "One number for each candidate: sum over its D weights.":
            lambda direction, gradient, gate: -direction * gradient / gate,
        "∂L/∂v has a factor y in it already. Divide by the gate.":
            lambda direction, gradient, gate: -(direction * gradient).sum(1),
        "You summed over the candidates, too. Each one needs a score of its own.":
            lambda direction, gradient, gate: -(direction * gradient).sum() / gate,
    }, properties=(is_the_slope_of_a_gate,),
)  # fmt: skip


def where(c, q):
    return 0.5  # there, c + q·y is c + ½q = L(1) − L(0), whatever c and q are


def parabolas():
    yield from [(-1.0, 1.0), (0.0, -2.0), (-3.0, 0.5), (1.5, -4.0)]


def the_meter_shows_the_gain(answer, c, q):
    y = answer(c, q)
    if abs((c + q * y) - (c + q / 2)) > 1e-6:
        return f"At y = {y} the slope is {c + q * y:.3g}, but L(1) − L(0) = {c + q / 2:.3g}."


WHERE = Exercise(
    "where-to-read-the-meter", where, parabolas,
    mistakes={
        "At the end, y = 1, the meter shows −(c + q): the bend q counts twice. Try c = 0, a split: double its gain.":
            lambda c, q: 1.0,
        "At the start, y = 0, the meter shows −c: the bend q is lost. A split, c = 0, scores nothing.":
            lambda c, q: 0.0,
        "There the loss has its bottom, and the meter shows 0. You want the place where it shows the whole gain.":
            lambda c, q: -c / q,
        "That is the gain. Asked is the place y at which the meter shows it.": lambda c, q: -(c + q / 2),
    }, properties=(the_meter_shows_the_gain,),
)  # fmt: skip


def pick(scores, k):
    everybody = [(layer, index) for layer, row in enumerate(scores) for index in range(len(row))]
    best_first = sorted(everybody, key=lambda one: -scores[one[0]][one[1]])  # equal ones keep their order
    return best_first[:k]


def scored_layers():
    tied = [torch.tensor(row, dtype=torch.float64) for row in ([5, 2, 3], [2, 4, 2, 1])]
    yield tied, 3
    yield tied, 2
    yield [torch.tensor(row, dtype=torch.float64) for row in ([1, 1, 0], [1, -1, 1])], 2
    for seed in range(3):
        yield [normal(3 + layer, seed=10 * seed + layer) for layer in range(3)], 3


def same_set(got, expected):
    got = {(int(layer), int(i)) for (layer, i), _ in zip(got, expected, strict=True)}  # got may be endless
    return got == set(expected)


def all_above_threshold(scores, k):
    threshold = torch.cat(list(scores)).sort(descending=True).values[k - 1]
    return [(layer, i) for layer, row in enumerate(scores) for i in range(len(row)) if row[i] >= threshold]


def worst_first(scores, k):
    everybody = [(layer, i) for layer, row in enumerate(scores) for i in range(len(row))]
    return sorted(everybody, key=lambda one: scores[one[0]][one[1]])[:k]


def k_of_each_layer(scores, k):
    return [(layer, i) for layer, row in enumerate(scores) for i in sorted(range(len(row)), key=lambda i: -row[i])[:k]]


def later_of_equals(scores, k):
    everybody = [(row[i].item(), layer, i) for layer, row in enumerate(scores) for i in range(len(row))]
    return [one[1:] for one in sorted(everybody, reverse=True)[:k]]


PICK = Exercise(
    "pick-k", pick, scored_layers,
    mistakes={
        "A threshold lets in all that are equal to it, more than k. Sort, and cut the list after k.":
            all_above_threshold,
        "You took the worst. The highest score is the best: sort in falling order.": worst_first,
        "You took k of each layer. The budget is for all layers together, and layers compete for it.": k_of_each_layer,
        "Among equal scores you took the later one. Sort by the score alone: then the order of equal ones stays.":
            later_of_equals,
    }, same=same_set,
)  # fmt: skip


def build(w, out, v, u, o, splits, fresh):
    w, out = w.clone(), out.clone()
    out[:, splits] /= 2
    children, shares = w[splits] - v[splits], out[:, splits]
    w[splits] += v[splits]
    return torch.cat([w, children, u[fresh]]), torch.cat([out, shares, o[:, fresh]], 1)


def plans():
    yield *candidates(1, 1, 1, 1, 1), [0], []
    yield *candidates(2, 2, 1, 2, 2), [1], [0]
    yield *candidates(3, 2, 2, 3, 3), [0, 2], [1]
    yield *candidates(4, 3, 2, 2, 4), [], [0, 1]


def same_function(got, expected):
    """The order of the neurons is free: what the layer says must be the same, with as many neurons."""
    if not (isinstance(got, (list, tuple)) and len(got) == 2 and all(isinstance(part, torch.Tensor) for part in got)):
        return False
    if [part.shape for part in got] != [part.shape for part in expected]:
        return False
    x = normal(20, expected[0].shape[1], seed=7)
    return torch.allclose(tanh_layer(x, *got), tanh_layer(x, *expected))


def is_the_gated_layer(answer, w, out, v, u, o, splits, fresh):
    gates = torch.zeros(len(w) + len(u), dtype=torch.float64)
    gates[splits], gates[[len(w) + j for j in fresh]] = 1, 1
    x = normal(20, w.shape[1], seed=8)
    if not torch.allclose(
        tanh_layer(x, *answer(w, out, v, u, o, splits, fresh)), perturbed_layer(x, w, out, v, u, o, gates)
    ):
        return "It says something else than the gated layer, with the chosen gates at 1 and all others at 0."


def not_halved(w, out, v, u, o, splits, fresh):
    w = w.clone()
    children = w[splits] - v[splits]
    w[splits] += v[splits]
    return torch.cat([w, children, u[fresh]]), torch.cat([out, out[:, splits], o[:, fresh]], 1)


def one_twin_moves(w, out, v, u, o, splits, fresh):
    out = out.clone()
    out[:, splits] /= 2
    return torch.cat([w, w[splits] + v[splits], u[fresh]]), torch.cat([out, out[:, splits], o[:, fresh]], 1)


def silent_fresh(w, out, v, u, o, splits, fresh):
    w, out = build(w, out, v, u, o, splits, fresh)
    out[:, len(out[0]) - len(fresh) :] = 0
    return w, out


BUILT = Exercise(
    "built-is-scored", build, plans,
    mistakes={
        "The twins together say twice what the neuron said: halve the outgoing weights of each.": not_halved,
        "Only one twin moved. The other one must go the opposite way, w − v.": one_twin_moves,
        "The fresh neurons say nothing. They were scored with their outgoing weights o: build them with those.":
            silent_fresh,
        "You built every candidate. Only those in splits and fresh were picked.":
            lambda w, out, v, u, o, splits, fresh: build(w, out, v, u, o, [*range(len(w))], [*range(len(u))]),
    }, properties=(is_the_gated_layer,), same=same_function,
)  # fmt: skip
EXERCISES = (PERTURBED_LAYER, GATE_SCORE, WHERE, PICK, BUILT)
