"""The command line: ``growlab run`` trains a network or a grid of them, ``growlab results`` shows what came of it.

``growlab doctor`` checks the machine. ``python -m growlab`` is the same. Notebook 05 uses it for long runs. PyTorch is
imported only when a command needs it, so that the doctor can speak where it is broken.
"""

import argparse
import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

from growlab.text import printable

ONE = {"method": "random", "width": 16, "threads": os.cpu_count()}  # a single run, where it differs from ``Run``
HELP = {
    "data": '"critters", "digits", "cifar10", "cifar100", "folder:PATH"', "limit": "at most so many training pictures",
    "model": "mlp, vgg5, vgg16, mobilenet, or your own package.module:function",
    "width": "channels at the start, one number or one for each layer",
    "method": "random, net2net, splitting, firefly, gradmax, none, or your own package.module:function",
    "rate": "new neurons at each growth, as a share of the old", "every": "grow after every so many epochs",
    "at": "grow after these epochs", "gate": "the largest cosine that a new neuron may have with another",
    "until": "grow up to so many parameters, or up to a validation accuracy", "k": "steps after each growth",
    "then": "your own package.module:function, called after each growth",
    "options": "of the method, as JSON", "movement": "how far the K steps go, relative to the weights",
    "precision": "float32; bfloat16 is faster, with other numbers", "threads": "of the CPU, a part of the run",
}  # fmt: skip
PARSED = {  # settings that are no plain number or text
    "method": lambda text: None if text == "none" else text,
    "until": lambda text: int(text) if text.isdigit() else float(text),
    "options": json.loads,
}


