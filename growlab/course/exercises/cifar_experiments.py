"""The exercises of notebook 05: what a comparison of runs supports, how many it takes, and what is a fair control."""

import math

import torch
from scipy import stats

from growlab.course.exercises.exercise import Exercise, equal, normal

ANY = math.nan  # in what a mistake gives: this part is not the point, and may be anything


def alike(got, expected, tolerance):
    """Two numbers each, part by part."""
    try:
        pairs = list(zip(got, expected, strict=True))
    except (TypeError, ValueError):  # not two
        return False
    return all(equal(wanted, ANY) or equal(part, wanted, 0, tolerance) for part, wanted in pairs)


def paired_interval(penalty, base):
    from scipy import stats

    differences = penalty - base  # what a seed does to both arms is gone
    n = len(differences)
    error = differences.std().item() / math.sqrt(n)  # std divides by n - 1
    half = float(stats.t.ppf(0.975, n - 1)) * error
    mean = differences.mean().item()
    return mean - half, mean + half


def arms():
    """In percent. Differences of two sizes: so even a bootstrap, which draws by chance, gives all the same."""
    for n, better in ((4, [1, 2]), (5, [1, 2, 4]), (10, [1, 2, 4, 5, 7, 9])):
        base = (90 + 2 * normal(n, seed=n)).round(decimals=1)
        penalty = base + 0.2
        penalty[better] += 0.4
        yield penalty, base


def same_interval(got, expected):
    return alike(got, expected, 1e-3 * float(expected[1] - expected[0]))  # a t value from a table will do


EXPERIMENTS = 2000  # of a share of 95 % the standard error is √(0.95 · 0.05 / 2000) = 0.49 %: three of them are 1.5 %


def holds_the_truth(answer, penalty, base):
    """In simulated experiments of five seeds, where a seed does more to the accuracy than the penalty does."""
    if len(base) != 5:
        return None  # once is enough
    truth, seeds = 0.4, 90 + 2 * normal(EXPERIMENTS, 1, 5)
    base, penalty = (seeds + 0.3 * normal(EXPERIMENTS, 2, 5, seed=1)).unbind(1)
    penalty = penalty + truth
    low, high = torch.tensor([[float(end) for end in answer(*runs)] for runs in zip(penalty, base)]).T
    inside = ((low <= truth) & (truth <= high)).double().mean().item()
    if abs(inside - 0.95) > 0.015:
        what = f"In {EXPERIMENTS:,} simulated experiments the true difference was inside in {100 * inside:.1f} %, "
        return f"{what}and not in 95 %."
    if (high - low).mean() > (unpaired(penalty, base, 1)[1] - unpaired(penalty, base, 1)[0]).mean():
        return "It is as wide as if nobody knew which runs have the same seed."


def interval(differences, quantile, ddof=1):
    n = len(differences)
    half = quantile * differences.std(correction=ddof) / math.sqrt(n)
    return differences.mean() - half, differences.mean() + half


def unpaired(penalty, base, dim=0):
    n, mean = base.shape[dim], (penalty - base).mean(dim)
    half = stats.t.ppf(0.975, 2 * n - 2) * ((penalty.var(dim) + base.var(dim)) / n).sqrt()
    return mean - half, mean + half


def bootstrap(penalty, base):
    draws = torch.randint(len(base), (4000, len(base)), generator=torch.Generator().manual_seed(0))
    return (penalty - base)[draws].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))


