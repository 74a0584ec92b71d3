"""What a notebook shows: live cards of jobs, over the lab's change feed. Only here are notebook packages."""
