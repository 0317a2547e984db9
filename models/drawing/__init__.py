"""A cell as a picture."""
