"""Programs that the lab starts inside its namespaces."""
