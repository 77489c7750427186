"""The base of all spaces' datamodules: they name their task, load once, and can be gone on with."""