PAIRED_INTERVAL = Exercise(
    "paired-interval", paired_interval, arms,
    mistakes={
        "You compared two groups of strangers. Entry i of both arms has the same seed: subtract seed by seed first.":
            unpaired,
        "1.96 is for a spread that is known. Yours is estimated from a few differences: at n = "
        "5, 1.96 holds the truth in 88 %, not 95. Use t.":
            lambda penalty, base: interval(penalty - base, 1.96),
        "A percentile bootstrap draws again what it has seen, and that is little: at n = 5 it "
        "holds the truth in 84 %. Use t.": bootstrap,
        "Your standard deviation divides by n. The mean was fitted to the same differences: "
        "divide by n − 1 (numpy: ddof=1).":
            lambda penalty, base: interval(penalty - base, stats.t.ppf(0.975, len(base) - 1), ddof=0),
        "5 % on each side leave 90 %. For 95 %, leave 2.5 % on each: t.ppf(0.975, n - 1).":
            lambda penalty, base: interval(penalty - base, stats.t.ppf(0.95, len(base) - 1)),
        "The sign is turned around: it is penalty less base.": lambda penalty, base: paired_interval(base, penalty),
        "That is where single differences lie. The mean of n of them is surer: divide the standard deviation by √n.":
            lambda penalty, base: interval(penalty - base, stats.t.ppf(0.975, len(base) - 1) * math.sqrt(len(base))),
    }, properties=(holds_the_truth,), same=same_interval,
)  # fmt: skip


def best_of(k):
    x = torch.linspace(-9, 9, 2001, dtype=torch.float64)
    all_below = torch.special.ndtr(x) ** k  # the probability that k runs, and so the best of them, are below x
    gain = torch.trapezoid(x, all_below)  # the mean of the best: ∫ x dP
    return gain.item(), k / (k + 1)  # of k + 1 runs that are alike, each is the best as often as any other


def tries():
    yield from ((1,), (2,), (6,), (30,))


def same_gain(got, expected):
    return alike(got, expected, 0.03)  # three standard errors of a simulation of 10,000, where k is 1


def agrees_with_a_simulation(answer, k):
    best, (gain, chance) = normal(10000, k, seed=k).amax(1), map(float, answer(k))
    mean, won = best.mean().item(), (best > normal(10000, seed=k + 50)).double().mean().item()
    if abs(gain - mean) > 0.07 or abs(chance - won) > 0.05:  # four standard errors, and what an answer may be off
        return f"In 10,000 trials the best of {k} was {mean:.2f} above the mean, and won in a share of {won:.2f}."


BEST_OF_THIRTY = Exercise(
    "best-of-thirty", best_of, tries,
    mistakes={
        "√k belongs to the error of a mean. The best of k grows far more slowly: thirty runs gain 2.04, not 5.5.":
            lambda k: (math.sqrt(k), ANY),
        "1.96 is where one run in forty lies, whatever k is. The best of more runs is better.": lambda k: (1.96, ANY),
        "√(2 ln k) is right for k without end. For 30 it says 2.6, where a simulation says 2.04.":
            lambda k: (math.sqrt(2 * math.log(k)), ANY),
        "Fifty-fifty is one run against one. Here the best of k plays: of k + 1 runs that are alike, who is the best?":
            lambda k: (ANY, 0.5),
        "A chance is a share, from 0 to 1: no percent.": lambda k: (ANY, 100 * k / (k + 1)),
        "1 − ½ᵏ is for k games against a fresh run each. All k meet the same run: if it is good, all lose.":
            lambda k: (ANY, 1 - 0.5**k),
    }, properties=(agrees_with_a_simulation,), same=same_gain,
)  # fmt: skip


def choose(validation, test):
    index = validation.mean(1).argmax()  # one K, for all seeds
    return index.item(), test[index].mean().item()


def sweeps():
    """Accuracies, a row for each K and a column for each seed."""
    validation, test = [[0.70, 0.73], [0.76, 0.71]], [[0.75, 0.72], [0.70, 0.73]]
    yield torch.tensor(validation, dtype=torch.float64), torch.tensor(test, dtype=torch.float64)
    for rows, columns in ((3, 4), (6, 3), (30, 5)):
        yield tuple(0.7 + 0.02 * normal(rows, columns, seed=rows + i) for i in (0, 1))


def same_choice(got, expected):
    return alike(got, expected, 1e-6)


def other_rows_do_not_matter(answer, validation, test):
    index, accuracy = answer(validation, test)
    tempting = torch.ones_like(test)
    tempting[int(index)] = test[int(index)]
    if not alike(answer(validation, tempting), (index, accuracy), 1e-9):
        what = "The test accuracies of another K changed, and with them your answer. "
        return f"{what}Read the test in one row only: that of the K chosen."


