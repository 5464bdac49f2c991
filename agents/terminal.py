"""Progress of long work on a terminal or in a file."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

_SHOW_EVERY = 0.1  # share of the work between lines of a file


class WorkProgress:
    """A context that shows one changing line on a terminal, or in a file a line for every tenth of the work.

    Args:
        console: where to show it.
        words: on the first step.
    """

    def __init__(self, console: Console, words: str) -> None:
        self._console, self._shown = console, -1.0
        columns = SpinnerColumn(), BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn()
        words_column = TextColumn("{task.description}", markup=False)
        self._bar = Progress(*columns, words_column, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(words, total=1.0)

    def __enter__(self) -> WorkProgress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, share: float, words: str) -> None:
        """Show the finished share of the work, and a few words on the current step."""
        self._bar.update(self._task, completed=share, description=words)
        if not self._console.is_terminal and share >= self._shown + _SHOW_EVERY:
            self._shown = share
            say(self._console, f"[{share:4.0%}] {words}")


def say(console: Console, words: str) -> None:
    """Print a line without wrapping or markup."""
    console.print(words, soft_wrap=True, markup=False, highlight=False)
