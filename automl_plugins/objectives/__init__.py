"""What is good beside a metric: costs, rewards that weigh them, and Pareto fronts."""
