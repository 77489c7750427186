"""nnU-Net's rules (Isensee et al., Nature Methods 2021) as a hand-made network."""
