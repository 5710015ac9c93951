import * as echarts from 'echarts';
import { machineSentence } from './machine.ts';
import type { Plot } from './measure.ts';
import { metText, type Results, rowsOf } from './results.ts';

const [WIDTH, HEIGHT] = [760, 420];

/** One page that needs nothing else: the table, and the plots as SVG. */
export function reportHtml(results: Results): string {
  const rows = rowsOf(results).map((row) => {
    const cells = [row.measure, row.goal, row.seen, row.command, metText(row)].map(
      (cell) => `<td>${escaped(cell)}</td>`,
    );
    return `<tr class="${row.met === false ? 'missed' : row.met === true ? 'met' : ''}">${cells.join('')}</tr>`;
  });
  const plots = results.measures.flatMap(({ outcome }) => outcome?.plots ?? []);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Lacre: bench of ${escaped(results.at)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #1c1c1c; }
table { border-collapse: collapse; font-size: 14px; }
th, td { border-bottom: 1px solid #ccc; padding: 4px 10px 4px 0; text-align: left; vertical-align: top; }
td:nth-child(4) { font-family: monospace; font-size: 12px; }
.met td:last-child { color: #19692c; } .missed td:last-child { color: #a3121f; font-weight: bold; }
figure { margin: 2em 0; }
</style>
<h1>Lacre ${escaped(results.version)}: bench</h1>
<p>${escaped(results.at)}${results.quick ? ', quick: few rounds' : ''}<br>${escaped(machineSentence(results.machine))}</p>
<p>Method, what is simulated and why: docs/performance.md. Compare figures of one run only.</p>
<table>
<tr><th>measure<th>to reach<th>seen<th>command<th>met?</tr>
${rows.join('\n')}
</table>
${plots.map((plot) => `<figure>${plotSvg(plot)}</figure>`).join('\n')}
</html>
`;
}

/** The plot as one SVG element. */
export function plotSvg({ title, x, y, logX, logY, points }: Plot): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT });
  const names = [...new Set(points.map(({ name }) => name))];
  const axis = (name: string, log: boolean | undefined) => ({
    type: log === true ? ('log' as const) : ('value' as const),
    name,
    nameLocation: 'middle' as const,
    nameGap: 34,
    scale: log === true,
  });
  chart.setOption({
    animation: false,
    title: { text: title, textStyle: { fontSize: 14 } },
    legend: { top: 28 },
    grid: { left: 64, right: 24, top: 64, bottom: 52 },
    xAxis: axis(x, logX),
    yAxis: axis(y, logY),
    series: names.map((name) => ({
      type: 'line' as const,
      name,
      symbolSize: 4,
      data: points.filter((point) => point.name === name).map((point) => [point.x, point.y]),
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
