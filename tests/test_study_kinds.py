"""The studies of fidelity and of known truth: their rows, and what their tables make of rows whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.methods import Trial, mixrl
from experiments.presets import MASK_REGRESSION, PRESETS
from experiments.show.statistics import paired_difference
from experiments.studies import fidelity, truth
from experiments.studies.fidelity import Fidelity
from experiments.studies.truth import Truth
from mixrl import MaskRegressionConfig
from mixrl_env import MixingProblem, ProblemConfig, RegressorConfig, load_dataset
from mixrl_env.env import make_problem
from mixrl_env.neighbors import DEFAULT_OPTIONS
from mixrl_env.regressor import initial_weights
from mixrl_env.streams import stream
from tests.studies import as_results, compute_all

TINY = RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=200, eval_every=20, patience=2)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset mask_regression and the studies' regressors, of a size that takes moments."""
    settings = replace(
        PRESETS["smoke"],
        env_id="MixRL-v0",
        regressor=TINY,
        schedule="constant",
        pretrained=True,
        step_budget=5,
        agent="mask_regression",
        mask_regression=MaskRegressionConfig(20),
        plan="sampled",
    )
    monkeypatch.setitem(PRESETS, "mask_regression", settings)
    monkeypatch.setattr(truth, "SMALL_REGRESSOR", TINY)
    monkeypatch.setattr(fidelity, "SMALL_REGRESSOR", TINY)


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("tiny")
def test_fidelity(tmp_path: Path) -> None:
    study = Fidelity(datasets=("auto", "gap"), splits=(1,), masks=4, repeats=2, full_trainings=2)
    stored = compute_all(study)
    assert list(dict.fromkeys(zip(stored["dataset"], stored["split_seed"], strict=True))) == [("auto", 1), ("gap", 1)]
    assert not stored.duplicated(["dataset", *fidelity._KEYS]).any()
    for _, rows in stored.groupby("dataset"):
        assert len(rows) == 1 + len(fidelity.PROTOCOLS) + 2 * 5  # and two more losses where the environment counts the steps
        assert (rows["noise_variance"] > 0).all()
        assert (rows["signal_variance"] >= 0).all()
        assert rows[["rank_test", "rank_val"]].abs().to_numpy().max() <= 1
        assert rows["rank_test"].nunique() > 1
        paper = rows[rows["loss"] == "best"]
        assert paper["train_steps"].between(20, 200).all()
        assert (paper["rank_val"] == 1).all()  # the yardstick itself
        assert (rows[rows["steps"] > 0]["train_steps"] == rows[rows["steps"] > 0]["steps"]).all()
        assert (rows[(rows["steps"] == 0) & (rows["loss"] != "best")]["train_steps"] == 100).all()
    lengths = [len(table) for _, table in Fidelity.tables(as_results(stored))]
    assert lengths == [1 + len(fidelity.PROTOCOLS) + 2 * 5] * 2 + [2, 1 + len(fidelity.PROTOCOLS) + 2 * 5]
    [figure] = Fidelity.draw(as_results(stored), tmp_path)
    assert figure.name == "fidelity.png"
    assert is_png(figure)


def test_fidelity_trains_as_the_environment_does() -> None:
    problem = make_problem("auto", regressor=TINY)
    rng, study = np.random.default_rng(0), Fidelity(masks=3, repeats=2)
    sets = [fidelity._random_set(problem, rng) for _ in range(3)]
    assert len({len(x) for x, _ in sets}) == 3
    for x, y in sets:
        np.testing.assert_array_equal(x[:156], problem.x_train)
        np.testing.assert_array_equal(y[:156], problem.data.y_train)
    states = fidelity._states(problem, 5)
    for start, pretrained in {fidelity.SHARED: 0.0, **fidelity.STARTS}.items():
        steps, losses = study._losses(problem, sets, states, fidelity.Protocol(start, 0, "cosine"), 5, 7)
        rngs = [stream(5, "fidelity rewards", 7, job) for job in range(6)]
        weights = make_problem("auto", regressor=TINY, pretrained=pretrained, step_budget=100).pretrained_weights
        if start == fidelity.SHARED:
            weights = initial_weights(6, 1, TINY, stream(5, "fidelity shared weights"))
        fitted = problem.fit([own for own in sets for _ in range(2)], rngs, problem.reward_regressor, [weights] * 6)
        assert steps == fitted.train_steps[0]
        np.testing.assert_allclose(losses[fidelity.LAST], fitted.val_loss, rtol=1e-4)


