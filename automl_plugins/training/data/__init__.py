"""What the datamodules of all spaces stand on: they name their task, load once, and can be gone on with."""
