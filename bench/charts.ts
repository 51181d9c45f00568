/**
 * The pictures, drawn by ECharts on white, so that they can be read on a dark page as well.
 *
 * @module
 */
import * as echarts from "echarts";
import type { Result } from "./bench.ts";

const ink = "#333333";
const greens = "#2e8b57";
const greys = "#9aa5b1";

function draw(option: echarts.EChartsOption, width: number, height: number): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ backgroundColor: "#ffffff", animation: false, textStyle: { color: ink }, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** CPU a connection and p99, in two panels each: those in one process, and those that fork, which need a scale of their own. */
export function drawSpeed(results: Result[], subtitle: string): string {
  const forks = ({ name }: Result) => /tcpserver|socat|ncat/.test(name);
  const panels = [
    { title: "CPU, µs a connection", of: (result: Result) => result.speed[64].cpu },
    { title: "99th percentile of the wait, ms", of: (result: Result) => result.speed[64].p99 },
  ].flatMap(({ title, of }) => [
    { title, of, rows: results.filter((result) => !forks(result)).reverse() },
    { title, of, rows: results.filter(forks).reverse() },
  ]).filter(({ rows }) => rows.length > 0);
  const option: echarts.EChartsOption = {
    title: { text: "64 connections at once: less is better", subtext: subtitle, left: "center" },
    grid: panels.map((_, i) => ({
      left: i < panels.length / 2 ? 130 : 570,
      top: i % 2 === 0 ? 70 : 330,
      width: 290,
      height: i % 2 === 0 ? 200 : 90,
    })),
    xAxis: panels.map(({ title }, i) => ({
      gridIndex: i,
      type: "value",
      min: 0,
      name: title,
      nameLocation: "middle",
      nameGap: 26,
      axisLabel: { color: ink },
      nameTextStyle: { color: ink },
    })),
    yAxis: panels.map(({ rows }, i) => ({
      gridIndex: i,
      type: "category",
      data: rows.map(({ name }) => name),
      axisLabel: { color: ink },
    })),
    series: panels.map(({ rows, of }, i) => ({
      type: "bar",
      xAxisIndex: i,
      yAxisIndex: i,
      label: { show: true, position: "right", color: ink },
      data: rows.map((result) => ({
        value: Number(of(result).toPrecision(3)),
        itemStyle: { color: result.name.startsWith("greeter") ? greens : greys },
      })),
    })),
  };
  return draw(option, 920, 470);
}

/** The share of clients that got their whole greeting, under each abuse; what died has a cross. */
export function drawAbuse(results: Result[], subtitle: string): string {
  const kinds = Object.keys(results[0].abuse);
  const option: echarts.EChartsOption = {
    title: { text: "Greetings that arrived whole, %: more is better", subtext: subtitle, left: "center" },
    grid: kinds.map((_, i) => ({
      left: 130 + (i % 3) * 270,
      top: 90 + Math.floor(i / 3) * 290,
      width: 220,
      height: 220,
    })),
    xAxis: kinds.map((kind, i) => ({
      gridIndex: i,
      type: "value",
      min: 0,
      max: 100,
      name: `${kind}, %`,
      nameLocation: "middle",
      nameGap: 26,
      axisLabel: { color: ink },
      nameTextStyle: { color: ink },
    })),
    yAxis: kinds.map((_, i) => ({
      gridIndex: i,
      type: "category",
      data: results.map(({ name }) => name).reverse(),
      axisLabel: { color: ink, show: i % 3 === 0 },
    })),
    series: kinds.map((kind, i) => ({
      type: "bar",
      xAxisIndex: i,
      yAxisIndex: i,
      data: results.map(({ name, abuse: { [kind]: seen } }) => ({
        value: seen ? 100 * seen.whole / Math.max(1, seen.clients) : 0,
        itemStyle: { color: name.startsWith("greeter") ? greens : greys },
        label: {
          show: !seen || !seen.alive || seen.wait === null || seen.whole === 0,
          position: seen && seen.whole > 0 ? "insideLeft" as const : "right" as const,
          color: ink,
          formatter: !seen
            ? "can't send it"
            : !seen.alive
            ? "✗ dead"
            : seen.whole === 0
            ? "alive, greets nobody"
            : "then greets nobody any more",
        },
      })).reverse(),
    })),
  };
  return draw(option, 960, 680);
}
