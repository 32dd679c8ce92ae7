"""The Smart Send v2 booking-batches door."""
