"""SNIP as a score of networks (Lee et al., ICLR 2019; Abdelfattah et al., ICLR 2021, arXiv 2101.08134, section 3.2)."""

from automl_plugins.estimators import Candidate, Context, Estimate, Estimator


class Snip(Estimator):
    """The summed sizes of every weight times its gradient of one loss, on random labels."""

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        network = context.network(candidate)
        labels = context.probe.labels(context.inputs, context.generator()).to(context.device)
        context.loss(network(*context.inputs), labels).backward()
        learned = [weight for weight in network.parameters() if weight.grad is not None]
        score = sum((weight * weight.grad).abs().sum().item() for weight in learned)
        return Estimate(score, figures={"tensors": len(learned)})
