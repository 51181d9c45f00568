/**
 * The charts, drawn by ECharts. The background is transparent, and all colors are readable on light and dark pages.
 *
 * @module
 */
import * as echarts from "echarts";
import type { Results, ScanResult, ServerResult } from "../results.ts";
import { digits, whole } from "./markdown.ts";

// Each has a contrast of at least 4 with both #ffffff and #0d1117.
const TEXT = "#737b86";
const GREEN = "#2e8b57";
const TEAL = "#0b8a8f";
const ORANGE = "#c2571a";
const VIOLET = "#9065d0";
const GRID = "rgba(128, 128, 128, 0.3)";

/** The servers in the chart, and how their lines look. The others are too slow for its scale. */
const LINES: Record<string, { color: string; symbol: string; width: number }> = {
  "greeter (deno run)": { color: GREEN, symbol: "circle", width: 4 },
  "minimal Deno loop": { color: TEAL, symbol: "diamond", width: 2 },
  "textbook Deno": { color: ORANGE, symbol: "triangle", width: 2 },
  "Node's net": { color: VIOLET, symbol: "rect", width: 2 },
  "C loop": { color: TEXT, symbol: "circle", width: 2 },
};

function draw(option: echarts.EChartsOption, width: number, height: number): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ backgroundColor: "transparent", animation: false, textStyle: { color: TEXT }, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

function heading(text: string, subtext: string) {
  return { text, subtext, left: "center", textStyle: { color: TEXT, fontSize: 16 }, subtextStyle: { color: TEXT } };
}

function subtitle({ machine, day }: Results): string {
  return `${machine.split(",")[0]}, ${day}`;
}

const axisStyle = {
  axisLabel: { color: TEXT },
  nameTextStyle: { color: TEXT },
  axisLine: { lineStyle: { color: TEXT } },
  splitLine: { lineStyle: { color: GRID } },
};

/** The 99th percentile of the wait, and the processor time per connection, by the number of connections at once. */
export function drawSpeed(results: Results): string {
  const servers = results.servers.filter(({ name }) => name in LINES);
  const levels = Object.keys(servers[0]?.speed ?? {});
  const p99 = ({ speed }: ServerResult, level: string) => {
    const { [level]: seen } = speed;
    return seen && seen.whole > 0 ? seen.p99 : null;
  };
  const cpu = ({ speed }: ServerResult, level: string) => speed[level]?.cpu ?? null;
  const panels = [
    { title: "99th percentile of the wait, ms (log scale)", type: "log" as const, of: p99 },
    { title: "processor time per connection, µs", type: "value" as const, of: cpu },
  ];
  const place = (i: number) => ({ left: 55 + i * 450, width: 380, top: 130, height: 260 });
  return draw(
    {
      title: heading("Connections at once: lower is better", subtitle(results)),
      legend: { top: 64, selectedMode: false, textStyle: { color: TEXT }, itemGap: 20 },
      grid: panels.map((_, i) => place(i)),
      xAxis: panels.map((_, i) => ({
        ...axisStyle,
        gridIndex: i,
        type: "category",
        data: levels.map((level) => whole(Number(level))),
        name: "connections at once",
        nameLocation: "middle",
        nameGap: 28,
        splitLine: { show: false },
      })),
      yAxis: panels.map(({ title, type }, i) => ({
        ...axisStyle,
        gridIndex: i,
        type,
        name: title,
        nameTextStyle: { color: TEXT, align: "left", padding: [0, 0, 0, -35] },
      })),
      series: panels.flatMap(({ of }, i) =>
        servers.map((server) => {
          const { color, symbol, width } = LINES[server.name] ?? { color: TEXT, symbol: "circle", width: 2 };
          return {
            type: "line" as const,
            silent: true,
            name: server.name,
            ...{ xAxisIndex: i, yAxisIndex: i, symbol, symbolSize: 8, color, lineStyle: { width } },
            data: levels.map((level) => of(server, level)),
          };
        })
      ),
    },
    920,
    445,
  );
}

function scanTitle({ ports, dropped }: ScanResult): string {
  return dropped > 0
    ? `seconds for ${whole(ports - dropped)} open ports and ${whole(dropped)} dropped ones`
    : `seconds for ${whole(ports)} open ports`;
}

/** How long each scanner takes. The panels have the same scale. */
export function drawScans(results: Results): string {
  const { scans } = results;
  const names = Object.keys(scans[0]?.scans ?? {}).reverse();
  const longest = Math.max(...scans.flatMap(({ scans }) => Object.values(scans).map(({ seconds }) => seconds)));
  const step = 10 ** Math.floor(Math.log10(longest)) / 2;
  const label = ({ ports, dropped, scans }: ScanResult, name: string) => {
    const { [name]: scan } = scans;
    if (!scan || scan.open === 0) return "failed";
    const open = ports - dropped;
    const found = scan.open < open ? `, finds ${whole(scan.open)} of ${whole(open)}` : "";
    return `${digits(scan.seconds, 1)} s${found}`;
  };
  const width = scans.length > 1 ? 300 : 620;
  return draw(
    {
      title: heading("Port scans: lower is better", subtitle(results)),
      grid: scans.map((_, i) => ({ left: 210 + i * 360, top: 65, width, height: names.length * 36 })),
      xAxis: scans.map((result, i) => ({
        ...axisStyle,
        gridIndex: i,
        type: "value",
        min: 0,
        max: Math.ceil(1.15 * longest / step) * step,
        name: scanTitle(result),
        nameLocation: "middle",
        nameGap: 28,
      })),
      yAxis: scans.map((_, i) => ({
        ...axisStyle,
        gridIndex: i,
        type: "category",
        data: names,
        axisLabel: { color: TEXT, show: i === 0 },
        axisTick: { show: false },
      })),
      series: scans.map((result, i) => ({
        type: "bar",
        silent: true,
        ...{ xAxisIndex: i, yAxisIndex: i, barWidth: 20 },
        data: names.map((name) => ({
          value: result.scans[name]?.seconds ?? 0,
          itemStyle: { color: name.startsWith("greeter") ? GREEN : TEXT },
          label: { show: true, position: "right" as const, color: TEXT, formatter: label(result, name) },
        })),
      })),
    },
    920,
    130 + names.length * 36,
  );
}
