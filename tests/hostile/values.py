"""Values out of range or of another type, for every setting of every command; and names that do not exist."""

from __future__ import annotations

from collections.abc import Iterator

from inputs import COMMANDS, HostileInput, right

_NO_NUMBER = ("nan", "many", "[1, 2]", "{a: 1}", "")
COUNT = (*_NO_NUMBER, "inf", "-1", "1.5", "true", "0")
BAD: dict[str, tuple[str, ...]] = {
    "count": COUNT,
    "count or 0": COUNT[:-1],
    "size": (*COUNT, "1000000000000000000000000000000"),
    "sizes": ("[0]", "[-1]", "[nan]", "[]", "[1.5]", "[[4]]", "many", "[true]", "null"),
    "seed": (*COUNT[:-1], "4294967296", "99999999999999999999"),
    "positive": ("nan", "inf", "-inf", "-1", "0", "many", "[1]", "true", "1e999"),
    "not negative": ("nan", "inf", "-1", "many", "[1]"),
    "share": ("nan", "1.5", "-0.1", "inf", "many"),
    "fraction": ("nan", "0", "1", "2", "-0.5", "many"),
    "switch": ("2", "perhaps", "[]", "nan", "{}"),
    "word": ("nosuchword", "3", "[a]", "{}", "\x1b[31mred", "a" * 100_000, "../../etc/passwd", "名前"),
    "words": ("nosuchword", "[nosuchword]", "[3]", "[[]]", "{a: 1}", "[null]"),
}

