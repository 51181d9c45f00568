/**
 * The charts, drawn by ECharts on a white background, so that they are readable on dark pages as well.
 *
 * @module
 */
import * as echarts from "echarts";
import type { Result } from "./results.ts";

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

/** CPU per connection and p99, in two panels each. Servers that fork need a scale of their own. */
export function drawSpeed(results: Result[], subtitle: string): string {
  const forks = ({ name }: Result) => /tcpserver|socat|ncat/.test(name);
  const panels = [
    { title: "CPU, µs per connection", of: (result: Result) => result.speed.get(64)?.cpu ?? NaN },
    { title: "99th percentile of the wait, ms", of: (result: Result) => result.speed.get(64)?.p99 ?? NaN },
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

/** The share of clients that received the whole greeting under each kind of abuse. A dead server has a cross. */
export function drawAbuse(results: Result[], subtitle: string): string {
  const kinds = [...results[0]?.abuse.keys() ?? []];
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
      data: results.map(({ name, abuse }) => ({ name, seen: abuse.get(kind) })).map(({ name, seen }) => ({
        value: seen ? 100 * seen.whole / Math.max(1, seen.clients) : 0,
        itemStyle: { color: name.startsWith("greeter") ? greens : greys },
        label: {
          show: !seen || !seen.alive || seen.wait === null || seen.whole === 0,
          position: seen && seen.whole > 0 ? "insideLeft" as const : "right" as const,
          color: ink,
          formatter: !seen
            ? "not possible"
            : !seen.alive
            ? "✗ dead"
            : seen.whole === 0
            ? "alive, but no greeting is whole"
            : "alive, but does not greet any more",
        },
      })).reverse(),
    })),
  };
  return draw(option, 960, 680);
}
