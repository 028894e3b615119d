"""Arms of a comparison: how a network grows, what is done to it afterwards, and what that is to be held against.

An arm is a base and one change; "+" sets a treatment apart from the arm that it is compared with.
"""

from dataclasses import replace

from growlab.lab.run import multiply_adds_by_epoch, widths_by_epoch

METHODS_OF_THE_PAPER = ("random", "splitting", "firefly")
K = {"random": 20, "splitting": 10, "firefly": 15, "net2net": 20}  # the paper's; its "random" includes Net2Net


def grown(base, method):
    return replace(base, method=method, arm=method)


def treated(run, treatment="penalty", **changes):
    """The same arm with the K steps, or with what they are to be held against."""
    return replace(run, arm=f"{run.arm}+{treatment}", **{"k": K[run.method or "random"]} | changes)


def pairs(base, methods=METHODS_OF_THE_PAPER):
    for method in methods:
        yield grown(base, method)
        yield treated(grown(base, method))


def placebos(run):
    yield treated(run, "placebo", penalty="random")  # steps of the same length, straight on in a random direction
    yield treated(
        run, "labels", penalty_strength=0, change_strength=0, target="labels"
    )  # of the same length, by cross-entropy
    yield treated(run, "refresh", k=1, penalty_strength=0, change_strength=0, refresh=True)  # new statistics alone


def without_growth(base):
    """Never grown, and born with the final widths: for equal epochs, and for equal compute."""
    compute = multiply_adds_by_epoch(grown(base, "random"))
    never = replace(base, method=None, arm="never")
    scratch = replace(never, width=widths_by_epoch(grown(base, "random"))[-1], arm="scratch")
    yield from (never, treated(never), scratch, treated(scratch))
    yield replace(scratch, epochs=round(sum(compute) / compute[-1]), arm="scratch at equal compute")
