"""What a person reads: progress, tables, drawings."""
