"""Right and wrong answers to the exercises of notebook 03, as students would write them."""

import torch

# perturbed-layer


def layer_in_a_loop(x, w, out, v, u, o, gates):
    result = torch.zeros(len(x), len(out), dtype=x.dtype)
    for i in range(len(w)):
        h = 0.5 * torch.tanh(x @ (w[i] + gates[i] * v[i])) + 0.5 * torch.tanh(x @ (w[i] - gates[i] * v[i]))
        result += h[:, None] * out[:, i]
    for j in range(len(u)):
        result += gates[len(w) + j] * torch.tanh(x @ u[j])[:, None] * o[:, j]
    return result


def layer_as_wide(x, w, out, v, u, o, gates):
    a, b = gates.split([len(w), len(u)])
    wide = torch.cat([w + a.unsqueeze(1) * v, w - a.unsqueeze(1) * v, u])
    return (wide @ x.T).tanh().T @ torch.cat([out / 2, out / 2, o * b], 1).T


def layer_without_half(x, w, out, v, u, o, gates):
    a, b = gates.split([len(w), len(u)])
    wide = torch.cat([w + a.unsqueeze(1) * v, w - a.unsqueeze(1) * v, u])
    return (wide @ x.T).tanh().T @ torch.cat([out, out, o * b], 1).T


def layer_with_two_plus_signs(x, w, out, v, u, o, gates):
    y = gates.reshape(-1, 1)
    h = 0.5 * ((x @ (w + y[: len(w)] * v).T).tanh() + (x @ (w + y[: len(w)] * v).T).tanh())
    return h @ out.T + (x @ u.T).tanh() @ (o * gates[len(w) :]).T


def layer_with_gated_neurons(x, w, out, v, u, o, gates):
    h = torch.cat([0.5 * ((x @ (w + v).T).tanh() + (x @ (w - v).T).tanh()), (x @ u.T).tanh()], 1)
    return (gates * h) @ torch.cat([out, o], 1).T


def layer_with_gated_inputs(x, w, out, v, u, o, gates):
    n = w.shape[0]
    h = 0.5 * sum((x @ (w + sign * gates[:n].view(n, 1) * v).T).tanh() for sign in (1, -1))
    return h @ out.T + (x @ (gates[n:].view(-1, 1) * u).T).tanh() @ o.T


# gate-score


def score_by_einsum(direction, gradient, gate):
    return torch.einsum("id,id->i", direction, gradient) / -gate


def score_without_minus(direction, gradient, gate):
    return torch.stack([v @ g / gate for v, g in zip(direction, gradient)])


def score_of_each_weight(direction, gradient, gate):
    return -(direction * (gradient / gate))


def score_without_gate(direction, gradient, gate):
    return torch.stack([-(v @ g) for v, g in zip(direction, gradient)])


def score_of_all(direction, gradient, gate):
    return -torch.dot(direction.flatten(), gradient.flatten()) / gate


# where-to-read-the-meter


def middle(c, q):
    gain = c + q / 2
    return (gain - c) / q


def as_published(c, q):
    return 1


def where_it_starts(c, q):
    return 0


def where_it_is_flat(c, q):
    return -c / q


def mean_of_the_ends(c, q):
    return 0 - (c + q / 2)


# pick-k


def pick_flat(scores, k):
    order = torch.cat(scores).sort(descending=True, stable=True).indices[:k].tolist()
    places = [(layer, i) for layer in range(len(scores)) for i in range(len(scores[layer]))]
    return [places[place] for place in order]


def pick_one_by_one(scores, k):
    chosen = []
    while len(chosen) < k:
        best = None
        for layer, row in enumerate(scores):
            for i, score in enumerate(row.tolist()):
                if (layer, i) not in chosen and (best is None or score > best[0]):
                    best = score, layer, i
        chosen.append(best[1:])
    return chosen


def pick_by_threshold(scores, k):
    limit = sorted((s.item() for row in scores for s in row), reverse=True)[k - 1]
    return [
        tuple(pair)
        for layer, row in enumerate(scores)
        for pair in ((layer, i) for i, s in enumerate(row) if s >= limit)
    ]


