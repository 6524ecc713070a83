"""What it costs, in ratios: everything in a table is measured in one run on one machine."""