def finds_what_is_there_and_nothing_else(answer, validation, test):
    """In simulated sweeps of eight K, with chances of their own in validation and test: no K helps, or one K a lot."""
    if len(validation) != 2:
        return None  # once is enough
    draws = 0.7 + 0.02 * normal(1000, 2, 8, 3)
    gains = torch.tensor([float(answer(*draw)[1]) for draw in draws]) - 0.7
    if gains.mean().abs() > 3 * gains.std() / math.sqrt(len(gains)):
        return f"Where K does nothing, 1,000 sweeps gained {100 * gains.mean():.2f} points on average."
    draws[:, :, 5] += 0.08
    if sum(int(answer(*draw)[0]) == 5 for draw in draws) < 950:
        return "One K was 8 points better, four standard deviations of a run, and your rule often missed it."


def best_in_the_test(validation, test):
    index = test.mean(1).argmax()
    return index, test[index].mean()


def mean_over_k(validation, test):
    index = validation.mean(0).argmax()
    return index, test[index].mean()


def best_single_run(validation, test):
    index = validation.amax(1).argmax()
    return index, test[index].mean()


CHOOSE_HONESTLY = Exercise(
    "choose-honestly", choose, sweeps,
    mistakes={
        "You chose by the test. Then the best of many tries is no measurement any more: thirty "
        "K that do nothing gain two standard deviations.":
            best_in_the_test,
        "You reported the validation accuracy of the winner. It won there, partly by luck; the test has not chosen.":
            lambda validation, test: (ANY, validation.mean(1).max()),
        "You chose another K for each seed, by one run each. That is mostly noise, and no K to "
        "recommend: average over the seeds first.":
            lambda validation, test: (ANY, test.gather(0, validation.argmax(0, keepdim=True)).mean()),
        "For each seed you took the best test accuracy. That is the best of many tries, once for every seed.":
            lambda validation, test: (ANY, test.amax(0).mean()),
        "You averaged over the K. A row is a K and a column a seed: mean(1) is the mean over the seeds.": mean_over_k,
        "One lucky run chose. Compare the means over the seeds, not the best runs.": best_single_run,
    }, properties=(other_rows_do_not_matter, finds_what_is_there_and_nothing_else), same=same_choice,
)  # fmt: skip


def seeds_needed(effect, sd):
    from scipy import stats

    n, power = 1, 0.0
    while power < 0.8:
        n += 1
        limit = stats.t.ppf(0.975, n - 1)  # beyond it a test at 5 %, two-sided, rejects
        shift = effect / (sd / math.sqrt(n))  # the true difference, in standard errors
        power = stats.nct.sf(limit, n - 1, shift)  # how often t, shifted so, is beyond the limit
    return n


def effects():
    yield from ((1.0, 1.0), (2.0, 1.0), (0.5, 1.0), (0.4, 0.5), (0.3, 0.2), (0.3, 0.5))


def within_one(got, expected):
    return equal(got, expected, 0, 1)


def has_that_power(answer, effect, sd):
    """In 4,000 experiments: 0.03 is more than four standard errors."""

    def power(n):
        differences = effect + sd * normal(4000, n, seed=n)
        t = differences.mean(1) / differences.std(1) * math.sqrt(n)
        return (t.abs() > stats.t.ppf(0.975, n - 1)).double().mean().item()

    n = math.ceil(answer(effect, sd))
    if power(n + 1) < 0.77:
        return (
            f"With {n} seeds, and with one more, the test finds the effect in fewer than 80 % of simulated experiments."
        )
    if n > 3 and power(n - 2) > 0.83:
        return f"Fewer than {n} seeds are enough in simulated experiments."


def only_the_ratio_counts(answer, effect, sd):
    if effect < sd:
        return None  # many seeds: a simulation would take its time
    n = answer(effect, sd)
    if abs(answer(100 * effect, 100 * sd) - n) > 2:
        return "In percent instead of shares it needs another number of seeds. Only effect / sd may count."
    if answer(effect / 1.4, sd) < n:
        return "A smaller effect needs fewer seeds in your answer. It is harder to see: it needs more."


