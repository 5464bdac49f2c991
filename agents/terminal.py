"""What long work shows in a terminal: a line that changes; in a file a line now and then."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

_TELL_EVERY = 0.1  # of the work, where lines cannot change


class WorkProgress:
    """A line that changes on a terminal, else a line for every tenth of the work. It is a context.

    Args:
        console: where to show it.
        words: what is done at first.
    """

    def __init__(self, console: Console, words: str) -> None:
        self._console, self._told = console, -1.0
        columns = SpinnerColumn(), BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn()
        told = TextColumn("{task.description}", markup=False)
        self._bar = Progress(*columns, told, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(words, total=1.0)

    def __enter__(self) -> WorkProgress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, share: float, words: str) -> None:
        """Told how much of the work is done, and in words what is done now."""
        self._bar.update(self._task, completed=share, description=words)
        if not self._console.is_terminal and share >= self._told + _TELL_EVERY:
            self._told = share
            say(self._console, f"[{share:4.0%}] {words}")


def say(console: Console, words: str) -> None:
    """Print a line as it is."""
    console.print(words, soft_wrap=True, markup=False, highlight=False)
