// A server with Node's net, without a log and without a timeout. node.mjs PORT FILE
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const [port, file] = process.argv.slice(2);
const greeting = readFileSync(file);
const server = createServer((socket) => {
  socket.on("error", () => {}); // without a listener, a reset would end the process
  socket.end(greeting);
});
server.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });
