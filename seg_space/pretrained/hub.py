"""Files of the Hugging Face hub: from the cache, or by one download; offline they are refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SECONDS = 5.0
"""For the hub to answer at all, before it counts as out of reach."""


def hub_file(repository: str, name: str, revision: str | None, wanted: str) -> Path:
    """A file of a repository, without a word to the network where the cache has it.

    Args:
        repository: `owner/name`.
        name: of the file.
        revision: a commit; None: the newest that is known.
        wanted: what a message calls it.

    Raises:
        OSError: it is neither in the cache, nor can it be downloaded; the message is one line.
    """
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    hub: Any = huggingface_hub
    where: dict[str, Any] = {"repo_id": repository, "filename": name, "revision": revision}
    try:
        return Path(hub.hf_hub_download(**where, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        # The hub's client tries again and again for half a minute; one question says whether there is a network.
        hub.utils.get_session().head(hub.hf_hub_url(**where), timeout=SECONDS)
        return Path(hub.hf_hub_download(**where))
    except Exception as error:  # its clients raise errors of several libraries
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(
            f"{wanted}: {name} of {repository} is not in the cache of the Hugging Face hub, and cannot be downloaded "
            f"({reason}); give the path of a file with the weights, or download it where there is a network"
        ) from error