def smallest(enough):
    return next(n for n in range(2, 10**6) if enough(n))


def one_sided(effect, sd):
    return smallest(lambda n: stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, effect / sd * math.sqrt(n)) >= 0.8)


SEEDS_NEEDED = Exercise(
    "seeds-needed", seeds_needed, effects,
    mistakes={
        "Right if sd were known. It is estimated from the same seeds. Use t: 10 seeds, not 8, "
        "where the effect is one sd.": lambda effect, sd: ((1.96 + 0.8416) * sd / effect) ** 2,
        "Half the effect needs four times the seeds: a mean's error shrinks with √n. Square "
        "all of (1.96 + 0.84) · sd / effect.": lambda effect, sd: (1.96 + 0.8416) * sd / effect,
        "You squared 1.96 + 0.84, but not sd / effect. Half the effect needs four times the seeds.":
            lambda effect, sd: (1.96 + 0.8416) ** 2 * sd / effect,
        "√2 · sd, or two groups, is for runs of different seeds. sd is of the differences "
        "already: here what a seed does to both is gone.":
            lambda effect, sd: seeds_needed(effect, math.sqrt(2) * sd),
        "You put all 5 % on one side. The test is two-sided: its limit is the 0.975 quantile.": one_sided,
        "There an effect as large as expected is just significant. Half of all experiments "
        "measure a smaller one: that is a power of 50 %.":
            lambda effect, sd: smallest(lambda n: effect / sd * math.sqrt(n) >= stats.t.ppf(0.975, n - 1)),
    }, properties=(has_that_power, only_the_ratio_counts), same=within_one,
)  # fmt: skip


def equal_compute(costs, extra):
    spent = sum(costs) + extra  # all that the grown run has cost
    return round(spent / costs[-1])  # each epoch of the control is as dear as the last


def schedules():
    yield [1, 3, 4], 0
    yield [4, 4, 4], 0
    yield [2, 2, 5, 5, 9, 9], 15
    for seed in range(4):
        sizes = torch.randint(5, 20, (4,), generator=torch.Generator().manual_seed(seed)).cumsum(0).tolist()
        costs = [1000 * size**2 for size in sizes for _ in range(3 + seed)]
        yield costs, sum(costs) // 3


def costs_the_same(answer, costs, extra):
    epochs, spent = answer(costs, extra), sum(costs) + extra
    if epochs != int(epochs) or epochs < 1:
        return f"An epoch more or less, but whole ones, and one at least: not {epochs}."
    if abs(epochs * costs[-1] - spent) > 0.501 * costs[-1]:
        return (
            f"The control costs {epochs * costs[-1]:,}, the grown run {spent:,}: that is more than half an epoch apart."
        )
    if answer([costs[0]] * 7, 0) != 7:
        return "Where nothing grows, and nothing else was paid for, seven epochs cost as much as seven epochs."


EQUAL_COMPUTE = Exercise(
    "equal-compute", equal_compute, schedules,
    mistakes={
        "As many epochs as the grown run, but all of them at the full price: the control gets more compute.":
            lambda costs, extra: len(costs),
        "You divided by the first epoch, the cheapest. The control has the final size: divide by the last.":
            lambda costs, extra: round((sum(costs) + extra) / costs[0]),
        "Proposals and K steps are not free. Add extra to what the grown run has spent.":
            lambda costs, extra: round(sum(costs) / costs[-1]),
        "You divided by the mean epoch of the grown run. No epoch of the control is that cheap.":
            lambda costs, extra: round((sum(costs) + extra) / sum(costs) * len(costs)),
        "You rounded down: the control loses up to a whole epoch. The nearest number of epochs "
        "is at most half of one off.":
            lambda costs, extra: int((sum(costs) + extra) // costs[-1]),
    }, properties=(costs_the_same,),
)  # fmt: skip
EXERCISES = (PAIRED_INTERVAL, BEST_OF_THIRTY, CHOOSE_HONESTLY, SEEDS_NEEDED, EQUAL_COMPUTE)
