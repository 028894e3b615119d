"""The command line: ``growlab run`` trains a network or a grid of them, ``growlab results`` shows what came of it.

``growlab doctor`` checks the machine. ``python -m growlab`` is the same. Notebook 05 uses it for long runs. PyTorch is
imported only when a command needs it, so that the doctor can speak where it is broken.
"""

import argparse
import sys
from importlib import import_module

ONE = {  # what a single run is unless told otherwise; a grid has its own
    "data": "critters", "limit": None, "model": "vgg5", "width": 16, "method": "random", "rate": 0.35, "every": None,
    "at": (), "epochs": 12, "lr": 0.1, "weight_decay": 1e-4, "batch_size": 128, "schedule": "cosine",
    "precision": "float32", "threads": None, "seed": 0,
}  # fmt: skip


def main(arguments=None) -> int:
    """Run one command; returns the exit status: 0 good, 1 failed checks, 2 bad input, 130 stopped."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (ValueError, TypeError, OSError, RuntimeError, FloatingPointError) as error:
        print(f"growlab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run(options) -> int:
    given = vars(options)
    if options.grid and (wrong := given.keys() & {"out", "seed"}):
        options.usage(f"--{wrong.pop()} is for a single run: a grid takes --folder and --seeds")
    if not options.grid and (wrong := given.keys() & {"folder", "jobs", "seeds"}):
        options.usage(f"--{wrong.pop()} is for a grid: name one, such as table1, or leave it out")
    if not options.grid and not given.get("out"):
        options.usage("a single run needs --out, and many runs the name of a grid, such as table1")
    if options.grid:
        return _run_grid(options.grid, options.device, given)
    return _run_one(argparse.Namespace(**ONE | given))


def _run_grid(name, device, given):
    from growlab.lab.execute import execute
    from growlab.lab.grids import grid
    from growlab.lab.run import DEFAULTS
    from growlab.lab.statistics import summary

    changes = {setting: value for setting, value in given.items() if setting in DEFAULTS}
    runs = grid(name, given.get("seeds", 3), **changes)
    table = execute(runs, given.get("folder", "runs"), jobs=given.get("jobs"), device=device)
    _show(table, summary(table))
    return 1 if (table["state"] == "failed").any() else 0


def results(options) -> int:
    from growlab.lab.results import collect, results
    from growlab.lab.statistics import summary

    table = results(options.source)
    if options.json:
        collect(options.source, options.json)
    _show(table, summary(table))
    return 0


def _show(table, contrasts):
    columns = "data model arm seed state error test_accuracy val_accuracy parameters".split()
    columns += ["seconds", "growth_seconds", "penalty_seconds"]
    shown = table[[name for name in columns if name in table]]
    print(shown.to_string(index=False, na_rep="", float_format="{:.4g}".format), end="\n\n")
    print(contrasts.loc[:, :"verdict"].to_string(index=False, na_rep="", float_format="{:.3g}".format))


def _run_one(options):
    import torch

    from growlab.checks import whole
    from growlab.data.sources import load_data
    from growlab.growth import Growth
    from growlab.models import parameter_count
    from growlab.seeds import random_stream
    from growlab.training import train

    whole("seed", options.seed, 0, "seeds are numbered from 0")
    if options.threads is not None:
        whole("threads", options.threads, 1, "so many cores compute")
        torch.set_num_threads(options.threads)
    data = load_data(options.data, limit=options.limit, device=options.device, seed=options.seed)
    torch.manual_seed(random_stream(options.seed, "initialisation").initial_seed())
    model = _model(options.model, options.width, len(data.classes), tuple(data.train.images.shape[1:]))
    growth = None
    if options.method != "none":
        growth = Growth(options.method, options.rate, every=options.every, at=tuple(options.at))
    print(f"{data}\n{options.model} with {parameter_count(model):,} parameters → {options.out}", flush=True)
    history = train(
        model, data, options.epochs, growth=growth, seed=options.seed, folder=options.out, lr=options.lr,
        weight_decay=options.weight_decay, batch_size=options.batch_size, schedule=options.schedule,
        precision=options.precision,
    )  # fmt: skip
    print(history.table().drop(columns=["widths", "seconds"]).to_string(index=False))
    print(f"test accuracy {history.result['test_accuracy']:.2%} with {history.result['parameters']:,} parameters")
    return 0


def _model(name, width, classes, picture):
    """One of the package's models by name, or what your own function returns: "package.module:function"."""
    from torch import nn

    from growlab.models import for_pictures as build

    if ":" not in name:
        return build(name, width, classes, picture)
    module, _, function = name.partition(":")
    sys.path.insert(0, "")  # a file in this folder is a module too
    try:
        model = getattr(import_module(module), function)()
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"cannot get {name!r} ({what}): it must be package.module:function, callable from here"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name!r} must return a model, and returned {type(model).__name__}")
    return model


