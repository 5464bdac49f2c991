"""Two ways to train a stack of regressors: torch, which works everywhere, and a C kernel, which is faster on CPUs."""

from mixrl_env.backends.base import NetworkShape, Stack, TrainingRows, ValidationRows
from mixrl_env.backends.compiler import kernel_problem
from mixrl_env.backends.native_stack import NativeStack
from mixrl_env.backends.sizing import stack_size
from mixrl_env.backends.torch_stack import TorchStack, forward

__all__ = [
    "NativeStack",
    "NetworkShape",
    "Stack",
    "TorchStack",
    "TrainingRows",
    "ValidationRows",
    "forward",
    "kernel_problem",
    "stack_size",
]