SETTINGS: dict[str, dict[str, str | tuple[str, ...]]] = {
    "study": {
        "trials": "count or 0",
        "trial_epochs": "count",
        "trial_minutes": "positive",
        "final_minutes": "positive",
        "finalists": "count",
        "seeds": "count",
        "seed": "seed",
        "workers": "count",
        "max_equal_failures": "count",
        "random_search": "switch",
        "sharing": "switch",
        "monitor": ("nosuchmetric", "3", "[a]", "{}"),
        "direction": "word",
        "costs": "words",
        "limits": ("3", "[a]", "{nosuchfigure: 1}", "{params: nan}", "{params: -1}", "{macs: many}"),
        "reward": "word",
        "references": "words",
        "sampler": "word",
        "pruner": "word",
        "space": "word",
        "data": "word",
        "module": "word",
        "task": "word",
        "storage": (
            "trials.db",
            "nosuch://host/db",
            "sqlite://///",
            "sqlite:////proc/nowhere/study.db",
            "postgresql://nobody:nothing@127.0.0.1:1/none",
            "mysql://127.0.0.1:1/none",
            "run/config.yaml/x.journal",
            "/proc/x.journal",
            "run",
            "3",
            "[a]",
        ),
        "folder": ("study.yaml", "study.yaml/sub", "/proc/run", "a\0b", "x" * 5000, "/dev/null"),
        "sampler.n_startup_trials": ("nan", "many", "[1]"),
        "space.layers": (*BAD["size"], "1000000"),
        "space.dropout": "share",
        "space.max_parameters": ("nan", "-1", "0", "many", "1.5", "1"),
        "space.hidden_channels": "sizes",
        "space.heads": "sizes",
        "data.batch_size": "size",
        "data.num_train": ("nan", "-1", "0", "many", "1.5"),
        "task.level": "word",
        "trainer": "word",
        "trainer.max_epochs": COUNT,
        "trainer.max_steps": ("nan", "0", "-5", "many", "1.5"),
        "trainer.devices": ("0", "-3", "nan", "many", "[]", "[-1]", "{}", "1.5"),
        "trainer.accelerator": ("nosuch", "3", "[]", "{}"),
        "trainer.precision": ("7", "nosuch", "[]", "nan"),
        "trainer.accumulate_grad_batches": ("0", "-1", "nan", "many", "1.5"),
        "trainer.check_val_every_n_epoch": ("0", "-1", "nan", "many"),
        "trainer.limit_train_batches": ("-1", "nan", "many", "0", "1.5"),
        "trainer.limit_val_batches": ("-1", "nan", "many", "0"),
        "trainer.val_check_interval": ("-1", "nan", "many", "99"),
        "trainer.gradient_clip_val": ("nan", "-1", "many"),
        "trainer.log_every_n_steps": ("nan", "many"),
        "trainer.max_time": ("nosuch", "3", "[]"),
        "trainer.callbacks": ("nosuch", "[nosuch]", "[{class_path: 3}]", "[{}]", "3", "[[]]"),
        "trainer.logger": ("nosuch", "[nosuch]", "{class_path: 3}", "3"),
        "trainer.strategy": ("nosuch", "ddp", "3", "[]", "{}"),
        "trainer.nosuchkey": ("1",),
        "nosuchkey": ("1",),
    },
    "search": {
        "search": "word",
        "search.strategy": "word",
        "search.learning_rate": ("nan", "inf", "-1", "many", "[1]"),
        "search.weight_decay": "not negative",
        "search.betas": ("[2, 2]", "[nan, 0.9]", "[0.5]", "[0.5, 0.9, 0.9]", "[-1, 0.5]", "many", "[1, 1]", "{}"),
        "search.warmup_epochs": ("nan", "-1", "many", "1.5", "true"),
        "search.collapse": ("nan", "0", "2", "-1", "many"),
        "search.search_fraction": "fraction",
        "search.search_data": ("nosuch", "3", "[]"),
        "search.memory_limit": ("nan", "0", "-1", "many", "1"),
        "seed": "seed",
        "space": ("nosuch", "smp", "3"),
        "space.cells": BAD["size"],
        "space.nodes": (*BAD["size"], "1000000"),
        "space.node_channels": "size",
        "data": "word",
        "data.batch_size": "size",
        "module": ("nosuch", "3", "GraphRegression"),
        "folder": ("search.yaml", "/proc/run", "a\0b"),
        "trainer.max_epochs": ("nan", "many", "0", "-2", "[1]"),
        "trainer.enable_checkpointing": ("false", "perhaps"),
        "trainer.callbacks": ("[nosuch]", "3"),
        "nosuchkey": ("1",),
    },
    "evaluate": {
        "seeds": "count",
        "random": ("nan", "-1", "many", "1.5", "1000000000"),
        "references": ("[nosuch]", "3", "[3]"),
        "seed": "seed",
        "trainer.max_epochs": ("nan", "-1", "0", "many"),
        "nosuchkey": ("1",),
    },
    "fit": {
        "seed_everything": ("nan", "-1", "many", "99999999999999999999", "[1]"),
        "optimizer": ("nosuch", "3", "[]"),
        "lr_scheduler": ("nosuch", "3"),
        "ckpt_path": ("nosuch.ckpt", "run", "run/config.yaml", "3"),
        "data.batch_size": ("nan", "-1", "0", "many"),
        "trainer.max_epochs": ("nan", "many", "[1]", "-2"),
        "nosuchkey": ("1",),
    },
    "show": {
        "trial": ("nan", "many", "-1"),
        "arm": ("nosuch",),
        "figure": ("figure.nosuch", "run", "/proc/figure.png", "[a]", ".png"),
        "space.layers": ("nan", "2", "0"),
        "nosuchkey": ("1",),
    },
    "derive": {"target": ("nosuch",), "relaxation": ("nosuch", "3"), "output": ("/proc/x.json",), "nosuchkey": ("1",)},
    "export": {
        "size": ("0x0", "-1", "axb", "nan", "16x", "999999999x999999999", "[16]"),
        "format": ("nosuch", "3"),
        "weights": ("nosuch.pt", "run", "run/config.yaml"),
        "task.level": ("graph", "nosuch"),
        "nosuchkey": ("1",),
    },
    "attach": {"target": ("3", "", "net..x", "[a]"), "task.level": ("nosuch",), "nosuchkey": ("1",)},
    "benchmark": {
        "data": ("nosuch", "3"),
        "sampler": ("nosuch", "3", "[nosuch]"),
        "budget": ("nan", "0", "-1", "many", "1.5"),
        "seeds": ("nan", "0", "-1", "many"),
        "folder": ("nosuch", "run/config.yaml"),
        "nosuchkey": ("1",),
    },
    "list": {"nosuchkey": ("1",)},
}


