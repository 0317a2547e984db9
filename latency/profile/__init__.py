"""DeviceProfile and its parts, as values."""
