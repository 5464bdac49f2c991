"""What all studies share when they are shown: statistics of paired differences, tables and figures."""
