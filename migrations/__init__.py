"""Migrations of the forecasting application's database."""

__version__ = "1.0.0"
