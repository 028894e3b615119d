"""Numbers of the paper's tables 1 to 3 (Sakai & Hotta 2024): seconds only, its accuracies are not in our source."""

import math

TREATMENTS = ("", "eq3", "eq4", "penalty")  # the columns of the table below
PAPER_SECONDS = {  # 250 epochs on a GTX 1080 Ti
    ("cifar10", "vgg16", "random"): (3022, 3030, 3077, 3090),
    ("cifar10", "vgg16", "splitting"): (6146, 6149, 6171, 6176),
    ("cifar10", "vgg16", "firefly"): (3375, 3379, 3402, 3409),
    ("cifar10", "mobilenet", "random"): (1240, None, None, 1264),
    ("cifar10", "mobilenet", "splitting"): (3191, None, None, 3370),
    ("cifar10", "mobilenet", "firefly"): (1630, None, None, 1670),
    ("cifar100", "vgg16", "random"): (6612, None, None, 6680),
    ("cifar100", "vgg16", "splitting"): (13560, None, None, 13790),
    ("cifar100", "vgg16", "firefly"): (5307, None, None, 5360),
    ("cifar100", "mobilenet", "random"): (2690, None, None, 2842),
    ("cifar100", "mobilenet", "splitting"): (7167, None, None, 7250),
    ("cifar100", "mobilenet", "firefly"): (3673, None, None, 3690),
}


def paper_seconds(data, model, arms):
    kind, known = "cifar100" if "cifar100" in data else "cifar10" if "cifar10" in data else "", []
    for method, _, treatment in (arm.partition("+") for arm in arms):
        times = dict(zip(TREATMENTS, PAPER_SECONDS.get((kind, model, method), ())))
        known.append(times.get(treatment))
    return math.nan if None in known else sum(known) / len(known)
