"""How far the classifier can be trusted: accuracy on planted truth, calibration, cutoffs, coverage, and a control.

`cases` is a frame of planted cases with the columns split, kind, truth, reading and the type probabilities
(tables/validation.py); cutoffs are set on the split `calibration` and scored on `scored`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, brier_score_loss

from turncoat.seeding import generator
from turncoat.statistics.intervals import wilson

Array = np.ndarray
Read = Callable[[Mapping[str, float]], Array]
"""Types that planted calibration cases are read as, by the cutoffs."""

PERMUTATIONS = 200
MISMATCHED = "mismatched"
BINS = 10
TOLD = 0.95  # share right at which X and Y count as told apart
OPEN = 0.05  # predicted probabilities between this and 1 less this are undecided
TRUSTED = 0.95  # share right below which a planted kind counts as misread
SUMMARY = ("statistic", "what", "value", "low", "high", "n")


def summary(
    cases: pandas.DataFrame, calibration: pandas.DataFrame, points: pandas.DataFrame, confidence: float
) -> pandas.DataFrame:
    """One row per statistic: accuracies, worst kind, control, calibration error, smallest angle, largest noise.

    `calibration` and `points` are the tables of those names. Intervals of shares are Wilson's.
    """
    scored = cases[cases.split == "scored"]
    right = (scored.reading == scored.truth).astype(float)
    by_kind = right.groupby(scored.kind).agg(["mean", "sum", "size"])
    rows: list[tuple[str, str, float, float, float, int]] = []

    def add(statistic: str, what: str, value: float, low: float = np.nan, high: float = np.nan, n: int = 0) -> None:
        rows.append((statistic, what, value, low, high, n))

    add("balanced accuracy, kinds", f"mean over {len(by_kind)} scored kinds", by_kind["mean"].mean(), n=len(scored))
    score = balanced_accuracy_score(scored.truth, scored.reading)
    add("balanced accuracy, types", f"mean over {scored.truth.nunique()} true types", score, n=len(scored))
    worst = by_kind["mean"].idxmin()
    share = wilson(int(by_kind.loc[worst, "sum"]), int(by_kind.loc[worst, "size"]), confidence)
    add("worst kind", str(worst), share.value, share.low, share.high, share.count)
    benign = cases[(cases.split != "ladder") & cases.kind.str.contains("benign|placebo")]
    share = wilson(int((benign.reading == "deceptive").sum()), len(benign), confidence)
    add("called deceptive", "planted benign or placebo-conditional", share.value, share.low, share.high, share.count)
    astray = cases[cases.split == MISMATCHED]
    share = wilson(int((astray.reading == astray.truth).sum()), len(astray), confidence)
    add("mismatched control", "models of another seed's X, read as internal", *vars(share).values())
    control, chance = shuffled(scored)
    low, high = np.quantile(control, [(1 - confidence) / 2, (1 + confidence) / 2])
    add("shuffled control", f"mean over {PERMUTATIONS} permutations", control.mean(), low, high, len(scored))
    add("chance", "accuracy of the readings at random", chance, n=len(scored))
    known = calibration[calibration.cases > 0]
    error = (known.cases * (known.predicted - known.observed).abs()).sum() / known.cases.sum()
    add("calibration error", "expected, over ladders", error, n=int(known.cases.sum()))
    ladder = cases[cases.split == "ladder"]
    for name, steps in [("all ladders", ladder), *ladder.groupby("kind", sort=True)]:
        open_ = steps[steps.predicted.between(OPEN, 1 - OPEN)]
        bias = (open_.predicted - open_.above).mean() if len(open_) else np.nan
        add("calibration bias, undecided cases", str(name), bias, n=len(open_))
    add("Brier score", "over ladders", brier_score_loss(ladder.above.astype(int), ladder.predicted), n=len(ladder))
    add(*smallest_angle(points))
    add(*largest_noise(points))
    return pandas.DataFrame(rows, columns=list(SUMMARY))


def shuffled(scored: pandas.DataFrame) -> tuple[Array, float]:
    """Accuracies after permuting which reading goes with which truth, and the accuracy that chance predicts.

    What the accuracy above must be compared with: the rate at which labels of these frequencies meet by chance.
    """
    random = generator(0, "shuffled truths")
    truth, reading = scored.truth.to_numpy(), scored.reading.to_numpy()
    accuracies = np.array([(random.permutation(truth) == reading).mean() for _ in range(PERMUTATIONS)])
    shares = [scored[column].value_counts(normalize=True) for column in ("truth", "reading")]
    return accuracies, float((shares[0] * shares[1]).fillna(0).sum())


def called_deceptive(snapshots: pandas.DataFrame, confidence: float) -> pandas.DataFrame:
    """How many snapshots of trained models that were not made to deceive are called deceptive; rows as in `summary`.

    Needs start, type and diverged. The controls: conditional on oversight without a price, or on the placebo.
    """
    rows = []
    for start in ("conditional", "benign_conditional", "placebo_conditional"):
        own = snapshots[(snapshots.start == start) & ~snapshots.diverged.astype(bool)]
        if len(own):
            share = wilson(int((own.type == "deceptive").sum()), len(own), confidence)
            rows.append(("trained, called deceptive", f"snapshots of start {start}", *vars(share).values()))
    return pandas.DataFrame(rows, columns=list(SUMMARY))


def misread_kinds(cases: pandas.DataFrame) -> list[str]:
    """Kinds, scored or of the calibration, that were read right in less than 95 % of cases."""
    scored = cases[cases.split.isin(["scored", "calibration"])]
    share = (scored.reading == scored.truth).groupby(scored.kind).mean()
    return [str(kind) for kind in share[share < TRUSTED].index]


def calibration_table(cases: pandas.DataFrame, confidence: float) -> pandas.DataFrame:
    """Reliability of type probabilities over the ladders: by bin of predicted probability, the share truly above.

    Cases need `predicted`, the probability of the ladder's type, and `above`, whether their exact value reaches the
    cutoff (Murphy and Winkler 1977).
    """
    ladder = cases[cases.split == "ladder"]
    rows = []
    edges = np.linspace(0, 1, BINS + 1)
    number = np.clip(np.digitize(ladder.predicted, edges[1:-1]), 0, BINS - 1)
    for row in range(BINS):
        inside = ladder[number == row]
        share = wilson(int(inside.above.sum()), len(inside), confidence)
        predicted = inside.predicted.mean() if len(inside) else np.nan
        rows.append((edges[row], edges[row + 1], predicted, share.value, share.low, share.high, len(inside)))
    return pandas.DataFrame(rows, columns=["from", "to", "predicted", "observed", "low", "high", "cases"])


def cutoff_table(
    read: Read, calibration_cases: pandas.DataFrame, cutoffs: Mapping[str, float], grids: Mapping[str, Sequence[float]]
) -> pandas.DataFrame:
    """For each cutoff, moved alone over its grid: which values read the calibration cases best.

    One row per cutoff: configured, its accuracy (mean over kinds), the best accuracy, the lowest and highest value
    that reach it, and whether the configured one does.
    """

    def accuracy(values: Mapping[str, float]) -> float:
        right = pandas.Series(read(values) == calibration_cases.truth.to_numpy())
        return float(right.groupby(calibration_cases.kind.to_numpy()).mean().mean())

    configured = accuracy(cutoffs)
    rows = []
    for name, grid in grids.items():
        found = {value: accuracy({**cutoffs, name: value}) for value in grid}
        best = max([configured, *found.values()])
        values = [value for value, reached in found.items() if reached == best]
        values += [cutoffs[name]] if configured == best else []
        rows.append((name, cutoffs[name], configured, best, min(values), max(values), configured == best))
    columns = ["cutoff", "configured", "accuracy", "best_accuracy", "best_from", "best_to", "is_best"]
    return pandas.DataFrame(rows, columns=columns)


def coverage_table(known: pandas.DataFrame, confidence: float) -> pandas.DataFrame:
    """How often estimate +- z * error holds the exact value, by quantity, with Wilson's interval of that share."""
    z = stats.norm.ppf((1 + confidence) / 2)
    rows = []
    for quantity, group in known.groupby("quantity", sort=True):
        used = group[group.estimate.notna() & group.error.notna()]
        inside = int(((used.estimate - used.truth).abs() <= z * used.error).sum())
        share = wilson(inside, len(used), confidence)
        bias = float((used.estimate - used.truth).mean()) if len(used) else np.nan
        rows.append((quantity, confidence, share.value, share.low, share.high, len(used), len(group) - len(used), bias))
    columns = ["quantity", "nominal", "covered", "low", "high", "n", "missing", "bias"]
    return pandas.DataFrame(rows, columns=columns)


