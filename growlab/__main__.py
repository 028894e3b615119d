"""The command line: ``growlab run`` trains and grows a network, ``growlab doctor`` checks the machine.

``python -m growlab`` is the same. Notebook 05 uses it for long runs. PyTorch is imported only when a command needs it,
so that the doctor can speak where it is broken.
"""

import argparse
import sys
from importlib import import_module


def main(arguments=None) -> int:
    """Run one command; returns the exit status: 0 good, 1 failed checks, 2 bad input, 130 stopped."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(f"growlab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def run(options) -> int:
    import torch

    from .data import load_data, random_stream
    from .models import parameter_count
    from .training import Growth, train

    if options.threads:
        torch.set_num_threads(options.threads)
    data = load_data(options.data, limit=options.limit, device=options.device, seed=options.seed)
    torch.manual_seed(random_stream(options.seed, "initialisation").initial_seed())
    model = _model(options.model, options.width, len(data.classes), data.train.images.shape[1:])
    growth = None
    if options.method != "none":
        growth = Growth(options.method, options.rate, every=options.every, at=tuple(options.at or ()))
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
    from .models import build

    if name == "mlp":
        return build(name, widths=[picture.numel(), width, width, classes])
    if ":" not in name:
        return build(name, width=width, classes=classes, channels=picture[0])
    module, _, function = name.partition(":")
    sys.path.insert(0, "")  # a file in this folder is a module too
    try:
        return getattr(import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot find {name!r} ({error}): it must be package.module:function, and callable from here") from error


def doctor(options) -> int:
    from .doctor import examine

    checks = examine()
    for good, text in checks:
        print(f"[{'OK' if good else 'FAIL'}] {text}")
    return 0 if all(good for good, _ in checks) else 1


def _parser():
    parser = argparse.ArgumentParser("growlab", description="Neural networks that grow while they learn.")
    commands = parser.add_subparsers(required=True, metavar="run | doctor")
    one = commands.add_parser("run", help="train one network and let it grow; a stopped run goes on")
    one.set_defaults(command=run)
    one.add_argument("--data", default="critters", help='"critters", "digits", "cifar10", "cifar100", "folder:PATH"')
    one.add_argument("--limit", type=int, help="at most so many training pictures")
    one.add_argument("--model", default="vgg5", help="mlp, vgg5, vgg16, mobilenet, or your own package.module:function")
    one.add_argument("--width", type=int, default=16, help="channels per layer at the start")
    one.add_argument("--method", default="random", help="random, net2net, splitting, firefly, or none")
    one.add_argument("--rate", type=float, default=0.35, help="new neurons at each growth, as a share of the old")
    when = one.add_mutually_exclusive_group()
    when.add_argument("--every", type=int, help="grow after every so many epochs")
    when.add_argument("--at", type=int, nargs="+", help="grow after these epochs")
    one.add_argument("--epochs", type=int, default=12)
    one.add_argument("--lr", type=float, default=0.1)
    one.add_argument("--weight-decay", type=float, default=1e-4)
    one.add_argument("--batch-size", type=int, default=128)
    one.add_argument("--schedule", default="cosine", help="of the learning rate: cosine, restarts, constant_then_cosine")
    one.add_argument("--precision", default="float32", help="bfloat16 is faster, with other numbers")
    one.add_argument("--device", default="cpu")
    one.add_argument("--threads", type=int, help="of the CPU; the number belongs to the run")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", required=True, help="folder for the checkpoint and the record")
    check = commands.add_parser("doctor", help="check Python, PyTorch, device, memory, disk, data and widgets")
    check.set_defaults(command=doctor)
    return parser


if __name__ == "__main__":
    sys.exit(main())
