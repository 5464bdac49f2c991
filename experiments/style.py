"""The colours of the figures, the same in all of them."""

BLUE, ORANGE, GREY = "#1f6fb4", "#d9772b", "#8a8a8a"
