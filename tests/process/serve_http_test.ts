/**
 * Tests of `greeter --http` with HTTP clients: each receives the whole answer after it has sent its request, or a clean end.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { greetingFrom, readBytes, receive } from "../helpers/clients.ts";
import { needs } from "../helpers/needs.ts";
import { freePorts } from "../helpers/ports.ts";
import { GREETER, LOCAL, portOf, type Process, ROOT, run, spawn, stop } from "../helpers/processes.ts";
import { DEADLINE_MS, delay, sometimes, until } from "../helpers/waiting.ts";

const BODY = "Thank you for connecting to the server.\r\n";

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 41\r\n" +
  `Connection: close\r\n\r\n${BODY}`;

const GET = "GET / HTTP/1.1\r\nHost: lab\r\n\r\n";

/** A server with `--http`. */
async function start(...options: string[]): Promise<{ greeter: Process; port: number; url: string }> {
  const greeter = spawn([...GREETER, ...LOCAL, "--http", ...options]);
  const port = await portOf(greeter);
  return { greeter, port, url: `http://127.0.0.1:${port}/` };
}

const connect = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });

/** Sends text, which may be long. */
async function send(conn: Deno.Conn, text: string) {
  const bytes = new TextEncoder().encode(text);
  for (let n = 0; n < bytes.length;) n += await conn.write(bytes.subarray(n));
}

/** Sends a request after `ms` milliseconds, and reads the answer. Fails if a byte arrives before that. */
async function askAfter(port: number, ms: number, request = GET): Promise<string> {
  const conn = await connect(port);
  const first = readBytes(conn, 1);
  const early = await Promise.race([first.then(() => "a byte before the request"), delay(ms)]);
  assertEquals(early, undefined);
  await send(conn, request);
  return new TextDecoder().decode(await first) + new TextDecoder().decode(await receive(conn));
}

Deno.test("greeter --http sends no byte before the request of 200 clients, each of which is late", async () => {
  const { greeter, port } = await start("-t", "600");
  await using _greeter = greeter;
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => askAfter(port, i)));
  assertEquals(answers, Array(200).fill(ANSWER));
});

Deno.test("greeter --http answers a client that says nothing after 1 s, or after half of --timeout", async () => {
  for (const [timeout, wait] of [["3600", 1000], ["0.6", 300]] as const) {
    const { greeter, port } = await start("-t", timeout);
    await using _greeter = greeter;
    const started = performance.now();
    assertEquals(await greetingFrom(port), ANSWER);
    const waited = performance.now() - started;
    assert(waited >= wait - 1, `answered after ${waited} ms`);
  }
});

/** How long 9 requests take, one after the other: the median, in milliseconds. */
async function medianTime(ports: number[], request: string): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 9; i++) {
    const started = performance.now();
    assertEquals(await askAfter(ports[(i * 11) % ports.length] ?? 0, 0, request), ANSWER);
    times.push(performance.now() - started);
  }
  return times.sort((a, b) => a - b)[4] ?? Infinity;
}

Deno.test("greeter --http: 1,000 silent clients do not delay another one, on one port and on 100", async () => {
  for (const count of [1, 100]) {
    const ports = freePorts(count);
    await using greeter = spawn([
      ...GREETER,
      "-H",
      "127.0.0.1",
      "-p",
      ports.join(),
      "--http",
      "-t",
      "600",
      "-m",
      "2000",
    ]);
    await until(() => greeter.output.stdout.includes("\n"));
    const alone = await medianTime(ports, GET);
    const silent = await Promise.all(Array.from({ length: 1000 }, (_, i) => connect(ports[i % count] ?? 0)));
    const among = await medianTime(ports, GET);
    // Silent clients are answered after 1 s.
    assert(among - alone < 900, `${among} ms instead of ${alone} ms`);
    // They are answered later, all of them.
    for (const conn of silent) assertEquals((await receive(conn)).length, ANSWER.length);
  }
});

