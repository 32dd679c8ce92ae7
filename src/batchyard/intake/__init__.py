"""From uploaded files to items."""