def main(arguments=None) -> int:
    """Run one command; returns the exit status: 0 good, 1 failed checks or runs, 2 bad input, 130 stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    try:
        return options.command(options)
    except (ValueError, TypeError, OSError, RuntimeError, FloatingPointError) as error:
        print(printable(f"growlab: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run(options) -> int:
    from growlab.checks import resolved
    from growlab.lab.execute import execute
    from growlab.lab.grids import grid
    from growlab.lab.run import DEFAULTS, Run, network_of
    from growlab.lab.statistics import summary
    from growlab.plans import METHODS

    given = vars(options)
    settings = {name: value for name, value in given.items() if name in DEFAULTS}
    if len(settings.get("width", ())) == 1:
        (settings["width"],) = settings["width"]
    folder = given.get("out", "runs" if options.grid else "")
    if options.grid and "seed" in given:
        options.usage("--seed is for a single run: a grid takes --seeds")
    if not options.grid and (wrong := given.keys() & {"jobs", "seeds"}):
        options.usage(f"--{wrong.pop()} is for a grid: name one, such as table1, or leave it out")
    if not folder:
        options.usage("a single run needs --out, and many runs the name of a grid, such as table1")
    sys.path.insert(0, "")  # a file in this folder is a module too
    if options.grid:
        runs = grid(options.grid, given.get("seeds", 3), **settings)
    else:
        runs = [Run(**ONE | settings)]
    for one in runs:  # what is your own must be there before anything is trained
        resolved("method", one.method or "random", METHODS)
        resolved("then", one.then or print, {})
        if ":" in one.model:
            network_of(one, 0, ())
    table = execute(runs, folder, jobs=given.get("jobs"), device=options.device)
    _show(table, summary(table))
    return 1 if (table["state"] == "failed").any() else 0


def results(options) -> int:
    from growlab.lab.results import collect, results
    from growlab.lab.statistics import summary

    table = results(options.source)
    if not len(table):
        hint = "growlab run … --out FOLDER trains some"
        if Path(options.source, "run.json").exists():
            hint = "it is one run, name the folder around it"
        elif Path(options.source, "record.json").exists():
            hint = "it is a run of growlab 0.1.0 or of gl.train, gl.History.load reads its record.json"
        raise ValueError(f"{options.source} holds no runs: {hint}")
    if options.json:
        collect(options.source, options.json)
    _show(table, summary(table))
    return 0


def _show(table, contrasts):
    from growlab.lab.statistics import OF_TREATMENTS

    columns = "data model arm seed state error test_accuracy val_accuracy parameters".split()
    columns += ["seconds", "growth_seconds", "penalty_seconds"]
    shown = table[[name for name in columns if name in table]]
    print(printable(shown.to_string(index=False, na_rep="", float_format="{:.4g}".format)))
    if len(contrasts):
        did = contrasts[["arm", "against", *OF_TREATMENTS]].copy()
        did.loc[contrasts["components"].notna(), "pushed"] = "see below"
        did = did[did["moved"].notna() | did["moved_against"].notna()].dropna(axis=1, how="all")
        for part in (contrasts.loc[:, :"verdict"], did):
            if len(part):
                print("\n" + printable(part.to_string(index=False, na_rep="", float_format="{:.3g}".format)))
    for row in contrasts[contrasts["components"].notna()].itertuples():
        print(printable(f"\n{row.arm} - {row.against}\nis an average of {row.components}"))
        print(printable(f"{row.pushed}\n") * bool(row.pushed), end="")
        print("All these differences as independent:", end=" ")
        print(f"{row.independent_low:+.2f} to {row.independent_high:+.2f}, p = {row.independent_p:.3f}")
        print(f"Variance of the average, as a share of that of independent methods: {row.variance_ratio:.2f}", end=" ")
        print(f"(5 % point {row.ratio_5_percent:.2f})" + ": FLAGGED, its interval is too narrow" * row.flagged)


def doctor(options) -> int:
    from growlab.doctor import examine

    checks = examine()
    for good, text in checks:
        print(printable(f"[{'OK' if good else 'FAIL'}] {text}"))
    return 0 if all(good for good, _ in checks) else 1


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        super().error(printable(message))


def _parser(arguments):
    parser = _Parser("growlab", description="Neural networks that grow while they learn.")
    commands = parser.add_subparsers(required=True, metavar="run | results | doctor")
    one = commands.add_parser(
        "run", help="train one network and let it grow, or a grid of them; what was stopped goes on",
        argument_default=argparse.SUPPRESS, description="One network, or with the name of a GRID all of its runs, kept "
        "in --out. The other options are the settings of gl.Run: of the network, or of every run of the grid.",
    )  # fmt: skip
    one.set_defaults(command=run, usage=one.error, device="cpu")
    grids = "quick, assay, methods, copies, redundancy, momentum, parting, gradmax, published, vgg16, table1, table2, "
    grids += "table3, controls, k, dose, rate or readings"
    one.add_argument("grid", nargs="?", default=None, metavar="GRID", help=grids)
    one.add_argument("--out", "--folder", dest="out", help="folder of the runs, one for each (of a grid: runs)")
    one.add_argument("--seeds", type=int, help="of a grid: how many (3)")
    one.add_argument("--jobs", type=int, help="of a grid: processes that train at once (as many as there are cores)")
    one.add_argument("--device", help="cpu")
    if arguments[:1] == ["run"]:
        _add_settings(one)
    shown = commands.add_parser("results", help="show what runs have left, and what it supports")
    shown.set_defaults(command=results)
    shown.add_argument("source", metavar="FOLDER", help="of execute or growlab run, or a file made by --json")
    shown.add_argument("--json", metavar="FILE", help="also write all of it into one small file")
    check = commands.add_parser("doctor", help="check Python, PyTorch, device, memory, disk, data and widgets")
    check.set_defaults(command=doctor)
    return parser


def _add_settings(parser):
    """An option for each field of ``Run``."""
    from growlab.lab.run import DEFAULTS, Run

    when = parser.add_mutually_exclusive_group()
    for field in fields(Run):
        name, kinds = field.name, set(get_args(field.type) or [field.type])
        default = ONE.get(name, DEFAULTS[name])
        how = {"help": f"{HELP.get(name, '')} ({default})".strip(), "metavar": name.upper()}
        if bool in kinds:
            how = {"help": how["help"], "action": argparse.BooleanOptionalAction}
        elif name in ("width", "at"):
            how |= {"nargs": "+", "type": int}
        elif name in PARSED:
            how["type"] = PARSED[name]
        else:
            how["type"] = next(kind for kind in (int, float, str) if kind in kinds)
        (when if name in ("every", "at") else parser).add_argument(f"--{name.replace('_', '-')}", dest=name, **how)


if __name__ == "__main__":
    sys.exit(main())
