"""Tests of the deploy-time tools."""
