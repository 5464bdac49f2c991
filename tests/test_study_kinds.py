"""The kinds of studies on sizes of moments: which rows they store, and what their tables make of rows whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.engines.base import perform
from experiments.methods import Cell, mixrl
from experiments.methods.mixrl import hold_back
from experiments.settings import MASK_REGRESSION, PRESETS
from experiments.statistics import paired_difference
from experiments.studies import drift, fidelity, transfer, truth
from experiments.studies.cells import CellFolder, CellStudy, read_cells
from experiments.studies.drift import AGENTS, Drift, SyntheticRewards, helpful
from experiments.studies.fidelity import Fidelity
from experiments.studies.transfer import POLICIES, REINFORCE, Transfer
from experiments.studies.truth import Truth
from mixrl import MaskRegressionConfig, ReinforceVariantConfig
from mixrl_env import MixingProblem, ProblemConfig, RegressorConfig, load_dataset
from mixrl_env.env import make_problem
from mixrl_env.neighbors import DEFAULT_OPTIONS
from mixrl_env.observation import PARTS
from mixrl_env.regressor import initial_weights
from mixrl_env.streams import stream

TINY = RegressorConfig(hidden_sizes=(8,), learning_rate=0.01, max_steps=200, eval_every=20, patience=2)
OPTIONS = (("data", 1), ("data", 4), ("label", 1), ("label", 4))
KINDS_OF_ROWS = ("rewarded", "unseen", "test")


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
    monkeypatch.setattr(transfer, "_GUARDED", replace(transfer._GUARDED, hidden_sizes=(8,)))
    few = {"Algorithm 1 (m = 1)": (1, ReinforceVariantConfig(hidden_sizes=(8,))), "Regression on masks": (16, None)}
    monkeypatch.setattr(drift, "AGENTS", few)


def stored_frame(study: CellStudy, folder: Path) -> pd.DataFrame:
    """The rows as they come back from their files."""
    folder.mkdir()
    work = CellFolder(study, folder)
    for task in work.tasks:
        work.keep(task, perform(task, folder, lambda *told: None))
    return read_cells(folder)


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("tiny")
def test_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "mask_regression", replace(PRESETS["mask_regression"], options=OPTIONS))
    study = Transfer(dataset="auto", splits=(1,), checkpoints=(4, 8), masks=3, repeats=2)
    stored = stored_frame(study, tmp_path / "cells")
    assert set(stored["split_seed"]) == {1}
    masks, final = stored[stored["level"] == "masks"], stored[stored["level"] == "final"]
    learned = [(policy, trainings) for policy in [*POLICIES, REINFORCE] for trainings in (4, 8)]
    starts = [("everything, p = 1/2", 0), ("everything, p = 1", 0)]
    assert list(zip(masks["policy"], masks["trainings"], strict=True)) == [*starts, *learned]
    assert list(final["policy"]) == ["no augmentation", "everything, k alike", *POLICIES, REINFORCE]
    assert len(stored) == len(masks) + len(final)
    assert masks["mean_p"].tolist()[:2] == [0.5, 1.0]
    assert masks["sd_p"].tolist()[:2] == [0, 0]
    assert masks["mean_p"].between(0, 1).all()
    assert (masks["sd_p"].iloc[2:] > 0).all()
    assert masks["mean_p"].nunique() == len(masks)
    assert masks["rewarded"].nunique() > len(masks) // 2
    for kind in KINDS_OF_ROWS:
        assert (masks[kind] > 0).all()
        assert (final[f"{kind}_averaged"] > 0).all()
        assert (final[f"{kind}_averaged"] <= final[kind] + 1e-9).all()  # the RMSE is convex in the prediction
    assert [len(table) for _, table in Transfer.tables(stored)] == [1 + 5 * 2, 6, 6]
    [figure] = Transfer.draw(stored, tmp_path)
    assert figure.name == "transfer.png"
    assert is_png(figure)


def test_transfer_looks_at_three_kinds_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the validation rows the one half pays and the other half looks on, and no regressor was trained on either."""
    data = load_dataset("auto", 3)
    rewarded, unseen = hold_back(data, 0.5)
    problem = MixingProblem(rewarded, ProblemConfig.from_settings({"options": OPTIONS, "regressor": TINY, "step_budget": 5}))
    judge = transfer._Judge(problem, unseen, Transfer(masks=40), 3)
    calls: list[Any] = []
    train = problem.train
    monkeypatch.setattr(problem, "train", lambda *arguments: calls.append((arguments, train(*arguments))) or calls[-1][1])
    p = np.tile([0.0, 0.25, 1.0, 0.5], (156, 1))
    [row] = judge.masks("some policy", 64, p)
    [((batches, masks, _), (fitted, _))] = calls
    assert len(masks) == 40
    options = np.concatenate([batch.options for batch in batches])
    for option, share in enumerate(p[0]):
        selected = np.concatenate(masks)[options == option]
        assert abs(selected.mean() - share) <= 4 * (share * (1 - share) / len(selected)) ** 0.5
    assert (row["mean_p"], row["trainings"], row["policy"]) == (p.mean(), 64, "some policy")
    assert row["sd_p"] == pytest.approx(np.std([0.0, 0.25, 1.0, 0.5]))
    assert data.x_test is not None
    assert data.y_test is not None
    rows = {
        "rewarded": (data.x_val[:78], data.y_val[:78]),
        "unseen": (data.x_val[78:], data.y_val[78:]),
        "test": (data.x_test, data.y_test),
    }
    for kind, (x, y) in rows.items():
        scaled = (x - data.x_train.mean(axis=0)) / data.x_train.std(axis=0)
        errors = np.concatenate([predicted - y for predicted in fitted.predict(scaled)])
        assert row[kind] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
    assert row["rewarded"] == pytest.approx(np.sqrt(fitted.val_loss.mean()), rel=1e-5)
    again = judge.masks("another", 64, p)
    assert again == [{**row, "policy": "another"}]  # all policies see the same draws


