"""A policy for stable-baselines3 that sees rows: one small network shared by all of them, and a critic that pools over them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

HIDDEN_SIZES = (64, 64)


class Rows(BaseFeaturesExtractor):
    """The observation as it is, (m, B, row size), where SB3 would flatten it."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, observation_space.shape[-1])

    def forward(self, observations: Tensor) -> Tensor:
        """Rows (..., row size) in and out."""
        return observations


class RowNetworks(nn.Module):
    """Actor and critic on rows.

    Args:
        row_size: d + e + |N|.
        actor_sizes, critic_sizes: nodes of the hidden layers.
        activation_fn: between the layers.

    Attributes:
        latent_dim_vf: length of what the critic has pooled.
    """

    def __init__(
        self, row_size: int, actor_sizes: Sequence[int], critic_sizes: Sequence[int], activation_fn: type[nn.Module]
    ) -> None:
        super().__init__()
        self.latent_dim_vf = critic_sizes[-1] if critic_sizes else row_size
        self.actor = nn.Sequential(*create_mlp(row_size, 1, list(actor_sizes), activation_fn))
        self.critic = nn.Sequential(*create_mlp(row_size, -1, list(critic_sizes), activation_fn))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (m, B) and pooled features (m, latent_dim_vf) of rows (m, B, row size)."""
        return self.forward_actor(rows), self.forward_critic(rows)

    def forward_actor(self, rows: Tensor) -> Tensor:
        """A logit for each row: the same function of every row, independent of the other rows."""
        logits: Tensor = self.actor(rows).squeeze(-1)
        return logits

    def forward_critic(self, rows: Tensor) -> Tensor:
        """The mean over rows of a function of each row (DeepSets).

        The paper's objection to critics is that their input is large (end of Sec. 3.2), B times (d + e + |N|) numbers; this
        network sees d + e + |N| of them at a time.
        """
        pooled: Tensor = self.critic(rows).mean(dim=-2)
        return pooled


class RowPolicy(ActorCriticPolicy):
    """p of every row from one small network, as h_theta has it (Sec. 3.2), for PPO, A2C and TRPO: `PPO(RowPolicy, env)`.

    SB3's own policies flatten a batch of B rows into one vector and must learn anew for each row what this one learns for all.
    The mask is drawn from independent Bernoulli distributions (SB3's `BernoulliDistribution`: log probabilities and entropies
    are sums over rows, so that `ent_coef` means B times what it does elsewhere).

    Args:
        observation_space: Box of shape (B, row size).
        action_space: MultiBinary(B).
        lr_schedule: learning rate by remaining progress.
        net_arch: hidden layers, {"pi": [...], "vf": [...]} or one list for both; two of 64 nodes if not given.
        activation_fn: between the layers.
        ortho_init: whether weights start orthogonal, the last layer of the actor small; torch's own start if not.
        features_extractor_class: from rows (..., B, row size) to the rows that the networks see; leaves them as they are.
        **kwargs: as in `stable_baselines3.common.policies.ActorCriticPolicy`.

    Raises:
        ValueError: for other spaces.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        ortho_init: bool = False,
        features_extractor_class: type[BaseFeaturesExtractor] = Rows,
        **kwargs: Any,
    ) -> None:
        fits = (
            isinstance(observation_space, spaces.Box)
            and len(observation_space.shape) == 2
            and isinstance(action_space, spaces.MultiBinary)
            and action_space.shape == observation_space.shape[:1]
        )
        if not fits:
            raise ValueError(
                f"RowPolicy needs observations Box(B, row size) and actions MultiBinary(B), as MixRL environments have them; "
                f"got {observation_space} and {action_space}"
            )
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch={"pi": [*HIDDEN_SIZES], "vf": [*HIDDEN_SIZES]} if net_arch is None else net_arch,
            activation_fn=activation_fn,
            ortho_init=ortho_init,
            features_extractor_class=features_extractor_class,
            **kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        """Networks and optimizer; replaces SB3's, which makes the last layer of the actor as wide as the mask."""
        sizes = self.net_arch if isinstance(self.net_arch, dict) else {"pi": self.net_arch, "vf": self.net_arch}
        networks = RowNetworks(self.features_dim, sizes.get("pi", []), sizes.get("vf", []), self.activation_fn)
        self.mlp_extractor = networks  # type: ignore[assignment]  # SB3 calls it so, and only its two halves
        self.action_net = nn.Identity()  # the actor's output already is the logits
        self.value_net = nn.Linear(networks.latent_dim_vf, 1)
        if self.ortho_init:
            for part, gain in ((networks, 2**0.5), (networks.actor[-1], 0.01), (self.value_net, 1.0)):
                part.apply(partial(self.init_weights, gain=gain))
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability of selecting each observation row: (..., row size) in, (...,) out; see `mixrl.training.Agent`."""
        with torch.no_grad():
            features = self.pi_features_extractor(torch.as_tensor(rows, dtype=torch.float32, device=self.device))
            logits = self.mlp_extractor.forward_actor(features)
            return torch.sigmoid(logits.double()).cpu().numpy()
