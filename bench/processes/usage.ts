/**
 * Runs a command, and measures what it uses.
 *
 * @module
 */
import { compileC, onClientCore, workDirectory } from "./programs.ts";

/** What a command has used, and what it has printed. */
export interface Usage {
  /** From start to exit, in seconds. */
  seconds: number;
  /** The processor time, in seconds. */
  cpu: number;
  /** The peak of its resident memory, in bytes. */
  memory: number;
  stdout: string;
  stderr: string;
}

let wrapper: Promise<string> | undefined;

/** Runs a command on the clients' core; `enter` are the words before it that run it in a network namespace. */
export async function measureCommand(command: readonly string[], enter: readonly string[] = []): Promise<Usage> {
  wrapper ??= compileC(new URL("usage.c", import.meta.url));
  const file = `${workDirectory}/usage.json`;
  const [program = "", ...args] = [...enter, ...onClientCore, await wrapper, file, ...command];
  const { stdout, stderr } = await new Deno.Command(program, { args }).output();
  const used: Pick<Usage, "seconds" | "cpu" | "memory"> = JSON.parse(await Deno.readTextFile(file));
  return { ...used, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}
