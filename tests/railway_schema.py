"""What Railway accepts in railway.json, as far as it is known: closed at every level, numbers as numbers.

Its own schema is on the network; this one says the same of every key, and no key for a volume exists.
"""

from __future__ import annotations

from typing import Any

_BUILDERS = ("NIXPACKS", "DOCKERFILE", "RAILPACK", "HEROKU", "PAKETO")
_RESTARTS = ("ON_FAILURE", "ALWAYS", "NEVER")

BUILD: dict[str, Any] = {
    "builder": _BUILDERS,
    "watchPatterns": list,
    "buildCommand": str,
    "dockerfilePath": str,
    "railpackVersion": str,
    "nixpacksConfigPath": str,
    "nixpacksPlan": dict,
    "nixpacksVersion": str,
}
DEPLOY: dict[str, Any] = {
    "startCommand": str,
    "preDeployCommand": (str, list),
    "numReplicas": int,
    "healthcheckPath": str,
    "healthcheckTimeout": int,
    "sleepApplication": bool,
    "runtime": str,
    "restartPolicyType": _RESTARTS,
    "restartPolicyMaxRetries": int,
    "cronSchedule": str,
    "region": str,
    "multiRegionConfig": dict,
    "limitOverride": dict,
    "requiredMountPath": str,
    "overlapSeconds": int,
    "drainingSeconds": int,
    "registryCredentials": dict,
    "preDeployTimeoutSeconds": int,
    "ipv6EgressEnabled": bool,
}


def complaints(config: dict[str, Any]) -> list[str]:
    """What Railway would refuse; empty when it is accepted."""
    found = [f"{key}: unknown" for key in config if key not in ("$schema", "build", "deploy", "environments")]
    found += _section("", config)
    for name, environment in config.get("environments", {}).items():
        found += [f"environments.{name}.{key}: unknown" for key in environment if key not in ("build", "deploy")]
        found += _section(f"environments.{name}.", environment)
    return found


def _section(where: str, config: dict[str, Any]) -> list[str]:
    found = []
    for name, known in (("build", BUILD), ("deploy", DEPLOY)):
        for key, value in config.get(name, {}).items():
            if key not in known:
                found.append(f"{where}{name}.{key}: unknown")
            elif not _fits(value, known[key]):
                found.append(f"{where}{name}.{key}: {value!r} does not fit")
    return found


def _fits(value: object, kind: Any) -> bool:
    if isinstance(kind, tuple) and all(isinstance(each, str) for each in kind):
        return value in kind
    if kind is int:  # a bool is an int in Python, and none in JSON
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)
