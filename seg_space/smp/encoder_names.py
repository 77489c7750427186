"""The names of encoders that smp and timm have."""

from __future__ import annotations

from automl_plugins.system.nearest import did_you_mean


def check_encoder(name: object) -> None:
    """Refuse what names no encoder of smp's, nor, after `tu-`, one of timm's.

    Raises:
        ValueError: it does not; the message says the nearest name.
    """
    import segmentation_models_pytorch as smp
    import timm

    known = smp.encoders.get_encoder_names()
    if not isinstance(name, str) or (name not in known and not (name.startswith("tu-") and timm.is_model(name[3:]))):
        names = [*known, *(f"tu-{each}" for each in timm.list_models())]
        raise ValueError(f"there is no encoder {name!r}; {did_you_mean(name, names)}")
