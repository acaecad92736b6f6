"""The commands of `streams`, a module for each; infrastructure is built in their bodies."""
