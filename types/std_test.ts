import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import bench from "../bench/deno.json" with { type: "json" };
import config from "../deno.json" with { type: "json" };
import { run } from "../tests/helpers/processes.ts";

/** The names that std.d.ts declares, by module. */
function declaredNames(): Map<string, string[]> {
  const text = Deno.readTextFileSync(`${import.meta.dirname}/std.d.ts`);
  return new Map(
    [...text.matchAll(/^declare module "([^"]+)" \{\n([^]*?)^\}/gm)].map(([, name = "", body = ""]) => [
      name,
      [...body.matchAll(/^ {2}export function (\w+)/gm)].map(([, name = ""]) => name),
    ]),
  );
}

Deno.test("std.d.ts declares only what the modules of the standard library export", async () => {
  const imports: Record<string, string> = { ...bench.imports, ...config.imports };
  const declared = declaredNames();
  assert(declared.size > 0);
  for (const [module, names] of declared) {
    const exported: Record<string, unknown> = await import(imports[module] ?? module);
    assertEquals(names.filter((name) => typeof exported[name] !== "function"), [], module);
    assert(names.length > 0, module);
  }
});

Deno.test("std.d.ts covers every module of the standard library in the import maps", () => {
  const modules = [config, bench].flatMap(({ imports }) => Object.keys(imports)).filter((name) =>
    name.startsWith("@std")
  );
  assertEquals(new Set(modules), new Set(declaredNames().keys()));
});

Deno.test("deno check rejects wrong arguments of assertions", async () => {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, `import { assertEquals } from "@std/assert";\nassertEquals("a", 1, 2, 3, 4);\n`);
  const command = [Deno.execPath(), "check", "--config", `${import.meta.dirname}/../deno.json`, file];
  const { code, stderr } = await run(command);
  assertEquals(code, 1);
  assertStringIncludes(stderr, "TS2554");
  await Deno.remove(file);
});
