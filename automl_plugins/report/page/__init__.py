"""A run as one page of HTML, which needs no network and no script."""
