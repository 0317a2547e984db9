"""mnasfpn: measure, predict, search and ship mobile detection heads (MnasFPN, CVPR 2020)."""

__version__ = "0.1.0"
