"""An engine and a task for nanoos_lab, as an example to start from."""
