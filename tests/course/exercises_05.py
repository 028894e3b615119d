"""Right and wrong answers to the exercises of notebook 05, as students would write them."""

import math
from statistics import NormalDist, mean, stdev

import numpy as np
import torch
from scipy import integrate, stats

from growlab.lab.statistics import compare

# paired-interval


def interval_of_scipy(penalty, base):
    return stats.ttest_rel(penalty.numpy(), base.numpy()).confidence_interval()


def interval_of_the_library(penalty, base):
    found = compare((penalty - base).numpy())
    return [found["low"], found["high"]]


def interval_from_a_table(penalty, base):
    d = [p - b for p, b in zip(penalty.tolist(), base.tolist())]
    half = {4: 3.182, 5: 2.776, 10: 2.262}[len(d)] * stdev(d) / len(d) ** 0.5
    return np.array([mean(d) - half, mean(d) + half])


def interval_of_two_groups(penalty, base):
    return stats.ttest_ind(penalty, base).confidence_interval()


def interval_by_welch(penalty, base):
    return tuple(stats.ttest_ind(penalty, base, equal_var=False).confidence_interval())


def interval_with_z(penalty, base):
    d = (penalty - base).numpy()
    return stats.norm.interval(0.95, d.mean(), d.std(ddof=1) / np.sqrt(len(d)))


def interval_by_drawing_again(penalty, base):
    d, generator = (penalty - base).numpy(), np.random.default_rng(7)
    return np.percentile([generator.choice(d, len(d)).mean() for _ in range(2000)], [2.5, 97.5])


def interval_by_bootstrap(penalty, base):
    found = stats.bootstrap(((penalty - base).numpy(),), np.mean, method="percentile", rng=1)
    return found.confidence_interval.low, found.confidence_interval.high


def interval_with_numpys_std(penalty, base):
    d = np.asarray(penalty) - np.asarray(base)
    return stats.t.interval(0.95, len(d) - 1, d.mean(), np.std(d) / math.sqrt(len(d)))


def interval_of_ninety_percent(penalty, base):
    return stats.ttest_rel(penalty, base).confidence_interval(0.9)


def interval_without_root(penalty, base):
    d = (penalty - base).numpy()
    return stats.t.interval(0.95, len(d) - 1, d.mean(), d.std(ddof=1))


# best-of-thirty


def best_by_simulation(k):
    runs = np.random.default_rng(0).standard_normal((10_000, k + 1))
    best = runs[:, :k].max(1)
    return best.mean(), (best > runs[:, k]).mean()


def best_by_integration(k):
    density = lambda x: x * k * stats.norm.pdf(x) * stats.norm.cdf(x) ** (k - 1)
    return integrate.quad(density, -10, 10)[0], 1 - 1 / (1 + k)


def best_by_blom(k):
    return NormalDist().inv_cdf((k - 0.375) / (k + 0.25)), torch.tensor(k / (k + 1))


def best_by_root(k):
    return k**0.5, 0.5


def best_by_significance(k):
    return stats.norm.ppf(0.975), k / (k + 1)


def best_by_extremes(k):
    return (2 * np.log(k)) ** 0.5, 1 - 2.0**-k


def best_without_effect(k):
    return torch.randn(20_000, k).max(dim=1).values.mean(), 0.5


def best_of_coins(k):
    return best_by_integration(k)[0], 1 - math.pow(2, -k)


# choose-honestly


def choose_in_lists(validation, test):
    means = [mean(row) for row in validation.tolist()]
    chosen = max(range(len(means)), key=means.__getitem__)
    return chosen, mean(test.tolist()[chosen])


def choose_with_numpy(validation, test):
    chosen = np.argmax(validation.numpy().sum(axis=1))
    return [chosen, np.mean(test.numpy(), axis=1)[chosen]]


def choose_by_test(validation, test):
    chosen = int(torch.argmax(test.sum(dim=1)))
    return chosen, float(test[chosen].mean())


def choose_without_test(validation, test):
    best = validation.mean(dim=1).max(dim=0)
    return best.indices, best.values


def choose_for_each_seed(validation, test):
    chosen = validation.argmax(dim=0)
    return chosen, np.mean([test[k, seed].item() for seed, k in enumerate(chosen)])


def choose_for_each_seed_and_vote(validation, test):
    chosen = np.argmax(validation.numpy(), axis=0)
    return int(np.bincount(chosen).argmax()), test.numpy()[chosen, np.arange(test.shape[1])].mean()


def choose_the_best_runs(validation, test):
    return test.argmax(0), sum(max(column) for column in test.T.tolist()) / test.shape[1]


def choose_by_one_run(validation, test):
    chosen = int(validation.argmax()) // validation.shape[1]
    return chosen, test[chosen].mean()


# seeds-needed


def seeds_by_simulation(effect, sd):
    experiments, n, power = np.random.default_rng(0).normal(effect, sd, (5000, 60)), 1, 0
    while power < 0.8:
        n += 1
        power = (stats.ttest_1samp(experiments[:, :n], 0, axis=1).pvalue < 0.05).mean()
    return n


