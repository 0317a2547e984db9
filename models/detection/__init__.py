"""Anchors, box codes, assignment of targets, losses and suppression."""
