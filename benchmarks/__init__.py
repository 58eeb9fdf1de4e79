"""Measurements. Each script prints ratios, and none is a test."""
