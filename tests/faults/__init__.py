"""Simulators of what disks, kernels and power supplies do to a database: reusable by any test that opens one."""
