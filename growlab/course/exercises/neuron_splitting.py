"""The exercises of notebook 01: copies, what they do to training, and the best direction in which to part them."""

import torch

from growlab.course.exercises.exercise import Exercise, equal, normal


def widen(w_in, w_out, parents):
    origin = [*range(len(w_in)), *parents]  # of each neuron, old and new
    family = torch.bincount(torch.tensor(origin))  # how many come from each old neuron
    return w_in[origin], w_out[:, origin] / family[origin]


def layers():
    yield torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), torch.tensor([[5.0, 6.0]]).double(), [1]
    yield normal(3, 2), normal(2, 3, seed=1), [0, 2]
    yield normal(3, 4), normal(5, 3, seed=1), [1, 1]
    yield normal(4, 3), normal(4, 4, seed=1), [3, 0, 3, 3]


def keeps_the_function(answer, w_in, w_out, parents):
    x, (rows, columns) = normal(8, w_in.shape[1], seed=2), answer(w_in, w_out, parents)
    if not torch.allclose(torch.tanh(x @ rows.T) @ columns.T, torch.tanh(x @ w_in.T) @ w_out.T):
        return "The network says something else than before."


def never_shared(w_in, w_out, parents):
    origin = [*range(len(w_in)), *parents]
    return w_in[origin], w_out[:, origin]


def halved_once(w_in, w_out, parents):
    origin = [*range(len(w_in)), *parents]
    return w_in[origin], w_out[:, origin] / torch.bincount(torch.tensor(origin)).clamp(max=2)[origin]


def halved_all(w_in, w_out, parents):
    origin = [*range(len(w_in)), *parents]
    return w_in[origin], w_out[:, origin] / 2


def parent_keeps_all(w_in, w_out, parents):
    origin = [*range(len(w_in)), *parents]
    shares = torch.bincount(torch.tensor(origin))[origin]
    shares[: len(w_in)] = 1
    return w_in[origin], w_out[:, origin] / shares


def halved_at_each_draw(w_in, w_out, parents):
    w_out = w_out.clone()
    for parent in parents:
        w_out[:, parent] /= 2
        w_out = torch.cat([w_out, w_out[:, parent : parent + 1]], 1)
    return torch.cat([w_in, w_in[parents]]), w_out


SPLIT_COPY = Exercise(
    "split-copy", widen, layers,
    mistakes={
        "Nothing was shared out: twins say the same thing twice, so the next layer hears it twice.": never_shared,
        "A parent that is drawn twice has a family of three: divide by the number of its members, not by 2.":
            halved_once,
        "You halved every column. A neuron without a copy keeps its outgoing weights.": halved_all,
        "You repeated rows of w_out. A neuron's outgoing weights are a column of it.":
            lambda w_in, w_out, parents: (torch.cat([w_in, w_in[parents]]), torch.cat([w_out, w_out[parents]])),
        "Only the copies got a share: the parent must give up as much as its copies get.": parent_keeps_all,
        "This keeps the function, but shares of ½, ¼, ¼ are not equal: each member of a family of three gets ⅓.":
            halved_at_each_draw,
    }, properties=(keeps_the_function,),
)  # fmt: skip


def learning_rates(m):
    incoming = m  # each copy has 1/m of the gradient, and must move as far as the parent would have
    outgoing = 1 / m  # each copy has the whole gradient, and all m together must move as far as one
    return incoming, outgoing


def trains_as_before(answer, m):
    """One step of gradient descent on a net of one neuron, and on one with m copies of it."""
    w_in, w_out, x, y = normal(1, 3), normal(2, 1, seed=1), normal(8, 3, seed=2), normal(8, 2, seed=3)

    def step(w_in, w_out, rate_in, rate_out):
        w_in, w_out = w_in.requires_grad_(), w_out.requires_grad_()
        loss = (torch.tanh(x @ w_in.T) @ w_out.T - y).square().mean()
        to_in, to_out = torch.autograd.grad(loss, (w_in, w_out))
        return torch.tanh(x @ (w_in - 0.1 * rate_in * to_in).T) @ (w_out - 0.1 * rate_out * to_out).T

    split = step(w_in.repeat(m, 1), w_out.repeat(1, m) / m, *answer(m))
    if not torch.allclose(split, step(w_in, w_out, 1, 1)):
        return "After one step with these rates, the two networks say different things."


SAME_FUNCTION = Exercise(
    "same-function-other-training", learning_rates, lambda: ((m,) for m in (2, 3, 7)),
    mistakes={
        "With equal rates, the incoming weights move 1/m as far as before, and the outgoing "
        "ones, summed up, m times as far.": lambda m: (1, 1),
        "Your rates have the size of the gradients. They must undo them: a small gradient needs a large rate.":
            lambda m: (1 / m, 1),
        "The incoming rate is right. But the outgoing weights of all m copies move, each as far as the parent's did.":
            lambda m: (m, 1),
        "The outgoing rate is wrong: each gradient is whole, and m of them add up, so they are too strong already.":
            lambda m: (m, m),
        "The other way round: it is the incoming gradients that have become smaller.": lambda m: (1 / m, m),
    }, properties=(trains_as_before,),
)  # fmt: skip


def splitting_matrix(x, z, slope, g):
    t = torch.tanh(z)
    bend = -2 * t * (1 - t**2)  # tanh''(z), (N,)
    weight = g * bend * slope**2
    return x.T @ (weight[:, None] * x)  # the sum of weight · x xᵀ over all inputs, (D, D)


def neurons():
    yield torch.tensor([[1.0, 2.0]]).double(), torch.tensor([0.5]).double(), 3.0, torch.tensor([0.1]).double()
    yield normal(5, 2), normal(5, seed=1), 0.5, normal(5, seed=2) / 5
    yield normal(12, 4), normal(12, seed=1), 2.0, normal(12, seed=2) / 12


def is_the_hessian(answer, x, z, slope, g):
    def change(delta):
        twins = torch.tanh(z + slope * x @ delta) / 2 + torch.tanh(z - slope * x @ delta) / 2
        return (g * (twins - torch.tanh(z))).sum()

    hessian = torch.autograd.functional.hessian(change, torch.zeros_like(x[0]))
    if not torch.allclose(answer(x, z, slope, g), hessian):
        return "This is not the second derivative of the change by the split."


def mean_input(x, z, slope, g):
    t, mean = torch.tanh(z), x.mean(0)
    return (g * -2 * t * (1 - t**2)).sum() * slope**2 * torch.outer(mean, mean)


SPLITTING_MATRIX = Exercise(
    "splitting-matrix", splitting_matrix, neurons,
    mistakes={
        "You took tanh'. The first order cancels between the twins, what is left is the second derivative.":
            lambda x, z, slope, g: x.T @ ((g * (1 - torch.tanh(z) ** 2) * slope**2)[:, None] * x),
        "The slope enters twice, as x does: w moves z by slope · x, and z is squared. Take slope².":
            lambda x, z, slope, g: splitting_matrix(x, z, 1, g) * slope,
        "Where is the slope? Batch norm multiplies w · x by it before tanh sees it.":
            lambda x, z, slope, g: splitting_matrix(x, z, 1, g),
        "This is the outer product of the mean input. Take the sum of the outer products: x xᵀ is not linear in x.":
            mean_input,
        "g is the gradient of the mean loss: it holds 1/N already. Take the sum over the inputs, not the mean.":
            lambda x, z, slope, g: splitting_matrix(x, z, slope, g) / len(x),
        "Where is g? A bend helps or hurts, as the loss wants more or less of this neuron.":
            lambda x, z, slope, g: splitting_matrix(x, z, slope, torch.ones_like(g)),
    }, properties=(is_the_hessian,),
)  # fmt: skip


def best_direction(matrix):
    eigenvalues, vectors = torch.linalg.eigh(matrix)  # in ascending order; eigenvectors are the columns
    return vectors[:, 0]


