"""The gradient norm at initialisation (Abdelfattah et al., ICLR 2021, arXiv 2101.08134, section 3.2)."""

from automl_plugins.estimators import Candidate, Context, Estimate, Estimator


class GradNorm(Estimator):
    """The summed norms of all weights' gradients of one loss, on random labels."""

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        network = context.network(candidate)
        labels = context.probe.labels(context.inputs, context.generator()).to(context.device)
        context.loss(network(*context.inputs), labels).backward()
        norms = [weight.grad.norm().item() for weight in network.parameters() if weight.grad is not None]
        return Estimate(sum(norms), figures={"tensors": float(len(norms))})
