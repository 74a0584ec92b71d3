"""What a compute node runs: attempts at jobs, and the processes around them."""