def test_fidelity_tells_the_mask_from_the_noise() -> None:
    rng = np.random.default_rng(0)
    part = rng.normal(0, 0.02, 4000)
    losses = 0.5 + part[:, None] + rng.normal(0, 0.01, (4000, 4))
    row = fidelity._fidelity(losses, test_loss=3 - part, val_loss=np.exp(part), steps=12.0)
    assert row["signal_variance"] == pytest.approx(4e-4, rel=0.1)
    assert row["noise_variance"] == pytest.approx(1e-4, rel=0.05)
    assert row["rank_val"] == -row["rank_test"] == pytest.approx(stats.spearmanr(losses.mean(axis=1), part).statistic)
    noise = fidelity._fidelity(losses - part[:, None], part, part, 12.0)
    assert noise["signal_variance"] < 2e-6  # what noise leaves in the masks' means is taken out


def test_fidelity_tables_against_loops() -> None:
    rng = np.random.default_rng(0)
    keys = [("scratch", 0, "constant", "own", "best"), ("half-way", 0, "cosine", "own", "last")]
    rows = [
        {
            "dataset": dataset,
            "split_seed": split,
            **dict(zip(fidelity._KEYS, key, strict=True)),
            "train_steps": 100 * (1 + split),
            **dict(zip(("signal_variance", "noise_variance", "rank_test", "rank_val"), rng.uniform(0.1, 1, 4), strict=True)),
        }
        for split in (0, 1, 2)
        for key in keys
        for dataset in ("gap", "auto")
    ]
    *of_datasets, (_, default), (_, against) = Fidelity.tables(as_results(pd.DataFrame(rows)))
    for (title, table), dataset in zip(of_datasets, ("gap", "auto"), strict=True):
        assert title == f"{dataset}: means over 3 splits"
        assert list(table["Steps"]) == ["early stop", "own rule"]
        snr, rank = [], []
        for key in keys:
            own = [row for row in rows if (row["dataset"], row["loss"]) == (dataset, key[-1])]
            of_splits = [1000 * row["signal_variance"] / row["noise_variance"] / row["train_steps"] for row in own]
            snr.append(np.median(of_splits))
            rank.append(np.mean([row["rank_test"] for row in own]))
        assert list(table["Steps a reward"]) == ["200", "200"]
        assert list(table["Signal to noise per 1,000 steps"]) == [f"{value:.3g}" for value in snr]
        assert list(table["Rank, test loss"]) == [f"{value:.2f}" for value in rank]
        assert default.set_index("Table").loc[dataset, "Signal to noise per 1,000 steps"] == f"{snr[1] / snr[0]:.3g} x"
        assert list(against[dataset]) == ["1 x, +0.00", f"{snr[1] / snr[0]:.3g} x, {rank[1] - rank[0]:+.2f}"]


@pytest.mark.usefixtures("tiny")
def test_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[pd.DataFrame] = []
    monkeypatch.setattr(
        truth, "apply_plan", lambda *arguments, real=truth.apply_plan: plans.append(arguments[1]) or real(*arguments)
    )
    stored = compute_all(Truth(datasets=("half_wiggly",), splits=(0,), repeats=1))
    assert (stored["dataset"] == "half_wiggly").all()
    x = load_dataset("half_wiggly", 0).x_train[:, 0]
    members = {"linear half": set(np.flatnonzero(x < 0)), "wiggly half": set(np.flatnonzero(x >= 0))}

    options = stored[stored["what"] == "option"]
    every = [(group, space, k) for group in members for space in ("data", "label") for k in (1, 4, 16)]
    assert options["group"].iloc[0] == "nothing"
    assert list(options.iloc[1:][["group", "space", "k"]].itertuples(index=False, name=None)) == every
    assert (options["value"] > 0).all()
    assert options["value"].nunique() > 10
    assert len(plans[0]) == 0
    for (group, space, k), plan in zip(every, plans[1:], strict=True):
        assert set(plan["row"]) == members[group]
        assert set(zip(plan["space"], plan["k"], strict=True)) == {(space, k)}

    # The same policy learned once more.
    settings = replace(PRESETS["mask_regression"], dataset="half_wiggly")
    problem = MixingProblem(load_dataset("half_wiggly", 0), ProblemConfig(regressor=TINY))
    augmented = mixrl.augment(Trial(problem, settings, 0))
    assert augmented.choice.plans[0].startswith("T = ")  # so there is a plan to look at
    policy, plan = augmented.tables["policy"], augmented.tables["plan"]
    for group, rows in members.items():
        ours = stored[(stored["what"] == "p") & (stored["group"] == group)].set_index(["space", "k"])["value"]
        assert len(ours) == len(DEFAULT_OPTIONS)
        for space, k in DEFAULT_OPTIONS:
            own = [one.probability for one in policy.itertuples() if (one.row in rows) and (one.space, one.k) == (space, k)]
            assert len(own) == len(rows)
            assert ours[space, k] == pytest.approx(np.mean(own))
        for space in ("data", "label"):
            for name, ks in (("k <= 4", range(1, 5)), ("k > 4", range(5, 17))):
                own = [one for one in plan.itertuples() if one.row in rows and one.space == space and one.k in ks]
                here = (stored["what"] == name) & (stored["group"] == group) & (stored["space"] == space)
                assert stored.loc[here, "value"].tolist() == [pytest.approx(len(own) / len(rows))]
    [ours] = stored[stored["what"] == MASK_REGRESSION].to_dict("records")
    assert ours["plans"] == list(augmented.choice.plans)
    assert ours["value"] > 0
    assert (stored["what"] == "No Augmentation").sum() == 1


