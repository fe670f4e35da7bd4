#!/usr/bin/env python3
"""Prints docs/configuration.md, which is made from the table of keys in novakey/config/settings.py."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from novakey.config.settings import SECTIONS, keys

HEAD = """\
# Configuration

Made from `novakey/config/settings.py`; after a change there:

```sh
python3 docs/make_configuration.py > docs/configuration.md
```

The daemon runs without a configuration. It reads, in this order of precedence:

1. variables of the environment: the key in capitals behind `NOVAKEY_` (`NOVAKEY_ARM_DURATION_MS=5000`;
   lists with commas);
2. the file given with `--config`, else named by `NOVAKEY_CONFIG`, else `novakey.yaml`, `novakey.yml` or
   `novakey.json` in the configuration folder.

Unknown keys, wrong types and values out of range are errors: all of them are reported at once, with file,
line and key, and the daemon does not start (exit code 2). [`conf/novakey.yaml`](../conf/novakey.yaml) has
every key with its default.

```sh
python3 novakey.py config check
python3 novakey.py config show
```

For example, a machine on which one step on the phone is enough, and secrets go into browsers and terminals
only:

```yaml
two_man_enabled: false
target_policy_enabled: true
use_built_in_allowlist: true
```

Variables that are not keys: `NOVAKEY_CONFIG`; `NOVAKEY_DATA_DIR` (as `--data-dir`);
`NOVAKEY_PASSPHRASE_FILE` (see [pairing](daemon/pairing.md#where-keys-are-kept)); `NOVAKEY_NO_BOOTSTRAP=1`
(never install packages).
"""


def page() -> str:
    """Return the whole page."""
    lines = HEAD.splitlines()
    for name, key in keys().items():
        if name in SECTIONS:
            title = SECTIONS[name]
            lines += ["", f"## {title[0].upper()}{title[1:]}", ""]
            lines += ["| key | default | allowed | meaning, and when to change it |"]
            lines += ["| --- | --- | --- | --- |"]
        value = key.default
        shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        lines.append(f"| `{name}` | `{shown}` | {key.allowed} | {key.means} {key.when} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
