"""The dashboard: pages about what a team has, rendered here; no build step."""
