"""The methods of the paper, run and compared: stored results, tables, figures, and the command line."""
