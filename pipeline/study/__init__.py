"""A grid of selectors, training methods, budgets and seeds over one embedding: what each label is worth."""
