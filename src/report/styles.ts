/** The page's styles. Series colours are apart in hue and in lightness, so that they differ in grey too. */
export const styles = `
:root{--paper:#fff;--ink:#1c2024;--muted:#687078;--line:#dfe3e6;--soft:#f5f6f7;
--series-1:#0b6bcb;--series-2:#d9730d;--series-3:#2f8a4c;--series-4:#8b4cc8;--series-5:#b8336a;--series-6:#6b7280;
--minus:#c2542d;--zero:#c9ced3;--plus:#2b6cb0;--good:#1a7f45;--bad:#b42318;--even:#57606a}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--muted:#9aa4ad;--line:#31373d;--soft:#1c2126;
--series-1:#5aa9f7;--series-2:#f0a255;--series-3:#6cc788;--series-4:#c39bee;--series-5:#f08bb0;--series-6:#a3acb5;
--minus:#e98a63;--zero:#4b545c;--plus:#6fa8e0;--good:#6cc788;--bad:#ff8f85;--even:#a8b1ba}}
@media print{:root{--paper:#fff;--ink:#000;--muted:#444;--line:#bbb;--soft:#f4f4f4;
--series-1:#0b6bcb;--series-2:#d9730d;--series-3:#2f8a4c;--series-4:#8b4cc8;--series-5:#b8336a;--series-6:#6b7280;
--minus:#c2542d;--zero:#c9ced3;--plus:#2b6cb0;--good:#1a7f45;--bad:#b42318;--even:#444}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:66rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .2rem;overflow-wrap:anywhere}h2{font-size:1.25rem;margin:2.2rem 0 .6rem}h3{font-size:1rem;margin:0 0 .4rem}
header p,.note,figcaption{color:var(--muted);font-size:.9rem}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
thead th{color:var(--muted);font-weight:600}
.comparison th,.comparison td{overflow-wrap:normal}
.comparison thead th:nth-child(n+3):nth-child(-n+5){text-align:right}
.number{text-align:right;font-variant-numeric:tabular-nums}
.category{background:var(--soft)}
.arrow{color:var(--muted)}
.word{white-space:nowrap;font-weight:600}
.major-win,.win{color:var(--good)}.minor-gap,.needs-improvement,.significant-deficiency{color:var(--bad)}
.parity,.within-noise,.not-compared{color:var(--even)}
figure{margin:1.6rem 0;break-inside:avoid}
figure svg{display:block;max-width:100%;height:auto}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .label{fill:var(--muted)}
svg .grid{stroke:var(--line);stroke-width:1}
.narrow{display:none}
pre{background:var(--soft);padding:.8rem;overflow-x:auto;font-size:.8rem}
details{margin-top:.8rem}summary{cursor:pointer}
@media (min-width:701px){.comparison .number{white-space:nowrap}}
@media screen and (max-width:700px){
main{padding:1rem .8rem 3rem}.wide{display:none}.narrow{display:block}
.comparison thead{position:absolute;clip-path:inset(50%)}
.comparison,.comparison tbody,.comparison tr,.comparison th,.comparison td{display:block}
.comparison tr{border-bottom:1px solid var(--line);padding:.4rem 0}
.comparison td{border:0;padding:.1rem .2rem;text-align:right;display:flex;justify-content:space-between;gap:1rem}
.comparison td::before{content:attr(data-label);color:var(--muted);text-align:left}
.comparison .category{border:0;padding:.4rem .5rem;margin:.4rem 0}}
@media print{main{max-width:none;padding:0}details{display:none}.wide{display:block}.narrow{display:none}h2{break-after:avoid}td{break-inside:avoid}}
`;
