"""What is computed from finished pictures and their losses: numbers, no files."""
