"""Splitting steepest descent (Wu, Wang & Liu 2019): which neurons gain by parting from a copy, and in which direction.

One of the proposals (flow: units, **propose**, plan, apply, train); notebook 01 builds it by hand. If neuron i becomes
w_i + εv and w_i − εv, each with half of its outgoing weights, the loss changes by ε²/2 · vᵀS_i v + O(ε⁴), where the
*splitting matrix* of the neuron, D×D, sums over all pictures and positions p:

    S_i = Σ_p g_ip · σ''(z_ip) · a_i² · x_p x_pᵀ

x_p is the patch that the filter sees, z the pre-activation, a the slope of batch norm, g = ∂L/∂σ(z). The best direction
is the eigenvector of the smallest eigenvalue. One backward pass gives g of all layers; products S v need no matrix.
"""

import warnings
from collections import namedtuple
from collections.abc import Callable, Iterable
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from growlab import tracing
from growlab.checks import number, one_of, whole
from growlab.machine import like
from growlab.methods.curvature import PATHS, gram, quadratic_form, smallest_eigenpairs
from growlab.plans import Candidate, GrowthPlan
from growlab.seeds import random_stream
from growlab.structure.units import growable
from growlab.tracing import CONV, CONV_TRANSPOSE, ELEMENTWISE, INSTANCE_NORM, STRAIGHT, TAUGHT, plain_name, runnable
from growlab.watching import evaluating

SMOOTH = frozenset("gelu mish sigmoid silu softplus tanh".split())
KINKS = {"relu": {0: 1}, "relu6": {0: 1, 6: -1}}  # where the slope jumps, and by how much
NOTHING = frozenset("identity dropout dropout1d dropout2d dropout3d alphadropout contiguous".split())  # in eval mode


