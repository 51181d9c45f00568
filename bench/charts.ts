/** The charts, drawn by ECharts: a bar at each median, and a line from the minimum to the maximum. @module */
import * as echarts from "echarts";
import { figureOf, type Results, type Sample, tablesOf } from "./samples.ts";

/** The background is transparent. Each color has a contrast of at least 4 with both #ffffff and #0d1117. */
const COLORS = ["#2e8b57", "#0b8a8f", "#c2571a", "#9065d0", "#c4507f", "#737b86"];
const text = { color: "#737b86" };
const labels = { axisLabel: { ...text, interval: 0 }, nameTextStyle: { ...text, align: "left" } };
const axis = { ...labels, splitLine: { lineStyle: { opacity: 0.3 } } };

/** The section and the columns of each chart, by its file in `docs/`. */
export const CHARTS: Readonly<Record<string, readonly [section: string, columns: readonly string[]]>> = {
  "speed.svg": ["Servers", ["CPU µs", "p99 ms"]],
  "scans.svg": ["Port scans", ["seconds", "CPU s"]],
};

/** Draws columns of the tables of a section, next to each other: figures by table and by program. */
export function drawChart(results: Results, section: string, columns: readonly string[]): string {
  const isShown = ({ figures }: Sample) => columns.every((column) => column in figures);
  const tables = [...tablesOf(results, section)].filter(([, samples]) => samples.some(isShown));
  const programs = [...new Set(tables.flatMap(([, samples]) => samples.map(({ program }) => program)))];
  const spread = (samples: readonly Sample[], program: string, column: string) => {
    const { min, median, max } = figureOf(samples, program, column) ?? {};
    return [min, median, median, median, max]; // a box plot whose box is only its median
  };
  const categories = tables.map(([title]) => title.replace(/ (connections )?(at|and) /, "\n$2 "));
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 920, height: 400 });
  chart.setOption({
    animation: false,
    color: COLORS,
    legend: { top: 5, itemGap: 35, selectedMode: false, textStyle: text },
    grid: columns.map((_, i) => ({ left: 45 + i * 460, width: 400, top: 85, height: 260 })),
    xAxis: columns.map((_, i) => ({ ...axis, gridIndex: i, type: "category", data: categories })),
    yAxis: columns.map((name, i) => ({ ...axis, gridIndex: i, type: name === "CPU µs" ? "value" : "log", name })),
    series: columns.flatMap((column, i) =>
      programs.map((program, j) => ({
        ...{ type: "boxplot", name: program, silent: true, xAxisIndex: i, yAxisIndex: i, boxWidth: [6, 14] },
        itemStyle: { color: "transparent", borderColor: COLORS[j % COLORS.length], borderWidth: 2 },
        data: tables.map(([, samples]) => spread(samples, program, column)),
      }))
    ),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}
