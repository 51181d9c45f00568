/**
 * Draws the picture in README: `deno task picture`. It runs the server and the client in pseudo-terminals of 80 columns, in
 * a network namespace whose firewall drops port 80, and writes what a terminal would show to `docs/greeter.svg`.
 *
 * It requires Linux with `unshare`, `ip`, `iptables` and `script`.
 *
 * @module
 */
import { xterm } from "../tests/deps.ts";
import { inNamespace, MAIN } from "../tests/helpers.ts";
import { toolOptions } from "./arguments.ts";

const SERVER = "greeter -p 21='220 ProFTPD 1.3.5 Server (lab)' -p 80,443,8000-8003";
const CLIENT = "greeter connect localhost -p 21,443,8000-8003 -b 80";

const COLUMNS = 80;
const FONT_SIZE_PX = 13;
const CHARACTER_WIDTH_PX = 7.8;
const LINE_HEIGHT_PX = 18;
const PADDING_PX = 14;

/** Colors of a dark terminal, by the number in the escape sequence. They are readable on a light page, too. */
const BACKGROUND = "#0d1117";
const BORDER = "#6e7681";
const FOREGROUND = "#e6edf3";
const PALETTE = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4"];

/** A command in a pseudo-terminal. */
interface Session {
  /** What it has printed so far. */
  output(): string;
  /** Presses Ctrl-C. */
  interrupt(): Promise<void>;
  /** Resolves when it has ended. */
  ended: Promise<void>;
}

function start(command: string): Session {
  const shell = `stty cols ${COLUMNS} rows 50
    greeter() { exec '${Deno.execPath()}' run --allow-net '${MAIN}' "$@"; }
    ${command}`;
  const child = new Deno.Command("script", {
    args: ["-qec", shell, "/dev/null"],
    env: { NO_COLOR: "" },
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  let output = "";
  const collect = async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) output += text;
    await input.close().catch(() => {}); // the program has ended, and its standard input with it
  };
  return {
    output: () => output,
    interrupt: () => input.write(new Uint8Array([3])),
    ended: collect(),
  };
}

/** Draws what a terminal shows after a prompt, a command and its output. Returns SVG elements, and their height. */
async function draw(command: string, output: string, top: number): Promise<{ elements: string[]; bottom: number }> {
  const terminal = new xterm.Terminal({ cols: COLUMNS, rows: 50, allowProposedApi: true });
  await new Promise<void>((resolve) => terminal.write(`$ ${command}\r\n${output}`, resolve));
  const { active } = terminal.buffer;
  const elements: string[] = [];
  const rows = active.baseY + active.cursorY;
  for (let y = 0; y < rows; y++) {
    const line = active.getLine(y);
    /** Neighboring characters of the same style. */
    const runs: { x: number; text: string; style: string }[] = [];
    for (let x = 0; line && x < COLUMNS; x++) {
      const cell = line.getCell(x);
      const text = cell?.getChars() || " ";
      const color = cell?.isFgPalette() ? PALETTE[cell.getFgColor()] : FOREGROUND;
      const style = `fill="${color}"${cell?.isDim() ? ' opacity="0.65"' : ""}`;
      const run = runs.at(-1);
      if (run?.style === style) run.text += text;
      else runs.push({ x, text, style });
    }
    for (const { x, text, style } of runs) {
      const shown = text.trimEnd();
      if (shown === "") continue;
      const left = PADDING_PX + x * CHARACTER_WIDTH_PX;
      const baseline = top + (y + 0.75) * LINE_HEIGHT_PX;
      // The length makes columns align in any monospaced font.
      const length = shown.length * CHARACTER_WIDTH_PX;
      elements.push(
        `<text x="${left.toFixed(1)}" y="${baseline}" textLength="${length.toFixed(1)}" ${style}>${
          escape(shown)
        }</text>`,
      );
    }
  }
  return { elements, bottom: top + rows * LINE_HEIGHT_PX };
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

const OPTIONS = { "in-namespace": { help: "used by this program itself" } };
const isInNamespace = toolOptions(OPTIONS).flag(OPTIONS["in-namespace"]);
const namespace = inNamespace("iptables -A INPUT -p tcp --dport 80 -j DROP");
if (!isInNamespace) {
  if (namespace.ignore) throw new Error("cannot make a network namespace with iptables: run it as root on Linux");
  const [program = "", ...args] = namespace.command;
  const { code } = await new Deno.Command(program, {
    args: [...args, Deno.execPath(), "run", "--allow-all", "--no-lock", import.meta.filename ?? "", "--in-namespace"],
    stdin: "null",
  }).spawn().status;
  Deno.exit(code);
}

const server = start(SERVER);
while (!server.output().includes("Listening")) await new Promise((resolve) => setTimeout(resolve, 10));
const client = start(CLIENT);
await client.ended;
await server.interrupt();
await server.ended;

const width = COLUMNS * CHARACTER_WIDTH_PX + 2 * PADDING_PX;
const above = await draw(SERVER, server.output(), PADDING_PX);
const divider = above.bottom + PADDING_PX;
const below = await draw(CLIENT, client.output(), divider + PADDING_PX);
const height = below.bottom + PADDING_PX;
const svg = [
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
  `  font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"`,
  `  font-size="${FONT_SIZE_PX}" xml:space="preserve">`,
  `<title>greeter in one terminal, and greeter connect in another</title>`,
  `<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="${BACKGROUND}" stroke="${BORDER}"/>`,
  `<line x1="0" y1="${divider}" x2="${width}" y2="${divider}" stroke="${BORDER}"/>`,
  ...above.elements,
  ...below.elements,
  `</svg>`,
];
await Deno.writeTextFile(new URL("../docs/greeter.svg", import.meta.url), `${svg.join("\n")}\n`);
