"""Measuring on devices: phones over adb, and this PC."""
