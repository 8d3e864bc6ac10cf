"""What more than one Kinstream service uses, and nothing else."""
