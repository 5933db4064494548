-- The stylesheet of a report. Series colours are Okabe and Ito's, which colour-blind readers tell
-- apart; on dark they are lighter. The plots read the same variables.
return [[
:root { color-scheme: light dark;
  --paper: #ffffff; --card: #f7f7f5; --ink: #24292f; --soft: #5c6570; --rule: #d9dbd8; --grid: #e3e4e1;
  --best: #006b4f; --note: #8a5300; --note-paper: #fff4dc;
  --s1: #0072b2; --s2: #d55e00; --s3: #009e73; --s4: #b65a92; --s5: #9aa1a8; --s6: #e69f00; --s7: #3a9bd6;
  --s8: #6b5b95; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1c2024; --ink: #e4e6e8; --soft: #9ba4ad; --rule: #343a40; --grid: #2c3238;
  --best: #4fd1a5; --note: #f3c46b; --note-paper: #2b2415;
  --s1: #58b0ea; --s2: #ff8f4a; --s3: #35cf9f; --s4: #e59ac8; --s5: #7d868f; --s6: #f2b53a; --s7: #8fd0f7;
  --s8: #b3a2e0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; font-weight: 650; }
h2 { font-size: 18px; margin: 36px 0 12px; font-weight: 650; }
p { margin: 6px 0; max-width: 82ch; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 16px 0; }
dt { color: var(--soft); }
dd { margin: 0; }
.note { background: var(--note-paper); color: var(--note); padding: 8px 14px; border-radius: 6px;
  margin: 14px 0; max-width: none; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 18px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  padding: 14px 16px 8px; min-width: 0; }
figcaption { margin: 0 0 6px; }
figcaption b { font-weight: 650; }
figcaption span { color: var(--soft); display: block; font-size: 13.5px; }
svg { width: 100%; height: auto; display: block; }
svg text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 60%; }
th, td { padding: 3px 18px 3px 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-right: 28px; }
table:not(.sweep) td:nth-child(2) { color: var(--soft); text-align: left; }
thead th { border-bottom: 2px solid var(--rule); font-weight: 650; padding-bottom: 6px; }
tbody tr.section th { padding-top: 14px; font-weight: 650; border-bottom: 1px solid var(--rule); }
tr.first td { border-top: 1px solid var(--rule); }
td.best { color: var(--best); font-weight: 650; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 7px; }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 14px;
  font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; white-space: pre-wrap; }
footer { color: var(--soft); font-size: 13.5px; margin-top: 32px; }
]]
