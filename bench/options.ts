/**
 * The options of the benchmark. An invalid argument ends the process when this module is loaded.
 *
 * @module
 */
import { toolOptions } from "../tools/arguments.ts";
import type { Selection } from "./measurements/all.ts";

const { flag, given } = toolOptions({
  quick: { help: "a short run with few servers" },
  against: { value: "DIRECTORY", repeatable: true, help: "also measure another checkout of greeter" },
  servers: { value: "NAME,...", help: "measure only these servers" },
  scans: { help: "measure only the port scans" },
  report: { help: "measure nothing; write the page and the charts again from results.json" },
});

/** What is measured. */
export const selection: Selection = {
  quick: flag("quick"),
  against: given("against").map(({ text }) => text),
  servers: given("servers")[0]?.text,
  scans: flag("scans"),
};

/** Whether nothing is measured, but the page and the charts are written again. */
export const isReport: boolean = flag("report");

/** Whether everything is measured. Only then are the results written to files. */
export const isWholeRun: boolean = !selection.quick && !selection.scans && selection.servers === undefined &&
  selection.against.length === 0;
