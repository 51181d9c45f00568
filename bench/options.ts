/**
 * The options of the benchmark. An invalid argument ends the process when this module is loaded.
 *
 * @module
 */
import type { OptionTable } from "../cli/args.ts";
import { anyText } from "../cli/values.ts";
import { toolOptions } from "../tools/arguments.ts";
import type { Selection } from "./measurements/all.ts";

const OPTIONS = {
  quick: { help: "a short run with few servers" },
  against: { value: "DIRECTORY", repeatable: true, help: "also measure another checkout of greeter", check: anyText },
  servers: { value: "NAME,...", help: "measure only these servers", check: anyText },
  scans: { help: "measure only the port scans" },
  report: { help: "measure nothing; regenerate the page and the charts from results.json" },
} as const satisfies OptionTable;
const { flag, one, all } = toolOptions(OPTIONS);

/** What is measured. */
export const selection: Selection = {
  quick: flag(OPTIONS.quick),
  against: all(OPTIONS.against),
  servers: one(OPTIONS.servers),
  scans: flag(OPTIONS.scans),
};

/** Whether nothing is measured, and the page and the charts are only regenerated. */
export const isReport: boolean = flag(OPTIONS.report);

/** Whether everything is measured. Only then are the results written to files. */
export const isWholeRun: boolean = !selection.quick && !selection.scans && selection.servers === undefined &&
  selection.against.length === 0;
