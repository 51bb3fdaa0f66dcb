"""Triggers: wait in the triggerer, holding no worker."""
