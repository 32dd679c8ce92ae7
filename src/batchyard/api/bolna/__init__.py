"""The Bolna batches door."""
