"""Kills, signals, full disks and files that change: an output is whole or absent."""
