"""Agents of stable-baselines3: a policy that looks at one row at a time, a vector environment for it, and PPO, A2C and TRPO."""

from mixrl.sb3.agent import SB3Agent, SB3Config
from mixrl.sb3.row_policy import RowPolicy
from mixrl.sb3.vec_env import SB3VecEnv

__all__ = ["RowPolicy", "SB3Agent", "SB3Config", "SB3VecEnv"]
