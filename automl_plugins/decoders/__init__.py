"""Architectures read off learned logits."""
