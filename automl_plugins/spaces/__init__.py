"""Search spaces as plain data: choices, architectures, tasks, and the contract of a space."""
