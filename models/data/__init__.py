"""Detection datasets: reading, generating and batching."""
