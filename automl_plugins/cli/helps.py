"""The help of every command, from texts and docstrings; nothing heavy is imported for it."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Collection, Mapping

import docstring_parser

from automl_plugins import registry
from automl_plugins.cli.checked import COMMANDS, PLUGINS, TASK, TRAINER, own_arguments
from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.plugins import STUDY, expected, find_named, homes
from automl_plugins.cli.search_keys import SEARCH, SUPPLIED
from automl_plugins.cli.settings import plain
from automl_plugins.cli.signatures import Parameter, signature
from automl_plugins.cli.source import Definition, look_up, resolve

GROUPS = {**registry.GROUPS, "pruners": "Optuna pruners"}
TABLES = ("nas-bench-graph", "nas-bench-201", "transnas-bench-101")
_WIDTH = 92

_STUDY = """\
usage: automl-plugins study --config FILE [--key value]

Search a space, train the best and the references over seeds, print the table.

options:
  --config FILE            YAML with any of the keys below; may come several times
  --print_config           print the whole configuration and end
  --space.help NAME        the arguments of a space; so for --data.help, --module.help, --sampler.help, --pruner.help,
                           --trainer.help and --task.help

keys:
{study}

The folder is runs/<name of the config file> unless --folder says otherwise; the same command again goes on
where it stopped. A space, data or module is named (`--space agnn`, see `automl-plugins list`) or given by
its class path; its arguments follow: `--space.layers 3`.
"""

_SEARCH = """\
usage: automl-plugins search --config FILE [--key value]
       automl-plugins search --target net --space NAME [--key value] -- python train.py ...

Learn an architecture by gradients: a supernet is trained once, and its architecture logits with it.

The first form is LightningCLI's fit of the supernet, and takes
  --space NAME             what to search, with arguments as --space.nodes 3 (see `automl-plugins list spaces`)
  --data NAME              the datamodule, with arguments as --data.batch_size 32; it says what the task is
  --module NAME            the LightningModule around the supernet, with arguments as --module.learning_rate 0.01;
                           the registered one for the data's task where left out
  --trainer.KEY VALUE      an argument of Lightning's Trainer; --trainer.callbacks+=EarlyStopping adds to a list
  --search.KEY VALUE       how it is searched:
{search}
  --seed N                 the seed (0)
  --folder F               where the search is kept (runs/<name of the config file>); the same command again goes
                           on from the last epoch
  --config FILE            YAML with any of these keys; may come several times
  --print_config           print the whole configuration and end

The folder then holds config.yaml, architecture.json, search.json and the last checkpoint; `automl-plugins fit`,
`evaluate` and `show` take it as they take a study's.

The second form runs a training script that knows nothing of a search, and stays as it is. Lightning hands it our
callbacks, in which
  --target PATH            is the attribute of its LightningModule that is replaced by the supernet
  --task.KEY VALUE         what a network must fit, where the script's datamodule has no `task`: --task.level graph
--space, --search, --seed, --folder and --config are as above; all else is the script's own.
"""

_DERIVE = """\
usage: automl-plugins derive <target> [--output architecture.json] [--space NAME] [--key value]

Decode the architecture logits of a checkpoint, write the architecture and draw it.

target:
  a search's folder     its last checkpoint, also while the search goes on
  a checkpoint          Lightning's, or a `state_dict` that torch.save wrote