def truth_rows(p: Callable[[str, int], float]) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for split in (4, 0, 2):
        shared = {"dataset": "gap", "split_seed": split}
        rows.append({**shared, "what": "option", "group": "nothing", "space": np.nan, "k": 0, "value": rng.normal()})
        for group in ("left of the gap", "right of the gap"):
            for space in ("data", "label"):
                for k in (1, 4, 16):
                    here = {**shared, "group": group, "space": space, "k": k}
                    rows += [{**here, "what": "option", "value": rng.normal()}, {**here, "what": "p", "value": p(space, k)}]
                rows += [
                    {**shared, "what": name, "group": group, "space": space, "k": 0, "value": rng.uniform()}
                    for name in ("k <= 4", "k > 4")
                ]
        for name in ("No Augmentation", MASK_REGRESSION):
            plans = ["T = 0.500", "no mixing"] if name == MASK_REGRESSION else []
            rows.append({**shared, "what": name, "group": "", "space": np.nan, "k": 0, "value": rng.normal(), "plans": plans})
    return pd.DataFrame([rows[index] for index in rng.permutation(len(rows))])  # however the cells come back


def test_truth_tables_against_loops(tmp_path: Path) -> None:
    stored = truth_rows(lambda space, k: 0.1 + k / 50 + 0.5 * (space == "label"))
    (title, table), (_, worth) = Truth.tables(as_results(stored))
    assert title.startswith("gap: ")
    value = {(r.split_seed, r.what, r.group, r.space, r.k): r.value for r in stored.itertuples()}
    nothing = {r.split_seed: r.value for r in stored.itertuples() if r.group == "nothing"}
    assert len(table) == 4
    for line in table.to_dict("records"):
        group, space = line["Rows"], line["Space"]
        for k in (1, 4, 16):
            ours = [value[split, "option", group, space, k] for split in (0, 2, 4)]
            assert line[f"RMSE, k = {k}"] == paired_difference(ours, [nothing[split] for split in (0, 2, 4)]).text
            assert line[f"p, k = {k}"] == f"{0.1 + k / 50 + 0.5 * (space == 'label'):.2f}"
        for name in ("k <= 4", "k > 4"):
            mean = np.mean([value[split, name, group, space, 0] for split in (0, 2, 4)])
            assert line[f"in plan, {name}"] == f"{mean:.0%}"
    none, ours = (
        [r.value for split in (0, 2, 4) for r in stored.itertuples() if (r.split_seed, r.what) == (split, name)]
        for name in ("No Augmentation", MASK_REGRESSION)
    )
    [line] = worth.to_dict("records")
    assert line["Table"] == "gap"
    assert line["No Augmentation"] == f"{np.mean(none):.4f}"
    assert line[MASK_REGRESSION] == f"{np.mean(ours):.4f}"
    assert line["Best candidate (draws)"] == "T = 0.500 (3)"
    assert line["Difference"] == paired_difference(ours, none).text
    [figure] = Truth.draw(as_results(stored), tmp_path)
    assert figure.name == "truth_gap.png"
    assert is_png(figure)
