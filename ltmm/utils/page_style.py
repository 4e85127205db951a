"""Style sheet of the HTML pages: the report on runs, the check of data."""

__all__ = ['PAGE_STYLE']

PAGE_STYLE = """
:root { --ink: #1d2733; --soft: #5b6777; --line: #e3e7ed; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #f6f7f9; font: 16px/1.55 system-ui, -apple-system, sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 40px; padding-bottom: 12px; }
h1 { font-size: 32px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.02em; overflow-wrap: anywhere; }
h2 { font-size: 21px; margin: 0 0 12px; letter-spacing: -0.01em; }
h3 { font-size: 15px; margin: 18px 0 6px; overflow-wrap: anywhere; }
header p, .note, small { color: var(--soft); }
.note { font-size: 14px; margin: 8px 0 0; }
section { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px; margin: 16px 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; min-width: 100%; }
th, td { text-align: left; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
thead th { color: var(--soft); font-weight: 500; white-space: nowrap; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; overflow-wrap: anywhere; }
details { margin-top: 12px; }
summary { cursor: pointer; font-weight: 500; }
footer { max-width: 1080px; margin: 0 auto; padding: 8px 20px 40px; color: var(--soft); font-size: 14px; }
@media (max-width: 640px) {
  header, main { padding-left: 12px; padding-right: 12px; }
  section { padding: 16px 14px; }
  h1 { font-size: 25px; }
}
@media print { body { background: white; } section { break-inside: avoid; } }
"""