def test_transfer_tables_against_loops() -> None:
    rng = np.random.default_rng(0)
    kinds = [f"{kind}{suffix}" for kind in KINDS_OF_ROWS for suffix in ("", "_averaged")]
    keys = [("masks", "everything, p = 1/2", 0), ("masks", "h(x, y, k)", 256), ("masks", "h(x, y, k)", 768)]
    keys += [("final", "everything, k alike", 768), ("final", "h(x, y, k)", 768)]
    rows = [
        {
            "split_seed": split,
            "level": level,
            "policy": policy,
            "trainings": trainings,
            **{kind: rng.normal() for kind in kinds},
        }
        for split in (7, 3, 5)
        for level, policy, trainings in keys
    ]
    order = rng.permutation(len(rows))  # however the cells come back
    masks, final, averaged = (table for _, table in Transfer.tables(pd.DataFrame([rows[index] for index in order])))
    value = {(r["split_seed"], r["level"], r["policy"], r["trainings"]): r for r in rows}
    for table, level, start, suffix in (
        (masks, "masks", ("everything, p = 1/2", 0), ""),
        (final, "final", ("everything, k alike", 768), ""),
        (averaged, "final", ("everything, k alike", 768), "_averaged"),
    ):
        assert set(table["Policy"]) == {"h(x, y, k)"}
        for line in table.to_dict("records"):
            assert line["Splits"] == 3
            for kind in KINDS_OF_ROWS:
                pairs = [
                    (
                        value[split, level, "h(x, y, k)", line["Trainings"]][kind + suffix],
                        value[split, level, *start][kind + suffix],
                    )
                    for split in (3, 5, 7)
                ]
                assert line[f"{kind} rows"] == paired_difference(*zip(*pairs, strict=True)).text
    assert set(masks["Trainings"]) == {256, 768}


def test_transfer_cuts_the_columns_of_the_parts_out() -> None:
    data = load_dataset("auto", 0)
    every = MixingProblem(data, ProblemConfig.from_settings({"options": OPTIONS, "observe": PARTS}))
    batch = every.sample_batch(np.random.default_rng(0))
    for parts in (*POLICIES.values(), ("y",), ("x", "distances")):
        own = MixingProblem(data, ProblemConfig.from_settings({"options": OPTIONS, "observe": parts})).observe(batch)
        assert np.array_equal(every.observe(batch)[:, transfer._columns(parts, data, len(OPTIONS))], own)


@pytest.mark.usefixtures("tiny")
def test_fidelity(tmp_path: Path) -> None:
    study = Fidelity(datasets=("auto", "gap"), splits=(1,), masks=4, repeats=2, full_trainings=2)
    stored = stored_frame(study, tmp_path / "cells")
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
    assert [len(table) for _, table in Fidelity.tables(stored)] == [1 + len(fidelity.PROTOCOLS) + 2 * 5] * 3
    [figure] = Fidelity.draw(stored, tmp_path)
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
    *of_datasets, (_, against) = Fidelity.tables(pd.DataFrame(rows))
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
        assert list(against[dataset]) == ["1 x, +0.00", f"{snr[1] / snr[0]:.3g} x, {rank[1] - rank[0]:+.2f}"]


@pytest.mark.usefixtures("tiny")
def test_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[pd.DataFrame] = []
    monkeypatch.setattr(truth, "apply_plan", lambda *told, real=truth.apply_plan: plans.append(told[1]) or real(*told))
    stored = stored_frame(Truth(datasets=("half_wiggly",), splits=(0,), repeats=1), tmp_path / "cells")
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

    # The same policy learned once more, in a folder that stays.
    settings = replace(PRESETS["mask_regression"], dataset="half_wiggly")
    problem = MixingProblem(load_dataset("half_wiggly", 0), ProblemConfig(regressor=TINY))
    (tmp_path / "again").mkdir()
    augmented = mixrl.augment(Cell(problem, settings, 0, tmp_path / "again", lambda *_: None))
    assert augmented.choice.startswith("T = ")  # so there is a plan to look at
    policy, plan = (pd.read_csv(tmp_path / "again" / f"{name}.csv") for name in ("policy", "plan"))
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
    assert ours["group"] == augmented.choice
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
            words = "T = 0.500; budget spent" if name == MASK_REGRESSION else np.nan
            rows.append({**shared, "what": name, "group": words, "space": np.nan, "k": 0, "value": rng.normal()})
    return pd.DataFrame([rows[index] for index in rng.permutation(len(rows))])  # however the cells come back


