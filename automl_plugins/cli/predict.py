"""Predict for inputs without labels with the networks that a run has trained.

usage: automl-plugins predict RUN --data.path new.csv --out predictions.csv [--networks best]
       automl-plugins predict --config FILE --ckpt_path FILE [--out predictions.csv] [--key value]

RUN is the folder of a study, of a search that was evaluated, of an evaluation, or of a fit (where its config.yaml is).
It knows how its inputs were made: columns, normalisation, classes, units. A study's winner predicts, whoever found it;
RUN/found has the best that was found where a hand-made network won.

  automl-plugins predict runs/solubility --data.path new.csv --out predictions.csv
  automl-plugins predict runs/cora --data.path graph.npz --out nodes.csv
  automl-plugins predict runs/cells --data.path photos --out masks

There is a row for each input, in their order, with class names and probabilities, or values in the targets' units.
Inputs that cannot be read have none, and the reason. Pixels are predicted as images, in a folder.

options:
  --data.path PATH         the inputs: a table of molecules, a graph as npz, a folder or a table of images
  --data.KEY VALUE         otherwise than in the training: smiles_column, image_column, batch_size
  --out PATH               where predictions go: a CSV file, for pixels a folder
  --overwrite              what is there already may be replaced
  --networks all           the mean of the winner's networks of all final seeds, and in the columns `spread/...` their
                           standard deviation; `best`: the one that validated best alone; `ensemble`: the study's
  --probabilities          of pixels: beside each mask the probabilities of all classes, as npz
  --trainer.accelerator A  where to compute
  --ckpt_path FILE         a checkpoint in place of the run's; with --config in place of RUN

Without RUN and --out this is Lightning's `predict`: the module predicts for the datamodule's `predict_dataloader`, with
--architecture, --space, --data, --module and --trainer as in `automl-plugins fit --help`, and what it gave for each
batch is kept, in their order, as a list in predictions.pt beside the logs.
"""

from __future__ import annotations

from automl_plugins.cli.predict_asked import asked_for
from automl_plugins.cli.settings import Given


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    if not given.targets and given.get("out") is None:
        from automl_plugins.cli import fit  # it imports torch, for which mistakes should not wait

        return fit.run(given, command)
    asked = asked_for(given)
    from automl_plugins.cli.predict_run import predict

    return predict(asked, given, command)
