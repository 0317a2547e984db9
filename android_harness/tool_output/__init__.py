"""What benchmark_model prints, of every era since 2018, read and checked."""