def test_truth_tables_against_loops(tmp_path: Path) -> None:
    stored = truth_rows(lambda space, k: 0.1 + k / 50 + 0.5 * (space == "label"))
    (title, table), (_, worth) = Truth.tables(stored)
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
    assert line["Difference"] == paired_difference(ours, none).text
    [figure] = Truth.draw(stored, tmp_path)
    assert figure.name == "truth_gap.png"
    assert is_png(figure)


@pytest.mark.usefixtures("tiny")
def test_drift(tmp_path: Path) -> None:
    stored = stored_frame(Drift(seeds=(0,), trainings=32), tmp_path / "cells")
    expected = [(0, kind, agent) for kind in ("noise", "5% signal", "50% signal") for agent in drift.AGENTS]
    assert list(stored[["seed", "reward", "agent"]].itertuples(index=False, name=None)) == expected
    assert stored["mean_p"].between(0, 1).all()
    assert stored["sd_p"].between(0, 0.5).all()
    assert stored["told_apart"].between(-1, 1).all()
    [(title, table)] = Drift.tables(stored)
    assert "1 runs" in title
    assert list(table["Agent"]) == list(drift.AGENTS)
    [figure] = Drift.draw(stored, tmp_path)
    assert figure.name == "drift.png"
    assert is_png(figure)


def test_drift_table_against_loops() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            "seed": seed,
            "reward": reward,
            "agent": agent,
            **dict(zip(("mean_p", "sd_p", "told_apart"), rng.uniform(size=3), strict=True)),
        }
        for seed in range(3)
        for reward in ("noise", "5% signal", "50% signal")
        for agent in AGENTS
    ]
    [(_, table)] = Drift.tables(pd.DataFrame(rows))
    for line in table.to_dict("records"):
        ours = {
            reward: [row for row in rows if (row["agent"], row["reward"]) == (line["Agent"], reward)]
            for reward in drift._SHARES
        }
        means = [row["mean_p"] for row in ours["noise"]]
        assert line["Noise: mean p, lowest to highest"] == f"{min(means):.2f} to {max(means):.2f}"
        assert line["SD of p"] == f"{np.mean([row['sd_p'] for row in ours['noise']]):.2f}"
        for reward in ("5% signal", "50% signal"):
            apart = np.mean([row["told_apart"] for row in ours[reward]])
            assert line[f"{reward}: p of helpful - harmful"] == f"{apart:+.2f}"


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_the_mask_explains_the_share_of_the_rewards_that_is_asked_for(share: float) -> None:
    """At p = 1/2; and of two masks on the same rows the one with more helpful rows is worth more."""
    problem = MixingProblem(load_dataset("no2", 0), ProblemConfig())
    envs, rng = SyntheticRewards(problem, 50, share), np.random.default_rng(1)
    state, _ = envs.reset(seed=0)
    counts, rewards = [], []
    for _ in range(40):
        data_option = (
            state[..., 8:24].sum(axis=-1) == 1
        )  # after seven features and the label: 16 data options, 16 label options
        pays = np.where(data_option, state[..., 0] > 0, state[..., 0] <= 0)
        assert np.array_equal(helpful(state, problem), pays)
        masks = rng.integers(2, size=(50, 200)).astype(np.int8)
        counts.append((masks * pays).sum(axis=1) - (masks * ~pays).sum(axis=1) - (pays.sum(axis=1) - 100))
        state, reward, ended, truncated, _ = envs.step(masks)
        rewards.append(reward)
        assert ended.all()
        assert not truncated.any()
    count, reward = np.concatenate(counts), np.concatenate(rewards)
    assert reward.std() == pytest.approx(0.01, rel=0.08)
    assert reward.mean() == pytest.approx(0, abs=4 * 0.01 / 2000**0.5)
    explained = np.corrcoef(count, reward)[0, 1] ** 2
    assert explained == pytest.approx(share, abs=4 * max((4 * share * (1 - share) ** 2 / 2000) ** 0.5, 1 / 2000))
    if share:
        assert np.polyfit(count, reward, 1)[0] > 0


def test_synthetic_rewards_depend_on_seed_and_mask_alone() -> None:
    problem = MixingProblem(load_dataset("auto", 0), ProblemConfig.from_settings({"options": OPTIONS}))
    runs = []
    for seed in (3, 3, 4):
        envs = SyntheticRewards(problem, 2, 0.5)
        state, _ = envs.reset(seed=seed)
        assert state in envs.observation_space
        steps = [envs.step(np.ones((2, 156), dtype=np.int8)) for _ in range(3)]
        runs.append((state, np.stack([step[0] for step in steps]), np.stack([step[1] for step in steps])))
    for first, again, other in zip(*runs, strict=True):
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
