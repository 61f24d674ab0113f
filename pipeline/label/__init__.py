"""Labels for the chosen images: from known answers or from a person."""
