"""The one description of a network that everything else is read off."""
