// Charts are 340 units wide, as a phone's column is, so that their text is as large as the page's.
#include "eval/report_style.h"

namespace dure {

const char* const kReportStyle = R"(
:root{color-scheme:light dark;--ink:#1b1d21;--soft:#5b606b;--paper:#f7f7f4;--card:#fff;--edge:#dfdfd8;--shade:#56b4e9;--good:#00735a;--bad:#b04a00;
--s0:#6b7280;--s1:#0072b2;--s2:#c75300;--s3:#00805f;--s4:#a8518b;--s5:#8a6d00;--s6:#1f8fc4;--s7:#444b57}
@media(prefers-color-scheme:dark){:root{--ink:#e9e9e5;--soft:#a8adb8;--paper:#15171a;--card:#1d2024;--edge:#343940;--shade:#2b7fae;--good:#4cc9a0;--bad:#f0955a;
--s0:#a3aab6;--s1:#62b4ec;--s2:#f29150;--s3:#3fc79b;--s4:#dd98c4;--s5:#e3c04a;--s6:#8fd0f5;--s7:#cbd0d9}}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{font:16px/1.5 system-ui,-apple-system,"Segoe UI","Noto Sans","Noto Sans CJK KR",sans-serif;color:var(--ink);background:var(--paper);max-width:1180px;margin:0 auto;padding:1.5rem 1rem 3rem;overflow-wrap:break-word}
h1{font-size:1.7rem;line-height:1.2;margin:0}h2{font-size:1.3rem;margin:2.6rem 0 .5rem;padding-top:.8rem;border-top:1px solid var(--edge)}h3{font-size:1.05rem;margin:1.3rem 0 .4rem}
p{margin:.3rem 0 .9rem;max-width:75ch}.about,nav,.note,.unit,small,.what{color:var(--soft)}.grid+p{margin-top:.8rem}.lead{font-size:1.15rem;margin:.6rem 0 1rem}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.2rem 0 1rem}nav a{color:inherit;padding:.3rem 0}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:1rem}.hero{align-items:start}.beside{display:flex;flex-wrap:wrap;gap:0 1.5rem}.beside>div{min-width:0;max-width:100%}.grid.small{grid-template-columns:repeat(auto-fill,minmax(min(100%,255px),1fr))}
figure,.card,.facts{margin:0;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:.6rem .5rem;min-width:0}.card,.facts{padding:.7rem .8rem}
figcaption{font-weight:600}.unit{font-weight:400}.note,small,.unit,.what,.legend,.about{font-size:14px}.note{margin:.3rem 0 0;line-height:1.4}
.legend{display:flex;flex-wrap:wrap;gap:0 1rem}.legend span{display:inline-flex;align-items:center;gap:.4rem}
svg{display:block;width:100%;height:auto;font-size:14.7px}svg.key{width:30px;height:14px;flex:none}svg.dot{width:14px;height:14px;flex:none}svg text{fill:var(--soft);paint-order:stroke;stroke:var(--card);stroke-width:3px}svg text.ink{fill:var(--ink)}
line.grid{stroke:var(--edge)}
.s0{--c:var(--s0)}.s1{--c:var(--s1)}.s2{--c:var(--s2)}.s3{--c:var(--s3)}.s4{--c:var(--s4)}.s5{--c:var(--s5)}.s6{--c:var(--s6)}.s7{--c:var(--s7)}
polyline{fill:none;stroke:var(--c);stroke-linejoin:round}.line{stroke-width:2.2;stroke-linecap:round}.raw{stroke-width:1;opacity:.38}.band{fill:var(--c);opacity:.25}
.shape{fill:var(--c);stroke:var(--card);stroke-width:1}.bar{fill:var(--c)}.whisker{fill:none;stroke:var(--c);stroke-width:2}.whisker.on{stroke:var(--ink)}
.wide{overflow-x:auto;width:fit-content;max-width:100%;margin:0 0 1rem;border:1px solid var(--edge);border-radius:8px;background:var(--card)}.grid .wide{margin:0}.hero td small{display:block}td,th,dd,summary,pre,h3,figcaption{unicode-bidi:isolate}.grid section{min-width:0}.grid section h3{margin-top:.4rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:100%}th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid var(--edge)}td{white-space:nowrap}tbody tr:last-child>*{border-bottom:0}
th:first-child{text-align:left;position:sticky;left:0;background:var(--card)}tbody th{font-weight:500}thead th{font-weight:600;border-bottom:2px solid var(--edge)}.heat th,.heat td{padding:.3rem .38rem;font-size:15px}
dl{margin:0}dl div{display:flex;gap:.8rem;padding:.2rem 0;border-top:1px solid var(--edge)}dl div:first-child{border-top:0}dt{color:var(--soft);flex:0 0 7.2rem;font-size:15px}dd{margin:0;min-width:0;overflow-wrap:anywhere;font-size:15px}.facts h3{margin:0 0 .3rem}
pre{font:14px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere;margin:.25rem 0}pre.ask{font-size:15px;font-weight:600}
pre.think{color:var(--soft);border-left:3px solid var(--edge);padding-left:.6rem}pre.settings{max-height:30rem;overflow:auto}code{font:14px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.answer{border-left:4px solid var(--good);padding:.1rem 0 .1rem .7rem;margin:.6rem 0}.answer.wrong{border-left:4px dashed var(--bad)}.who{font-size:14px;color:var(--good)}.wrong .who{color:var(--bad)}.who b{color:var(--ink)}
pre.said{font-weight:600}.blank{margin:.2rem 0;font-style:italic;color:var(--soft);font-size:15px}.expected{font-size:14px;color:var(--soft)}summary{cursor:pointer;color:var(--soft);padding:.35rem 0;font-size:15px}
@media(min-width:760px){body{padding:2rem 2rem 4rem}}@media(max-width:600px){td small{display:block}th,td{padding:.3rem .45rem}h1{font-size:1.45rem}.grid+p{margin-top:.8rem}.lead{font-size:1.05rem}.heat th,.heat td{font-size:14px}dt{flex-basis:6.2rem}}
@media(max-width:380px){svg{font-size:15.6px}}@media(max-width:340px){svg{font-size:17.8px}}
@media print{body{max-width:none;background:#fff}figure,.card,.facts{break-inside:avoid}nav{display:none}}
)";

}  // namespace dure
