"""Evaluation of models on full images: scores, protocol, statistics, tables and montages."""
