"""Latency of one Graph from a DeviceProfile, with an interval and where each part came from."""
