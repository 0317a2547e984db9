"""What proposes candidates and learns from their rewards."""
