"""The style sheet of the HTML report: one column, light and dark, readable on a phone."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #fbfbfc; --card: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d9dee4;
  --head: #f1f4f7; --link: #0b5cad; --lead: #eef5fb; --lead-line: #0072b2;
  --good: #005a8f; --good-back: #e1f0fa; --bad: #a03c00; --bad-back: #fdeade;
  --open: #4a525b; --open-back: #eceff2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1c2024; --ink: #e4e8ec; --soft: #9ba5b0; --line: #343b43;
    --head: #242a30; --link: #7cc0f5; --lead: #172632; --lead-line: #56b4e9;
    --good: #8fd0ff; --good-back: #12344c; --bad: #ffb48a; --bad-back: #4a2411;
    --open: #c3cad2; --open-back: #2c333a;
  }
  .sheet { filter: brightness(0.88); }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 72rem; margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 2.5rem) 4rem; }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; margin: 0; }
h2 {
  font-size: 1.4rem; line-height: 1.25; margin: 3rem 0 0.8rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line);
}
h3 { font-size: 1.12rem; margin: 2rem 0 0.6rem; }
h4 { font-size: 1rem; margin: 1.4rem 0 0.5rem; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
.subtitle { color: var(--soft); margin: 0.4rem 0 1.4rem; }
.lead p { max-width: none; margin: 0 0 0.7rem; }
.lead p:last-child { margin: 0; color: var(--soft); font-size: 0.9rem; }
.lead p:only-child { color: inherit; font-size: inherit; }
.lead { background: var(--lead); border-left: 4px solid var(--lead-line);
  border-radius: 0 8px 8px 0; padding: 1rem 1.2rem; margin: 0 0 1.2rem;
}
ul { padding-left: 1.2rem; }
li { margin: 0.5rem 0; max-width: 60rem; }
a { color: var(--link); }
nav ul {
  list-style: none; margin: 0 0 1.6rem; padding: 0; display: flex; flex-wrap: wrap; gap: 0.4rem;
}
nav li { margin: 0; }
nav a {
  display: block; padding: 0.2rem 0.75rem; border: 1px solid var(--line); border-radius: 999px;
  background: var(--card); text-decoration: none; font-size: 0.9rem;
}
nav a:hover, nav a:focus-visible { border-color: var(--link); }
.scroll { overflow-x: auto; margin: 0.8rem 0; border: 1px solid var(--line); border-radius: 8px; }
table {
  border-collapse: separate; border-spacing: 0; width: max-content; min-width: 100%;
  font-size: 0.92rem; background: var(--card);
}
.prose { width: 100%; }
th, td { padding: 0.5rem 0.8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child > * { border-bottom: 0; }
thead th {
  max-width: 9rem; background: var(--head); text-align: right; vertical-align: bottom;
  line-height: 1.3;
}
td { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th[scope=row] {
  font-weight: 600; text-align: left; background: var(--card); position: sticky; left: 0;
  max-width: 27rem;
}
.text { text-align: left; }
td.text { white-space: pre-line; overflow-wrap: break-word; max-width: 21rem; }
.prose td.text { max-width: none; }
.tone { display: inline-block; padding: 0 0.55rem; border-radius: 999px; white-space: nowrap; }
.good .tone { color: var(--good); background: var(--good-back); font-weight: 600; }
.bad .tone { color: var(--bad); background: var(--bad-back); font-weight: 600; }
.open .tone { color: var(--open); background: var(--open-back); }
.note { color: var(--soft); font-size: 0.87rem; margin: 0.3rem 0; max-width: 60rem; }
figure { margin: 1rem 0; }
figcaption { color: var(--soft); font-size: 0.87rem; margin-top: 0.4rem; max-width: 60rem; }
figcaption b { color: var(--ink); }
.sheet {
  overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: 0.5rem;
}
.sheet img { display: block; width: 100%; height: auto; max-width: var(--w); margin: 0 auto; }
.sheet img { min-width: min(var(--w), 29rem); }
.wide img { min-width: min(var(--w), 62rem); }
.pair {
  display: grid; gap: 0 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr));
}
.tiles {
  display: grid; gap: 0.6rem; grid-template-columns: repeat(auto-fill, minmax(7.4rem, 1fr));
}
.tile {
  background: var(--card); border: 3px solid var(--line); border-radius: 8px; padding: 0.35rem;
  font-size: 0.78rem; line-height: 1.35; overflow-wrap: anywhere; text-align: center;
}
.tile img {
  display: block; width: 100%; image-rendering: pixelated; border-radius: 3px;
  margin-bottom: 0.25rem;
}
.tile.good { border-color: #00865f; }
.tile.bad { border-color: #d5482b; border-style: dashed; }
.tile b { display: block; }
.tile span { display: block; }
details {
  margin: 0.8rem 0; border: 1px solid var(--line); border-radius: 8px; background: var(--card);
}
summary { cursor: pointer; padding: 0.55rem 0.9rem; font-weight: 600; }
details > div { padding: 0 0.9rem 0.6rem; }
pre {
  background: var(--head); border-radius: 6px; padding: 0.6rem 0.8rem; margin: 0.5rem 0;
  font: 0.8rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
@media (max-width: 40rem) {
  body { font-size: 15px; }
  main { padding-top: 1.2rem; }
  th, td { padding: 0.4rem 0.55rem; }
  th[scope=row], thead th { max-width: 8.5rem; }
  .tiles { grid-template-columns: repeat(auto-fill, minmax(6.2rem, 1fr)); gap: 0.4rem; }
  .tile { font-size: 0.72rem; }
  .lead { padding: 0.8rem 0.9rem; }
}
.prose th[scope=row] { width: 40%; max-width: none; font-weight: 400; }
@media print { nav { display: none; } details > div { display: block; } }
""".strip()
