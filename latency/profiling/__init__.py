"""What is measured of a device, and how the runs become a profile."""
