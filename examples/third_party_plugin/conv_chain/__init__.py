"""A space, a strategy, an estimator and a sampler of somebody else."""
