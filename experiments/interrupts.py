"""What Ctrl-C does while a sweep is at work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def handle_interrupts(handler: Handler) -> Iterator[None]:
    """Inside, Ctrl-C is for the handler; in a thread other than the main one nothing changes."""
    if threading.current_thread() is not threading.main_thread():  # only there Python lets signals be set, and hears them
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupts_wait() -> Iterator[Callable[[], None]]:
    """Ctrl-C raises KeyboardInterrupt where what this gives is called; a second one raises it at once.

    Raised anywhere it would sometimes be lost: libraries swallow it in destructors and comparisons.
    """
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    def raise_interrupt() -> None:
        if came:
            raise KeyboardInterrupt

    with handle_interrupts(note):
        yield raise_interrupt