Deno.test("greeter --http answers requests of many kinds completely, and resets no connection", async () => {
  const { greeter, port } = await start();
  await using _greeter = greeter;
  const header = "Host: lab\r\nContent-Length: ";
  const requests = [
    GET,
    "G",
    "HEAD / HTTP/1.1\r\nHost: lab\r\n\r\n",
    `${GET}${GET}${GET}`,
    `POST / HTTP/1.1\r\n${header}7\r\n\r\na=1&b=2`,
    `POST / HTTP/1.1\r\n${header}7\r\nExpect: 100-continue\r\n\r\n`,
    `POST / HTTP/1.1\r\n${header}1000000\r\n\r\n${"x".repeat(1_000_000)}`,
    `GET / HTTP/1.1\r\nCookie: ${"x".repeat(100_000)}\r\n\r\n`,
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\r\n",
  ];
  const answers = await Promise.all(requests.map((request) => askAfter(port, 10, request)));
  assertEquals(answers, Array(requests.length).fill(ANSWER));
});

Deno.test(
  needs("greeter --http answers a request that arrives in pieces, and logs all of it", "signals"),
  async () => {
    const { greeter, port } = await start();
    await using _greeter = greeter;
    const conn = await connect(port);
    await send(conn, "GET / HT");
    assertEquals(new TextDecoder().decode(await readBytes(conn, ANSWER.length)), ANSWER);
    await send(conn, "TP/1.0\r\n\r\n");
    conn.close();
    await until(() => greeter.output.stdout.includes("sent"));
    await stop(greeter);
    assertStringIncludes(greeter.output.stdout, String.raw`sent 18 bytes to port ${port}: "GET / HTTP/1.0\r\n\r\n"`);
    assertMatch(greeter.output.stdout, /Stopped: 1 greeting, 0 denied, 18 bytes received/);
  },
);

Deno.test(
  needs("greeter --http answers silent clients when it is stopped, and ends", "signals"),
  async () => {
    const { greeter, port } = await start("-t", "600");
    await using _greeter = greeter;
    const silent = await Promise.all(Array.from({ length: 20 }, () => connect(port)));
    await until(() => greeter.output.stdout.split("\n").length > 21);
    greeter.child.kill("SIGTERM");
    const answers = await Promise.all(silent.map(receive));
    assertEquals(answers.map(({ length }) => length), Array(20).fill(ANSWER.length));
    assertEquals((await greeter.ended).code, 0);
  },
);

Deno.test("greeter --http answers fetch()", async () => {
  const { greeter, url } = await start();
  await using _greeter = greeter;
  for (const init of [{}, { method: "POST", body: "x".repeat(100_000) }, { method: "HEAD" }]) {
    for (let i = 0; i < 20; i++) {
      const response = await fetch(url, init);
      assertEquals([response.status, await response.text()], [200, init.method === "HEAD" ? "" : BODY]);
    }
  }
});

Deno.test(
  needs("greeter --http=LIST sends a page on some ports, and banners on others", "signals"),
  async () => {
    const [ssh = 0, page = 0, other = 0] = freePorts(3);
    const options = ["-p", `${ssh}=SSH-2.0-lab`, "-p", `${page},${other}`, `--http=${page},${other}`];
    await using greeter = spawn([...GREETER, "-H", "127.0.0.1", ...options]);
    await until(() => greeter.output.stdout.includes("\n"));
    let greetings = 0;
    // The banner comes first, without a request.
    const isInTime = await sometimes(async () => {
      const started = performance.now();
      assertEquals(await greetingFrom(ssh), "SSH-2.0-lab\r\n");
      greetings++;
      return performance.now() - started < 900;
    });
    assert(isInTime, "waited for a request for 1 s");
    for (const port of [page, other]) assertEquals(await askAfter(port, 100), ANSWER);
    await stop(greeter);
    assertMatch(greeter.output.stdout, new RegExp(`Stopped: ${greetings + 2} greetings`));
  },
);

