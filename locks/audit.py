"""Looks up what the image installs in PyPI's advisories: `make check` runs it, and it says how much could be looked up.

Exits 1 where a locked version has a known vulnerability. Without a way to PyPI nothing is known, and nothing fails.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Audit each lock; print one line for each, and one for each vulnerability."""
    return max(audit(lock) for lock in sorted(HERE.glob("*.txt")))


def audit(lock: Path) -> int:
    """Return 1 where something is known against a version in this lock."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "-f", "json", "-r", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"{lock.name}: nothing was looked up, there is no way to PyPI's advisories")
        return 0
    looked_up = [one for one in found if "skip_reason" not in one]
    known = [(one["name"], one["version"], flaw) for one in looked_up for flaw in one["vulns"]]
    print(f"{lock.name}: {len(looked_up)} of {len(found)} looked up, {len(known)} known vulnerabilities")
    for name, version, flaw in known:
        fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
        print(f"  {name} {version}: {flaw['id']}, mended in {fixed}; then: make lock")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
