"""Grids: the runs behind a table. Nothing is trained here; ``execute`` does that. Notebook 05."""

from collections.abc import Iterable
from dataclasses import replace

from growlab.checks import one_of, whole
from growlab.lab import treatments
from growlab.lab.published import published_random
from growlab.lab.run import Run
from growlab.lab.treatments import METHODS_OF_THE_PAPER, K, grown, pairs, placebos, treated, without_growth
from growlab.training import SCHEDULES

PAPER = Run(  # §4.1, but for what is not in our source: the learning rate and the strength of the penalty
    "cifar10", model="vgg16", width=16, every=50, epochs=250, movement=0.1,
)  # fmt: skip
SMALL = Run(  # grown early, decayed long, since on one cosine the larger network has no time to be better
    "folder:cifar10-jpeg", 5120, at=(1, 2, 3, 4), movement=0.1, schedule="constant_then_cosine", lr=0.05, batch_size=64,
)  # fmt: skip
REPLICA = Run(  # VGG16 on all pictures, in 3 epochs: two growths, since each makes an epoch dearer
    "folder:cifar10-jpeg", model="vgg16", width=16, at=(1, 2), epochs=3, movement=0.1, schedule="constant_then_cosine",
)  # fmt: skip
QUICK = Run(
    limit=1600, reliability=0.8, at=(1, 2, 3), movement=0.1, epochs=8, schedule="constant_then_cosine", lr=0.02,
    batch_size=32, augment=False,
)  # fmt: skip
CRITTERS = Run(
    reliability=1.0, at=(1, 2, 3, 4), movement=0.1, schedule="constant_then_cosine", lr=0.02, batch_size=32,
    augment=False,
)  # fmt: skip
PAPERS = {"at": (), "schedule": "cosine"}  # growth all along one cosine
ASSAYED = {  # schedules
    "early growth": {}, "early growth, one cosine": {"schedule": "cosine"},
    "the paper's in 10 epochs": PAPERS | {"every": 2, "epochs": 10},
    "the paper's in 5 epochs": PAPERS | {"every": 1, "epochs": 5},
    "the paper's in 5 epochs, lr 0.002": PAPERS | {"every": 1, "epochs": 5, "lr": 0.002},
}  # fmt: skip
AS_FAR = 0.028  # as the steps of the penalty move SMALL after random growth, measured: they cancel out
AS_FAR_AFTER_COPIES = {"net2net": 0.0744, "splitting": 0.0728}  # as mean |cos| moves SMALL: means of seeds 0, 1, 2
FIREFLY_STEP = 0.06  # how long the splits are that Firefly builds on SMALL, where filters are 0.8 long


def assay(base):
    """Can a schedule show anything? Only if a network of the final size beats one that never grows. Ours is first."""
    for label, changes in ASSAYED.items():
        base_of_it = replace(base, **changes)
        never, _, scratch, *_ = without_growth(base_of_it)
        for run in (never, scratch, grown(base_of_it, "random")):
            yield replace(run, arm=f"{run.arm}, {label}")


def table(base):
    for model, width in (("vgg16", 16), ("mobilenet", 32)):
        yield from pairs(replace(base, model=model, width=width))


def ablation(base):
    for method in METHODS_OF_THE_PAPER:
        run = grown(base, method)
        yield from (run, treated(run, "eq3", change_strength=0), treated(run, "eq4", penalty_strength=0), treated(run))


def methods(base):
    never, _, scratch, _, equal_compute = without_growth(base)
    placebo, labels, _ = placebos(grown(base, "random"))
    as_far = replace(placebo, movement=AS_FAR, arm="random+short placebo")
    yield from (never, scratch, equal_compute, *pairs(base, K), placebo, as_far, labels)


def copies(base):
    """The readings of Eq. 3 where there is something to push: after growth by copies (splitting, net2net).

    Primary contrast, fixed before the first run: mean |cos| less none, averaged over the two methods in each seed, of
    test accuracy; equivalence margin ±0.3 points. Its arms get seeds 10 to 49, the others 10 to 19; no seeds are
    added. Differences of earlier records have a standard deviation of 0.78 points, so a 90 % half-width of ±0.21 is
    expected with 40 seeds, ±0.45 with ten. Secondary: every reading less none, and less the placebo, each method by
    itself (Holm). The placebo walks straight on, as far as mean |cos| gets: 0.0744 of the weights after net2net and
    0.0728 after splitting, the means of seeds 0, 1, 2 (0.0742, 0.0745, 0.0745; 0.0656, 0.0717, 0.0809). Check of the
    treatment: the share of pairs within ±0.1 (Fig. 6) and the twins' angle, before the steps, after them and at the
    end.
    """
    for method in AS_FAR_AFTER_COPIES:
        run = grown(base, method)
        yield run
        for penalty in ("absolute", "mean_absolute", "square", "energy"):
            yield treated(run, penalty, penalty=penalty)
        placebo, labels, _ = placebos(run)
        yield from (replace(placebo, movement=AS_FAR_AFTER_COPIES[method]), labels)


