"""Suite scale: what a run needs that is larger than a machine's memory, or has several processes.

Every other module here but `child` is a part: its `measure(options, say) -> Result` starts the
processes that it measures, writes to `options.scratch` and removes what it wrote. With
`options.smoke` it takes the least sizes, to show that it runs. docs/scale.md has the figures.
"""

from __future__ import annotations

import pkgutil

PARTS = {
    part.name: f"{__name__}.{part.name}"
    for part in pkgutil.iter_modules(__path__)
    if part.name != "child"
}