def splitting(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, seed=0, step: float = 1e-2, relative: bool = False,
    require_negative: bool = True, beta: float = 3.0, path: str | None = None, fit: int = 4, held_out: int = 4,
) -> GrowthPlan:  # fmt: skip
    """A split of every neuron that gains by it, along the best direction v of its splitting matrix.

    Direction and smallest eigenvalue come from the first ``fit`` batches. On the pictures that chose v the eigenvalue
    is negative for nearly every neuron, so its sign filters nothing: ``require_negative`` measures vᵀSv again on the
    next ``held_out`` batches, proposes only neurons where it is negative as well, and scores by it. The plan can then
    have fewer candidates than a growth rate asks for. ``require_negative=False`` is as published: every neuron,
    whatever the sign, scored by its eigenvalue. Fewer batches than asked for are divided in the same proportion.

    The score is the predicted decrease of the mean cross-entropy (batch norm in eval mode), −ε²/2 · vᵀSv, where ε is
    ``step`` (published: 1e-2), or ``step`` times the length of the filter if ``relative``. Only the weight is moved,
    the bias is copied, as published.

    GELU, Mish, Sigmoid, SiLU, Softplus and Tanh have their exact second derivative. That of ReLU and ReLU6 is 0 almost
    everywhere. In its place stands the one of softplus of sharpness ``beta`` (published: 3), a kernel estimate of the
    density of pre-activations at the kink: **it ranks neurons, it does not predict**. Dead neurons and those without
    activation have S = 0 and are no candidates. Units with any other activation are left out, with a warning.

    ``path``: "dense" builds S and takes ``eigh``; "matrix-free" takes up to 20 Lanczos steps of one product each
    (started at random, by ``seed``); None the cheaper one for each layer. The maps of all ``fit`` batches are held in
    memory. The model is left as it is, also by an error. Raises ``ValueError`` for options out of range, for no batch,
    or only one where some must be held out, and if nothing can grow; ``FloatingPointError`` if the loss is not finite.
    Notebook 01.
    """
    if batches is None:
        raise ValueError("splitting needs batches: gl.propose('splitting', model, data.batches('train', 128))")
    step = number("step", step, "(0, inf)", "1e-2 is as published")
    one_of("path", path, PATHS)
    fit, held_out = (whole(*given, 1, "4 batches are usual") for given in (("fit", fit), ("held_out", held_out)))
    batches = list(islice(batches, fit + held_out * require_negative))
    if len(batches) < 1 + require_negative:
        hint = "pass at least one, and one to hold out unless require_negative=False"
        raise ValueError(f"got {len(batches)} batches: {hint}")
    cut = max(1, len(batches) * fit // (fit + held_out)) if require_negative else len(batches)
    found = growable(model)
    curvature, directions, wanted = _curvatures(model, found, batches[:cut], batches[cut:], beta, path, seed)
    candidates = []
    for unit in (unit for unit in found if unit.name in wanted):
        for i in wanted[unit.name].nonzero().flatten().tolist():
            epsilon = step * unit.weight[i].norm().item() if relative else step
            score = -(epsilon**2) / 2 * curvature[unit.name][i].item()
            move = like(epsilon * directions[unit.name][i], unit.weight)
            candidates.append(Candidate(unit.name, i, score, {unit.filters: move}))
    return GrowthPlan("splitting", {unit.name: unit.neurons for unit in found}, tuple(candidates))


def _curvatures(model, found, first, held_out, beta, path, seed):
    """By unit: the smallest curvature of every neuron (n,), its direction (n, D), and whether it is worth a split (n,).

    The direction comes from the ``first`` batches; if others are ``held_out``, the curvature is measured on them.
    """
    generator, curvature, directions = random_stream(seed, "splitting"), {}, {}
    with evaluating(model):
        observer = Observer(model, found, beta)
        seen = observer.observe(first)
        for name, layer in observer.layers.items():  # popped: what the layer has seen is freed
            curvature[name], directions[name] = smallest_eigenpairs(layer, seen.pop(name), path, generator)
        wanted = {name: values < 0 if held_out else values != 0 for name, values in curvature.items()}
        for name, samples in observer.observe(held_out).items() if held_out else ():
            curvature[name] = quadratic_form(observer.layers[name], samples, directions[name])
            wanted[name] &= curvature[name] < 0
    return curvature, directions, wanted


def splitting_matrices(model: nn.Module, batches: Iterable, beta: float = 3.0) -> dict[str, Tensor]:
    """The splitting matrices of all neurons, {unit: (n, D, D)} in float64, of the mean cross-entropy over all batches.

    One forward and one backward pass per batch, for all layers. With neuron i split by ±δ the loss is
    L + ½ δᵀS_i δ + O(δ⁴). A unit takes n·D² numbers: for large layers ``gl.propose("splitting", …)`` does without them.
    Activations, ``beta``, errors and what is left alone: as in ``splitting``. Notebook 01.
    """
    pictures = 0
    with evaluating(model):
        observer = Observer(model, growable(model), beta)
        total = dict.fromkeys(observer.layers, 0)
        for images, labels in batches:
            pictures += len(labels)
            for name, samples in observer.observe([(images, labels)]).items():
                total[name] = total[name] + len(labels) * gram(observer.layers[name], samples)
    if not pictures:
        raise ValueError("batches is empty: pass at least one batch of (images, labels)")
    return {name: matrices / pictures for name, matrices in total.items()}


Bend = namedtuple("Bend", "producer norms activation")  # from a layer's node to its activation (None: the next layer)


class Observer(fx.Interpreter):
    """Runs a model node by node and notes what S is made of: the inputs x of every unit and the weights g·σ''(z)·a²."""

    def __init__(self, model, found, beta):
        own, graph = runnable(model)
        super().__init__(own, graph=graph)
        names, reasons = {unit.name for unit in found}, {}
        self.beta, self.bends = number("beta", beta, "(0, inf)", "3 is as published"), {}
        for producer in self.graph.nodes:
            if producer.op == "call_module" and producer.target in names:
                try:
                    self.bends.update([self.follow(producer)])
                    self.straight(producer.target)
                except ValueError as error:
                    reasons[producer.target] = str(error)
        self.layers = {unit.name: model.get_submodule(unit.name) for unit in found if unit.name not in reasons}
        self.bends = {n: b for n, b in self.bends.items() if b.activation and b.producer.target in self.layers}
        self.producers = {bend.producer for bend in self.bends.values()}
        text = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        if not self.layers:
            raise ValueError(f"splitting knows no activation of this model, try another method: {text}")
        if reasons:
            warnings.warn(f"splitting leaves out {text}", stacklevel=5)

    def follow(self, producer):
        """The node of the first non-linearity behind a layer, or of the next layer, and what lies in between."""
        node, norms = producer, []
        if not isinstance(self.submodules[producer.target], (nn.Linear, *CONV)):
            raise ValueError("it is a transposed convolution")
        while len(node.users) == 1:
            (node,) = node.users
            module, name = self.named(node)
            kind = plain_name(name)
            if kind in SMOOTH or kind in KINKS:
                return node, Bend(producer, norms, kind)
            if isinstance(module, (nn.Linear, *CONV)) and getattr(module, "groups", 1) == 1:
                return node, Bend(producer, norms, None)
            if isinstance(module, tracing.BATCH_NORM) and module.running_var is not None:
                norms.append(module)
            elif kind not in NOTHING:
                raise ValueError(f"no second derivative is known for {name} behind it")
        raise ValueError("its output is used several times before an activation")

    def straight(self, name):
        """An error if something else than the first activation of this layer, and of its other calls, bends it."""
        reached = {node for node, bend in self.bends.items() if bend.activation and bend.producer.target == name}
        for node in self.graph.nodes:
            if node in reached or reached.isdisjoint(node.all_input_nodes):
                continue
            (module, what), sides = self.named(node), [side in reached for side in node.args[:2]]
            kind, layer = plain_name(what), isinstance(module, (nn.Linear, *CONV, *CONV_TRANSPOSE))
            if (layer and getattr(module, "groups", 1) == 1) or what in ("getattr", "size"):
                continue  # the next layer, or no numbers of its own
            bent = kind in ("mul", "imul", "truediv", "div") and (all(sides) or (sides[-1] and "div" in kind))
            bent |= isinstance(module, INSTANCE_NORM) or getattr(module, "running_var", 0) is None
            if bent or what in TAUGHT or kind in ELEMENTWISE - STRAIGHT:
                raise ValueError(f"{what} behind its activation is not linear either")
            reached.add(node)

    def named(self, node):
        """The layer that a node calls, if it does, and the name of what it calls."""
        module = self.submodules[node.target] if node.op == "call_module" else None
        return module, type(module).__name__ if module else getattr(node.target, "__name__", str(node.target))

    def observe(self, batches: list) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """{unit: [(x, weight), …]}, a pair for each batch and call of the layer; of the mean loss of all pictures."""
        self.inputs, self.samples = {}, {name: [] for name in self.layers}
        pictures = sum(len(labels) for _, labels in batches)
        for images, labels in batches:
            with torch.enable_grad():
                images = images.detach().requires_grad_()
                loss = F.cross_entropy(self.run(images), labels, reduction="sum") / pictures
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss.item()}, no split is better: train at a lower lr")
            torch.autograd.grad(loss, images)  # not backward(): parameters' gradients are neither needed nor touched
        return self.samples

    def run_node(self, node):
        if node in self.producers:
            self.inputs[node] = self.env[node.all_input_nodes[0]].detach()
        bend = self.bends.get(node)
        if bend is None:
            return super().run_node(node)
        (z, *others), options = self.fetch_args_kwargs_from_env(node)
        run = lambda z: getattr(self, node.op)(node.target, (z, *others), options)
        weight = second_derivative(run, bend.activation, z.detach(), self.beta)  # now: the activation may work in place
        for norm in bend.norms:
            a = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight.detach())
            weight *= a.square().reshape(-1, *[1] * (z.dim() - 2))
        x, h, samples = self.inputs.pop(bend.producer), super().run_node(node), self.samples[bend.producer.target]
        h.register_hook(lambda g: samples.append((x, weight.mul_(g))))  # g of h as it is now, even if overwritten later
        return h


def second_derivative(activation: Callable[[Tensor], Tensor], name: str, z: Tensor, beta: float = 3.0) -> Tensor:
    """σ''(z) of an elementwise function: by autograd if it is smooth; for kinks by softplus' one, β·s(1 − s)."""
    if name in KINKS:
        sigmoids = ((jump, (z - kink).mul_(beta).sigmoid_()) for kink, jump in KINKS[name].items())
        return sum(s.addcmul_(s, s, value=-1).mul_(jump * beta) for jump, s in sigmoids)
    with torch.enable_grad():
        z = z.requires_grad_()
        (first,) = torch.autograd.grad(activation(z.clone()).sum(), z, create_graph=True)
        return torch.autograd.grad(first.sum(), z)[0]