def doctor(options) -> int:
    from growlab.doctor import examine

    checks = examine()
    for good, text in checks:
        print(f"[{'OK' if good else 'FAIL'}] {text}")
    return 0 if all(good for good, _ in checks) else 1


def _parser():
    parser = argparse.ArgumentParser("growlab", description="Neural networks that grow while they learn.")
    commands = parser.add_subparsers(required=True, metavar="run | results | doctor")
    one = commands.add_parser(
        "run", help="train one network and let it grow, or a grid of them; what was stopped goes on",
        argument_default=argparse.SUPPRESS, description="One network, kept in --out; or, with the name of a GRID, all "
        "of its runs, kept in --folder. The other options change the network, or every run of the grid.",
    )  # fmt: skip
    one.set_defaults(command=run, usage=one.error, device="cpu")
    grids = "quick, assay, methods, vgg16, table1, table2, table3, controls, k, dose, rate or readings"
    one.add_argument("grid", nargs="?", default=None, metavar="GRID", help=grids)
    one.add_argument("--folder", help="of a grid's runs (runs)")
    one.add_argument("--seeds", type=int, help="of a grid: how many (3)")
    one.add_argument("--jobs", type=int, help="of a grid: so many processes at a time (as many as there are cores)")
    one.add_argument("--out", help="folder for the checkpoint and the record of one network")
    one.add_argument("--data", help='"critters", "digits", "cifar10", "cifar100", "folder:PATH"')
    one.add_argument("--limit", type=int, help="at most so many training pictures")
    one.add_argument("--model", help="vgg5, mlp, vgg16, mobilenet, or for one network your own package.module:function")
    one.add_argument("--width", type=int, help="channels per layer at the start (16)")
    one.add_argument("--method", help="random, net2net, splitting, firefly, or none")
    one.add_argument("--rate", type=float, help="new neurons at each growth, as a share of the old (0.35)")
    when = one.add_mutually_exclusive_group()
    when.add_argument("--every", type=int, help="grow after every so many epochs")
    when.add_argument("--at", type=int, nargs="+", help="grow after these epochs")
    one.add_argument("--epochs", type=int, help="12")
    one.add_argument("--lr", type=float, help="0.1")
    one.add_argument("--weight-decay", type=float, help="0.0001")
    one.add_argument("--batch-size", type=int, help="128")
    one.add_argument("--schedule", help="of the learning rate: cosine, restarts, constant_then_cosine")
    one.add_argument("--precision", help="float32; bfloat16 is faster, with other numbers")
    one.add_argument("--device", help="cpu")
    one.add_argument("--threads", type=int, help="of the CPU; the number belongs to the run")
    one.add_argument("--seed", type=int, help="of one network (0)")
    shown = commands.add_parser("results", help="show what runs have left, and what it supports")
    shown.set_defaults(command=results)
    shown.add_argument("source", metavar="FOLDER", help="of execute or growlab run GRID, or a file made by --json")
    shown.add_argument("--json", metavar="FILE", help="also write all of it into one small file")
    check = commands.add_parser("doctor", help="check Python, PyTorch, device, memory, disk, data and widgets")
    check.set_defaults(command=doctor)
    return parser


if __name__ == "__main__":
    sys.exit(main())