def redundancy(base):
    """Does the penalty make a network read more parts where two of five suffice? Critters of reliability 1.

    The paper's story needs room: without the penalty networks grown at random read 3.03 effective parts, at 100 % of
    accuracy. Primary contrast, fixed before the first run: effective parts by interventions (``attention.part_votes``),
    mean |cos| less none, equivalence margin ±0.1 parts, seeds 10 to 19. Pilots on six other seeds had differences with
    a standard deviation of about 0.08 (of |μ|), so a 90 % half-width of ±0.05 is expected. Positive control: training
    pictures with one random part hidden; unless it raises effective parts by 0.3 or more, the experiment says nothing.
    Secondary (Holm): |μ| and mean square less none.
    """
    run = grown(base, "random")
    yield run
    for penalty in ("absolute", "square", "mean_absolute"):
        yield treated(run, penalty, penalty=penalty)
    yield replace(run, hide=1, arm="random, one part hidden")


RESET = f"{treatments.__name__}:reset_optimizer"
NESTEROV_SEEDS = 10  # momentum: the first ten seeds only


def momentum(base):
    """The optimiser's state after a growth, carried (grown with the weights) or reset, on two schedules.

    Random growth and net2net, the base's schedule and one cosine for each stage (restarts). Primary contrast, fixed
    before the first run: reset less carried, averaged over methods and schedules in each seed, of test accuracy,
    equivalence margin ±0.3 points, seeds 10 to 29. Single differences of earlier records have a standard deviation of
    0.78 points; if the four are independent, a 90 % half-width of ±0.15 is expected, if they are alike ±0.30. Secondary
    (Holm): each of the four by itself; restarts less the base's schedule, and Nesterov's momentum less plain, both
    carried. Nesterov's runs get seeds 10 to 19.
    """
    for method in ("random", "net2net"):
        for schedule in (base.schedule, "restarts"):
            run = replace(grown(base, method), schedule=schedule, arm=f"{method}, {schedule}")
            yield from (run, replace(run, then=RESET, arm=f"{run.arm}, reset"))
            yield replace(run, nesterov=True, arm=f"{run.arm}, Nesterov")


def parting(base):
    """What parts exact copies, and does it help? Growth by net2net.

    Plain; shares of the outgoing weights made equal in each lineage after every growth; a kick of ±0.06 along the
    splitting directions; momentum reset for new neurons only (SPARKLING, arXiv 2602.02472); the K steps by |μ|, mean
    |cos| and energy. Primary contrast, fixed before the first run: equal shares less plain, after four growths, of test
    accuracy, equivalence margin ±0.3 points, seeds 10 to 19. Earlier differences have a standard deviation of 0.78
    points, so a 90 % half-width of ±0.45 is expected. Secondary (Holm): every other arm less plain. Check of the
    treatment: the twins' angle after the last growth, after the K steps, and at the end.
    """
    run = grown(base, "net2net")
    yield run
    for label, name in (("equal shares", "equal_shares"), ("new neurons reset", "reset_new_neurons")):
        yield replace(run, then=f"{treatments.__name__}:{name}", arm=f"net2net+{label}")
    yield replace(run, method=f"{treatments.__name__}:kicked_copies", arm="net2net+kick")
    for penalty in ("absolute", "mean_absolute", "energy"):
        yield treated(run, penalty, penalty=penalty)


def gradmax(base):
    """GradMax (Evci et al. 2022) beside random growth, with as many new neurons.

    Primary contrast, fixed before the first run: GradMax less random, of test accuracy, equivalence margin ±0.3 points,
    seeds 10 to 19. Earlier differences have a standard deviation of 0.78 points, so a 90 % half-width of ±0.45 is
    expected. Secondary (Holm): the penalty |μ| less none after GradMax, and both methods against the controls.
    """
    never, _, scratch, *_ = without_growth(base)
    yield from (never, scratch, grown(base, "random"), grown(base, "gradmax"))
    yield treated(grown(base, "gradmax"), k=K["random"])


def published(base):
    """The settings of a public program that the paper may have used (``published.py``), together and one by one less.

    Copies with replacement and a random share for each layer; Nesterov's momentum; the optimiser made anew and the rate
    set back after each growth.
    """
    method = f"{published_random.__module__}:{published_random.__name__}"
    whole = replace(base, method=method, rate=1.0, then=RESET, nesterov=True, schedule="restarts", arm="published")
    yield from (whole, treated(whole, k=K["random"]))
    for what, changes in {
        "carried": {"then": None}, "one cosine": {"schedule": "cosine"}, "no Nesterov": {"nesterov": False},
        "our random": {"method": "random", "rate": base.rate}, "our net2net": {"method": "net2net", "rate": base.rate},
    }.items():  # fmt: skip
        yield replace(whole, arm=f"published, {what}", **changes)