def seeds_by_iteration(effect, sd):
    n = 30.0
    for _ in range(50):  # halfway each time, so that it settles
        n = (n + ((stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) * sd / effect) ** 2) / 2
    return math.ceil(n)


def seeds_by_z(effect, sd):
    return ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / (effect / sd)) ** 2


def seeds_without_square(effect, sd):
    return 2.8 * sd / effect


def seeds_with_half_a_square(effect, sd):
    return round(7.85 / (effect / sd))


def seeds_of_two_groups(effect, sd):
    n, power = 2, 0
    while power < 0.8:
        n += 1
        power = stats.nct.sf(stats.t.ppf(0.975, 2 * n - 2), 2 * n - 2, effect / sd * math.sqrt(n / 2))
    return n


def seeds_of_one_side(effect, sd):
    experiments, n, power = np.random.default_rng(1).normal(effect, sd, (5000, 60)), 1, 0
    while power < 0.8:
        n += 1
        power = (stats.ttest_1samp(experiments[:, :n], 0, axis=1, alternative="greater").pvalue < 0.05).mean()
    return n


def seeds_of_fifty_percent(effect, sd):
    n = 2
    while effect < stats.t.ppf(0.975, n - 1) * sd / n**0.5:
        n += 1
    return n


# equal-compute


def epochs_by_paying(costs, extra):
    left, epochs = sum(costs) + extra, 0
    while left >= costs[-1] / 2:
        left, epochs = left - costs[-1], epochs + 1
    return epochs


def epochs_with_torch(costs, extra):
    return torch.tensor([*costs, extra], dtype=torch.float64).div(costs[-1]).sum().round().int()


def epochs_as_before(costs, extra):
    return np.size(costs)


def epochs_of_the_first_size(costs, extra):
    return math.floor(sum([*costs, extra]) / min(costs) + 0.5)


def epochs_without_extra(costs, extra):
    return max(round(sum(cost / costs[-1] for cost in costs)), 1)


def epochs_of_mean_size(costs, extra):
    return int(np.rint((np.sum(costs) + extra) / np.mean(costs)))


def epochs_cut_off(costs, extra):
    return math.floor((sum(costs) + extra) / costs[-1])


def interval_of_what_is_lost(penalty, base):
    return stats.ttest_rel(base, penalty).confidence_interval()


def best_in_percent(k):
    gain, chance = best_by_integration(k)
    return gain, 100 * chance


def choose_along_the_seeds(validation, test):
    best = int(np.argmax(validation.numpy().mean(axis=0)))
    return best, float(test[best].mean())


RIGHT = {
    "paired-interval": [interval_of_scipy, interval_of_the_library, interval_from_a_table],
    "best-of-thirty": [best_by_simulation, best_by_integration, best_by_blom],
    "choose-honestly": [choose_in_lists, choose_with_numpy],
    "seeds-needed": [seeds_by_simulation, seeds_by_iteration],
    "equal-compute": [epochs_by_paying, epochs_with_torch],
}

WRONG = {
    "paired-interval": [
        (interval_of_two_groups, "two groups of strangers"), (interval_by_welch, "two groups of strangers"),
        (interval_with_z, "a spread that is known"), (interval_by_drawing_again, "percentile bootstrap"),
        (interval_by_bootstrap, "percentile bootstrap"), (interval_with_numpys_std, "divides by n."),
        (interval_of_ninety_percent, "5 % on each side"), (interval_without_root, "single differences"),
        (interval_of_what_is_lost, "penalty less base"),
    ],
    "best-of-thirty": [
        (best_by_root, "error of a mean"), (best_by_significance, "one run in forty"),
        (best_by_extremes, "k without end"),
        (best_without_effect, "one run against one"), (best_of_coins, "a fresh run each"),
        (best_in_percent, "no percent"),
    ],
    "choose-honestly": [
        (choose_by_test, "You chose by the test"), (choose_without_test, "validation accuracy of the winner"),
        (choose_for_each_seed, "another K for each seed"), (choose_for_each_seed_and_vote, "another K for each seed"),
        (choose_the_best_runs, "once for every seed"), (choose_by_one_run, "One lucky run"),
        (choose_along_the_seeds, "averaged over the K"),
    ],
    "seeds-needed": [
        (seeds_by_z, "if sd were known"), (seeds_without_square, "Square all of"),
        (seeds_with_half_a_square, "but not sd / effect"),
        (seeds_of_two_groups, "of the differences already"), (seeds_of_one_side, "all 5 % on one side"),
        (seeds_of_fifty_percent, "a power of 50 %"),
    ],
    "equal-compute": [
        (epochs_as_before, "at the full price"), (epochs_of_the_first_size, "the cheapest"),
        (epochs_without_extra, "are not free"),
        (epochs_of_mean_size, "the mean epoch"), (epochs_cut_off, "rounded down"),
    ],
}  # fmt: skip