def matrices():
    yield (torch.tensor([[2.0, 0.0], [0.0, -1.0]]).double(),)
    for size in (2, 3, 6):
        yield (normal(size, size, seed=size) + normal(size, size, seed=size).T,)
    yield (5 * torch.eye(4).double() + normal(4, 4) + normal(4, 4).T,)  # all eigenvalues positive


def same_up_to_sign(got, expected):
    return any(equal(got, sign * expected, 1e-6, 1e-6) for sign in (1, -1))


def nothing_is_lower(answer, matrix):
    v, others = answer(matrix), torch.nn.functional.normalize(normal(200, len(matrix)))
    if (others @ matrix @ others.T).diagonal().min() < v @ matrix @ v - 1e-9:
        return "Among 200 random directions there is one with a lower curvature."


def eigenvector(choose):
    def mistake(matrix):
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        return vectors[:, choose(eigenvalues)]

    return mistake


BEST_DIRECTION = Exercise(
    "best-direction", best_direction, matrices,
    mistakes={
        "That is the direction in which the loss rises most: take the smallest eigenvalue, not the largest.":
            eigenvector(lambda eigenvalues: -1),
        "That is the eigenvalue of largest size, which is what power iteration finds. Its sign matters here.":
            eigenvector(lambda eigenvalues: eigenvalues.abs().argmax()),
        "That is a row of the eigenvectors' matrix. They are its columns.":
            lambda matrix: torch.linalg.eigh(matrix)[1][0],
        "That is the eigenvalue closest to 0, the direction in which nothing happens. Smallest means most negative.":
            eigenvector(lambda eigenvalues: eigenvalues.abs().argmin()),
        "The right direction, but not of length one: ε would no longer be the length of the step.":
            lambda matrix: matrix @ best_direction(matrix),
    }, properties=(nothing_is_lower,), same=same_up_to_sign,
)  # fmt: skip


def split_slope(w, x, v, steps):
    z, u = x @ w, x @ v
    moved = [(torch.tanh(z + e * u) + torch.tanh(z - e * u)) / 2 - torch.tanh(z) for e in steps]
    size = torch.stack([change.abs().mean() for change in moved])
    across, up = steps.log() - steps.log().mean(), size.log() - size.log().mean()
    return (across @ up) / (across @ across)  # of the line that fits best


def splits():
    for inputs, seed in ((2, 0), (5, 1), (3, 2)):
        v = torch.nn.functional.normalize(normal(inputs, seed=seed + 3), dim=0)
        yield normal(inputs, seed=seed), normal(50, inputs, seed=seed + 6), v, torch.tensor([0.01, 0.02, 0.04]).double()


def fit(x, y):
    x, y = x - x.mean(), y - y.mean()
    return (x @ y) / (x @ x)


def sizes(w, x, v, steps, after):
    z, u = x @ w, x @ v
    return torch.stack([(after(z, e * u) - torch.tanh(z)).abs().mean() for e in steps])


def both(z, u):
    return (torch.tanh(z + u) + torch.tanh(z - u)) / 2


def one_sided(w, x, v, steps):
    return fit(steps.log(), sizes(w, x, v, steps, lambda z, u: (torch.tanh(z + u) + torch.tanh(z)) / 2).log())


SLOPE_TWO = Exercise(
    "slope-two", split_slope, splits,
    mistakes={
        "The change hardly depends on the step: did you give each twin half of the outgoing weight?":
            lambda w, x, v, steps: fit(steps.log(), sizes(w, x, v, steps, lambda z, u: 2 * both(z, u)).log()),
        "A slope of 1: your twins move to one side only. Take w + e v and w − e v.": one_sided,
        "Take logarithms on both axes: of the change and of the step.":
            lambda w, x, v, steps: fit(steps, sizes(w, x, v, steps, both).log()),
        "A slope of ½: you have swapped the axes. The step goes across, the change up.":
            lambda w, x, v, steps: fit(sizes(w, x, v, steps, both).log(), steps.log()),
    }, same=lambda got, expected: equal(got, expected, 0, 0.05),
)  # fmt: skip
EXERCISES = (SPLIT_COPY, SAME_FUNCTION, SPLITTING_MATRIX, BEST_DIRECTION, SLOPE_TWO)
