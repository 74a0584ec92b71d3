"""Pure values: no clock, environment, disk or network."""
