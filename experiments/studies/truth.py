"""Tables whose truth is known: what each option does to each kind of rows, and what the preset mask_regression plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import PositiveInt

from experiments.methods import Trial, mixrl
from experiments.methods.evaluation import final_scores
from experiments.presets import MASK_REGRESSION, PRESETS, SMALL_REGRESSOR, Settings
from experiments.runner.cells import Cell, Row
from experiments.runner.store import Results
from experiments.show.figures import GREY, save_figure
from experiments.show.statistics import paired_difference
from experiments.show.tables import Titled
from experiments.study import Seeds, Study, one_of
from mixrl_env import MixingProblem, ProblemConfig, load_dataset
from mixrl_env.datasets.known import KNOWN
from mixrl_env.metrics import rmse
from mixrl_env.plans import apply_plan
from mixrl_env.streams import stream

_KS = (1, 4, 16)


class Truth(Study):
    """Settings of the study.

    Attributes:
        datasets: of `mixrl_env.datasets.known.KNOWN`.
        splits: seeds; each draws the table anew.
        repeats: trainings an option.
    """

    kind: Literal["truth"] = "truth"
    datasets: tuple[Annotated[str, one_of(tuple(KNOWN), "table of known truth")], ...] = tuple(KNOWN)
    splits: Seeds = (0,)
    repeats: PositiveInt = 4

    def cells(self) -> list[Cell]:
        """One a table and draw."""
        return self.grid(self._split, dataset=self.datasets, split_seed=self.splits)

    def _split(self, dataset: str, split: int) -> list[Row]:
        # The regressor is trained to the end, so that an option's harm is its labels' and not a lack of steps.
        settings = replace(PRESETS["mask_regression"], dataset=dataset, env_id="MixRL-v0", regressor=SMALL_REGRESSOR)
        problem = MixingProblem(load_dataset(dataset, split), ProblemConfig(regressor=SMALL_REGRESSOR))
        first = KNOWN[dataset].in_first(problem.data.x_train)
        groups = dict(zip(KNOWN[dataset].groups, (first, ~first), strict=True))
        return self._measure(problem, groups, split) + _learned(problem, groups, settings, split)

    def _measure(self, problem: MixingProblem, groups: dict[str, np.ndarray], split: int) -> list[Row]:
        """Test RMSE when all rows of a kind are mixed by one option, and no others."""
        keys = [("nothing", "", 0), *((group, space, k) for group in groups for space in ("data", "label") for k in _KS)]
        sets = []
        for group, space, k in keys:
            chosen = np.flatnonzero(groups[group]) if group in groups else np.empty(0, dtype=np.int64)
            plan = pd.DataFrame({"row": chosen, "space": space, "k": k})
            sets.append(apply_plan(problem, plan, stream(split, "one option")))
        jobs = [rows for rows in sets for _ in range(self.repeats)]
        rngs = [stream(split, "option trainings", repeat) for _ in sets for repeat in range(self.repeats)]
        data = problem.data
        fitted = problem.fit(jobs, rngs)
        assert data.x_test is not None
        assert data.y_test is not None
        errors = [rmse(data.y_test, predicted) for predicted in fitted.predict(data.standardize_x(data.x_test))]
        means = np.reshape(errors, (len(sets), self.repeats)).mean(axis=1)
        return [
            {"what": "option", "group": group, "space": space, "k": k, "value": float(mean)}
            for (group, space, k), mean in zip(keys, means, strict=True)
        ]

    @staticmethod
    def tables(results: Results) -> list[Titled]:
        """For each table the truth beside the plan, then what the plan is worth."""
        stored, tables = results.rows, []
        for dataset, rows in stored.groupby("dataset", sort=False):
            tables.append((f"{dataset}: what mixing does to the test RMSE, and what the plan says", _truth_and_plan(rows)))
        tables.append(("Test RMSE of the preset mask_regression, mean prediction of its final regressors", _worth(stored)))
        return tables

    @staticmethod
    def draw(results: Results, out: Path) -> list[Path]:
        """The change of the test RMSE by every option beside the probability that the policy gives it."""
        written = []
        for dataset, rows in results.rows.groupby("dataset", sort=False):
            figure = Figure(figsize=(8.5, 3.4), layout="constrained")
            left, right = figure.subplots(1, 2)
            nothing = rows[(rows["what"] == "option") & (rows["group"] == "nothing")]["value"].mean()
            for (group, space), style in zip(
                [(g, s) for g in KNOWN[str(dataset)].groups for s in ("data", "label")], ("o-", "o--", "s-", "s--"), strict=True
            ):
                own = rows[(rows["group"] == group) & (rows["space"] == space)]
                for axes, what, shift in ((left, "option", nothing), (right, "p", 0.0)):
                    curve = own[own["what"] == what].groupby("k")["value"].mean() - shift
                    axes.plot(curve.index, curve, style, label=f"{group}, {space}")
            left.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
            right.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
            left.set(title="measured: mixing these rows alone", ylabel="test RMSE against no mixing", xlabel="k", xscale="log")
            right.set(title="learned", ylabel="mean p", xlabel="k", xscale="log", ylim=(-0.02, 1.02))
            for axes in (left, right):
                axes.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
                axes.minorticks_off()
            left.legend(frameon=False, fontsize=8)
            written.append(save_figure(figure, out / f"truth_{dataset}.png"))
        return written


def _learned(problem: MixingProblem, groups: dict[str, np.ndarray], settings: Settings, split: int) -> list[Row]:
    """Mean p of every group and option, the share of rows in the plan (mean over policies), and the test RMSE."""
    augmented = mixrl.augment(Trial(problem, settings, split))
    policy, plan, kept = augmented.tables["policy"], augmented.tables["plan"], augmented.choice.plans
    rows: list[Row] = []
    for group, members in groups.items():
        inside = np.flatnonzero(members)
        own = policy[policy["row"].isin(inside)].groupby(["space", "k"])["probability"].mean()
        for (space, k), p in zip(own.index.to_list(), own, strict=True):
            rows.append({"what": "p", "group": group, "space": space, "k": k, "value": p})
        for space in ("data", "label"):
            for name, low, high in (("k <= 4", 1, 4), ("k > 4", 5, 16)):
                chosen = (plan["space"] == space) & plan["row"].isin(inside) & plan["k"].between(low, high)
                rows.append(
                    {"what": name, "group": group, "space": space, "k": 0, "value": chosen.sum() / len(inside) / len(kept)}
                )
    nothing = [(problem.x_train, problem.data.y_train)]
    for name, sets, plans in (("No Augmentation", nothing, ()), (MASK_REGRESSION, augmented.sets, kept)):
        score = final_scores(problem, sets, split, settings.final_trainings)[0]
        rows.append({"what": name, "group": "", "space": "", "k": 0, "value": score.test_rmse_averaged, "plans": list(plans)})
    return rows


def _truth_and_plan(rows: pd.DataFrame) -> pd.DataFrame:
    options = rows[rows["what"] == "option"]
    nothing = options[options["group"] == "nothing"].set_index("split_seed")["value"]
    table = []
    for (group, space), own in options[options["group"] != "nothing"].groupby(["group", "space"], sort=False):
        line: dict[str, object] = {"Rows": group, "Space": space}
        for k, of_k in own.groupby("k"):
            values = of_k.set_index("split_seed")["value"]
            line[f"RMSE, k = {k}"] = paired_difference(values.tolist(), nothing.loc[values.index].tolist()).text
        same = (rows["group"] == group) & (rows["space"] == space)
        p = rows[same & (rows["what"] == "p")].groupby("k")["value"].mean()
        line |= {f"p, k = {k}": f"{p[k]:.2f}" for k in _KS}
        for name in ("k <= 4", "k > 4"):
            line[f"in plan, {name}"] = f"{rows[same & (rows['what'] == name)]['value'].mean():.0%}"
        table.append(line)
    return pd.DataFrame(table)


def _worth(stored: pd.DataFrame) -> pd.DataFrame:
    table = []
    for dataset, rows in stored.groupby("dataset", sort=False):
        none, ours = (rows[rows["what"] == name].set_index("split_seed") for name in ("No Augmentation", MASK_REGRESSION))
        best = ours["plans"].str[0].value_counts()
        table.append(
            {
                "Table": dataset,
                "No Augmentation": f"{none['value'].mean():.4f}",
                MASK_REGRESSION: f"{ours['value'].mean():.4f}",
                "Difference": paired_difference(ours["value"].tolist(), none.loc[ours.index, "value"].tolist()).text,
                "Best candidate (draws)": ", ".join(f"{name} ({count})" for name, count in best.items()),
            }
        )
    return pd.DataFrame(table)
