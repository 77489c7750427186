"""Goals beside a metric: costs, rewards that weigh them, and Pareto fronts."""
