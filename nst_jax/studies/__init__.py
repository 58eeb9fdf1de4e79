"""Studies of finished runs: sentences, tables, plots and images."""
