"""Projects as they are: scripts and LightningModules that know nothing of a search, and get another network."""