Deno.test(
  needs("greeter --http answers curl: GET, HEAD, POST of 5 MB, Expect, keep-alive", "curl"),
  async () => {
    const { greeter, url } = await start();
    await using _greeter = greeter;
    const upload = await Deno.makeTempFile();
    try {
      await Deno.writeFile(upload, new Uint8Array(5_000_000).fill(97));
      const [head = ""] = ANSWER.split(BODY);
      for (
        const [args, expected] of [
          [["-i", url], ANSWER],
          [["-I", url], head],
          [["-i", "--data-binary", `@${upload}`, "-H", "Expect:", url], ANSWER],
          // curl waits for "100 Continue", and accepts the final answer instead.
          [
            ["-i", "--data-binary", `@${upload}`, "-H", "Expect: 100-continue", "--expect100-timeout", "50", url],
            ANSWER,
          ],
          [["-T", upload, url], BODY],
          // The second request needs a new connection.
          [[url, url, url], BODY.repeat(3)],
        ] as const
      ) {
        const { code, stdout, stderr } = await run(["curl", "-sS", "--max-time", "50", ...args]);
        assertEquals([code, stdout, stderr], [0, expected, ""], args.join(" "));
      }
    } finally {
      await Deno.remove(upload);
    }
  },
);

Deno.test(
  needs("greeter --http ends a TLS handshake of curl with an error, not with a timeout", "curl"),
  async () => {
    const { greeter, port } = await start();
    await using _greeter = greeter;
    const { code, stderr } = await run(["curl", "-sSk", "--max-time", "50", `https://127.0.0.1:${port}/`]);
    assertEquals(code, 35, stderr);
  },
);

Deno.test(
  needs("greeter --http answers python3, over one connection for each request", "python3"),
  async () => {
    const { greeter, port } = await start();
    await using _greeter = greeter;
    const script = `
import http.client
connection = http.client.HTTPConnection("127.0.0.1", ${port}, timeout=50)
for method in "GET", "POST", "GET":
    connection.request(method, "/", body="x" * 1000000 if method == "POST" else None)
    response = connection.getresponse()
    print(response.status, response.read().decode(), end="")
`;
    const { code, stdout, stderr } = await run(["python3", "-c", script]);
    assertEquals([code, stdout, stderr], [0, `200 ${BODY}`.repeat(3), ""]);
  },
);

Deno.test(needs("greeter --http answers nc, which says nothing", "nc"), async () => {
  const { greeter, port } = await start();
  await using _greeter = greeter;
  const { stdout } = await run(["nc", "-w", "50", "127.0.0.1", `${port}`]);
  assertEquals(stdout, ANSWER);
});

Deno.test(
  needs("greeter --http answers 1,000 requests of Go, which fails on an early answer", "go"),
  async () => {
    const { greeter, url } = await start();
    await using _greeter = greeter;
    const { code, stdout, stderr } = await run(
      ["go", "run", `${ROOT}/tools/go_client.go`, url, "1000"],
      {},
      3 * DEADLINE_MS,
    );
    assertEquals([code, stdout, stderr], [0, "0 of 1000 requests failed\n", ""]);
  },
);

Deno.test(
  needs("greeter --http replaces {port} and {client}, and counts the bytes of the body", "curl", "signals"),
  async () => {
    await using greeter = spawn([...GREETER, ...LOCAL, "--http", "-g", "port {port} für {client}"]);
    const port = await portOf(greeter);
    const { code, stdout } = await run(["curl", "-si", `http://127.0.0.1:${port}/`]);
    assertEquals(code, 0);
    const [, length, client] = stdout.match(
      /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/plain; charset=utf-8\r\nContent-Length: (\d+)\r\nConnection: close\r\n\r\nport \d+ für (.*)\r\n$/,
    ) ?? [];
    assertEquals(Number(length), new TextEncoder().encode(`port ${port} für ${client}\r\n`).length, stdout);
    await stop(greeter);
  },
);

Deno.test(needs("greeter --http shows a page in a browser", "chromium"), async () => {
  await using greeter = spawn([...GREETER, ...LOCAL, "--http", "-g", "You reached port {port} as {client}"]);
  const port = await portOf(greeter);
  const options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"];
  const url = `http://127.0.0.1:${port}/`;
  const { stdout } = await run(["chromium", ...options, "--dump-dom", url]);
  assertMatch(stdout, new RegExp(`>You reached port ${port} as 127\\.0\\.0\\.1:\\d+\\s*<`));
});
