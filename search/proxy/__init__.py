"""What a candidate is worth before anybody trains it in full."""
