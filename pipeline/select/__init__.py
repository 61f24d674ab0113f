"""Which images are worth a label, from their vectors alone. No selector reaches a label."""
