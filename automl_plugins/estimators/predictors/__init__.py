"""Learned rankers of architectures, alone or in a `PredictorSampler`; some need extras, so each has its own import."""