def bad_values() -> Iterator[HostileInput]:
    """A right command with one value that is out of range, of another type, or names what is not there."""
    for command, settings in SETTINGS.items():
        base = COMMANDS[command]
        end = base.index("--") if "--" in base else len(base)
        for key, bad in settings.items():
            for value in BAD[bad] if isinstance(bad, str) else bad:
                shown = value if len(value) < 40 else f"{value[:8]}... ({len(value)} characters)"
                flags = (f"--{key}={value}",)
                yield HostileInput("values", f"{command} --{key}={shown!r}", (*base[:end], *flags, *base[end:]), right)


def bad_lines() -> Iterator[HostileInput]:
    """Command lines that are no commands."""
    lines: dict[str, tuple[str, ...]] = {
        "an empty command": ("",),
        "a mistyped command": ("stdy",),
        "a command of blanks": ("  ",),
        "a very long command": ("x" * 100_000,),
        "a command with a line break": ("study\nfit",),
        "a command with a terminal's escapes": ("\x1b[2J\x1b[31mstudy",),
        "a flag first": ("--trials", "3"),
        "an unknown group": ("list", "nosuch"),
        "two groups, one unknown": ("list", "spaces", "nosuch"),
        "show of nothing": ("show",),
        "show of what is not there": ("show", "nosuch/architecture.json"),
        "show of a mistyped space": ("show", "agn"),
        "evaluate of nothing": ("evaluate",),
        "evaluate of an empty folder": ("evaluate", "."),
        "derive of nothing": ("derive",),
        "derive of what is not there": ("derive", "nosuch.ckpt"),
        "export of nothing": ("export",),
        "fit of nothing": ("fit",),
        "attach of nothing": ("attach",),
        "study of nothing": ("study",),
        "search of nothing": ("search",),
        "benchmark of nothing": ("benchmark",),
        "benchmark of what is not there": ("benchmark", "nosuch"),
        "a script that is missing": ("search", "--target", "net", "--space", "egnas", "--"),
        "a program that is not there": ("search", "--target", "net", "--space", "egnas", "--", "nosuchprogram"),
        "validate without a checkpoint of that name": (
            "validate", "--architecture", "run/architecture.json", "--ckpt_path", "nosuch.ckpt",
        ),
        "predict with an unknown key": ("predict", "--architecture", "run/architecture.json", "--nosuchkey", "1"),
    }  # fmt: skip
    for kind, line in lines.items():
        yield HostileInput("lines", kind, line, right)
    tails: dict[str, tuple[str, ...]] = {
        "a flag without a value": ("--space",),
        "a flag without a name": ("--=3",),
        "a key that begins with a dot": ("--.x=3",),
        "a key that ends with a dot": ("--space.=3",),
        "a key of dots": ("--...=3",),
        "a key of a hundred parts": ("--" + "a." * 100 + "b=3",),
        "a surplus word": ("surplus", "words"),
        "a key with a line break": ("--tri\nals=3",),
        "a key in another script": ("--триалс=3",),
        "a surrogate": ("--space=\udcff",),
        "a config that is missing": ("--config", "nosuch.yaml"),
    }
    for command in ("study", "search", "evaluate", "fit"):
        for kind, tail in tails.items():
            yield HostileInput("lines", f"{command}: {kind}", (*COMMANDS[command], *tail), right)
