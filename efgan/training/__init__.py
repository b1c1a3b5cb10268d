"""Teaches the models."""
