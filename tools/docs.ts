/**
 * Writes what the documentation has from the code, such as usages and tables: `deno task docs`. With `--check`, writes
 * nothing, and exits 1 if that would change a file.
 *
 * Each block is in its page between `<!-- begin: NAME -->` and `<!-- end -->`. Tables are padded as `deno fmt` does it.
 *
 * @module
 */
import type { OptionTable } from "../cli/args.ts";
import { CONNECT_OPTIONS, connectHelp } from "../cli/connect/command.ts";
import { EXIT_STATUSES } from "../cli/exit_status.ts";
import { SERVE_OPTIONS, serveHelp } from "../cli/serve/command.ts";
import { isAsExpected } from "../client/port_check.ts";
import {
  type Expectation,
  EXPECTATION_MEANINGS,
  EXPECTATIONS,
  PROBE_STATES,
  REASON_MEANINGS,
  REASONS,
  STATE_MEANINGS,
} from "../client/results.ts";
import { toolOptions } from "./arguments.ts";

/** The options of the expectations. */
const OPTION_OF = {
  greeted: CONNECT_OPTIONS.port,
  open: CONNECT_OPTIONS.open,
  blocked: CONNECT_OPTIONS.blocked,
} as const satisfies Record<Expectation, unknown>;

/** The blocks of each page, by name. */
const PAGES: Record<string, Record<string, string>> = {
  "docs/manual.md": {
    "exit statuses": exitStatuses(),
    "usage of greeter": codeBlock(serveHelp()),
    "limits of greeter": limits(SERVE_OPTIONS),
    "usage of greeter connect": codeBlock(connectHelp()),
    "expectations": table(
      ["option", "the port must"],
      EXPECTATIONS.map((each) => [
        `\`-${OPTION_OF[each].short} ${OPTION_OF[each].value}\``,
        EXPECTATION_MEANINGS[each],
      ]),
    ),
    "states": states(),
    "limits of greeter connect": limits(CONNECT_OPTIONS),
  },
  "docs/blocked-ports.md": { "reasons": reasons() },
  "docs/design.md": { "minimal server": codeBlock(await minimalServer(), "ts ignore") },
  "docs/module.md": {
    "expectations": table(
      ["property", "the ports must", "states that pass"],
      EXPECTATIONS.map((each) => [
        `\`${each}\``,
        EXPECTATION_MEANINGS[each],
        PROBE_STATES.filter((state) => isAsExpected(each, state)).map((state) => `\`${state}\``).join(", "),
      ]),
    ),
  },
};

function codeBlock(text: string, language = ""): string {
  return `\`\`\`${language}\n${text}\n\`\`\``;
}

async function minimalServer(): Promise<string> {
  return (await Deno.readTextFile(new URL("../bench/peers/minimal.ts", import.meta.url))).trimEnd();
}

function table(header: string[], rows: string[][]): string {
  const widths = header.map((_, i) => Math.max(...[header, ...rows].map((cells) => cells[i]?.length ?? 0)));
  const line = (cells: string[]) => `| ${widths.map((width, i) => (cells[i] ?? "").padEnd(width)).join(" | ")} |`;
  return [header, widths.map((width) => "-".repeat(width)), ...rows].map(line).join("\n");
}

function exitStatuses(): string {
  const rows = EXIT_STATUSES.map(({ statuses, serve, connect }) => [statuses.join(", "), serve, connect]);
  return table(["exit status", "`greeter`", "`greeter connect`"], rows);
}

/** The options whose value is a number. */
function limits(options: OptionTable): string {
  const rows = Object.entries(options).flatMap(([name, option]) => {
    if (option.value === undefined || option.check.range === undefined) return [];
    if (option.limit === undefined) throw new Error(`--${name} does not say what it limits`);
    return [[`\`--${name}\``, option.limit, `${option.default ?? "none"}`, option.check.range.join(" to ")]];
  });
  return table(["option", "limit", "default", "range"], rows);
}

function states(): string {
  const header = ["state", "meaning", ...EXPECTATIONS.map((each) => `\`-${OPTION_OF[each].short}\``), "in `nmap -sT`"];
  const rows = PROBE_STATES.map((state) => {
    const { meaning, expectations, nmap } = STATE_MEANINGS[state];
    const verdict = (each: Expectation) => isAsExpected(each, state) ? "pass" : "fail";
    const verdicts = EXPECTATIONS.map((each) => expectations.includes(each) ? verdict(each) : "");
    return [`\`${state}\``, meaning, ...verdicts, nmap];
  });
  return table(header, rows);
}

/** Why a blocked port does not pass, as in the field `reason`. */
function reasons(): string {
  const rows = REASONS.map((reason) => {
    const { ok, meaning, advice } = REASON_MEANINGS[reason];
    const says = ok === null ? "not judged" : ["reached", "other_state"].includes(reason) ? "expected" : "not proven";
    return [`\`${reason}\``, `\`${says}\``, meaning, advice];
  });
  return table(["`reason`", "the line says", "meaning", "what to do"], rows);
}

const ARGUMENTS = { check: { help: "change no file; exit 1 if one is out of date" } };
const isCheck = toolOptions(ARGUMENTS).flag(ARGUMENTS.check);
let isCurrent = true;
for (const [page, blocks] of Object.entries(PAGES)) {
  const before = await Deno.readTextFile(page);
  let after = before;
  for (const [name, text] of Object.entries(blocks)) {
    const [begin, end] = [`<!-- begin: ${name} -->\n`, "\n<!-- end -->\n"];
    const [head = "", rest, ...others] = after.split(begin);
    const [old, ...tail] = rest?.split(end) ?? [];
    if (old === undefined || tail.length === 0) throw new Error(`${page} has no block "${name}"`);
    if (others.length > 0) throw new Error(`${page} has two blocks "${name}"`);
    const block = `\n${text}\n`;
    if (isCheck && old !== block) console.error(`${page}: "${name}" is out of date; run deno task docs`);
    after = head + begin + [block, ...tail].join(end);
  }
  if (after === before) continue;
  isCurrent = false;
  if (!isCheck) await Deno.writeTextFile(page, after);
}
if (isCheck && !isCurrent) Deno.exit(1);