options:
  --output FILE         where to write it (architecture.json beside the checkpoint)
  --space NAME          what was searched, with arguments as --space.nodes 3; that of the search's config.yaml
                        where left out
  --config FILE         YAML with the space, such as that config.yaml
  --target PATH         which searchable, where the checkpoint has several: net
  --relaxation NAME     how logits become gates: {relaxations}
                        (that of the strategy in the search's config.yaml; softmax where there is none)
"""

_ATTACH = """\
usage: automl-plugins attach --architecture FILE [--target net] [--key value] -- python train.py ...

Run a training script that knows nothing of a search, and stays as it is, with the network of an architecture.json
in place of its own. Lightning hands the script our callback, which replaces the network before the optimizers are made.

options:
  --architecture FILE      what to train
  --target PATH            the attribute of the script's LightningModule that is replaced: net, model.encoder
  --space NAME             the architecture's space, with arguments as --space.nodes 3
  --task.KEY VALUE         what the network must fit, where the script's datamodule has no `task`:
                           --task.level graph --task.target regression --task.in_channels 9 --task.out_channels 1
  --config FILE            YAML with any of these keys

The config.yaml beside the file, which `automl-plugins search` leaves there, gives what is left out.
"""

_SHOW = """\
usage: automl-plugins show <target> [--space ...] [--figure F.png] [--trial N] [--arm search]

target:
  a run folder          its table, costs and winner; a run that goes on still: its trials so far; a
                        differentiable search: what it cost and found
  an architecture.json  its drawing
  a space               its choices, options and size (see `automl-plugins list spaces`)

options:
  --space NAME, --space.layers 3, --config FILE
                        the space's arguments; those in the config.yaml beside a file where left out
  --figure F.png        save what is drawn as a figure, too (.pdf, .svg)
  --trial N             one trial of a run, with its choices and the traceback of its failure
  --arm ARM             of which search: search (as given) or random
"""

_EVALUATE = """\
usage: automl-plugins evaluate <target> [--seeds 5] [--references [gcn, gat]] [--random 5] [--folder F] [--config FILE]
                               [--key value]

Train an architecture over seeds, with the budget and the data of its run, and test it.

target:
  a run folder          its winner, which may be a hand-made network
  an architecture.json  with the settings of the config.yaml beside it, or of --config

options:
  --seeds N             how many seeds (the run's where left out)
  --references [...]    hand-made networks to train beside it, on the same seeds (none where left out)
  --random N            how many random architectures of the space to train beside it, on the first seed alone (0);
                        their mean is a line of the table, and so is the best of them by validation, which is then
                        trained on the other seeds too
  --folder F            where the results are kept (<run>/evaluation); the same command again goes on there
  --config FILE         settings in place of the run's
  --key value           any other setting of `automl-plugins study`, such as --trainer.max_epochs 100
"""

_EXPORT = """\
usage: automl-plugins export --architecture FILE --size HEIGHTxWIDTH [--weights FILE] [--key value] <output>

Write a trained network of images for other runtimes, for any number of images of one size, and compare it
with the module.

output:
  model.onnx               ONNX; needs the packages of automl-plugins[onnx]
  model.pt2                what torch.export.load reads

options:
  --architecture FILE      an architecture.json
  --weights FILE           the network's state_dict (network.pt beside the architecture, where a study leaves it), or
                           a checkpoint of `fit` or `evaluate`
  --size HEIGHTxWIDTH      of the images: 128x192, or 128 for both
  --format torch|onnx      where the output's name does not say it
  --space NAME             the architecture's space, with arguments as --space.filters 20
  --task.KEY VALUE         what the network fits: --task.level pixel --task.target classes --task.in_channels 3
                           --task.out_channels 11; that of the run's data where left out
  --config FILE            YAML with any of these keys

The config.yaml beside the architecture, which a study or a search leaves there, gives what is left out.
"""

_LIST = """\
usage: automl-plugins list [group]

What is installed, of one group or of all: {groups}.
"""

_BENCHMARK = """\
usage: automl-plugins benchmark <table> [--data D] [--sampler S] [--budget 400] [--seeds 30] [--figure F.png]

Search a table of architectures that have all been trained, by validation score alone, and see how far the
search is from the best of all. Only architectures that are new to a search count.

table: {tables}

options:
  --data D              of the table: a graph (arxiv), an image set (cifar10), a task (segmentsemantic)
  --sampler S           a sampler, or [several, of, them]; random search always stands beside them (evolution);
                        its arguments follow: --sampler.population 50
  --budget N            how many look-ups (400)
  --seeds N             how many searches (30), with the seeds --seed (0) and the following
  --folder F            the folder with tables/ (that of AUTOML_PLUGINS_DATA; nas-bench-graph is also
                        read from the package of that name)
  --figure F.png        best-so-far over look-ups (runs/benchmark/<table>-<data>.png; null: none)
"""

_FIT = """\
usage: automl-plugins {command} --architecture runs/x/architecture.json [--config FILE] [--key value]

LightningCLI's `{command}` for the network of an architecture.json. The config.yaml beside the file, which a study
or a search writes, gives the space, the data, the module, the Trainer's arguments and the seed; so does that
config itself, whose folder then holds the architecture:

  automl-plugins fit --architecture runs/solubility/architecture.json
  automl-plugins fit --config runs/solubility/config.yaml --trainer.max_epochs 200
  automl-plugins test --config runs/solubility/config.yaml --ckpt_path lightning_logs/version_0/checkpoints/x.ckpt

options:
  --architecture FILE      what to train
  --space NAME             its space, with arguments as --space.layers 3
  --data NAME              the datamodule, with arguments as --data.batch_size 32; it says what the task is
  --module NAME            the LightningModule around the network, with arguments as --module.learning_rate 0.01;
                           the registered one for the data's task where left out
  --trainer.KEY VALUE      an argument of Lightning's Trainer; --trainer.callbacks+=EarlyStopping adds to a list
  --optimizer, --lr_scheduler CLASS
                           in place of the module's own
  --seed_everything N      the seed
  {arguments}
  --config FILE            YAML with any of these keys; may come several times
  --print_config           print the whole configuration and end

Checkpoints, loggers and lightning_logs are Lightning's own. A checkpoint opens with
`Module.load_from_checkpoint(path, network=space.network(architecture, task), task=task)`.
"""


def filled_groups() -> list[str]:
    """The groups of plugins that have members."""
    return [group for group in GROUPS if group not in registry.GROUPS or group in registry.filled()]


def help_of(command: str) -> str:
    """The help of a command."""
    if command in COMMANDS:
        arguments = "".join(f"--{name} VALUE  " for name in own_arguments(command))
        return _FIT.format(command=command, arguments=arguments.rstrip())
    texts: Mapping[str, str] = {
        "study": _STUDY,
        "search": _SEARCH,
        "derive": _DERIVE,
        "attach": _ATTACH,
        "show": _SHOW,
        "evaluate": _EVALUATE,
        "export": _EXPORT,
        "list": _LIST,
        "benchmark": _BENCHMARK,
    }
    return texts[command].format(
        study=_arguments(resolve(STUDY), width=24) if command == "study" else "",
        search=_arguments(resolve(SEARCH), skip=SUPPLIED, indent=4) if command == "search" else "",
        groups=", ".join(filled_groups()),
        relaxations=", ".join(registry.names("relaxations")),
        tables=", ".join(TABLES),
    )


def help_of_class(key: str, named: object) -> str:
    """The help of a class that a setting may name: what it is, and its arguments.

    Args:
        key: `space`, `data`, `module`, `sampler`, `pruner`, `strategy`, `trainer` or `task`.
        named: a registered name, a class or a class path; None: the names that there are.

    Raises:
        UsageError: there is no such key or name.
    """
    alone = {"trainer": TRAINER, "task": TASK, "search": SEARCH}
    groups = {**{each: group for each, (group, _) in PLUGINS.items()}, "sampler": "samplers", "pruner": "pruners"}
    groups["search.strategy"] = groups["strategy"] = "strategies"
    supplied: Collection[str] = {"module": ("network", "task"), "search": SUPPLIED}.get(key, ())
    if key in alone:
        definition, skip = resolve(alone[key]), supplied
    elif key not in groups:
        raise UsageError(f"--{key}.help: there is help for {', '.join([*groups, *alone])}")
    elif plain(named) is None:
        return f"{key}: one of {', '.join(homes(groups[key]))}, or a class path; see --{key}.help NAME\n"
    else:
        definition, skip = find_named(key, groups[key], str(named), expected(groups[key])), supplied
    if definition is None:
        raise UsageError(f"--{key}.help {named}: its source cannot be read")
    lines = [definition.docstring.partition("\n")[0], "", f"arguments, as --{key}.NAME VALUE:"]
    return "\n".join([*lines, _arguments(definition, skip) or "  (none)", ""])


def _arguments(definition: Definition | None, skip: Collection[str] = (), indent: int = 2, width: int = 22) -> str:
    """The arguments of a class, a line or more for each, with their defaults."""
    if definition is None:
        return ""
    parsed = docstring_parser.parse(definition.docstring)
    meanings = {each.arg_name: each.description or "" for each in parsed.params}
    lines = []
    for name, parameter in signature(definition).parameters.items():
        if name in skip:
            continue
        text = f"{' '.join(meanings.get(name, '').split())} ({_default(parameter)})".strip()
        first, *rest = textwrap.wrap(text, _WIDTH)
        lines.append(f"{' ' * indent}{name:<{width}} {first}")
        lines += [" " * (indent + width + 1) + line for line in rest]
    return "\n".join(lines)


def _default(parameter: Parameter) -> str:
    node = parameter.default
    if isinstance(node, ast.Name | ast.Attribute):
        named = look_up(parameter.scope, node)
        node = named.node if named is not None and isinstance(named.node, ast.expr) else node
    if node is None:
        return "needed"
    if isinstance(node, ast.Constant):
        words = {None: "null", True: "true", False: "false"}
        return words[node.value] if node.value is None or isinstance(node.value, bool) else str(node.value)
    return ast.unparse(node).replace("(", "[").replace(")", "]")
