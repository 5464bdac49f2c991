"""Checkpoints: the state of learning in one file each, written atomically and free of pickle."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import SyncVectorEnv, VectorEnv
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mixrl.files import write_bytes

_KEPT = 2
_NAME = "checkpoint-{:08d}.safetensors"
State = dict[str, Any]
"""Dicts and lists of tensors, arrays, numbers, texts, truth values and None."""


@dataclass(frozen=True)
class Checkpoints:
    """Where learning saves its state, and what it goes on from.

    Attributes:
        folder: of the checkpoints of one run; made if it does not exist. It holds the last two.
        every: updates between two of them; the last update is saved in any case.
        resume: go on from the newest whole checkpoint, or from the start if there is none. Otherwise a folder with checkpoints
            is refused.

    Raises:
        ValueError: if every is below 1.
    """

    folder: Path | str
    every: int = 20
    resume: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"checkpoints must be at least 1 update apart, got every = {self.every}")

    def files(self) -> list[Path]:
        """The checkpoints that are stored, the newest first."""
        return sorted(Path(self.folder).glob(_NAME.format(0).replace("0" * 8, "[0-9]" * 8)), reverse=True)

    def newest(self) -> State | None:
        """The newest whole state; None if there is no checkpoint. A broken one before it is a warning.

        Raises:
            ValueError: if there are checkpoints but none is to be resumed, or none is whole.
        """
        stored = self.files()
        if not stored:
            return None
        if not self.resume:
            raise ValueError(f"{self.folder} holds checkpoints of a run; resume it, or choose another folder")
        broken = []
        for path in stored:
            try:
                state = read_checkpoint(path)
            except ValueError as error:
                broken.append(str(error))
                continue
            for error_text in broken:
                warnings.warn(f"{error_text}; going on from {path.name}", stacklevel=2)
            return state
        raise ValueError(f"{broken[0]}; no other in the folder is whole: remove them to start anew")

    def save(self, update: int, state: State) -> None:
        """Store the state after an update, and remove all but the last two, and what processes that were killed have left."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("checkpoint-*.partial"):
            path.unlink()
        write_checkpoint(folder / _NAME.format(update), state)
        for path in self.files()[_KEPT:]:
            path.unlink()


def write_checkpoint(path: Path, state: State) -> None:
    """Write a state atomically as safetensors, with everything but tensors as JSON in the header."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    header = json.dumps(_packed(state, "", arrays))
    write_bytes(save(arrays, metadata={"state": header}), path)


def read_checkpoint(path: Path) -> State:
    """Read what `write_checkpoint` wrote; nothing in the file is ever executed.

    Raises:
        ValueError: if the file is not a whole checkpoint.
        FileNotFoundError: if there is no such file.
    """
    try:
        with safe_open(path, framework="numpy") as stored:
            header = stored.metadata() or {}
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        state: State = _unpacked(json.loads(header["state"]), arrays)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no whole checkpoint: {error}") from error
    return state


def members(envs: Any) -> list[Any]:
    """The environments that hold the state of a vector: itself, or the ones it steps in turn."""
    inner = envs.unwrapped
    return [env.unwrapped for env in inner.envs] if isinstance(inner, SyncVectorEnv) else [inner]


def state_of(part: Any) -> Any:
    """The state of a network, an optimiser, a generator, environments, or another object with state_dict().

    Raises:
        ValueError: for an environment without state_dict().
    """
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, np.random.Generator):
        return part.bit_generator.state
    if not isinstance(getattr(part, "unwrapped", None), gym.Env | VectorEnv):
        return part.state_dict()
    for one in members(part):
        if not hasattr(one, "state_dict"):
            raise ValueError(f"{one} cannot be saved: it has no state_dict() and load_state_dict(); leave out checkpoints")
    return [one.state_dict() for one in members(part)]


def restore(part: Any, state: Any) -> None:
    """Put a part back into what `state_of` returned."""
    if isinstance(part, torch.Generator):
        part.set_state(state)
    elif isinstance(part, np.random.Generator):
        part.bit_generator.state = state
    elif isinstance(getattr(part, "unwrapped", None), gym.Env | VectorEnv):
        for one, own in zip(members(part), state, strict=True):
            one.load_state_dict(own)
    else:
        part.load_state_dict(state)


def _packed(value: Any, name: str, arrays: dict[str, npt.NDArray[Any]]) -> Any:
    """The value as JSON has it, its tensors and arrays put into `arrays` under names of their own."""
    if isinstance(value, torch.Tensor):
        arrays[name] = np.ascontiguousarray(value.detach().cpu().numpy()).reshape(value.shape)
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        arrays[name] = np.ascontiguousarray(value).reshape(value.shape)
        return {"array": name}
    if isinstance(value, Mapping):  # keys need not be texts
        return {"dict": [[key, _packed(item, f"{name}/{key}", arrays)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_packed(item, f"{name}/{place}", arrays) for place, item in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _unpacked(packed: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    if isinstance(packed, list):
        return [_unpacked(item, arrays) for item in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "dict":
        return {key: _unpacked(item, arrays) for key, item in content}
    return torch.from_numpy(arrays[content].copy()) if kind == "tensor" else arrays[content]