def controls(base):
    yield from (*without_growth(base), *pairs(base), grown(base, "net2net"))
    yield replace(grown(base, "net2net"), options={"step": FIREFLY_STEP}, arm="net2net with step")
    for method in METHODS_OF_THE_PAPER:
        yield from placebos(grown(base, method))


def replica(base):
    never, _, scratch, *_ = without_growth(base)
    yield from (*pairs(base), never, scratch)


def sweep(base, treatments):
    for method in METHODS_OF_THE_PAPER:
        run = grown(base, method)
        yield from (run, *(treated(run, label, **changes) for label, changes in treatments.items()))


def rates(base):
    for rate in (0.1, 0.2, 0.35, 0.5, 0.75):
        for method in METHODS_OF_THE_PAPER:
            run = replace(grown(base, method), rate=rate, arm=f"{method} {rate:g}")
            yield from (run, treated(run))


def readings(base):
    """What the paper leaves open, one at a time: A which mean, D Eq. 4, E when and on what, G the learning rate."""
    run = grown(base, base.method or "splitting")
    yield run
    for penalty in ("absolute", "signed", "mean_absolute", "square", "energy", "logdet"):
        yield treated(run, f"A {penalty}", penalty=penalty)
    for change in ("sum", "absolute_sum", "frobenius"):
        for previous in ("before", "iteration")[change == "sum" :]:  # the default is A absolute
            yield treated(run, f"D {change}, {previous}", weight_change=change, previous=previous)
    yield treated(run, "E with labels", target="labels")
    yield treated(run, "E every epoch", when="every_epoch")
    for schedule in SCHEDULES:
        if schedule != base.schedule:
            other = replace(run, schedule=schedule, arm=f"G {schedule}")
            yield from (other, treated(other))


def quick(base):
    never, _, scratch, *_ = without_growth(base)
    placebo, *_ = placebos(grown(base, "random"))
    yield from (never, scratch, *pairs(base), placebo)


GRIDS = {
    "table1": (PAPER, table), "table2": (replace(PAPER, data="cifar100"), table), "table3": (PAPER, ablation),
    "assay": (SMALL, assay), "methods": (SMALL, methods), "vgg16": (REPLICA, replica), "controls": (SMALL, controls),
    "copies": (SMALL, copies), "redundancy": (CRITTERS, redundancy), "momentum": (SMALL, momentum),
    "parting": (SMALL, parting), "gradmax": (SMALL, gradmax), "published": (SMALL, published),
    "rate": (SMALL, rates), "readings": (SMALL, readings),
    "k": (SMALL, lambda base: sweep(base, {f"k{k}": {"k": k} for k in (1, 2, 5, 10, 15, 20, 30)})),
    "dose": (SMALL, lambda base: sweep(base, {f"dose {dose:g}": {"movement": 0.1 * dose} for dose in (0.25, 1, 4)})),
    "quick": (QUICK, quick),
}  # fmt: skip


def grid(name: str, seeds: int | Iterable[int] = 3, **changes) -> list[Run]:
    """The runs behind a table, all arms of a seed together.

    "table1" (CIFAR-10), "table2" (CIFAR-100) and "table3" (the ablation) follow the paper's protocol. "assay" asks
    which schedules can show a difference at all. "methods" is our primary comparison, vgg5 on 5,120 pictures, and
    "vgg16" repeats it with a deeper network on all of them. "copies" tries the readings of Eq. 3 where neurons are
    alike; "redundancy", "momentum", "parting" and "gradmax" have a primary contrast in their docstring as well.
    "published" puts together what a public program does. "controls", "k", "dose", "rate" and "readings" vary "methods",
    the last one for ``method="splitting"`` or another. "quick" is it in miniature, on critters, two minutes on two
    cores.

    ``seeds``: how many, or which. ``changes`` are settings of ``Run`` for all arms, unless an arm is about that
    setting: ``grid("table2", epochs=20, every=4)``. Raises ``ValueError`` for an unknown name.
    """
    one_of("grid", name, GRIDS)
    base, arms = GRIDS[name]
    if not isinstance(seeds, Iterable):
        whole("seeds", seeds, 1, "so many of each arm")
        seeds = range(seeds)
    if {"every", "at"} & changes.keys():  # one of them instead of the other
        changes = {"every": None, "at": ()} | changes
    if changes.get("data", base.data) != "critters":
        changes = {"reliability": None, "shortcut": None, "hide": None} | changes
    runs = list(arms(replace(base, **changes)))
    return [replace(run, seed=seed) for seed in seeds for run in runs]
