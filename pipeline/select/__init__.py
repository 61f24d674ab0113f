"""Which images are worth a label, from their vectors alone. Nothing here reaches a label or imports torch."""
