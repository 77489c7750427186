"""The machine below: files, processes, random states, waits, and words for arguments that are wrong."""