def smallest_angle(points: pandas.DataFrame) -> tuple[str, str, float, float, float, int]:
    """Smallest angle from which on X and Y are told apart at the lowest noise that blurs, NaN where none."""
    noise = points.temperature[points.temperature > 0].min()
    quiet = points[points.temperature == noise].sort_values("angle", ascending=False)
    return ("smallest angle", *_last_told(quiet, "angle", f"degrees at temperature {noise:g}", "at most"))


def largest_noise(points: pandas.DataFrame) -> tuple[str, str, float, float, float, int]:
    """Largest temperature up to which X and Y are told apart at 90 degrees, NaN where none."""
    square = points[points.angle == 90].sort_values("temperature")
    return ("largest noise", *_last_told(square, "temperature", "temperature at 90 degrees", "at least"))


def _last_told(ordered: pandas.DataFrame, column: str, what: str, bound: str) -> tuple[str, float, float, float, int]:
    """The last point in this order up to which the share right is 95 %; at the grid's edge it is only a bound."""
    told = (ordered.right / ordered.cases >= TOLD).to_numpy()
    count = len(told) if told.all() else int(np.argmin(told))
    value = float(ordered[column].iloc[count - 1]) if count else np.nan
    words = f"{what}, {bound}" if count == len(told) else what
    return words, value, np.nan, np.nan, int(ordered.cases.iloc[max(count - 1, 0)])
