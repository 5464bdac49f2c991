"""Cells of a study are computed side by side, and each is stored as soon as it is finished."""