def pick_ascending(scores, k):
    order = torch.cat(scores).sort(stable=True).indices[:k].tolist()
    places = [(layer, i) for layer in range(len(scores)) for i in range(len(scores[layer]))]
    return [places[place] for place in order]


def pick_per_layer(scores, k):
    return [
        (layer, i)
        for layer, row in enumerate(scores)
        for i in row.sort(descending=True, stable=True).indices[:k].tolist()
    ]


def pick_sorted_tuples(scores, k):
    rows = sorted((s.item(), layer, i) for layer, row in enumerate(scores) for i, s in enumerate(row))
    return [(layer, i) for _, layer, i in rows[-k:]]


# built-is-scored


def build_in_a_loop(w, out, v, u, o, splits, fresh):
    rows, columns = [], []
    for i in range(len(w)):
        for sign in (1, -1) if i in splits else (0,):
            rows.append(w[i] + sign * v[i])
            columns.append(out[:, i] / (2 if i in splits else 1))
    rows += [u[j] for j in fresh]
    columns += [o[:, j] for j in fresh]
    return torch.stack(rows), torch.stack(columns, 1)


def build_without_halving(w, out, v, u, o, splits, fresh):
    rows, columns = [], []
    for i in range(len(w)):
        for sign in (1, -1) if i in splits else (0,):
            rows.append(w[i] + sign * v[i])
            columns.append(out[:, i])
    return torch.stack(rows + [u[j] for j in fresh]), torch.stack(columns + [o[:, j] for j in fresh], 1)


def build_one_sided(w, out, v, u, o, splits, fresh):
    share = torch.ones(len(w), dtype=out.dtype)
    share[splits] = 0.5
    rows = [*w, *(w[i] + v[i] for i in splits), *u[fresh]]
    return torch.stack(rows), torch.cat([out * share, (out * share)[:, splits], o[:, fresh]], dim=1)


def build_with_silent_fresh(w, out, v, u, o, splits, fresh):
    new_w, new_out = build_in_a_loop(w, out, v, u, o, splits, fresh)
    kept = new_out[:, : new_out.shape[1] - len(fresh)]
    return new_w, torch.cat([kept, torch.zeros(len(out), len(fresh), dtype=out.dtype)], 1)


def build_all(w, out, v, u, o, splits, fresh):
    return torch.cat([w + v, w - v, u]), torch.cat([out / 2, out / 2, o], 1)


RIGHT = {
    "perturbed-layer": [layer_in_a_loop, layer_as_wide],
    "gate-score": [score_by_einsum],
    "where-to-read-the-meter": [middle],
    "pick-k": [pick_flat, pick_one_by_one],
    "built-is-scored": [build_in_a_loop],
}

WRONG = {
    "perturbed-layer": [
        (layer_without_half, "the ½ is missing"),
        (layer_with_two_plus_signs, "moved the same way"),
        (layer_with_gated_neurons, "silences the neuron"),
        (layer_with_gated_inputs, "multiplies its outgoing weights"),
    ],
    "gate-score": [
        (score_without_minus, "sign is turned around"),
        (score_of_each_weight, "sum over its D weights"),
        (score_without_gate, "Divide by the gate"),
        (score_of_all, "a score of its own"),
    ],
    "where-to-read-the-meter": [
        (as_published, "counts twice"),
        (where_it_starts, "the bend q is lost"),
        (where_it_is_flat, "the meter shows 0"),
        (mean_of_the_ends, "That is the gain"),
    ],
    "pick-k": [
        (pick_by_threshold, "A threshold lets in"),
        (pick_ascending, "You took the worst"),
        (pick_per_layer, "k of each layer"),
        (pick_sorted_tuples, "you took the later one"),
    ],
    "built-is-scored": [
        (build_without_halving, "halve the outgoing weights"),
        (build_one_sided, "Only one twin moved"),
        (build_with_silent_fresh, "The fresh neurons say nothing"),
        (build_all, "You built every candidate"),
    ],
}
