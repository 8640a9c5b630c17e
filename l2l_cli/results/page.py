"""The frame of an HTML report: one page, nothing loaded from elsewhere, readable on a light and a dark screen."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --green: #1a7f37; --red: #c0262d; --yellow: #8a6100; }}
@media (prefers-color-scheme: dark) {{ :root {{ --green: #4ac26b; --red: #ff7b72; --yellow: #d9a93a; }} }}
body {{ font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.2rem; }}
p, li {{ max-width: 46rem; }}
code {{ font-size: 0.9em; background: #8882; padding: 0.1em 0.3em; border-radius: 3px; overflow-wrap: anywhere; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); }}
th {{ border-bottom-width: 2px; white-space: nowrap; }}
.n {{ text-align: right; white-space: nowrap; }}
.green {{ color: var(--green); }}
.red {{ color: var(--red); }}
.yellow {{ color: var(--yellow); }}
.dim {{ opacity: 0.6; }}
.green, .red, .yellow, .dim {{ white-space: nowrap; }}
figure {{ margin: 1.5rem 0; }}
img {{ max-width: 100%; background: white; padding: 0.5rem; box-sizing: border-box; border-radius: 4px; }}
figcaption {{ font-size: 0.85rem; opacity: 0.8; }}
</style></head><body>
{body}
</body></html>
"""
